"""Flat state that lies where this tool keeps its own: every command says so. Light, because every command asks."""

from __future__ import annotations

import os
from pathlib import Path

from alchemy.model.text import safe_text

FLAT = "state.json"


def flat_state_line(root: Path) -> str:
    """About a flat `state.json` at the root of the state directory; "" when there is none."""
    file = root / FLAT
    if not os.path.isfile(file):
        return ""
    shown = safe_text(file)
    return f"{shown} is flat state, which is not read: `alchemy scope migrate {shown} --into my-app/prod` brings it in"

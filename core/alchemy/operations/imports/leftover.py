"""Flat state that lies where this tool keeps its own: every command says so. Light, because every command asks."""

from __future__ import annotations

import os
from pathlib import Path

from alchemy.model.text import safe_text

FLAT = "state.json"


def flat_state_line(root: Path, app: str = "") -> str:
    """About a flat `state.json` at the root of the state directory; "" when there is none. `app`: of the project."""
    file = root / FLAT
    if not os.path.isfile(file):
        return ""
    shown = safe_text(file)
    into = f"{safe_text(app, 80) or 'my-app'}/prod"
    return f"{shown} is flat state, which is not read: `alchemy scope migrate {shown} --into {into}` brings it in"

"""`python -m alchemy_tui` is `alchemy tui`."""

from __future__ import annotations

from alchemy_tui.command import tui

if __name__ == "__main__":
    tui(prog_name="alchemy tui")

"""`python -m alchemy_tui` is `alchemy tui`."""

from __future__ import annotations

import sys

import click

from alchemy.errors import AlchemyError
from alchemy_tui.command import tui

if __name__ == "__main__":
    try:
        tui(prog_name="alchemy tui")
    except AlchemyError as error:
        click.ClickException(f"{error}" + (f"\n  next: {error.hint}" if error.hint else "")).show()
        sys.exit(error.exit_code)

"""`alchemy tui`: the command that opens the dashboard. The command line finds it through an entry point.

Importing this module costs nothing: textual is loaded when the command runs.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click


@click.command()
@click.argument("scope", required=False, default="")
@click.option("--state-dir", type=click.Path(path_type=Path), default=None, help="State directory (default: .alchemy).")
@click.option("--read-only", is_flag=True, help="Refuse every action that changes something.")
@click.option("--allow-force", is_flag=True, help="Allow actions that can lose state that is in use.")
@click.option("--ascii", "ascii_only", is_flag=True, help="Only ASCII signs (chosen without being asked where needed).")
def tui(scope: str, state_dir: Path | None, read_only: bool, allow_force: bool, ascii_only: bool) -> None:
    """Open the dashboard, on SCOPE (my-app/prod) if it is given.

    Everything stored, who holds which lock, and every run as it happens, also those of other processes.
    """
    if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):  # textual draws on stderr
        raise click.UsageError("the dashboard needs a terminal; alchemy scope list prints the same as text")
    if os.environ.get("TERM") == "dumb":
        raise click.UsageError("the dashboard needs a terminal that can place its cursor; this one says TERM=dumb")
    from alchemy.errors import AlchemyError
    from alchemy.model.paths import ScopePath
    from alchemy.operations.workspace import find_workspace

    try:
        ScopePath.parse(scope.strip("/").rpartition("/")[0] or scope.strip("/") or "x")
    except AlchemyError as error:
        raise click.UsageError(f"{error.message}: {error.hint}") from error
    from alchemy_tui.app import AlchemyApp
    from alchemy_tui.present.glyphs import ASCII, choose
    from alchemy_tui.session import Session
    from alchemy_tui.store.deeds import Operations
    from alchemy_tui.store.live import Live

    workspace = find_workspace(state_dir.expanduser().absolute() if state_dir else None)
    root = workspace.root
    writable = os.access(root, os.W_OK) if root.exists() else True
    session = Session(
        state_dir=str(state_dir or ""),
        named_state_dir=state_dir is not None,
        scope=scope.strip("/"),
        read_only=read_only or not writable,
        why_read_only="" if read_only else "the state directory is not writable",
        allow_force=allow_force,
        glyphs=ASCII if ascii_only else choose(sys.stdout.encoding, os.environ.get("TERM", "")),
        animate=os.environ.get("TEXTUAL_ANIMATIONS", "full") != "none",
    )
    app = AlchemyApp(Live(workspace), session, Operations(workspace))
    app.run()
    if app.return_code:
        sys.exit(app.return_code)

"""Asking before something is destroyed: the last part of its path has to be typed. Without a terminal: `--yes`."""

from __future__ import annotations

import sys

from alchemy.cli.terminal import is_terminal
from alchemy.errors import UsageError
from alchemy.model.text import safe_text


def ask(word: str, what: str, *, yes: bool) -> None:
    """Returns when it may go on; UsageError otherwise. `what` is the act: "destroy my-app/prod"."""
    if yes:
        return
    if not (sys.stdin.isatty() and is_terminal(sys.stderr)):
        raise UsageError(
            f"to {safe_text(what, 200)} has to be confirmed, and there is no terminal to ask on: nothing was done",
            hint="add --yes",
        )
    sys.stderr.write(f"Type {safe_text(word, 80)} to {safe_text(what, 200)}: ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    if answer.strip() != word:
        raise UsageError(f"that is not {safe_text(word, 80)}: nothing was done", hint="run it again to try again")

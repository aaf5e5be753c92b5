"""Asking before something is destroyed: the last part of its path has to be typed. Without a terminal: `--yes`."""

from __future__ import annotations

import sys

from alchemy.cli.terminal import is_terminal
from alchemy.errors import UsageError
from alchemy.model.text import safe_text


def ask_hard(path: str, what: str, *, yes: bool, force: bool) -> None:
    """For what should not be done: the whole path has to be typed; in a script `--force`, `--yes` is not enough.

    `--force` and `--yes` together ask nobody. Somebody at a keyboard whose messages go elsewhere is no script.
    """
    if force and (yes or not sys.stdin.isatty()):
        return
    if force and not can_ask():
        raise UsageError(
            f"to {safe_text(what, 200)}, nobody would see the question: nothing was done",
            hint="let its messages go to the terminal, or add --yes to be asked nothing",
        )
    if not can_ask() or yes:
        why = "--yes is not enough" if yes else "somebody has to be asked, and there is no terminal"
        raise UsageError(f"to {safe_text(what, 200)}, {why}: nothing was done", hint="add --force")
    ask(path, what, yes=False)


def ask(word: str, what: str, *, yes: bool) -> None:
    """Returns when it may go on; UsageError otherwise. `what` is the act: "destroy my-app/prod"."""
    if yes:
        return
    if not can_ask():
        raise UsageError(
            f"to {safe_text(what, 200)} has to be confirmed, and there is no terminal to ask on: nothing was done",
            hint="add --yes",
        )
    if line(f"Type {safe_text(word, 300)} to {safe_text(what, 300)}: ") != word:
        raise UsageError(
            f"that is not {safe_text(word, 300)}: nothing was done", hint="run it again, and type it as it stands there"
        )


def can_ask() -> bool:
    return sys.stdin.isatty() and is_terminal(sys.stderr)


def agree(question: str) -> bool:
    """Yes or no, on a terminal; no unless it is said."""
    return line(f"{question} [y/N] ").lower() in ("y", "yes")


def line(prompt: str) -> str:
    """One line typed after `prompt`."""
    return typed(prompt) or ""


def typed(prompt: str) -> str | None:
    """The same; None when the input has ended."""
    sys.stderr.write(prompt)
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        sys.stderr.write("\n")
    return answer.strip() if answer else None

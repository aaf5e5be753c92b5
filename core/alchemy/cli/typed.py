"""What click says about a line that it could not read, in our words: an error and what to type next."""

from __future__ import annotations

from collections.abc import Iterator

import click

from alchemy.cli.tones import Line, line
from alchemy.cli.wording import LONGEST
from alchemy.model.text import safe_text


def explain(error: BaseException) -> Iterator[Line] | None:
    """None when it is none of click's."""
    return _lines(error) if isinstance(error, click.ClickException) else None


def _lines(error: click.ClickException) -> Iterator[Line]:
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    message = error.format_message().rstrip(".")
    yield line(("error: ", "bad"), safe_text(message[:1].lower() + message[1:], LONGEST))
    yield line(("  next: ", "title"), f"`{ctx.command_path if ctx else 'alchemy'} --help` shows what it takes")

"""A line on stderr about spills that wait: whoever looks at a scope should know that there is more to know."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from alchemy.cli.options import Given
from alchemy.cli.terminal import counted
from alchemy.model.text import safe_text
from alchemy.operations.spills import spills


def mention_spills(given: Given, scopes: Iterable[str] = ("",)) -> None:
    """Those of `scopes` and below them; of everything by default."""
    if given.quiet:
        return
    for info in dict.fromkeys(info for scope in scopes for info in spills(given.store, scope)):
        if not info.problem:
            what = f"{counted(info.changes, 'change')} that {info.run} of {safe_text(info.scope)} could not write"
            sys.stderr.write(f"note: {what}: `alchemy scope recover {safe_text(info.file)}`\n")

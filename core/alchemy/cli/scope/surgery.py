"""What the commands of state surgery say alike: rows, what is asked, and how it is undone."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from alchemy.cli.options import Given
from alchemy.cli.terminal import signs
from alchemy.cli.tones import coloured, joined, line
from alchemy.cli.wording import row as row_line
from alchemy.cli.wording import short_kind
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.model.values import ResourceState
    from alchemy.operations.surgery.record import Written

PASSWORD = "ALCHEMY_PASSWORD"


def shows(given: Given, *, json_: bool, asks: bool) -> bool:
    """What will be done is shown before it is asked about; a document alone says it otherwise."""
    return not given.quiet and (asks or not json_)


def tell_row(given: Given, verb: str, tone: str, row: ResourceState, *facts: str) -> None:
    marks = signs(sys.stderr)
    glyph = {"good": marks.create, "bad": marks.delete}.get(tone, marks.update)
    former = f"former, generation {row.generation}" if row.former else ""
    told = row_line(glyph, verb, tone, row.address, *facts, short_kind(row.kind), row.physical_name, former)
    sys.stderr.write(joined(told, colour=coloured(sys.stderr, plain=given.plain)) + "\n")


def tell(given: Given, text: str, tone: str = "") -> None:
    """A line below the rows; a warning has its sign."""
    marks = signs(sys.stderr)
    glyph = f"{marks.warning} " if tone == "warn" else f"{marks.arrow} "
    sys.stderr.write(joined(line(("  " + glyph, tone), text), colour=coloured(sys.stderr, plain=given.plain)) + "\n")


def agree(given: Given, subject: str, what: str, *, yes: bool) -> None:
    """What can be undone: a `y`; in a protected stage the last part of the path."""
    from alchemy.cli import consent

    consent.ask(subject.rpartition("/")[2] if given.project.protects(subject) else "y", what, yes=yes)


def ended(given: Given, said: str, written: Written) -> None:
    if given.quiet:
        return
    sys.stderr.write(f"{safe_text(said)} in {written.run}\n")
    if written.before:
        sys.stderr.write(f"  alchemy scope restore {written.scope} --backup {written.before}  takes it back\n")


def outcome(written: Written | None) -> dict[str, object]:
    """What every document of surgery ends with."""
    return {
        "written": written is not None,
        "run": written.run if written else "",
        "backup": written.before if written else "",
    }

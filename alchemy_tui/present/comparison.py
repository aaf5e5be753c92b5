"""What going back to a backup would do: rows that return, leave and change, and what that leads to, in words."""

from __future__ import annotations

import json
from collections.abc import Iterable

from alchemy.model.text import safe_text
from alchemy.operations.shapes import Comparison, FieldChange, RowChange
from alchemy_tui.present.line import BLANK, Line, Tone, line, spread, wrap
from alchemy_tui.present.scene import Scene
from alchemy_tui.present.scope import short_kind

FIELDS = 6  # shown of one row; the command line shows all


def headline(scene: Scene, found: Comparison) -> Line:
    """`+4 −1 ~2`, or that it is the same."""
    if found.same:
        return line(("the same as now", Tone.OK))
    signs = ((scene.glyphs.create, Tone.OK), (scene.glyphs.delete, Tone.BAD), (scene.glyphs.update, Tone.WARN))
    counted = [(f"{sign}{count} ", tone) for (sign, tone), count in zip(signs, found.counts, strict=True) if count]
    return line(*counted) if counted else line(("only scopes differ", Tone.WARN))


def comparison(scene: Scene, found: Comparison, width: int) -> list[Line]:
    glyphs = scene.glyphs
    out: list[Line] = []
    if found.damage:
        out += [*wrap(f"{glyphs.corrupt} {found.damage}", width, Tone.BAD), BLANK]
    out += _rows(found, found.appear, glyphs.create, Tone.OK, width)
    out += _rows(found, found.vanish, glyphs.delete, Tone.BAD, width)
    for row in found.change:
        out += _rows(found, (row,), glyphs.update, Tone.WARN, width)
        for field in row.fields[:FIELDS]:
            out += _field(scene, field, width)
        if len(row.fields) > FIELDS:
            out.append(line((f"      and {len(row.fields) - FIELDS} more", Tone.FAINT)))
    for path, sign, tone in (
        *((path, glyphs.create, Tone.OK) for path in found.scopes_appear),
        *((path, glyphs.delete, Tone.BAD) for path in found.scopes_vanish),
    ):
        out.append(line((f"{sign} ", tone), (_below(found, path), Tone.TEXT), ("  scope", Tone.DIM)))
    if not out:
        out.append(line(("Every row is as it was then.", Tone.DIM)))
    return out


def consequences(scene: Scene, found: Comparison, width: int) -> list[Line]:
    """Sentences; the last says what is certain."""
    out: list[Line] = []
    for sentence in found.consequences:
        for number, text in enumerate(wrap(sentence, width - 2)):
            sign = line((f"{scene.glyphs.corrupt} ", Tone.WARN)) if number == 0 else line("  ")
            out.append((*sign, *text))
    certain = "Only the state changes, nothing in the cloud. What is there now is backed up first: U undoes it."
    return [*out, *wrap(certain, width, Tone.DIM, 2)]


def _rows(found: Comparison, rows: Iterable[RowChange], sign: str, tone: Tone, width: int) -> list[Line]:
    out = []
    for row in rows:
        left = line(
            (f"{sign} ", tone), (_below(found, row.address), Tone.TEXT), (f"  {short_kind(row.kind)}", Tone.DIM)
        )
        again = "  made anew since" if row.remade else "  old incarnation" if row.former else ""
        out.append(spread((*left, *line((again, Tone.WARN))), line((row.name, Tone.FAINT)), width, 2))
    return out


def _field(scene: Scene, field: FieldChange, width: int) -> list[Line]:
    if field.secret:
        return [line((f"      {field.path}", Tone.DIM), ("  another secret", Tone.WARN))]
    now = _value(field.now) if field.in_now else "(not set)"
    then = _value(field.then) if field.in_then else "(not set)"
    head = line((f"      {field.path}", Tone.DIM))
    arrow = f"  {scene.glyphs.arrow}  "
    if len(now) + len(then) + len(field.path) + 16 <= width:
        return [spread(head, line((now, Tone.BAD), (arrow, Tone.FAINT), (then, Tone.OK)), width, 2)]
    return [
        head,
        *wrap(f"now   {now}", width, Tone.BAD, 8),
        *wrap(f"then  {then}", width, Tone.OK, 8),
    ]


def _value(value: object) -> str:
    return safe_text(value if isinstance(value, str) else json.dumps(value), 300)


def _below(found: Comparison, path: str) -> str:
    """Without what every line would repeat."""
    return path.removeprefix(f"{found.scope}/") or path

"""What `validate` found, worst first: the file, what is wrong with it, and the command that puts it right."""

from __future__ import annotations

from collections.abc import Sequence

from alchemy.operations.shapes import Finding
from alchemy_tui.present.line import BLANK, Line, Tone, line, wrap
from alchemy_tui.present.scene import Scene


def health(scene: Scene, found: Sequence[Finding], subject: str, width: int) -> list[Line]:
    glyphs = scene.glyphs
    where = subject or "everything"
    if not found:
        sound = line((f"{glyphs.ok} ", Tone.OK), (f"{where} is sound", Tone.STRONG))
        said = "Every journal, view, snapshot, backup, lock and spill of it was read and is as it should be."
        return [sound, *wrap(said, width, Tone.DIM, 2)]
    errors = sum(1 for one in found if one.severity == "error")
    warnings = len(found) - errors
    counts = [(f"{errors} error{'s' * (errors != 1)}", Tone.BAD)] if errors else []
    counts += [(f"{warnings} warning{'s' * (warnings != 1)}", Tone.WARN)] if warnings else []
    out: list[Line] = [line(counts[0], *(("  ", Tone.TEXT), counts[1]) if len(counts) > 1 else ()), BLANK]
    for one in sorted(found, key=lambda one: (one.severity != "error", one.file)):
        bad = one.severity == "error"
        sign, tone = (glyphs.failed, Tone.BAD) if bad else (glyphs.corrupt, Tone.WARN)
        for number, text in enumerate(wrap(one.file, width - 2, Tone.STRONG)):
            out.append((*line((f"{sign} " if number == 0 else "  ", tone)), *text))
        out += wrap(one.problem, width, Tone.TEXT, 2)
        for number, text in enumerate(wrap(one.way_out, width - 4, Tone.ACCENT)):
            out.append((*line((f"  {glyphs.arrow} " if number == 0 else "    ", Tone.FAINT)), *text))
        out.append(BLANK)
    return out[:-1]

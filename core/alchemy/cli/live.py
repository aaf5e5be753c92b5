"""The live view of a run on a terminal: what is in flight, with a total; what ended scrolls by above it.

Drawn by rich. Neighbours: `progress` decides when, `narration` folds the events this draws.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich import live
from rich.console import Console, ConsoleOptions, Group
from rich.segment import Segment
from rich.text import Text

from alchemy.cli.terminal import duration
from alchemy.cli.tones import STYLES, Line, coloured, joined
from alchemy.cli.wording import DOING, TONES, short_kind
from alchemy.model.runview import RunRow
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.cli.narration import Narrator


class Live:
    """On the screen from the start; `draw` prints lines above it and a new picture, `stop` takes it down."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._console = Console(file=narrator.stream, highlight=False, markup=False, emoji=False)
        self._colour = coloured(narrator.stream)
        self._frame = 0
        self._view = live.Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # A program's prints scroll by above the view. When stdout goes elsewhere they stay out of the terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._view.start()
        self._console.show_cursor(True)  # a second Ctrl-C leaves without cleaning up: never hide what it would not show

    def draw(self, queue: list[Line], *, over: bool = False) -> None:
        self._frame += 1
        self._view.update(Group(*([] if over else self._rows())))
        if queue:
            self._console.print(Lines(queue, colour=self._colour), soft_wrap=True)
        self._view.refresh()

    def stop(self) -> None:
        self._view.stop()

    def _rows(self) -> list[Text]:
        narrator = self._narrator
        spinner = narrator.signs.spinner[self._frame % len(narrator.signs.spinner)]
        room = max(1, self._console.size.height - 4)
        with narrator.lock:
            now = narrator.clock.elapsed()
            views = list(narrator.runs.values())
            running = [row for view in views for row in view.rows.values() if row.state in ("running", "retrying")]
            finished, total = sum(view.finished for view in views), sum(len(view.rows) for view in views)
            lines = [self._row(row, spinner, now - narrator.began.get(row.address, now)) for row in running[:room]]
        more = f", and {len(running) - room} more" if len(running) > room else ""
        lines.append(Text(f"  {finished:,} of {total:,} done, {len(running):,} in flight{more}", "dim"))
        return lines

    def _row(self, row: RunRow, spinner: str, seconds: float) -> Text:
        text = Text("  ", no_wrap=True, overflow="ellipsis")
        verb = DOING.get(row.action, row.action) if row.state == "running" else f"retry {row.attempt}"
        text.append(f"{spinner} {verb:<11}", STYLES[TONES.get(row.action, "")])
        text.append(safe_text(row.address))
        text.append(f"  {safe_text(short_kind(row.kind))}  {duration(seconds)}", "dim")
        if row.progress and row.progress[1] > 0:
            text.append(f"  {100 * row.progress[0] / row.progress[1]:.0f}%", "cyan")
        return text


class Lines:
    """As they stand: a thousand of them go to the terminal in one piece, where rich would measure each."""

    def __init__(self, queue: list[Line], *, colour: bool) -> None:
        self._text = "".join(f"{joined(pieces, colour=colour)}\n" for pieces in queue)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield Segment(self._text)

"""The live view of a run on a terminal: what is in flight, with a total; what ended scrolls by above it.

Drawn by rich, ten times a second, from a thread of its own; loaded when the first change starts, so that a run that
changes nothing never pays for it. Neighbour: `narration` folds the events this draws.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from alchemy.cli.terminal import duration
from alchemy.cli.tones import STYLES, Line
from alchemy.cli.wording import DOING, TONES, short_kind
from alchemy.model.runview import RunRow
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.cli.narration import Narrator

TICK = 0.1  # seconds


class Progress:
    """Starts at once; `say` queues a line to be printed above, `stop` takes the view down."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._console = Console(file=narrator.stream, highlight=False, markup=False, emoji=False)
        self._queue: list[Line] = []
        self._frame = 0
        self._over = threading.Event()
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            # A program's prints scroll by above the view. When stdout goes elsewhere they stay out of the terminal.
            redirect_stdout=sys.stdout.isatty(),
            redirect_stderr=True,
        )
        self._live.start()
        self._console.show_cursor(True)  # a second Ctrl-C leaves without cleaning up: never hide what it would not show
        self._thread = threading.Thread(target=self._tick, name="progress", daemon=True)
        self._thread.start()

    def say(self, pieces: Line) -> None:
        with self._narrator.lock:
            self._queue.append(pieces)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()
        self._draw(last=True)
        self._live.stop()

    def _tick(self) -> None:
        while not self._over.wait(TICK):
            self._draw()

    def _draw(self, *, last: bool = False) -> None:
        with self._narrator.lock:
            queue, self._queue = self._queue, []
            shown = [] if last else self._rows()
        self._frame += 1
        if queue:
            self._console.print(Group(*map(text_of, queue)), soft_wrap=True)
        self._live.update(Group(*shown), refresh=True)

    def _rows(self) -> list[Text]:
        narrator = self._narrator
        now = narrator.clock.elapsed()
        spinner = narrator.signs.spinner[self._frame % len(narrator.signs.spinner)]
        running: list[RunRow] = []
        finished = total = 0
        for view in narrator.runs.values():
            running += [row for row in view.rows.values() if row.state in ("running", "retrying")]
            finished, total = finished + view.finished, total + len(view.rows)
        room = max(1, self._console.size.height - 4)
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


def text_of(pieces: Line) -> Text:
    text = Text()
    for part, tone in pieces:
        text.append(part, STYLES[tone])
    return text

"""What a showing command puts on stdout: lines, tables and trees; plain text when piped, rich on a terminal.

Or one JSON document. Neighbours: the commands build a Page from pieces; `tones` has the styles.
"""

from __future__ import annotations

import signal
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from alchemy.cli.terminal import is_terminal, signs
from alchemy.cli.tones import STYLES, Line, Piece, joined, line

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text
    from rich.tree import Tree


@dataclass(slots=True)
class Branch:
    """A node of a tree: its name, cells in columns behind it, and what is below it."""

    name: Line
    cells: tuple[Line, ...] = ()
    below: list[Branch] = field(default_factory=list)


@dataclass(slots=True)
class Table:
    """Columns are as wide as their widest cell; the last one is never cut or padded."""

    rows: list[list[Line]]


@dataclass(slots=True)
class Forest:
    """Trees whose cells share their columns."""

    trees: list[Branch]


class Page:
    """Collects, then shows once."""

    def __init__(self, *, plain: bool = False) -> None:
        self.stream: TextIO = sys.stdout
        self.rich = is_terminal(self.stream) and not plain
        self.signs = signs(self.stream)
        self._items: list[Line | Table | Forest] = []

    @classmethod
    def on(cls, stream: TextIO, *, plain: bool = False) -> Page:
        """On another stream than stdout: what is said besides, before a question."""
        page = cls(plain=plain)
        page.stream, page.rich, page.signs = stream, is_terminal(stream) and not plain, signs(stream)
        return page

    def say(self, *parts: str | Piece) -> None:
        self._items.append(line(*parts))

    def section(self, title: str) -> None:
        if self._items:
            self.say()
        self.say((title, "title"))

    def table(self, rows: list[list[Line]]) -> None:
        self._items.append(Table(rows))

    def tree(self, trees: list[Branch]) -> None:
        self._items.append(Forest(trees))

    def show(self) -> None:
        end_quietly_when_nobody_reads()
        if self.rich:
            self._draw()
            return
        for item in self._items:
            for pieces in [item] if isinstance(item, tuple) else plain_rows(item):
                self.stream.write(joined(pieces, colour=False) + "\n")

    def _draw(self) -> None:
        from rich.console import Console

        console = Console(file=self.stream, highlight=False, markup=False, emoji=False)
        for item in self._items:
            if isinstance(item, tuple):
                console.print(_text(item), soft_wrap=True)
            elif isinstance(item, Table):
                if _fits(item, console.width):
                    console.print(_table(item))
                else:  # rich would cut cells: the terminal wraps lines instead, and nothing is lost
                    for pieces in aligned(item.rows):
                        console.print(_text(pieces), soft_wrap=True)
            else:
                for tree in _trees(item):
                    console.print(tree)


def plain_rows(item: Table | Forest) -> list[Line]:
    """A tree by indentation, its cells in columns."""
    if isinstance(item, Table):
        return aligned(item.rows)
    rows: list[list[Line]] = []

    def walk(branch: Branch, depth: int) -> None:
        rows.append([(("  " * depth, ""), *branch.name), *branch.cells])
        for below in branch.below:
            walk(below, depth + 1)

    for tree in item.trees:
        walk(tree, 0)
    return aligned(rows)


def aligned(rows: Sequence[Sequence[Line]]) -> list[Line]:
    widths: list[int] = []
    for row in rows:
        for column, cell in enumerate(row):
            if column == len(widths):
                widths.append(0)
            widths[column] = max(widths[column], width(cell))
    out: list[Line] = []
    for row in rows:
        pieces: list[tuple[str, str]] = []
        for column, cell in enumerate(row):
            gap = "  " if column < len(row) - 1 else ""
            space = " " * (widths[column] - width(cell)) if gap else ""
            pieces += [*cell, (space + gap, "")]
        out.append(tuple(pieces))
    return out


def width(pieces: Line) -> int:
    """Cells of a terminal."""
    text = "".join(part for part, _ in pieces)
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _text(pieces: Line, **extras: Any) -> Text:
    from rich.text import Text

    text = Text(**extras)
    for part, tone in pieces:
        text.append(part, STYLES[tone])
    return text


_NARROWEST = 24  # cells of a last column that is worth folding


def _fits(item: Table, room: int) -> bool:
    widths = [max((width(row[n]) for row in item.rows if n < len(row)), default=0) for n in range(_columns(item))]
    return sum(widths[:-1]) + 2 * len(widths) + min([_NARROWEST, *widths[-1:]]) <= room


def _columns(item: Table) -> int:
    return max((len(row) for row in item.rows), default=0)


def _table(item: Table) -> RenderableType:
    from rich.table import Table as Drawn

    drawn = Drawn(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    columns = _columns(item)
    for column in range(columns):
        drawn.add_column(no_wrap=column < columns - 1, overflow="fold")
    for row in item.rows:
        drawn.add_row(*(_text(cell) for cell in row))
    return drawn


_STEP = 4  # cells a level of rich's tree takes


def _trees(forest: Forest) -> list[Tree]:
    """The cells stand in the same columns, whatever the depth of their row."""
    branches = _all(forest.trees)
    longest = max((_reach(tree, 0) for tree in forest.trees), default=0)
    rows = {id(b): cells for b, cells in zip(branches, aligned([b.cells for b in branches]), strict=True)}
    return [_tree(tree, 0, longest, rows) for tree in forest.trees]


def _all(branches: list[Branch]) -> list[Branch]:
    return [found for branch in branches for found in (branch, *_all(branch.below))]


def _reach(branch: Branch, depth: int) -> int:
    return max([depth * _STEP + width(branch.name), *(_reach(below, depth + 1) for below in branch.below)])


def _tree(branch: Branch, depth: int, longest: int, rows: dict[int, Line]) -> Tree:
    from rich.tree import Tree

    gap = " " * (longest - depth * _STEP - width(branch.name) + 2)
    label = _text((*branch.name, (gap, ""), *rows[id(branch)]), no_wrap=True, overflow="ellipsis")
    label.rstrip()
    tree = Tree(label, guide_style="dim")
    for below in branch.below:
        tree.children.append(_tree(below, depth + 1, longest, rows))
    return tree


def show_json(document: Any, *, compact: bool = False) -> None:
    """On stdout; `compact` is one line. Nothing that a terminal could act on: all but ASCII is escaped."""
    import json

    end_quietly_when_nobody_reads()
    separators = (",", ":") if compact else None
    text = json.dumps(document, indent=None if compact else 2, separators=separators, default=str)
    sys.stdout.write(text.replace("\x7f", "\\u007f") + "\n")


def end_quietly_when_nobody_reads() -> None:
    """`alchemy scope list | head -1`: ends like every other program in a pipe, by the signal."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)

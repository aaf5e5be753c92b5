"""The tree of scopes and resources: the rows of a TreeModel, drawn a line at a time.

Only what is on screen is ever drawn, and nothing is measured, so 10,000 rows move like ten. The cursor belongs to the
model and is an identity: rows may come and go under it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.message import Message
from textual.strip import Strip

from alchemy_tui.present.line import BLANK, Line, Piece, Tone
from alchemy_tui.present.scene import Scene
from alchemy_tui.present.scope import tree_row
from alchemy_tui.store.filter import Filter
from alchemy_tui.store.tree_model import TreeModel
from alchemy_tui.widgets.lines import Scroller


class ScopeTree(Scroller):
    """`scene` gives the moment to draw; `instead` gives the lines shown while there are no rows."""

    class Moved(Message):
        """The cursor is on another row. Replaceable: whoever listens asks the tree where it is now."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ScopeTree.Moved)

    class Opened(Message):
        """The row under the cursor was clicked twice."""

    def __init__(self, scene: Callable[[], Scene], instead: Callable[[int], Sequence[Line]]) -> None:
        super().__init__(id="tree")
        self.model = TreeModel()
        self._scene = scene
        self._instead = instead

    # -- the world ------------------------------------------------------------------------------------------------

    def load(self, *, structure: bool) -> None:
        scene = self._scene()
        before = self.model.cursor
        offset = self.model.index - self.scroll_offset.y
        self.model.load(scene.view, structure=structure, now=scene.now)
        self.resize_content()
        if structure and self.model.index >= 0:  # the row under the eye stays where it is on screen
            self.scroll_to(y=max(0, self.model.index - max(0, offset)), animate=False, force=True)
            self.reveal(self.model.index)
        self.refresh()
        if self.model.cursor != before:
            self.post_message(self.Moved())

    def set_filter(self, new: Filter) -> None:
        self._change(lambda: self.model.set_filter(new))

    def _change(self, change: Callable[[], object]) -> None:
        before = self.model.cursor
        change()
        self.resize_content()
        if self.model.index >= 0:
            self.reveal(self.model.index)
        self.refresh()
        if self.model.cursor != before:
            self.post_message(self.Moved())

    # -- drawing --------------------------------------------------------------------------------------------------

    def line_count(self) -> int:
        return len(self.model.rows)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        rows = self.model.rows
        if not rows:
            lines = self._instead(width)
            return self.paint(lines[y] if y < len(lines) else BLANK, width)
        if at >= len(rows):
            return self.paint(BLANK, width)
        row = rows[at]
        selected = at == self.model.index
        scene = self._scene()
        edge = Piece(scene.glyphs.cursor if selected else " ", Tone.ACCENT if self.has_focus else Tone.FAINT)
        marked, context = row.identity in self.model.marks, not self.model.matches(row)
        drawn = tree_row(scene, row, self.model.node(row), width - 1, marked=marked, context=context)
        return self.paint((edge, *drawn), width, selected=selected)

    # -- moving ---------------------------------------------------------------------------------------------------

    def move(self, how: str) -> bool:
        """up, down, left, right, page_up, page_down, top, bottom."""
        steps = {"up": -1, "down": 1, "page_up": -self.page, "page_down": self.page}
        model, before = self.model, self.model.index
        if how in steps:
            model.move_by(steps[how])
        elif how in ("top", "bottom"):
            model.move_to(0 if how == "top" else len(model.rows) - 1)
        elif how == "left":
            if model.fold(False):
                return self._refolded()
            model.go_up()
        elif how == "right":
            if model.fold(True):
                return self._refolded()
            row = model.current
            if row and row.opened:
                model.move_by(1)
        self._moved(before)
        return True

    def _refolded(self) -> bool:
        self.resize_content()
        self.refresh()
        return True

    def _moved(self, before: int) -> None:
        after = self.model.index
        if after == before:
            return
        self.reveal(after)
        self.refresh_line(before)
        self.refresh_line(after)
        self.post_message(self.Moved())

    def toggle(self) -> None:
        if self.model.toggle():
            self._refolded()

    def fold_all(self, opened: bool) -> None:
        self._change(lambda: self.model.fold_all(opened))

    def go_to(self, identity: str) -> bool:
        found = False

        def change() -> None:
            nonlocal found
            found = self.model.go_to(identity)

        self._change(change)
        return found

    def mark(self) -> None:
        self.model.toggle_mark()
        self.move("down")
        self.refresh()

    def clear_marks(self) -> None:
        self.model.marks.clear()
        self.refresh()

    def on_focus(self, event: events.Focus) -> None:
        self.refresh()

    def on_blur(self, event: events.Blur) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        at = event.y + self.scroll_offset.y
        if at >= len(self.model.rows):
            return
        before, row = self.model.index, self.model.rows[at]
        self.model.move_to(at)
        self._moved(before)
        if event.chain > 1:
            self.post_message(self.Opened())
        elif row.foldable and event.x <= row.depth * 2 + 3 and event.x >= row.depth * 2 + 1:
            self.toggle()

"""A scrolling list of lines, drawn a line at a time: the cost is what is on screen, not what there is.

Used for every pane that shows text; `ScopeTree` has its own rows. With `selectable` one line carries the cursor.
"""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from alchemy_tui.present.line import BLANK, Line, plain
from alchemy_tui.widgets.paint import Drawn


class Scroller(Drawn, ScrollView, can_focus=True, inherit_bindings=False):
    """What the tree and the panes share: a number of lines, and how to move among them."""

    def line_count(self) -> int:
        raise NotImplementedError

    def resize_content(self) -> None:
        """Call when the number of lines may have changed."""
        self.virtual_size = Size(self.scrollable_content_region.width, self.line_count())

    def on_resize(self, event: events.Resize) -> None:
        self.resize_content()
        self.refresh()

    @property
    def page(self) -> int:
        return max(1, self.scrollable_content_region.height - 1)

    def reveal(self, y: int) -> None:
        """Scrolls as little as needed for line `y` to be on screen."""
        height = self.scrollable_content_region.height
        top = self.scroll_offset.y
        if y < top:
            self.scroll_to(y=y, animate=False, force=True)
        elif height and y >= top + height:
            self.scroll_to(y=y - height + 1, animate=False, force=True)


class Lines(Scroller):
    """Shows what it is given. `follow` keeps the end in sight until somebody scrolls up."""

    class Picked(Message):
        """A line of a selectable list was opened."""

        def __init__(self, sender: Lines, index: int) -> None:
            super().__init__()
            self.sender = sender
            self.index = index

    def __init__(self, *, id: str | None = None, selectable: bool = False, follow: bool = False) -> None:
        super().__init__(id=id)
        self.selectable = selectable
        self.follow = follow
        self.chosen = 0
        self._lines: Sequence[Line] = ()
        self._keys: Sequence[str] = ()

    def show(self, content: Sequence[Line], *, keep: bool = True, keys: Sequence[str] = ()) -> None:
        """Without `keep` it starts again at the first line (or the last, when following).

        `keys` name the lines: the cursor stays on what it was on, wherever that is now.
        """
        at_end = self.follow and self.at_end
        before, offset = self.chosen, self.chosen - self.scroll_offset.y
        if keep and before < len(self._keys) and self._keys[before] in keys:
            self.chosen = list(keys).index(self._keys[before])
        self._keys = keys
        self._lines = content
        self.resize_content()
        if keep and self.chosen != before:  # the line under the eye stays where it is on screen
            self.scroll_to(y=max(0, self.chosen - max(0, offset)), animate=False, force=True)
        self.chosen = max(0, min(self.chosen, len(content) - 1)) if keep else 0
        if at_end or (self.follow and not keep):
            self.scroll_to(y=max(0, len(content) - self.scrollable_content_region.height), animate=False, force=True)
        elif not keep:
            self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    @property
    def at_end(self) -> bool:
        return self.scroll_offset.y >= len(self._lines) - self.scrollable_content_region.height

    def line_count(self) -> int:
        return len(self._lines)

    def render_line(self, y: int) -> Strip:
        at = y + self.scroll_offset.y
        width = self.scrollable_content_region.width
        content = self._lines[at] if at < len(self._lines) else BLANK
        return self.paint(content, width, selected=self.selectable and at == self.chosen and at < len(self._lines))

    def text(self) -> str:
        """All of it, as plain text."""
        return "\n".join(plain(content).rstrip() for content in self._lines)

    def move(self, how: str) -> bool:
        """up, down, page_up, page_down, top, bottom; False for any other."""
        steps = {"up": -1, "down": 1, "page_up": -self.page, "page_down": self.page}
        last = max(0, len(self._lines) - 1)
        if self.selectable:
            places = {"top": 0, "bottom": last, **{key: self.chosen + step for key, step in steps.items()}}
            if how not in places:
                return False
            self.chosen = max(0, min(places[how], last))
            self.reveal(self.chosen)
            self.refresh()
            return True
        top = self.scroll_offset.y
        places = {"top": 0, "bottom": last, **{key: top + step for key, step in steps.items()}}
        if how not in places:
            return False
        self.scroll_to(y=max(0, places[how]), animate=False)
        return True

    def on_click(self, event: events.Click) -> None:
        at = event.y + self.scroll_offset.y
        if self.selectable and at < len(self._lines):
            again = at == self.chosen
            self.chosen = at
            self.refresh()
            if again or event.chain > 1:
                self.post_message(self.Picked(self, at))

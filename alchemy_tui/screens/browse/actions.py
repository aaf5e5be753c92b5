"""What the actions of the browse screen do. Names are the registry's ids, with an underscore for the dot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.operations.shapes import ResourceNode
from alchemy_tui import proposals, registry
from alchemy_tui.action import command_line, view_line
from alchemy_tui.store.filter import parse
from alchemy_tui.terminal import GROUP

if TYPE_CHECKING:
    from alchemy_tui.screens.browse.screen import Browse


class Actions:
    """Whether an action may be done was asked before; here it is done."""

    def __init__(self, screen: Browse) -> None:
        self._screen = screen

    def move(self, how: str) -> None:
        pane = self._screen.pane
        if self._screen.typing_filter:
            self.close_filter(keep=True)
        elif pane == "tree":
            self._screen.scopes.move(how)
        else:
            lines = self._screen.detail.lines if pane == "detail" else self._screen.log_pane
            if not lines.move(how) and how == "left" and pane == "detail":
                self.back()

    def open_tab(self, tab: str) -> None:
        self._show_detail()
        self._screen.detail.show_tab(tab)
        self._screen.record("show", view_line(self._screen.situation()))

    def _show_detail(self) -> None:
        self._screen.set_class(self._screen.narrow, "-detail")
        self._screen.detail.lines.focus()

    def open(self) -> None:
        if self._screen.pane == "detail":
            if self._screen.detail.picked():
                self._screen.record("open", view_line(self._screen.situation()))
            return
        self._show_detail()
        self._screen.record("open", view_line(self._screen.situation()))

    def back(self) -> None:
        """One step at a time: the filter being typed, details, the zoom, the log, the filter."""
        if self._screen.typing_filter:
            self.close_filter(keep=False)
        elif self._screen.pane == "detail" and self._screen.detail.tab == "events" and self._screen.detail.run:
            self._screen.detail.show_tab("runs")
        elif self._screen.pane == "log":
            self.log()
        elif self._screen.pane == "detail" or self._screen.has_class("-detail", "-zoom"):
            self._screen.remove_class("-detail", "-zoom")
            self._screen.scopes.focus()
        elif self._screen.scopes.model.filter.active:
            self.filter_clear()
        elif self._screen.has_class("-log"):
            self.log()

    def pane_next(self) -> None:
        if self._screen.pane == "tree" and not self._screen.dashboard.store.view.empty:
            self._show_detail()
        else:
            self._screen.remove_class("-detail", "-zoom")
            self._screen.scopes.focus()

    pane_previous = pane_next

    def tab_next(self) -> None:
        self._step_tab(1)

    def tab_previous(self) -> None:
        self._step_tab(-1)

    def _step_tab(self, step: int) -> None:
        if self._screen.narrow and self._screen.pane == "tree":
            self._show_detail()
        else:
            self._screen.detail.step_tab(step)

    def zoom(self) -> None:
        self._screen.toggle_class("-zoom")
        if self._screen.has_class("-zoom"):
            self._screen.detail.lines.focus()

    def filter(self) -> None:
        box = self._screen.filter_input
        self._screen.remove_class("-detail", "-zoom")
        self._screen.add_class("-filtering")
        box.value = self._screen.scopes.model.filter.text
        box.focus()

    def close_filter(self, *, keep: bool) -> None:
        self._screen.remove_class("-filtering")
        self._screen.scopes.focus()
        if not keep:
            self.filter_clear()

    def filter_clear(self) -> None:
        self._screen.filter_input.value = ""
        self._screen.scopes.set_filter(parse(""))
        self._screen.draw()

    def mark(self) -> None:
        self._screen.scopes.mark()

    def mark_clear(self) -> None:
        self._screen.scopes.clear_marks()

    def fold_all(self) -> None:
        self._screen.scopes.fold_all(False)

    def unfold_all(self) -> None:
        self._screen.scopes.fold_all(True)

    def copy_path(self) -> None:
        model = self._screen.scopes.model
        chosen = [row.identity for row in model.rows if row.identity in model.marks] or [model.cursor]
        self.copy("\n".join(one.partition("\x00")[0] for one in chosen), "path" if len(chosen) == 1 else "paths")

    def copy_cli(self) -> None:
        self.copy(view_line(self._screen.situation()), "command line")

    def copy_line(self, id: str) -> None:
        """Of what is done in a terminal: into the clipboard and the command log."""
        line = registry.BY_ID[id].cli
        if line is not None:
            text = line(self._screen.situation())
            self._screen.record("copied", text)
            self._screen.app.copy_to_clipboard(text)
            self._screen.dashboard.say(text, title="Copied, to be pasted into a terminal")

    def copy_id(self) -> None:
        node = self._screen.scene().node(self._screen.scopes.model.cursor)
        if isinstance(node, ResourceNode):
            self.copy(node.state.physical_name, "name")

    def copy_json(self) -> None:
        self._screen.copy_json(self._screen.scopes.model.cursor)

    def copy(self, text: str, what: str) -> None:
        self._screen.app.copy_to_clipboard(text)
        self._screen.dashboard.say(text.partition("\n")[0][:120], title=f"Copied the {what}")

    def unlock(self) -> None:
        self._screen.unlock(self._screen.situation())

    def hold(self) -> None:
        situation = self._screen.situation()
        dashboard = self._screen.dashboard
        seen = self._screen.scene().locks.get(situation.owner)
        dashboard.propose(proposals.hold(situation, dashboard.deeds, situation.owner, seen))

    def restore(self) -> None:
        from alchemy_tui.screens.restore.screen import Restore

        situation = self._screen.situation()
        scope = situation.subject if situation.is_scope else situation.subject.rpartition("/")[0]
        self._screen.record("backups", command_line(situation, "scope", "backups", situation.owner))
        _ = self._screen.app.push_screen(Restore(scope))

    def jump(self) -> None:
        from alchemy_tui.screens.palette import Choice, Palette

        view = self._screen.scene().view
        choices = [Choice(path, path, str(node.kind)) for path, node in view.scopes.items()]
        choices += [
            Choice(key, node.state.address, node.state.kind.rpartition(":")[2]) for key, node in view.resources.items()
        ]
        _ = self._screen.app.push_screen(Palette("Find a scope or resource", choices), self._jumped)

    def _jumped(self, identity: str | None) -> None:
        if not identity:
            return
        view = self._screen.scene().view
        if identity not in view.scopes and identity not in view.resources:
            self._screen.dashboard.say(f"{identity} is gone", severity="warning")
            return
        if not self._screen.scopes.go_to(identity):  # hidden by the filter, which then is no help
            self.filter_clear()
            self._screen.scopes.go_to(identity)
        self._screen.draw()

    def palette(self) -> None:
        from alchemy_tui.screens.palette import Choice, Palette

        situation = self._screen.situation()
        choices = [
            Choice(
                action.id,
                action.title,
                "  ".join(registry.key_name(key, situation.session.glyphs) for key in action.keys[:1]),
                action.help,
                registry.why_not(action, situation),
            )
            for action in sorted(registry.ACTIONS, key=lambda action: action.group == GROUP)
            if action.palette
        ]
        _ = self._screen.app.push_screen(Palette("Command", choices), self._commanded)

    def _commanded(self, id: str | None) -> None:
        if id:
            self._screen.perform(id)

    def help(self) -> None:
        from alchemy_tui.screens.help import Help

        _ = self._screen.app.push_screen(Help(self._screen.situation()))

    def log(self) -> None:
        self._screen.toggle_class("-log")
        (self._screen.log_pane if self._screen.has_class("-log") else self._screen.scopes).focus()

    def rescan(self) -> None:
        self._screen.dashboard.watcher.look_now(full=True)
        self._screen.record("rescan", command_line(self._screen.situation(), "scope", "list"))

    def theme(self) -> None:
        from alchemy_tui.theme import OURS

        names = [theme.name for theme in OURS]
        at = names.index(self._screen.app.theme) if self._screen.app.theme in names else -1
        self._screen.app.theme = names[(at + 1) % len(names)]

    def screenshot(self) -> None:
        saved = self._screen.app.save_screenshot(path=str(Path.cwd()))
        self._screen.dashboard.say(saved, title="Picture saved")

    def quit(self) -> None:
        self._screen.dashboard.leave()

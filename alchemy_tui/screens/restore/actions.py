"""What the keys of the restore screen do. Names are the registry's ids, with an underscore for the dot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alchemy.errors import AlchemyError
from alchemy.operations.shapes import BackupInfo, Comparison
from alchemy_tui import proposals
from alchemy_tui.proposal import Proposal, Said

if TYPE_CHECKING:
    from alchemy_tui.screens.restore.screen import Restore


class RestoreActions:
    """Whether an action may be done was asked before; here it is done."""

    def __init__(self, screen: Restore) -> None:
        self._screen = screen

    def back(self) -> None:
        screen = self._screen
        if screen.has_class("-compare") or not screen.timeline.has_focus:
            screen.remove_class("-compare")
            screen.timeline.focus()
        else:
            _ = screen.dashboard.pop_screen()

    def pane_next(self) -> None:
        if self._screen.timeline.has_focus:
            self.backup_compare()
        else:
            self._screen.remove_class("-compare")
            self._screen.timeline.focus()

    pane_previous = pane_next

    def backup_compare(self) -> None:
        self._screen.set_class(self._screen.narrow, "-compare")
        self._screen.query_one("#compare").focus()
        self._screen.call_after_refresh(self._screen.draw)  # its width is known only then

    def backup_verify(self) -> None:
        self._screen.loaded = False
        self._screen.read(verify=True)

    def backup_pin(self) -> None:
        backup = self._screen.chosen
        if backup:
            self._propose(proposals.pin(self._screen.situation(), self._screen.dashboard.deeds, backup))

    def backup_take(self) -> None:
        self._propose(proposals.back_up(self._screen.situation(), self._screen.dashboard.deeds, self._screen.owner))

    def backup_restore(self) -> None:
        screen = self._screen
        backup, found = screen.chosen, screen.comparison_of(screen.chosen)
        if backup is None or not isinstance(found, Comparison):
            said = found.message if isinstance(found, AlchemyError) else "the comparison is not there yet"
            screen.dashboard.say(said, title="Not restored", severity="warning")
        elif found.same:
            screen.dashboard.say(f"{screen.scope} is as in this backup already")
        else:
            self._restore(found, backup, undoing=False)

    def backup_undo(self) -> None:
        _ = self._screen.app.run_worker(self._undo(), group="undo", exclusive=True, exit_on_error=False)

    async def _undo(self) -> None:
        screen, deeds = self._screen, self._screen.dashboard.deeds
        try:
            file = await screen.dashboard.read(lambda: deeds.undoes(screen.scope))
            found = await screen.dashboard.read(lambda: deeds.compare(screen.scope, file))
        except (AlchemyError, OSError) as error:
            said = f"{error}. {getattr(error, 'hint', '')}"
            screen.dashboard.say(said, title="Nothing to undo", severity="warning")
            return
        unknown = BackupInfo(screen.owner, file, "", "", 0, 0, 0)
        self._restore(found, next((one for one in screen.found if one.file == file), unknown), undoing=True)

    def _restore(self, found: Comparison, backup: BackupInfo, *, undoing: bool) -> None:
        screen = self._screen
        given = (screen.situation(), screen.dashboard.deeds, found, backup)
        self._propose(proposals.restore(*given, protected=screen.protected, undoing=undoing))

    def _propose(self, proposal: Proposal) -> None:
        def ended(said: Said | None) -> None:
            if said is not None:
                self.rescan()

        self._screen.dashboard.propose(proposal, ended)

    def rescan(self) -> None:
        self._screen.compared.clear()
        self._screen.read()
        self._screen.dashboard.watcher.look_now(full=True)

    def help(self) -> None:
        from alchemy_tui.screens.help import Help

        _ = self._screen.app.push_screen(Help(self._screen.situation()))

    def quit(self) -> None:
        self._screen.dashboard.leave()

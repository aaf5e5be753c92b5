"""Locks in a bucket from outside: who has them, and whether he lives, as far as we watched. Changes nothing.

One look cannot tell a live holder on another machine from a dead one: then it is UNKNOWN, with the evidence. Whoever
looks again and again with the same store learns it. Neighbours: `locking` watches, `store` holds one of these.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from alchemy.errors import AlchemyError, InvalidName
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.values import Holder
from alchemy.store.activity import Activity
from alchemy.store.clock import Clock
from alchemy.store.holders import age
from alchemy.store.identity import host, user
from alchemy.store.objects.claims import Claim, decode_claim, is_free
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.locking import Watch, Watcher
from alchemy.store.objects.locks import birthplace, death_of, holder_of, seen_alive
from alchemy.store.objects.port import Found, Objects
from alchemy.store.objects.requests import perform

FRESH = 1.0  # seconds for which one listing of all locks answers for each of them
_ORDER = (Verdict.LIVE, Verdict.HELD, Verdict.UNKNOWN, Verdict.STALE, Verdict.FREE)


@dataclass(slots=True)
class Verdicts:
    """Remembers what it saw. `session` is this program's own: its locks are live.

    `opener` reads in the journal of a path who opened it, when that was a session and its run goes on.
    """

    objects: Objects
    keys: Keys
    clock: Clock
    limits: Limits
    session: str
    opener: Callable[[str, str], Holder | None]
    _watcher: Watcher = field(init=False)
    _opened: dict[str, Holder] = field(default_factory=dict)  # claim -> what its journal says
    _busy: dict[str, str] = field(default_factory=dict)  # path -> key
    _listed: float | None = None

    def __post_init__(self) -> None:
        self._watcher = Watcher(self.keys, self.limits, seen_alive)

    def changed(self) -> None:
        """We took or freed one: the next look lists anew."""
        self._listed = None

    def busy(self) -> dict[str, str]:
        """Every lock somebody has or waits for: {path: key}."""
        if self._listed is None or not 0 <= self.clock.elapsed() - self._listed < FRESH:
            self.activity()
        return self._busy

    def activity(self) -> Activity:
        """Listed now."""
        now = self.clock.elapsed()
        listed = {self.keys.locked(item.key): item for item in self.objects.list(self.keys.locks)}
        listed.pop("", None)
        self._busy = {path: item.key for path, item in listed.items() if not is_free(item)}
        self._listed = now
        return Activity({path: item.etag if is_free(item) else "" for path, item in listed.items()})

    def view(self, path: str) -> LockView:
        """The verdict on one path."""
        try:
            if path not in self.busy():
                return LockView(path, Verdict.FREE, None)
            asked = self.clock.elapsed()
            found = self.objects.get(self.keys.lock(path))
            if found is None or is_free(found):
                return LockView(path, Verdict.FREE, None)
            return self._judge(ScopePath.parse(path), found, asked)
        except AlchemyError as error:
            return LockView(path, Verdict.UNKNOWN, None, (error.message,))

    def views(self) -> list[LockView]:
        """Live ones first, then by path."""
        views = []
        for path in self.busy():
            with suppress(InvalidName):  # nobody can take that
                views.append(self.view(str(ScopePath.parse(path))))
        views = [view for view in views if view.verdict is not Verdict.FREE]
        return sorted(views, key=lambda view: (_ORDER.index(view.verdict), view.path))

    def _judge(self, path: ScopePath, found: Found, asked: float) -> LockView:
        claim = decode_claim(str(path), found.body)
        dead = perform(self.objects, self.clock, self._watcher.is_dead(path, found, asked))
        verdict, evidence = self._evidence(claim, dead, self._watcher.watches.get(path))
        holder = holder_of(claim)
        if holder is None:
            return LockView(str(path), verdict, None, (*evidence, "it left no record that can be read"))
        holder = self._in_journal(claim, holder)
        you = (holder.user, holder.host) == (user(), host())
        return LockView(str(path), verdict, holder, evidence, age(holder, self.clock), you)

    def _in_journal(self, claim: Claim, shown: Holder) -> Holder:
        """A run shows its number beside its lock with its first heartbeat; its journal has it before."""
        if shown.epoch:
            return shown
        if claim.id not in self._opened:
            path = ScopePath.parse(claim.path)
            for each in (path, *reversed(path.ancestors)):  # a nested path is in the journal of one above it
                found = self.opener(str(each), claim.session)
                if found is not None:
                    self._opened[claim.id] = replace(found, path=claim.path)
                    break
        return self._opened.get(claim.id, shown)

    def _evidence(self, claim: Claim, dead: bool, watch: Watch | None) -> tuple[Verdict, tuple[str, ...]]:
        beat = f"its heartbeat is number {claim.beat}" if claim.beat else "it has not shown a heartbeat yet"
        if dead:
            gone = death_of(claim)
            quiet = f"nothing of it moved for {self.limits.lease:.0f} s while I watched"
            return Verdict.STALE, (gone or quiet, beat)
        holder = holder_of(claim)
        if self.session and claim.session == self.session:
            return Verdict.LIVE, ("it is this run", beat)
        if claim.place and claim.place == birthplace() and holder:
            return Verdict.LIVE, (f"pid {holder.pid} runs", beat)
        now = self.clock.elapsed()
        if watch and watch.moved is not None and now - watch.moved < self.limits.lease:
            return Verdict.LIVE, (f"it moved {now - watch.moved:.0f} s ago, while I watched", beat)
        watched = now - watch.since if watch else 0.0
        return Verdict.UNKNOWN, (
            f"taken on another host: watched for {watched:.0f} s, it is dead when nothing moves for "
            f"{self.limits.lease:.0f} s",
            beat,
        )

"""One program run in one process, and within it one Run for each journal it has open.

A Session owns what all scopes share: the state directory, the calls, the cloud, the listeners. A Run counts what
happens in one journal and tells it to whoever listens. Neighbours: `scope` opens and closes them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alchemy.engine.agreement import Terms
from alchemy.engine.calls import Calls, describe
from alchemy.engine.context import Connection, Context
from alchemy.engine.members import Members
from alchemy.engine.outputs import OutputIndex
from alchemy.engine.secrets import Secrets, secretly
from alchemy.errors import AlchemyError, Failure, Fenced, Refused, RunFailed, hints_of
from alchemy.model.changes import Change
from alchemy.model.deletions import DeletionPlan
from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    Entry,
    Event,
    LockLost,
    Noted,
    RunEnded,
)
from alchemy.model.paths import ScopePath
from alchemy.model.values import ResourceState, Target
from alchemy.settings import Options
from alchemy.store.afar import in_thread
from alchemy.store.ledger import Ledger
from alchemy.store.store import Lease, Store

if TYPE_CHECKING:
    from alchemy.engine.deploy import Deployment

Listener = Callable[[Entry], None]
Connect = Callable[[Store, Options], Connection]

_sessions: list[Session] = []  # those with something open, in this process
recorded_runs: ContextVar[list[Run] | None] = ContextVar("recorded_runs", default=None)  # for whoever runs a program


class Session:
    """`phase`: up, plan, read or destroy."""

    def __init__(
        self, store: Store, phase: str, options: Options, connect: Connect, listener: Listener | None, target: str
    ) -> None:
        self.store = store
        self.id = store.session
        self.root = store.root  # on this machine
        self.phase = phase
        self.options = options
        self.target = target  # in words, for the run's first line
        self.calls = Calls(options.max_concurrency, self.note)
        self.secrets = Secrets(store, phase)
        self.index = OutputIndex()
        self.runs: dict[ScopePath, Run] = {}
        self.listeners: list[Listener] = [listener] if listener else []
        self.terms = Terms()
        self.closing = 0  # scopes that are ending: a signal lets them end by themselves
        self.leases: list[Lease] = []  # locks without a journal: an application whose stages are destroyed
        self._connect = connect
        self._connection: Connection | None = None
        self._loop = asyncio.get_running_loop()
        store.troubled = self._troubled

    def _troubled(self, text: str) -> None:
        """The store does not answer. Called from any thread, while runs wait for it."""
        entry = Entry("", 0, self.store.clock.now(), Noted(self.store.place, text, "warning"))
        with suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self._loop.call_soon_threadsafe(self.tell, entry)

    def connection(self) -> Connection:
        """The cloud, connected on first use."""
        if self._connection is None:
            self._connection = self._connect(self.store, self.options)
        return self._connection

    def tell(self, entry: Entry) -> list[Exception]:
        """To the listeners. Whoever raises is told no more: a closed terminal ends the telling, not the deploy."""
        errors: list[Exception] = []
        for listener in list(self.listeners):
            try:
                listener(entry)
            except Exception as error:
                self.listeners.remove(listener)
                errors.append(error)
        return errors

    def note(self, text: str) -> None:
        for run in list(self.runs.values()):
            run.emit(Noted(str(run.ledger.path), text), durable=run.ledger.writable)

    def same_cloud(self, options: Options) -> bool:
        """`options` name the account that this session talks to."""
        names = ("api_token", "account_id", "api_base_url")
        return all(getattr(self.options, name) == getattr(options, name) for name in names)

    @property
    def held(self) -> list[ScopePath]:
        """Every path this session holds: it may open what lies below them. Other sessions of the process may not."""
        runs = [path for path, run in self.runs.items() if run.ledger.writable]
        return runs + [lease.path for lease in self.leases]

    def begin(self, run: Run) -> None:
        if self not in _sessions:
            _sessions.append(self)
        self.runs[run.ledger.path] = run
        recording = recorded_runs.get()
        if recording is not None:
            recording.append(run)

    async def end(self, path: ScopePath) -> None:
        """After the last one the connection closes."""
        self.forget(path)
        if not self.runs and self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.client.aclose()

    def forget(self, path: ScopePath) -> None:
        self.runs.pop(path, None)
        if not self.runs and self in _sessions:
            _sessions.remove(self)


def held_in_process(store: Store) -> list[ScopePath]:
    """By whichever session: opening one of these, or one above it, could only wait for itself."""
    return [path for session in _sessions if session.store.place == store.place for path in session.held]


def open_sessions() -> list[Session]:
    return list(_sessions)


class Run:
    """What one journal's run has done so far."""

    def __init__(self, session: Session, ledger: Ledger) -> None:
        self.session = session
        self.ledger = ledger
        self.counts: Counter[str] = Counter()
        self.failures: list[Failure] = []
        self.deployments: list[Deployment] = []
        self.planned: list[Change] = []
        self.deletions: list[DeletionPlan] = []
        self.members: dict[str, Members] = {}  # by scope path
        self.broken: list[str] = []  # paths of blocks that raised: what they would have declared is not known
        self.names: dict[tuple[str, str], str] = {}  # (kind, explicit name) -> the address that has it in this run
        self._lost = False  # and the listeners know
        self.restated: dict[str, Any] | None = None  # for the release of a run that declares nothing
        self.delete_timeout: float | None = None  # for each delete, in place of the row's own: `finalize(timeout=…)`

    def emit(self, event: Event, *, durable: bool = False) -> None:
        """To the listeners; `durable` to the run's log as well. No secret value gets past here."""
        event = event.scrubbed()
        if durable:
            self.ledger.emit(event)
        if not self.session.listeners:
            return
        for error in self.session.tell(Entry(self.ledger.run, 0, self.session.store.clock.now(), event)):
            self.ledger.emit(Noted(str(self.ledger.path), f"no longer told: {describe(error)}", "warning"))

    def plan(self, change: Change) -> None:
        self.planned.append(change)
        self.emit(ChangePlanned(change.address, change.kind, str(change.action), change.reason))

    def ended(
        self, address: str, kind: str, action: str, outcome: str, *, took: float = 0.0, error: str = "", hint: str = ""
    ) -> None:
        """Counts and tells. `outcome`: done, failed, skipped, blocked; `hint`: what the error says to do next."""
        self.counts[action if outcome == "done" else outcome] += 1
        if outcome in ("failed", "blocked"):
            self.failures.append(Failure(address, error, hint))
        logged = outcome in ("skipped", "blocked")  # done and failed are in the journal as the row's result
        self.emit(ChangeEnded(address, kind, action, outcome, round(took, 4), error), durable=logged)

    def retry(self, address: str, of: int) -> Callable[[int, float, str], None]:
        def announce(attempt: int, delay: float, error: str) -> None:
            self.emit(ChangeRetried(address, attempt, of, round(delay, 2), error), durable=True)

        return announce

    def lost(self, error: BaseException) -> None:
        """Once: somebody took over. Nothing more is started; what is in flight ends, and its answers are spilled."""
        if isinstance(error, Fenced) and not self._lost:
            self._lost = True
            self.emit(LockLost(str(self.ledger.path), error.message.partition(" any more: ")[2] or error.message))

    def before_change(self) -> None:
        """Once a run, before its first intent: a copy of what was."""
        file = self.ledger.backup(f"before {self.ledger.run}")
        if file:
            self.emit(BackupTaken(str(self.ledger.path), file, f"before {self.ledger.run}"), durable=True)

    def stamped(self, row: ResourceState) -> ResourceState:
        """As written by this run, now."""
        now = self.ledger.store.clock.now()
        return replace(row, run=self.ledger.run, updated_at=now, created_at=row.created_at or now)

    def context(self, row: ResourceState) -> Context:
        return Context(
            row.physical_name,
            row.token,
            row.scope,
            row.address,
            self.session.connection,
            lambda e: self.emit(e, durable=isinstance(e, Noted)),
            row.adopted,
        )

    def claim_target(self) -> Target:
        """The cloud this stage is deployed to; stored with the stage on first use."""
        target = self.session.connection().target
        stored = self.ledger.fold.target
        if stored is not None and stored.account != target.account:
            raise different_target(str(self.ledger.path), stored, str(target))
        return target

    def declared(self, *, done: bool) -> dict[str, Any]:
        """For the release of a program that came to its end: what is stored and was not declared by it."""
        fold = self.ledger.fold
        alive = {f"{path}/{id}" for path, m in self.members.items() for id in (*m.declared, *m.registered)}
        if self.broken or self.session.phase not in ("up", "destroy"):
            return {"complete": False}
        if done:
            orphans = sorted(row.address for row in list(fold.resources.values()) if row.address not in alive)
            return {"complete": True, "orphans": orphans, "next_seq": fold.next_seq}
        left = {"leftovers": fold.undeclared(alive), "undeclared": fold.undeclared(alive, since=0)}
        return {"complete": False, **(left if self.session.phase == "up" else {})}

    def restate(self) -> None:
        """Before a row is written for a person: the release says again what was left behind, that row too."""
        self.restated = self.restated or self.ledger.fold.left_behind()

    async def close(self, outcome: str, declared: Any = None) -> None:
        """Release, lock, last event. The first error of writing wins over everything."""
        ledger = self.ledger
        took = ledger.store.clock.elapsed() - ledger.started
        failures, hints = [[each.address, each.why] for each in self.failures], list(hints_of(self.failures))
        given: dict[str, Any] = {"outcome": outcome, "counts": dict(self.counts), "failures": failures, "hints": hints}
        try:
            if ledger.store.remote:  # a bucket is far away: other scopes of the program go on meanwhile
                await in_thread(lambda: ledger.close(**given, declared=declared))
            else:
                ledger.close(**given, declared=declared)
        except Fenced as error:
            self.lost(error)
            raise
        finally:
            if ledger.warning:
                self.emit(Noted(str(ledger.path), ledger.warning, "warning"))
            await self.session.end(ledger.path)
            total = len(ledger.fold.resources)
            self.emit(RunEnded(str(ledger.path), took=round(took, 3), total=total, **given))


def run_failed(run: Run, phase: str, below: list[RunFailed]) -> RunFailed:
    """What leaving raises: every failure of this run and of those below it, once."""
    failures = dict.fromkeys([*run.failures, *(each for error in below for each in error.each)])
    noun = "resource" if len(failures) == 1 else "resources"
    word = {"up": "deploy", "destroy": "destroy"}.get(phase, phase)
    kept = "" if phase in ("plan", "read") else "; their rows are kept"
    if word == "deploy" and not run.deletions:
        kept = "; nothing was collected"
    done = "" if phase == "plan" else ": what is done stays done"
    return RunFailed(
        f"{word} of {run.ledger.path} failed: {len(failures)} {noun}{kept}",
        failures,
        hint=f"mend the cause and run the same command again{done}",
    )


def different_target(path: str, stored: Target, now: str) -> AlchemyError:
    local, elsewhere = stored.name == "local cloud", "local cloud" not in now
    verb = "unset" if local else "set the credentials of that account:"
    first = f"{verb} CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID, or " if elsewhere or not local else ""
    return Refused(f"{path} was deployed to {stored}, and this run would go to {now}", hint=f"{first}use another stage")


async def call(run: Run, verb: Callable[[Context], Awaitable[Any]], row: ResourceState) -> Any:
    """One verb of a kind under a permit and the row's timeout; none once the journal is closed to this run."""

    async def made() -> Any:
        if run.session.phase != "plan":
            await run.ledger.confirm()
        return await secretly(run, row, lambda: verb(run.context(row)))

    return await run.session.calls.make(made, row.timeout)

"""StateManager: reading and writing stored scopes from a script, with the same locks, records and backups as a run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

from alchemy.errors import Fenced, LockHeld, UsageError
from alchemy.model.canonical import normalise
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.model.schema import check_scope
from alchemy.model.values import ResourceState, ScopeKind, ScopeState
from alchemy.operations.workspace import Workspace
from alchemy.settings import find_project
from alchemy.store.afar import in_thread
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.place import find_store
from alchemy.store.store import Lease


class StateManager:
    """`state_dir` as for `alchemy(...)`. Use one in one event loop; readers need none."""

    def __init__(self, state_dir: str | Path | None = None) -> None:
        self.store = find_store(find_project(), state_dir)
        self._leases: dict[ScopePath, Lease] = {}
        self._saving: dict[ScopePath, asyncio.Lock] = {}  # two saves of one process wait for each other

    @classmethod
    def from_env(cls) -> StateManager:
        """With ALCHEMY_STATE_DIR, the R2_* variables and the project file."""
        return cls()

    @overload
    async def get_resources(self, path: str, *, full: Literal[False] = False) -> list[str]: ...

    @overload
    async def get_resources(self, path: str, *, full: Literal[True]) -> list[ResourceState]: ...

    async def get_resources(self, path: str, *, full: bool = False) -> list[str] | list[ResourceState]:
        """Ids stored in the path and its nested scopes, oldest first; with `full`, the rows."""
        wanted = str(ScopePath.parse(path))
        view = Workspace(self.store).refresh()
        rows = [
            node.state
            for address, node in view.resources.items()
            if address.startswith(wanted + "/")
            and (wanted == node.owner or node.owner in (wanted, _owner(view, wanted)))
        ]
        rows.sort(key=lambda row: row.seq)
        return rows if full else [row.id for row in rows]

    async def get_state(self, path: str) -> ScopeState | None:
        """The scope as stored; None when there is none."""
        node = Workspace(self.store).refresh().scopes.get(str(ScopePath.parse(path)))
        return node.row if node else None

    async def save_state(self, path: str, state: ScopeState) -> None:
        """Appends one record that sets the scope's row, backs up as a run does. Takes the lock unless it is held."""
        scope = ScopePath.parse(path)
        if state.path != str(scope):
            raise UsageError(f"the state is of {state.path}, not of {scope}", hint="set ScopeState.path to the path")
        try:
            check_scope(normalise(state.to_json(), path))
        except ValueError as error:
            hint = "give its fields, and those in `extra`, plain values"
            raise UsageError(f"{path} cannot be saved: {error}", hint=hint) from error
        owner, kind = self._owner_of(scope, state)
        async with self._saving.setdefault(owner, asyncio.Lock()):
            await self._save(scope, owner, kind, state)

    async def _save(self, scope: ScopePath, owner: ScopePath, kind: ScopeKind, state: ScopeState) -> None:
        held = [lease for lease in self._leases.values() if owner in lease.exclusive]
        mine = bool(held)
        if not all(lease.mine for lease in held):
            raise Fenced(
                f"the lock of {scope} was opened by force while this manager held it: nothing was saved",
                hint="`alchemy scope locks` shows who has it now; take it again, and look at the state before saving",
            )
        ledger = await Ledger.open(
            self.store,
            owner,
            kind,
            purpose="save",
            timeout=30.0,
            held=list(self._leases),
            locking=not mine,
            lock_path=scope if scope != owner else None,
        )
        try:
            ledger.backup("before save_state")
            now = self.store.clock.now()
            stored = ledger.fold.scopes.get(str(scope))
            created = stored.created_at if stored else state.created_at or now
            await ledger.intend([Put(replace(state, created_at=created, updated_at=now))])
        except BaseException:
            ledger.close(outcome="failed", counts={}, failures=[])
            raise
        ledger.close(outcome="done", counts={}, failures=[])

    def _owner_of(self, scope: ScopePath, state: ScopeState) -> tuple[ScopePath, ScopeKind]:
        if state.kind is not ScopeKind.NESTED:
            return scope, state.kind
        workspace = Workspace(self.store)
        view = workspace.refresh()
        owner = ScopePath.parse(workspace.owner_of(str(scope)))
        return owner, view.scopes[str(owner)].kind

    async def acquire_lock(self, path: str, timeout: float | None = None) -> bool:
        """False at the timeout (seconds), and at once when this process has it already; never raises for a lock."""
        scope = ScopePath.parse(path)
        clock = self.store.clock
        deadline = clock.elapsed() + (self.store.lock_timeout if timeout is None else timeout)
        while True:
            try:
                await self._acquire(scope, max(0.0, deadline - clock.elapsed()))
            except LockHeld:
                return False
            except UsageError:  # this process holds it: nothing in the kernel to wait at
                if scope in self._leases or clock.elapsed() >= deadline:
                    return False
                await asyncio.sleep(0.05)
                continue
            return True

    async def release_lock(self, path: str) -> None:
        """UsageError when this manager does not hold it; Fenced when somebody took it meanwhile."""
        lease = self._leases.pop(ScopePath.parse(path), None)
        if lease is None:
            raise UsageError(f"{path} is not locked by this manager", hint="acquire_lock returned False, or never ran")
        await self._give_back(lease)

    @asynccontextmanager
    async def lock(self, path: str, timeout: float | None = None) -> AsyncIterator[None]:
        """Holds the scope. LockHeld names the holder at the timeout (seconds); Fenced: it was not held to the end."""
        scope = ScopePath.parse(path)
        await self._acquire(scope, timeout)
        try:
            yield
        except BaseException:
            with suppress(Fenced):  # what went wrong inside is what is told
                await self._give_back(self._leases.pop(scope))
            raise
        await self._give_back(self._leases.pop(scope))

    async def _give_back(self, lease: Lease) -> None:
        """In a bucket it may be found only then that it was taken."""
        kept = lease.mine
        if self.store.remote:
            await in_thread(lease.release)
        else:
            lease.release()
        if not (kept and lease.mine):
            raise Fenced(
                f"{lease.path} was not locked to the end: the lock was opened by force, or not heard of for too long",
                hint="`alchemy scope locks` shows who has it now; look at what was done before you do it again",
            )

    async def _acquire(self, path: ScopePath, timeout: float | None) -> None:
        self.store.prepare()
        workspace = Workspace(self.store)
        node = workspace.refresh().scopes.get(str(path))
        owner = ScopePath.parse(node.owner) if node and node.kind is ScopeKind.NESTED else None
        lease = await self.store.acquire(path, owner=owner, timeout=timeout, held=list(self._leases))
        lease.publish(make_holder(self.store, path, 0, "lock"))
        self._leases[path] = lease


def _owner(view: Any, path: str) -> str:
    node = view.scopes.get(path)
    return node.owner if node else path

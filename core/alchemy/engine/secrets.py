"""The secrets of a session: each application's ring of keys, opened once and in a thread, and rows under it.

Values are sealed where a prop or an output becomes a row, and opened where a row becomes an instance; in between a row
only ever holds ciphertext. Neighbours: `props` walks values, `store.keyfiles` has the rings.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from alchemy.engine import kinds
from alchemy.engine.props import Sealing, holds_secret, revive, seal_outputs
from alchemy.engine.resource import Resource
from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model.canonical import Json
from alchemy.model.fold import Fold
from alchemy.model.masking import has_sealed
from alchemy.model.paths import ScopePath
from alchemy.model.scrubbing import remember
from alchemy.model.secrets import LockedSecret, opened
from alchemy.model.values import ResourceState
from alchemy.store.afar import in_thread
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.engine.session import Run
    from alchemy.store.keyring import KeyRing
    from alchemy.store.sealing import Where

VARIABLE = "ALCHEMY_PASSWORD"
K = TypeVar("K", bound=Resource)


class Secrets:
    """Rings by application. A ring is opened when the first secret is met, or made for it."""

    def __init__(self, store: Store, phase: str) -> None:
        self.phase = phase
        self._store = store
        self._given: dict[str, str] = {}
        self._rings: dict[str, KeyRing] = {}
        self._errors: dict[str, AlchemyError] = {}
        self._turns: dict[str, asyncio.Lock] = {}

    def give(self, application: str, password: str | None) -> None:
        """What `alchemy(…, password=)` says; without it the environment counts."""
        if password is None:
            return
        if not password:
            raise UsageError("password is empty", hint=f"give one, or leave it out and set {VARIABLE}")
        if self._given.setdefault(application, password) != password:
            raise UsageError(f"{application} is opened with two passwords", hint="give the same one, or none")

    def password(self, application: str) -> str | None:
        return self._given.get(application) or os.environ.get(VARIABLE) or None

    def ring(self, application: str) -> KeyRing | None:
        """When it is open."""
        return self._rings.get(application)

    def keyless(self, application: str) -> bool:
        """A deploy that has met no secret yet."""
        return self.phase == "up" and application not in self._rings

    async def admit(self, path: ScopePath, fold: Fold) -> None:
        """Before anything is changed or called: a password that does not fit is an error now, not half way.

        Whoever reads or destroys may do without: values that cannot be opened are locked, until something needs them.
        """
        app, up = path.app, self.phase == "up"
        if app in self._rings:
            return
        sealed = any(has_sealed(row.props) or has_sealed(row.outputs) for row in fold.resources.values())
        if not (up or sealed):
            return
        if self.password(app) is None:
            if up and sealed:
                raise self.missing(app, f"{path} holds secrets")
            return
        from alchemy.store.keyring import WrongPassword

        try:
            await self.open(app)
        except WrongPassword as error:
            self._errors[app] = error
            if self.phase != "read":
                raise self._wrong(error) from None
        except StateInvalid as error:
            self._errors[app] = error
            if up:
                raise

    def _wrong(self, error: AlchemyError) -> AlchemyError:
        if self.phase != "destroy":
            return error
        hint = f"{error.hint}; without any password, only what needs no secret can be deleted"
        return type(error)(error.message, hint=hint)

    async def open(self, application: str, *, create: bool = False) -> KeyRing | None:
        """The ring; None when there is none. MissingPassword, WrongPassword, StateInvalid."""
        async with self._turns.setdefault(application, asyncio.Lock()):
            ring = self._rings.get(application)
            if ring is None:
                password = self.password(application)
                if password is None:
                    raise self.missing(application)
                ring = await in_thread(lambda: self._found(application, password, create))
            if ring is not None:
                self._rings[application] = ring
            return ring

    def _found(self, application: str, password: str, create: bool) -> KeyRing | None:
        from alchemy.store.keyfiles import open_or_create_ring, open_ring

        remember(password)
        return (open_or_create_ring if create else open_ring)(self._store, application, password)

    def missing(self, application: str, why: str = "") -> AlchemyError:
        from alchemy.store.keyring import MissingPassword

        why = why or f"the secrets of {application} are sealed with a password"
        hint = f"set {VARIABLE}, or give alchemy(…, password=…)"
        return MissingPassword(f"{why}, and no password is given", hint=hint)

    def admit_declared(self, path: ScopePath, resource: Resource) -> None:
        """A deploy that comes to a secret it cannot seal ends where it is declared: before anything more is begun."""
        if self.phase == "up" and self.password(path.app) is None and holds_secret(vars(resource)):
            raise self.missing(path.app, f"{path}/{resource.id} has secrets")

    def why_locked(self, application: str) -> AlchemyError:
        """Why its sealed values cannot be opened, as far as the ring goes."""
        if application in self._errors:
            return self._errors[application]
        if self.password(application) is None:
            return self.missing(application)
        return StateInvalid(
            f"{application} has sealed values and no keys.json",
            hint="copy keys.json back; or set the secrets again in the program and deploy",
        )


def puts_out_secrets(cls: type[Resource]) -> bool:
    return any(declared.secret and declared.is_output for declared in cls._fields.values())


class RowSealing(Sealing):
    """Sealing and opening for one row. `uncompared`: without the password nobody can tell whether it changed."""

    def __init__(self, run: Run, address: str, row: ResourceState | None) -> None:
        self.uncompared = False
        self._run = run
        self._address = address
        self._row = {} if row is None else {"props": row.props, "outputs": row.outputs}

    def seal(self, value: Json, pointer: str) -> Json:
        """What is stored already when it is the same value, so that nothing changes; else sealed anew."""
        secrets, fold = self._run.session.secrets, self._run.ledger.fold
        ring, stored = secrets.ring(self._run.ledger.path.app), self.stored(pointer)
        remember(value)
        if ring is None and secrets.phase == "up":
            raise RingNeeded
        if ring is None or not fold.lineage:  # of a plan, which makes no key, or a destroy, which compares nothing
            self.uncompared = self.uncompared or stored is not None
            return stored or {"$secret": "", "$equal": ""}
        where = _where(self._run, self._address, pointer)
        try:
            if stored is not None and ring.same(value, stored, where):
                return stored
        except StateInvalid:  # damaged, or its key is gone: set again
            pass
        return ring.seal(value, where)

    def keep(self, locked: LockedSecret, pointer: str) -> Json:
        stored = self.stored(pointer)
        if self._run.session.phase == "up" and stored != locked.sealed:
            raise locked.error
        self.uncompared = True
        return stored or {"$secret": "", "$equal": ""}

    def stored(self, pointer: str) -> dict[str, Any] | None:
        """The sealed value that stands there in the row of now."""
        found: Any = self._row
        for step in pointer.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list):
                found = found[int(name)] if name.isdecimal() and int(name) < len(found) else None
            else:
                found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) and "$secret" in found else None


class RingNeeded(Exception):
    """A secret is met and the ring is not open yet: open it, and do the same again."""


def _where(run: Run, address: str, pointer: str) -> Where:
    from alchemy.store.sealing import Where

    scope, _, id = address.rpartition("/")
    return Where(run.ledger.fold.lineage, str(run.ledger.path), scope, id, pointer)


def _opener(run: Run, row: ResourceState) -> Any:
    secrets, app = run.session.secrets, run.ledger.path.app

    def open_value(sealed: dict[str, Any], pointer: str) -> Any:
        ring = secrets.ring(app)
        if ring is None:
            return LockedSecret(secrets.why_locked(app), sealed)
        try:
            return opened(ring.open(sealed, _where(run, row.address, pointer)))
        except StateInvalid as error:
            return LockedSecret(error, sealed)

    return open_value


def restored(run: Run, cls: type[K], row: ResourceState, props: dict[str, Any] | None = None) -> K:
    """The instance of a row with its secrets open; locked where they cannot be."""
    return cls.restore(row, props, _opener(run, row))


def live_outputs(run: Run, row: ResourceState) -> dict[str, Any]:
    """The outputs of a row as a program sees them."""
    found = revive(row.outputs, "/outputs", _opener(run, row))
    assert isinstance(found, dict)
    return found


def stored_outputs(run: Run, resource: Resource, row: ResourceState, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Outputs as they stand in the row: secret ones sealed, keys that begin with `$` escaped."""
    return seal_outputs(resource, outputs, RowSealing(run, row.address, row))


async def secretly(run: Run, row: ResourceState, verb: Callable[[], Awaitable[Any]]) -> Any:
    """What a verb answers, which can be stored then: when it holds a secret, there is a key for it."""
    secrets, app = run.session.secrets, run.ledger.path.app
    cls = kinds.find(row.kind) if secrets.keyless(app) else None
    if cls is not None and puts_out_secrets(cls):
        await secrets.open(app, create=True)
    try:
        given = await verb()
    except TypeError as error:
        if LockedSecret.__name__ not in str(error):
            raise
        raise secrets.why_locked(app) from error  # a library was given one, and does not know the type
    if secrets.keyless(app) and holds_secret(given):
        await secrets.open(app, create=True)
    return given

"""What happens in a run, as values: one stream for the terminal, the log on disk and the dashboard.

The emitter gives the payload; an Entry adds run, sequence and time. `records` reads the same stream back from the
journal; `runview` folds it into what the front ends draw.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from alchemy.model import scrubbing


class Event:
    """Base of the payloads. `subject` is the address or scope path it is about."""

    __slots__ = ()
    names: ClassVar[dict[str, type[Event]]] = {}
    subject: str

    def __init_subclass__(cls) -> None:
        Event.names[cls.__name__] = cls

    def to_json(self) -> dict[str, Any]:
        return {"type": type(self).__name__, **asdict(self)}  # type: ignore[call-overload]

    def scrubbed(self) -> Event:
        """Without the values of secrets, wherever an error, a note or a reason quotes one. Subjects are no quotes."""
        if not scrubbing.knows_any():
            return self
        values = {name: _scrubbed(value) for name, value in vars(self).items() if name != "subject"}
        return replace(self, **values)  # type: ignore[type-var]

    @staticmethod
    def from_json(data: dict[str, Any]) -> Event:
        """An event of a newer version, or of none, comes back as Noted with its type as text."""
        values = dict(data)
        name = values.pop("type", "")
        cls = Event.names.get(name) if type(name) is str else None
        if cls and all(_fits(cls.__annotations__.get(field, ""), value) for field, value in values.items()):
            with suppress(TypeError):  # a field is missing
                return cls(**values)
        return Noted(str(data.get("subject", "")), f"({name})")


def _scrubbed(value: Any) -> Any:
    if isinstance(value, str):
        return scrubbing.scrub(value)
    return [_scrubbed(item) for item in value] if isinstance(value, list) else value


def _fits(annotation: object, value: object) -> bool:
    if annotation == "dict[str, int]":
        return type(value) is dict and all(type(item) is int for item in value.values())
    if annotation == "list[list[str]]":
        return type(value) is list and all(
            type(item) is list and len(item) == 2 and all(type(part) is str for part in item) for item in value
        )
    if annotation == "list[str]":
        return type(value) is list and all(type(item) is str for item in value)
    return type(value) in {"str": (str,), "int": (int,), "float": (float, int)}.get(str(annotation), ())


@dataclass(frozen=True)
class RunStarted(Event):
    subject: str
    purpose: str  # deploy, plan, destroy, cleanup, save, restore
    target: str = ""
    who: str = ""  # user@host
    pid: int = 0
    command: str = ""


@dataclass(frozen=True)
class RunEnded(Event):
    subject: str
    outcome: str  # done, failed, interrupted
    counts: dict[str, int] = field(default_factory=dict)  # by action, and "failed", "skipped"
    failures: list[list[str]] = field(default_factory=list)  # [address, message]
    took: float = 0.0  # seconds
    total: int = 0  # resources stored at the end
    hints: list[str] = field(default_factory=list)  # what the failures say to do next, that of the most first


@dataclass(frozen=True)
class ScopeEntered(Event):
    subject: str
    kind: str = "nested"


@dataclass(frozen=True)
class ScopeLeft(Event):
    subject: str


@dataclass(frozen=True)
class ChangePlanned(Event):
    subject: str
    kind: str
    action: str
    reason: str = ""


@dataclass(frozen=True)
class ChangeStarted(Event):
    subject: str
    kind: str
    action: str
    reason: str = ""


@dataclass(frozen=True)
class ChangeRetried(Event):
    subject: str
    attempt: int
    of: int
    delay: float  # seconds until the next try
    error: str


@dataclass(frozen=True)
class ChangeEnded(Event):
    subject: str
    kind: str
    action: str
    outcome: str  # done, failed, skipped, blocked
    took: float = 0.0  # seconds
    error: str = ""


@dataclass(frozen=True)
class LockWaited(Event):
    subject: str
    holder: str  # who holds it, in words
    took: float = 0.0  # seconds, once it is over: then it stands in the run that followed
    most: float = 0.0  # seconds that are waited, if that is known


@dataclass(frozen=True)
class LockTaken(Event):
    subject: str
    epoch: int


@dataclass(frozen=True)
class LockLost(Event):
    subject: str
    reason: str


@dataclass(frozen=True)
class BackupTaken(Event):
    subject: str
    file: str
    reason: str = ""


@dataclass(frozen=True)
class Restored(Event):
    """The rows below the subject are those of a backup again. `before` is the backup that undoes it."""

    subject: str
    file: str
    taken: str = ""
    serial: int = 0  # of the backup
    restored: int = 0  # rows that were set
    forgotten: int = 0  # rows that left the state
    before: str = ""


@dataclass(frozen=True)
class RollbackStarted(Event):
    """A block failed: what it created in this run is deleted again. The subject is the block's scope."""

    subject: str
    because: str  # what failed
    doomed: list[str] = field(default_factory=list)  # addresses


@dataclass(frozen=True)
class RollbackEnded(Event):
    """Without one the run died on the way: what is left are orphans, which the next run or a cleanup takes."""

    subject: str
    undone: list[str] = field(default_factory=list)  # addresses
    left: list[list[str]] = field(default_factory=list)  # [address, why]: their rows are kept
    took: float = 0.0  # seconds


@dataclass(frozen=True)
class Progressed(Event):
    subject: str
    done: float
    total: float


@dataclass(frozen=True)
class Noted(Event):
    subject: str
    text: str
    level: str = "note"  # note, warning, error: that is what ended the run


@dataclass(frozen=True)
class Entry:
    """An event with its place in the stream. `at` is ISO-8601 UTC; `seq` 0 means: not on disk, this process only."""

    run: str
    seq: int
    at: str
    event: Event

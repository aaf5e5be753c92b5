"""The values that travel between the layers: scopes, resources, wishes, holders.

Frozen dataclasses; `to_json`/`from_json` are their stored form (docs/state-format.md). Fields a newer version
wrote are kept in `extra` and written back. Neighbours: `fold` makes these from the journal, `changes` and
`deletions` decide on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any

from alchemy.model.canonical import Json

FORMAT = 1  # major version of everything on disk


class ScopeKind(StrEnum):
    APPLICATION = "application"
    STAGE = "stage"
    NESTED = "nested"
    TEST = "test"


class Status(StrEnum):
    CREATING = "creating"
    READY = "ready"
    UPDATING = "updating"
    REPLACING = "replacing"
    DELETING = "deleting"


class Action(StrEnum):
    CREATE = "create"
    ADOPT = "adopt"
    UPDATE = "update"
    REPLACE = "replace"
    DELETE = "delete"
    FORGET = "forget"  # drop the row, leave the object
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Which cloud a scope was deployed to. `account` decides sameness, the rest is for people."""

    account: str
    name: str  # "local cloud" or "Cloudflare"
    base_url: str = ""

    def to_json(self) -> Json:
        return {"account": self.account, "name": self.name, "base_url": self.base_url}

    @classmethod
    def from_json(cls, data: Json) -> Target:
        return cls(account=str(data["account"]), name=str(data["name"]), base_url=str(data.get("base_url", "")))

    def __str__(self) -> str:
        return f"{self.name} (account {self.account[:8]}…)" if len(self.account) > 8 else f"{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScopeState:
    """A scope as stored. Membership is the set of rows below its path, never stored twice."""

    path: str
    kind: ScopeKind
    created_at: str
    updated_at: str
    last_run: str = ""
    target: Target | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "scope", "path": self.path, "kind": str(self.kind)}
        out |= {"created_at": self.created_at, "updated_at": self.updated_at, "last_run": self.last_run}
        if self.target:
            out["target"] = self.target.to_json()
        return {**self.extra, **out}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ScopeState:
        known = {"type", "path", "kind", "created_at", "updated_at", "last_run", "target"}
        return cls(
            path=data["path"],
            kind=ScopeKind(data["kind"]),
            created_at=data["created_at"],
            updated_at=data["updated_at"],
            last_run=data.get("last_run", ""),
            target=Target.from_json(data["target"]) if data.get("target") else None,
            extra={k: v for k, v in data.items() if k not in known},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceState:
    """One resource as stored: everything needed to compare, update, delete or look it up without its program."""

    address: str
    kind: str  # "cloudflare:D1Database"
    status: Status
    physical_name: str
    token: str  # the same for every try of this creation
    props: dict[str, Any]
    props_hash: str
    outputs: dict[str, Any]
    depends_on: tuple[str, ...] = ()
    pending: dict[str, Any] | None = None  # props of an announced update that nobody confirmed
    seq: int = 0  # order of creation within the journal
    generation: int = 0  # rises with each replacement
    made_as: str = ""  # the address that the mark in its physical name is of, where it was moved since
    former: bool = False  # an old incarnation waiting to be deleted
    adopted: bool = False
    on_destroy: str = ""  # "", "delete" or "forget"
    protect: bool = False
    retain: bool = False
    kept: bool = False
    verify: bool = False  # restored or migrated: the next run looks at the cloud before it believes the row
    module: str = ""  # where the kind was defined, for people: never imported because it is written here
    timeout: float = 60.0  # seconds for one call
    account: str = ""
    error: str = ""  # why the last call failed
    run: str = ""  # "R-41": the run that last wrote this row
    created_at: str = ""
    updated_at: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def scope(self) -> str:
        return self.address.rpartition("/")[0]

    @property
    def key(self) -> str:
        """Unique in a fold: former incarnations live beside the current one (ids hold no control characters)."""
        return f"{self.address}\x00{self.generation}" if self.former else self.address

    def to_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {"type": "resource"}
        for name in _RESOURCE_FIELDS:
            value = getattr(self, name)
            default = _RESOURCE_DEFAULTS.get(name, _REQUIRED)
            if value != default:
                out[name] = list(value) if name == "depends_on" else str(value) if name == "status" else value
        return {**self.extra, **out}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ResourceState:
        values: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in data.items():
            if name in _RESOURCE_NAMES:
                values[name] = value
            elif name != "type":
                extra[name] = value
        values["status"] = _STATUS[values["status"]]
        if "depends_on" in values:
            values["depends_on"] = tuple(values["depends_on"])
        return cls(**values, extra=extra)


_REQUIRED = object()
_STATUS = {str(status): status for status in Status}
_RESOURCE_FIELDS = tuple(f.name for f in fields(ResourceState) if f.name != "extra")
_RESOURCE_NAMES = frozenset(_RESOURCE_FIELDS)
_RESOURCE_DEFAULTS = {
    f.name: f.default
    for f in fields(ResourceState)
    if f.default is not MISSING and f.name not in ("seq", "timeout", "run", "created_at", "updated_at")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The program's wish for one resource, with every output it refers to resolved to plain JSON."""

    address: str
    kind: str
    props: dict[str, Any]
    props_hash: str
    depends_on: tuple[str, ...] = ()
    adopt: bool = False
    protect: bool = False
    retain: bool = False
    on_destroy: str = ""
    timeout: float = 60.0
    module: str = ""
    fixed: frozenset[str] = frozenset()  # props whose change replaces
    updatable: bool = True  # the kind has an update method
    unknown: frozenset[str] = frozenset()  # props that depend on outputs not known yet (plan only)
    uncompared: frozenset[str] = frozenset()  # props with a secret that only the password can compare (plan only)
    assumed: frozenset[str] = frozenset()  # props with outputs that an update may change (plan only)
    defaults: Mapping[str, Json] = field(default_factory=dict)  # of the kind's props, as they would be stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a scope: written by the holder itself, shown to everybody. Never decides whether a write counts."""

    path: str
    epoch: int
    session: str
    pid: int
    process_start: str  # against reuse of the pid
    boot_id: str
    host: str
    user: str
    command: str
    since: str
    purpose: str  # deploy, destroy, cleanup, save

    @property
    def token(self) -> str:
        return f"{self.epoch}-{self.session[:4]}"

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Holder:
        return cls(**{f.name: data[f.name] for f in fields(cls)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A scope reserved by a person: runs stay out until then. The only time that is compared with a wall clock."""

    reason: str
    by: str  # user@host
    since: str
    until: str = ""  # ISO-8601 UTC; "" until somebody unlocks

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Hold:
        return cls(**{f.name: str(data.get(f.name, "")) for f in fields(cls)})

    def active(self, now: str) -> bool:
        """`now` as the store's clock says it: texts of this form sort like times."""
        return not self.until or now < self.until

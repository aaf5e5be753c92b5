"""The class behind every kind of resource: props and outputs as annotations, four verbs, and the handle itself.

    class Topic(Resource, kind="acme:Topic"):
        partitions: int = 1
        region: str = prop(fixed=True)
        arn: str = output()

An instance is a handle: declaring it starts the work, awaiting it waits. Neighbours: `deploy` does the work,
`context` is what the verbs are given.
"""

from __future__ import annotations

import copy
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, dataclass_transform

from alchemy.engine import kinds
from alchemy.engine.outputs import OutputRef
from alchemy.errors import UsageError
from alchemy.model.paths import address_of, check_id
from alchemy.model.secrets import LockedSecret
from alchemy.model.text import safe_text
from alchemy.settings import Options

if TYPE_CHECKING:
    from alchemy.engine.context import Context
    from alchemy.engine.deploy import Deployment
    from alchemy.engine.props import Opener
    from alchemy.model.values import ResourceState

Outputs: TypeAlias = Mapping[str, Any]
MISSING: Any = type("MISSING", (), {"__repr__": lambda _: "MISSING"})()


@dataclass(frozen=True, slots=True)
class Field:
    """What the class says of one annotation."""

    name: str = ""
    default: Any = MISSING
    fixed: bool = False
    is_output: bool = False
    volatile: bool = False
    secret: bool = False
    annotation: Any = None


def prop(*, default: Any = MISSING, fixed: bool = False, secret: bool = False, kw_only: bool = True) -> Any:
    """A prop with more to say than its default. `fixed`: changing it replaces the resource.

    `secret`: sealed in the state, hidden everywhere else.
    """
    return Field(default=default, fixed=fixed, secret=secret)


def output(*, volatile: bool = False, secret: bool = False, init: Literal[False] = False) -> Any:
    """A value the cloud gives. `volatile`: may differ each time; a change of it does not touch what refers to us.

    `secret`: sealed in the state, hidden everywhere else.
    """
    return Field(is_output=True, volatile=volatile, secret=secret)


@dataclass_transform(kw_only_default=True, field_specifiers=(prop, output))
class _Declarative:
    """Above Resource, so that type checkers see `id` as the one positional argument."""


class _Output:
    """Reading an output: its value, or a reference while it is not known."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: Resource | None, owner: type) -> Any:
        if instance is None:
            return self
        if self.name in instance.outputs:
            return instance.outputs[self.name]
        return OutputRef(instance, self.name)


class Resource(_Declarative):
    """Base of every kind. Subclass it with `kind="vendor:Name"` and write create, read, delete and maybe update."""

    id: str = prop(kw_only=False)
    adopt: bool | None = None
    protect: bool = False
    retain: bool = False
    depends_on: Sequence[Resource] = ()
    timeout: float | None = None
    on_destroy: Literal["", "delete", "forget"] = ""
    allow_data_loss: bool = False

    kind: ClassVar[str] = ""
    settle: ClassVar[float] = 0.0  # seconds that "absent" is not believed after a crash
    name_limit: ClassVar[int] = 63
    idempotent: ClassVar[bool] = False  # create may be sent again with the same name: after a crash it is
    cloud: ClassVar[bool] = False  # its calls go to ctx.cloud: rows record the account
    holds_data: ClassVar[bool] = False  # with the object goes what was put into it: a replacement asks first

    _fields: ClassVar[dict[str, Field]] = {}

    def __init_subclass__(cls, kind: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        inherited = dict(cls._fields)
        for name, annotation in cls.__annotations__.items():
            if name.startswith("_") or "ClassVar" in str(annotation):
                continue
            if name in _TAKEN:
                raise UsageError(f"{cls.__name__}.{name}: the name is taken by Resource", hint="choose another name")
            value = cls.__dict__.get(name, MISSING)
            given = value if isinstance(value, Field) else Field(default=value)
            inherited[name] = replace(given, name=name, annotation=annotation)
            if given.is_output:
                setattr(cls, name, _Output(name))
            elif isinstance(value, Field):
                delattr(cls, name)
        cls._fields = inherited
        if kind:
            cls.kind = kind
            if cls.read is Resource.read or cls.create is Resource.create or cls.delete is Resource.delete:
                raise UsageError(f"{cls.__name__} (kind {safe_text(kind)}) needs the methods create, read and delete")
            kinds.register(kind, cls)

    if not TYPE_CHECKING:

        def __init__(self, id: str, /, **props: Any) -> None:
            self._set(id, props)
            from alchemy.engine.deploy import declare

            self._deployment = declare(self)

    if TYPE_CHECKING:  # set on each instance; not there at run time, where `validation` resolves every annotation
        outputs: ClassVar[dict[str, Any]]
        scope_path: ClassVar[str]
        _deployment: ClassVar[Deployment]

    def _set(self, id: str, props: dict[str, Any]) -> None:
        values = self.__dict__
        values["id"] = check_id(id)
        values["outputs"] = {}
        values["scope_path"] = ""
        for name in _COMMON:
            values[name] = props.pop(name, getattr(type(self), name))
        if values["on_destroy"] not in ("", "delete", "forget"):
            raise UsageError(f"{safe_text(id)}: on_destroy is 'delete' or 'forget'")
        needed = values["depends_on"]
        if not isinstance(needed, list | tuple) or not all(isinstance(item, Resource) for item in needed):
            raise UsageError(f"{safe_text(id)}: depends_on takes resources", hint="depends_on=[database]")
        for name in ("protect", "retain", "allow_data_loss"):
            if not isinstance(values[name], bool):
                raise UsageError(f"{safe_text(id)}: {name} takes True or False")
        Options().but(safe_text(id, 80), adopt=values["adopt"], timeout=values["timeout"])
        if values["timeout"] is not None:
            Options().but(safe_text(id), timeout=values["timeout"])
        for name, declared in self._fields.items():
            if declared.is_output:
                continue
            value = props.pop(name, declared.default)
            if value is MISSING:
                raise UsageError(f"{type(self).__name__}({safe_text(id)!r}) needs {name}=")
            # A list or dict default belongs to the class: each instance gets its own.
            values[name] = copy.deepcopy(value) if value is declared.default else value
        if props:
            names = ", ".join(sorted(n for n, f in self._fields.items() if not f.is_output))
            raise UsageError(
                f"{type(self).__name__}({safe_text(id)!r}) has no {safe_text(', '.join(sorted(props)))}",
                hint=f"it takes {names or 'no props of its own'} and {', '.join(_COMMON)}",
            )

    @classmethod
    def restore(cls, row: ResourceState, props: dict[str, Any] | None = None, open_value: Opener | None = None) -> Self:
        """The instance as stored, without starting anything: for delete, for lookups, and as `before`.

        Its secrets are locked without `open_value`: `engine.secrets.restored` has one.
        """
        from alchemy.engine.props import revive

        self = cls.__new__(cls)
        known = {n for n, f in cls._fields.items() if not f.is_output}
        given = row.props if props is None else props
        opens = open_value or _locked
        stored = {n: revive(v, f"/props/{n}", opens) for n, v in given.items() if n in known}
        for name in known - stored.keys():  # a prop that is newer than the row
            stored[name] = None if cls._fields[name].default is MISSING else cls._fields[name].default
        self._set(row.id, stored)
        self.__dict__["scope_path"] = row.scope
        self.__dict__["outputs"] = revive(row.outputs, "/outputs", opens)
        return self

    @property
    def address(self) -> str:
        return address_of(self.scope_path, self.id)

    def __await__(self) -> Generator[Any, None, Self]:
        yield from self._deployment.wait().__await__()
        return self

    def __repr__(self) -> str:
        return f"<{self.kind} {safe_text(self.address)}>"

    def inputs(self) -> dict[str, Any]:
        """What the props point at (digests of files, for example): stored and compared together with the props."""
        return {}

    async def create(self, ctx: Context) -> Outputs:
        """Makes the object and returns its outputs. Called once per token unless the answer was lost."""
        raise UsageError(f"{self.kind} has no create")

    async def read(self, ctx: Context) -> Outputs | None:
        """The outputs of the object as it is, found by ctx.name or ctx.token; None when there is none.

        Refused when there is one that can be told to be somebody else's.
        """
        raise UsageError(f"{self.kind} has no read")

    async def observe(self, ctx: Context) -> Mapping[str, Any] | None:
        """The props of the object as the cloud has them now, and what `inputs` names: only those that it can tell.

        None when there is no such object. Optional: without it, drift shows in what `read` returns only. A value that
        is as it was is best given back itself: `self.bindings[name]`. `self.outputs` are those of now, volatile ones
        those of our last write. A prop that the program gives no value is not compared, a secret never.
        """
        return {}

    async def list_names(self, ctx: Context) -> Sequence[str]:
        """Of every object of this kind, as far as it can be told: for a rebuild when the stage's marks are lost."""
        return ()

    async def update(self, ctx: Context, before: Any) -> Outputs:
        """Brings the object from `before` to self. A kind without it is replaced when a prop changes."""
        raise UsageError(f"{self.kind} has no update")

    async def is_empty(self, ctx: Context) -> bool:
        """For a kind that `holds_data`: nothing is in it, so that nothing would be lost. Reads only."""
        return False

    async def delete(self, ctx: Context) -> None:
        """Removes the object; one that is gone already is fine."""
        raise UsageError(f"{self.kind} has no delete")


def _locked(sealed: dict[str, Any], pointer: str) -> LockedSecret:
    return LockedSecret(UsageError(f"the secret {pointer} was not opened: this does without secrets"), sealed)


_TAKEN = frozenset(
    ["id", "kind", "address", "outputs", "scope_path", "inputs", "restore", "create", "read", "update", "delete"]
    + ["observe", "list_names", "is_empty", "holds_data"]
)
_COMMON = ("adopt", "protect", "retain", "depends_on", "timeout", "on_destroy", "allow_data_loss")

"""Taking over what somebody wrote into a `state.json` by hand: an edit that is possible becomes a record, all at once.

Impossible ones (another kind, another object, a torn file) are refused with the field named. Every row that is taken
over is looked up by the next run. Neighbour: `validate` finds edited views; `--fix` there writes them again instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from alchemy.errors import Refused, StateInvalid, UsageError
from alchemy.model import strict
from alchemy.model.canonical import Json, digest
from alchemy.model.changes import Difference, compare
from alchemy.model.events import BackupTaken
from alchemy.model.fold import Fold
from alchemy.model.masking import comparable, hash_props
from alchemy.model.paths import ScopePath
from alchemy.model.records import Op, Put
from alchemy.model.schema import check_resource, check_scope
from alchemy.model.text import safe_text
from alchemy.model.values import FORMAT, ResourceState, ScopeKind, ScopeState, Status
from alchemy.operations.backups import assure
from alchemy.operations.workspace import Workspace
from alchemy.settings import Options
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.store import Store
from alchemy.store.viewfile import place_of, read_view

PURPOSE = "accept"
_FRAME = ("format", "journal", "sha256")
_NOT_BY_HAND = {
    "address": "it is where the file lies",
    "kind": "declare it as another kind in the program: a deploy replaces it",
    "physical_name": "it is what the object is called in the cloud; name= with adopt=True takes over another one",
    "token": "it tells our creation from others",
    "generation": "it counts incarnations",
    "former": "it says which incarnation this is",
    "seq": "it is the order of creation",
    "account": "it says where the object is",
    "created_at": "it says when the object was made",
    "path": "it is where the file lies",
}


@dataclass(frozen=True, slots=True)
class Edit:
    """One view that was edited. `row` is what would be stored, `differences` what it changes."""

    file: str  # relative to the state directory
    subject: str
    row: ResourceState | ScopeState
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class EditPlan:
    """Of one journal, at one state of it."""

    owner: ScopePath
    kind: ScopeKind
    serial: int
    edits: tuple[Edit, ...]

    @property
    def mark(self) -> str:
        return digest([self.serial, [[edit.file, edit.row.to_json()] for edit in self.edits]])


@dataclass(frozen=True, slots=True)
class EditReport:
    owner: str
    run: str
    accepted: tuple[str, ...]
    before: str  # the backup that undoes it


def plan_edits(store: Store, scope: str, only: Sequence[str] = ()) -> EditPlan:
    """The edited views in and below `scope`. UsageError when there is none, StateInvalid for one that cannot be."""
    if not isinstance(store, LocalStore):
        raise Refused(f"{safe_text(store.place)} holds no files to edit", hint="`alchemy scope state` shows the rows")
    workspace = Workspace(store)
    view = workspace.refresh()
    owner = workspace.owner_of(scope)
    fold = store.read_fold(owner)
    for address in only:
        if address not in fold.resources and address not in fold.scopes:
            raise UsageError(f"{safe_text(address, 200)} is not in {owner}", hint=f"`alchemy scope list {owner}`")
    found = list(_edits(store, fold, lambda subject: _is_in(subject, scope) and (not only or subject in only)))
    if not found:
        raise UsageError(
            f"no file of {safe_text(scope, 200)} was edited by hand",
            hint="`alchemy scope validate` names the files that were",
        )
    return EditPlan(ScopePath.parse(owner), view.scopes[owner].kind, fold.serial, tuple(found))


async def accept_edits(store: Store, plan: EditPlan, options: Options) -> EditReport:
    """What `plan` says, in one record. Refused when the files or the state are others by now."""
    assert isinstance(store, LocalStore)
    subjects = {edit.subject for edit in plan.edits}

    def refuse(fold: Fold) -> None:
        now = list(_edits(store, fold, subjects.__contains__))
        if replace(plan, serial=fold.serial, edits=tuple(now)).mark != plan.mark:
            raise Refused(
                f"{plan.owner} changed meanwhile: the files or the state are others than those that were shown",
                hint=f"`alchemy scope validate {plan.owner} --accept-edit` shows what they are now",
            )

    store.prepare()
    ledger = await Ledger.open(
        store,
        plan.owner,
        plan.kind,
        purpose=PURPOSE,
        timeout=options.lock_timeout,
        locking=options.enable_locking,
        refuse=refuse,
    )
    outcome = "failed"
    before = ""
    try:
        before = assure(ledger, "before an edit is accepted")
        if before:
            ledger.emit(BackupTaken(str(plan.owner), before, "before an edit is accepted"))
        now = store.clock.now()
        ops: list[Op] = [Put(_stamped(edit.row, ledger.run, now), reason="edited by hand") for edit in plan.edits]
        await ledger.intend(ops)
        outcome = "done"
    finally:
        ledger.close(outcome=outcome, counts={"accepted": len(plan.edits)} if outcome == "done" else {}, failures=[])
    return EditReport(str(plan.owner), ledger.run, tuple(edit.subject for edit in plan.edits), before)


def _stamped(row: ResourceState | ScopeState, run: str, now: str) -> ResourceState | ScopeState:
    return replace(row, run=run, updated_at=now) if isinstance(row, ResourceState) else replace(row, updated_at=now)


def _is_in(subject: str, scope: str) -> bool:
    return subject == scope or subject.startswith(f"{scope}/")


# -- reading the files


def _edits(store: LocalStore, fold: Fold, wanted: Callable[[str], bool]) -> Iterator[Edit]:
    """In the order of the tree. StateInvalid names the file, the line or the field of what cannot be accepted."""
    for path in sorted(filter(wanted, fold.scopes)):
        # An owner's own view says where the journal ended when it was written, not which record wrote the row.
        yield from _edit(store, fold, "\x00" + path, path, fold.scopes[path], exact=path != fold.path)
    for key, row in sorted(fold.resources.items()):
        if wanted(row.address):
            yield from _edit(store, fold, key, row.address, row, exact=True)


def _edit(
    store: LocalStore, fold: Fold, key: str, subject: str, stored: ResourceState | ScopeState, *, exact: bool
) -> Iterator[Edit]:
    file = place_of(store.layout, key)
    found = read_view(store.files, file, key)
    if found is None or not found.problem or found.blank:
        return
    name = str(file.relative_to(store.layout.root))
    scope = subject if isinstance(stored, ScopeState) else stored.scope
    hint = f"`alchemy scope validate {scope} --fix` puts it back; what is in it now is kept beside it"
    if not found.data:
        raise _impossible(name, found.problem, hint)
    body = strict.read(found.data, name, hint)
    if not isinstance(body, dict):
        raise _impossible(name, "it holds no object", hint)
    base = body["journal"].get("seq") if isinstance(body.get("journal"), dict) else None
    if type(base) is not int or (exact and base != fold.stamps[key].seq):
        raise _impossible(name, "journal: it was edited too, or a run has written the row since", hint)
    if body.get("format") != FORMAT:
        raise _impossible(name, f"format: it is {safe_text(body.get('format'), 20)}, not {FORMAT}", hint)
    data = {field: value for field, value in body.items() if field not in _FRAME}
    row = _row(name, data, stored, hint)
    differences = tuple(compare(_shown(stored), _shown(row)))
    if differences:
        yield Edit(name, subject, row, differences)


def _shown(row: ResourceState | ScopeState) -> Json:
    data = row.to_json()
    return {name: comparable(value) for name, value in data.items() if name not in ("verify", "props_hash")}


def _impossible(file: str, why: str, hint: str) -> StateInvalid:
    return StateInvalid(f"the edit of {safe_text(file)} cannot be accepted: {why}", hint=hint)


def _row(file: str, data: dict[str, Any], stored: ResourceState | ScopeState, hint: str) -> ResourceState | ScopeState:
    return (
        _resource(file, data, stored, hint) if isinstance(stored, ResourceState) else _scope(file, data, stored, hint)
    )


def _resource(file: str, data: dict[str, Any], stored: ResourceState, hint: str) -> ResourceState:
    row: ResourceState = _validated(file, data, ResourceState, check_resource, hint)
    _refuse_changed(file, row, stored, hint)
    if row.status is not stored.status and row.status is not Status.READY:
        raise _impossible(file, f"status: only 'ready' can be set by hand, not {row.status!s:.20}", hint)
    return replace(row, props_hash=_hash(row, stored), verify=True, run=stored.run, updated_at=stored.updated_at)


def _hash(row: ResourceState, stored: ResourceState) -> str:
    return stored.props_hash if row.props == stored.props else hash_props(row.props)


def _scope(file: str, data: dict[str, Any], stored: ScopeState, hint: str) -> ScopeState:
    row: ScopeState = _validated(file, data, ScopeState, check_scope, hint)
    _refuse_changed(file, row, stored, hint)
    return replace(row, updated_at=stored.updated_at, last_run=stored.last_run)


def _validated(file: str, data: dict[str, Any], model: Any, check: Any, hint: str) -> Any:
    """By its shape, then field by field as the model says it."""
    from pydantic import TypeAdapter, ValidationError

    wanted = "resource" if model is ResourceState else "scope"
    if data.get("type") != wanted:
        raise _impossible(file, f"type: it was {wanted}, and is {safe_text(data.get('type'), 20)}", hint)
    known = {name: value for name, value in data.items() if name in model.__dataclass_fields__ and name != "extra"}
    try:
        TypeAdapter(model).validate_json(_json(known), strict=True)
        check(data)
        return model.from_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _impossible(file, f"{safe_text(where, 80)}: {safe_text(first['msg'], 200)}", hint) from None
    except (ValueError, KeyError, TypeError) as error:
        raise _impossible(file, safe_text(error, 200), hint) from error


def _json(value: Json) -> bytes:
    import json

    return json.dumps(value).encode()


def _refuse_changed(file: str, row: Any, stored: Any, hint: str) -> None:
    for name, why in _NOT_BY_HAND.items():
        if hasattr(stored, name) and getattr(row, name) != getattr(stored, name):
            raise _impossible(file, f"{name} cannot be changed by hand: {why}", hint)

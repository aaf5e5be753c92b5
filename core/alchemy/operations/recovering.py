"""Bringing a spill into the state: what a fenced or failing run knew, where nothing that happened since contradicts it.

`judge` is pure and decides change by change; `recover` takes the lock and a backup, writes one record, and puts the
file away. Rows it writes are looked up in the cloud by the next run. Neighbour: `spills` finds and reads the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from alchemy.errors import Refused
from alchemy.model.events import Noted
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Emit, Op, Put
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeState, Status
from alchemy.operations.auditing import note
from alchemy.operations.holding import owner_of
from alchemy.operations.shapes import RecoverReport, RecoveryStep
from alchemy.operations.spills import DONE, Spilled, files_of, read_spill
from alchemy.store.ledger import Ledger
from alchemy.store.store import Store

_ANNOUNCED = {  # what a row says while the call is under way whose result was spilled
    "create": (Status.CREATING,),
    "adopt": (Status.CREATING, Status.UPDATING),
    "update": (Status.UPDATING,),
    "replace": (Status.REPLACING,),
}
_DONE = {"create": "created", "adopt": "adopted", "update": "updated", "replace": "replaced", "delete": "deleted"}


async def recover(
    store: Store,
    file: str | Path,
    *,
    dry_run: bool = False,
    timeout: float | None = None,
    waiting: Callable[[str], None] | None = None,
) -> RecoverReport:
    """`dry_run` only says what would be written. Refused for a spill of another state.

    Running it again, also after a crash on the way, changes nothing more and puts the file away.
    """
    if not dry_run:
        _bring_back(store, Path(file))
    spilled = read_spill(store, Path(file))
    _refuse_foreign(store, spilled)
    fold = store.read_fold(spilled.scope)
    _refuse_other_state(spilled, fold)
    steps = [step for step, _ in judge(spilled, fold)]
    report = RecoverReport(str(spilled.file), str(spilled.scope), f"R-{spilled.epoch}", spilled.why, tuple(steps))
    if dry_run:
        return report
    if report.written:
        report = await _write(store, spilled, report, timeout, waiting)
    kept = _put_away(store, spilled)
    if not kept:  # the run that spilled it is not at its end
        return await recover(store, file, timeout=timeout, waiting=waiting)
    detail = {"spill": kept, "written": report.written, "skipped": report.skipped, "run": report.run}
    note(store, "recover", str(spilled.scope), "done", spilled.why, **detail)
    return replace(report, kept=kept)


async def _write(
    store: Store, spilled: Spilled, report: RecoverReport, timeout: float | None, waiting: Callable[[str], None] | None
) -> RecoverReport:
    _, kind = owner_of(store, spilled.scope)

    def refuse(fold: Fold) -> None:
        _refuse_other_state(spilled, fold)

    ledger = await Ledger.open(
        store, spilled.scope, kind, purpose="recover", timeout=timeout, waiting=waiting, refuse=refuse
    )
    try:
        judged = judge(spilled, ledger.fold)
        steps = tuple(step for step, _ in judged)
        ops = [_stamped(store, ledger, op) for _, op in judged if op is not None]
        backup = ""
        report = replace(report, steps=steps, run=ledger.run)
        if ops:
            backup = ledger.backup(f"before {ledger.run} recovers what R-{spilled.epoch} spilled")
            text = f"recovered {report.written} and skipped {report.skipped} of what R-{spilled.epoch} spilled"
            await ledger.intend([*ops, Emit(Noted(str(spilled.scope), f"{text}: {spilled.why}"))])
    except BaseException:
        ledger.close(outcome="failed", counts={}, failures=[])
        raise
    counts = {"recovered": report.written, "skipped": report.skipped}
    ledger.close(outcome="done", counts={name: n for name, n in counts.items() if n}, failures=[])
    return replace(report, backup=backup)


def _stamped(store: Store, ledger: Ledger, op: Op) -> Op:
    if isinstance(op, Put) and isinstance(op.row, ResourceState):
        row = replace(op.row, run=ledger.run, updated_at=store.clock.now(), verify=True)
        return replace(op, row=row)
    return op


def _refuse_foreign(store: Store, spilled: Spilled) -> None:
    """A spill lies beside its state; one that lies elsewhere has to name it."""
    beside = os.path.realpath(spilled.file.parent) == os.path.realpath(store.root / "spill")
    if beside or os.path.realpath(spilled.place) == os.path.realpath(store.place):
        return
    raise Refused(
        f"{safe_text(spilled.file)} was spilled by a run on the state in {safe_text(spilled.place)}, not in "
        f"{safe_text(store.place)}",
        hint=f"--state-dir {safe_text(spilled.place)}; if that directory was moved: put the file into its spill/",
    )


def _refuse_other_state(spilled: Spilled, fold: Fold) -> None:
    if fold.lineage != spilled.lineage or not fold.lineage:
        what = "there is no such scope" if not fold.lineage else "it was made anew since"
        raise Refused(
            f"{safe_text(spilled.file)} is about an earlier {spilled.scope}: {what}",
            hint="nothing was changed; the ids in the file are of objects that this state knows nothing of",
        )


# --- deciding


def judge(spilled: Spilled, fold: Fold) -> list[tuple[RecoveryStep, Op | None]]:
    """Each spilled change with what is to be written for it, or None. In the order in which they happened."""
    return _Judge(spilled, fold).all()


class _Judge:
    def __init__(self, spilled: Spilled, fold: Fold) -> None:
        self._spilled = spilled
        self._fold = fold
        self._rows: dict[str, ResourceState] = dict(fold.resources)
        self._scopes: dict[str, ScopeState] = dict(fold.scopes)
        self._ours: set[str] = set()  # what an earlier change of the spill has written, as in `Fold.stamps`

    def all(self) -> list[tuple[RecoveryStep, Op | None]]:
        found = []
        for op in self._spilled.ops:
            if op["op"] == "drop":
                found.append(self._drop_scope(op) if "scope" in op else self._drop(op))
            elif op["row"]["type"] == "scope":
                found.append(self._scope(ScopeState.from_json(op["row"])))
            else:
                found.append(self._put(ResourceState.from_json(op["row"]), op))
        return found

    def _put(self, row: ResourceState, op: dict[str, Any]) -> tuple[RecoveryStep, Op | None]:
        action = str(op.get("action", ""))
        what = _DONE.get(action, "changed")
        stored = self._rows.get(row.key)
        if stored is None and row.key not in self._ours:
            return _step(row.key, what, "skip", "it is not in the state any more"), None
        if stored is not None:
            if _same(stored, row):
                return _step(row.key, what, "stored", "the state has it already"), None
            if not self._untouched(row.key) and not self._is_answer(stored, row, action):
                return _step(row.key, what, "skip", f"it has moved on since: {stored.status} by {stored.run}"), None
        self._rows[row.key] = row
        self._ours.add(row.key)
        why = "its call ended, and nobody wrote it down" if op.get("phase") == "result" else "not written down"
        return _step(row.key, what, "write", why), Put(row, str(op.get("phase", "set")), action, why)

    def _untouched(self, key: str) -> bool:
        """Nobody has written the row since the run that spilled: it knew what is stored."""
        return key in self._ours or self._fold.stamps[key].seq <= self._spilled.seq

    def _is_answer(self, stored: ResourceState, row: ResourceState, action: str) -> bool:
        """A later run said again that it would make this very call, and nobody knows how that ended."""
        same = stored.token == row.token and stored.generation == row.generation
        return same and stored.status in _ANNOUNCED.get(action, ()) and stored.pending in (None, row.props)

    def _drop(self, op: dict[str, Any]) -> tuple[RecoveryStep, Op | None]:
        generation = op.get("generation")
        key = op["address"] if generation is None else f"{op['address']}\x00{generation}"
        what = _DONE.get(str(op.get("action", "delete")), "forgotten")
        stored = self._rows.get(key)
        if stored is None:
            return _step(key, what, "stored", "it is gone from the state already"), None
        deleted = op.get("token") == stored.token and stored.status is Status.DELETING
        if not self._untouched(key) and not deleted:
            return _step(key, what, "skip", f"it was made anew or changed since: {stored.status} by {stored.run}"), None
        del self._rows[key]
        self._ours.add(key)
        drop = Drop(op["address"], generation=generation, kind=stored.kind, action=str(op.get("action", "delete")))
        return _step(key, what, "write", "it was done, and nobody wrote it down"), drop

    def _scope(self, row: ScopeState) -> tuple[RecoveryStep, Op | None]:
        if row.path in self._scopes:
            return _step(row.path, "scope", "stored", "the state has it already"), None
        if not any(address.startswith(f"{row.path}/") for address in self._rows):
            return _step(row.path, "scope", "skip", "nothing is in it"), None
        self._scopes[row.path] = row
        self._ours.add("\x00" + row.path)
        return _step(row.path, "scope", "write", "resources are in it"), Put(row)

    def _drop_scope(self, op: dict[str, Any]) -> tuple[RecoveryStep, Op | None]:
        path = str(op["scope"])
        if path not in self._scopes:
            return _step(path, "scope dropped", "stored", "it is gone from the state already"), None
        used = any(other.startswith(f"{path}/") for other in (*self._rows, *self._scopes))
        if used or not self._untouched("\x00" + path):
            return _step(path, "scope dropped", "skip", "it is in use"), None
        del self._scopes[path]
        return _step(path, "scope dropped", "write", "nothing is in it"), Drop(scope=path)


def _step(key: str, what: str, verdict: str, why: str) -> RecoveryStep:
    address, _, generation = key.partition("\x00")
    return RecoveryStep(f"{address} (generation {generation})" if generation else address, what, verdict, why)


def _same(stored: ResourceState, row: ResourceState) -> bool:
    """Apart from who wrote it and when."""
    neutral = {"run": "", "updated_at": "", "created_at": "", "verify": False, "seq": 0}
    return replace(stored, **neutral) == replace(row, **neutral)  # type: ignore[arg-type]


# --- putting the file away


def _put_away(store: Store, spilled: Spilled) -> str:
    """Into `spill/done/`, where it is kept; its place. "" when its run has added to it since it was read: it stays.

    Copied first: a crash in between leaves both, and the next time ends it.
    """
    files, file = files_of(store), spilled.file
    directory = store.root / "spill" / DONE
    place, number = directory / file.name, 1
    if os.path.realpath(file.parent) == os.path.realpath(directory):
        return str(file)
    files.make_directory(directory)
    while True:
        try:
            files.close(files.create(place, spilled.data))
            break
        except FileExistsError:
            if files.read(place) == spilled.data:
                break
            number += 1
            place = directory / f"{file.stem}-{number}{file.suffix}"
    # Under another name before it goes, so that nothing is taken away that its run writes in this moment.
    taken = _taken(file)
    try:
        files.move(file, taken.name)
        same = files.read(taken) == spilled.data
    except FileNotFoundError:  # somebody recovered it at the same time, and was first
        return str(place)
    if same:
        files.remove(taken)
        return str(place)
    _bring_back(store, file)
    return ""


def _taken(file: Path) -> Path:
    return file.with_name(f"{file.name}.taken")


def _bring_back(store: Store, file: Path) -> None:
    """What was taken to be put away, also by one that died over it."""
    files, taken = files_of(store), Path(os.path.abspath(_taken(file)))
    if not files.exists(taken):
        return
    try:
        with suppress(FileNotFoundError):  # somebody else did
            files.move(taken, file.name)
    except FileExistsError:  # its run wrote it again: all of this is in that too
        files.remove(taken)

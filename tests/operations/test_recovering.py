"""A spill is written into the state where nothing that happened since contradicts it, and nowhere else."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy.errors import AlchemyError, Fenced, Refused, StateInvalid, UsageError
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Drop, Op, Put
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.operations.auditing import audit_log
from alchemy.operations.recovering import judge, recover
from alchemy.operations.shapes import RecoverReport
from alchemy.operations.spills import parse_spill, spills
from alchemy.store.ledger import Ledger
from alchemy.store.local import LocalStore
from alchemy.store.spill import Spill, spill_name
from tests.model.rows import scope as scope_row
from tests.operations.actor import actor_in, open_ledger, row, store_in

PROD = "my-app/prod"
DB = f"{PROD}/db"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return store_in(tmp_path / ".alchemy")


def write(store: LocalStore, *batches: Sequence[Op], close: bool = True) -> Ledger:
    """A run: each batch durable before the next."""

    async def run() -> Ledger:
        ledger = await open_ledger(store_in(store.root), PROD, locking=False)
        for ops in batches:
            await ledger.intend(ops)
        if close:
            ledger.close(outcome="done", counts={}, failures=[])
        return ledger

    return asyncio.run(run())


def creating(address: str = DB, **changed: Any) -> ResourceState:
    return row(address, Status.CREATING, run="R-1", **changed)


def created(address: str = DB, **changed: Any) -> Put:
    return Put(row(address, run="R-1", **changed), "result", "create", took=0.1)


def fenced(store: LocalStore, before: Sequence[Sequence[Op]], *unwritten: Op, unlock: bool = True) -> Path:
    """A run that wrote `before` and could not write `unwritten`, because somebody took over. Its spill."""
    ledger = write(store, *before, close=False)
    if unlock:
        write(store)

    async def lose() -> None:
        ledger.record(unwritten)
        with pytest.raises(Fenced):
            await ledger.flush()
        with pytest.raises(Fenced):
            ledger.close(outcome="done", counts={}, failures=[])

    asyncio.run(lose())
    (file,) = (store.root / "spill").glob("*.json")
    return file


def recovered(store: LocalStore, file: Path, **given: Any) -> RecoverReport:
    return asyncio.run(recover(store, file, **given))


def verdicts(report: RecoverReport) -> list[tuple[str, str]]:
    return [(step.subject.removeprefix(f"{PROD}/"), step.verdict) for step in report.steps]


def stored(store: LocalStore, address: str = DB) -> ResourceState | None:
    return store.read_fold(PROD).resources.get(address)


def test_the_answer_to_an_announced_call_completes_its_row(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    dry = recovered(store, file, dry_run=True)
    assert (verdicts(dry), dry.written, dry.run, dry.kept) == ([("db", "write")], 1, "", "")
    assert store.read_fold(PROD).epoch == 2
    report = recovered(store, file)
    assert (report.written, report.run, report.spilled_by) == (1, "R-3", "R-1")
    found = stored(store)
    assert found is not None
    assert (found.status, found.outputs, found.verify, found.run) == (Status.READY, {"id": f"id of {DB}"}, True, "R-3")
    assert store.backups(PROD)
    assert not file.exists()
    assert Path(report.kept) == store.root / "spill" / "done" / file.name
    assert [(entry.act, entry.outcome) for entry in audit_log(store)] == [("recover", "done")]
    assert spills(store) == ()


def test_a_second_time_changes_nothing_more_and_puts_the_file_away_again(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    data = file.read_bytes()
    recovered(store, file)
    file.write_bytes(data)  # as after a crash between the record and this
    serial = store.read_fold(PROD).serial
    again = recovered(store, file)
    assert (verdicts(again), again.run) == ([("db", "stored")], "")
    assert store.read_fold(PROD).serial == serial
    assert not file.exists()


def test_a_spill_that_was_put_away_is_never_removed(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    data = file.read_bytes()
    kept = recovered(store, file).kept
    again = recovered(store, Path(kept))
    assert (verdicts(again), again.kept) == ([("db", "stored")], kept)
    assert Path(kept).read_bytes() == data


def test_of_two_at_once_each_says_where_the_spill_is_kept(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    done = store.root / "spill" / "done" / file.name
    with actor_in(store.root) as other:
        other.open(PROD)

        def overtake(who: str) -> None:  # as the other would: it writes, puts the file away and gives the lock back
            other.ask("record", path=PROD, id="db")
            done.parent.mkdir()
            file.rename(done)
            other.ask("close", path=PROD)

        report = recovered(store, file, timeout=20.0, waiting=overtake)
    assert (verdicts(report), report.kept) == ([("db", "stored")], str(done))
    again = recovered(store, file)
    assert (verdicts(again), again.kept) == ([("db", "stored")], str(done))


def test_what_its_run_adds_while_it_is_recovered_is_recovered_too(store: LocalStore) -> None:
    """A run that was fenced waits for the calls in flight, and writes what they bring into the same file."""
    file = fenced(store, [[Put(creating(), "intent", "create")], [Put(creating(f"{PROD}/late"))]], created())
    more = json.loads(file.read_bytes())
    more["ops"].append(created(f"{PROD}/late").to_json())
    del more["sha256"]
    with actor_in(store.root) as other:
        other.open(PROD)

        def add(who: str) -> None:
            file.write_text(json.dumps(more))
            other.ask("close", path=PROD)

        report = recovered(store, file, timeout=20.0, waiting=add)
    assert verdicts(report) == [("db", "stored"), ("late", "write")]
    late = stored(store, f"{PROD}/late")
    assert late is not None
    assert late.status is Status.READY
    assert json.loads(Path(report.kept).read_bytes()) == more
    assert spills(store) == ()


def test_a_scope_that_came_and_went_within_one_spill(store: LocalStore) -> None:
    inner = f"{PROD}/inner/a"
    file = fenced(
        store,
        [[Put(creating(inner), "intent", "create")]],
        created(inner),
        Put(scope_row(f"{PROD}/inner", ScopeKind.NESTED)),
        Drop(inner, kind="test:Lamp"),
        Drop(scope=f"{PROD}/inner"),
    )
    assert [verdict for _, verdict in verdicts(recovered(store, file))] == ["write"] * 4
    assert set(store.read_fold(PROD).scopes) == {PROD}


def test_a_row_that_moved_on_is_shown_and_left_alone(store: LocalStore) -> None:
    before = [[Put(creating(), "intent", "create")]]
    file = fenced(store, before, created())
    write(store, [Put(row(DB, run="R-3", outputs={"id": "another"}), "result", "create")])
    report = recovered(store, file)
    assert verdicts(report) == [("db", "skip")]
    assert report.steps[0].why == "it has moved on since: ready by R-3"
    found = stored(store)
    assert found is not None
    assert (found.outputs, found.verify) == ({"id": "another"}, False)


@pytest.mark.parametrize(
    ("since", "verdict"),
    [
        (creating(), "write"),  # a later run tried the same creation again, and its end is not known either
        (replace(creating(), token="another"), "skip"),
        (replace(creating(), generation=1), "skip"),
        (row(DB, Status.DELETING), "skip"),
        (row(DB, Status.UPDATING), "skip"),
    ],
)
def test_only_the_very_call_that_was_announced_is_answered(
    store: LocalStore, since: ResourceState, verdict: str
) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    write(store, [Put(since, "intent", "create")])
    assert verdicts(recovered(store, file)) == [("db", verdict)]


def test_an_update_is_answered_only_when_it_is_the_same_one(store: LocalStore) -> None:
    ready = row(DB, run="R-1")
    intent = replace(ready, status=Status.UPDATING, pending={"size": 2})
    done = Put(replace(ready, props={"size": 2}), "result", "update")
    file = fenced(store, [[Put(ready)], [Put(intent, "intent", "update")]], done)
    write(store, [Put(replace(intent, pending={"size": 3}), "intent", "update")])
    data = file.read_bytes()
    assert verdicts(recovered(store, file)) == [("db", "skip")]
    write(store, [Put(intent, "intent", "update")])
    file.write_bytes(data)
    assert verdicts(recovered(store, file)) == [("db", "write")]


def test_a_row_that_is_gone_stays_gone(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    write(store, [Drop(DB)])
    assert verdicts(recovered(store, file)) == [("db", "skip")]
    assert stored(store) is None


def test_a_deletion_that_was_done_is_written_down(store: LocalStore) -> None:
    deleting = row(DB, Status.DELETING)
    file = fenced(store, [[Put(row(DB))], [Put(deleting, "intent", "delete")]], Drop(DB, kind="test:Lamp"))
    write(store, [Put(replace(deleting, run="R-3", error="no answer"), "failed", "delete")])
    assert verdicts(recovered(store, file)) == [("db", "write")]
    assert stored(store) is None


def test_what_was_made_anew_since_is_not_dropped(store: LocalStore) -> None:
    deleting = row(DB, Status.DELETING)
    file = fenced(store, [[Put(row(DB))], [Put(deleting, "intent", "delete")]], Drop(DB, kind="test:Lamp"))
    write(store, [Drop(DB)], [Put(row(DB, token="new", run="R-3"))])
    assert verdicts(recovered(store, file)) == [("db", "skip")]
    assert stored(store) is not None


def test_a_deletion_of_something_new_under_way_is_not_taken_for_it(store: LocalStore) -> None:
    deleting = row(DB, Status.DELETING)
    file = fenced(store, [[Put(row(DB))], [Put(deleting, "intent", "delete")]], Drop(DB, kind="test:Lamp"))
    write(store, [Drop(DB)], [Put(row(DB, Status.DELETING, token="new"), "intent", "delete")])
    assert verdicts(recovered(store, file)) == [("db", "skip")]


def test_former_incarnations_and_scopes_are_told_apart(store: LocalStore) -> None:
    old, new = row(DB, former=True), row(DB, generation=1)
    nested = scope_row(f"{PROD}/inner", ScopeKind.NESTED)
    inner, empty = row(f"{PROD}/inner/a"), scope_row(f"{PROD}/empty", ScopeKind.NESTED)
    file = fenced(
        store,
        [[Put(old), Put(new), Put(inner), Put(empty)]],
        Drop(DB, generation=0, kind="test:Lamp"),
        Put(nested),
        Put(scope_row(f"{PROD}/unused", ScopeKind.NESTED)),
        Drop(scope=f"{PROD}/empty"),
        Drop(scope=PROD),
    )
    report = recovered(store, file)
    assert verdicts(report) == [
        ("db (generation 0)", "write"),
        ("inner", "write"),
        ("unused", "skip"),
        ("empty", "write"),
        (PROD, "skip"),
    ]
    fold = store.read_fold(PROD)
    assert set(fold.resources) == {DB, inner.address}
    assert set(fold.scopes) == {PROD, nested.path}


def test_one_change_after_another_to_one_row(store: LocalStore) -> None:
    updated = Put(row(DB, props={"size": 2}), "result", "update")
    file = fenced(store, [[Put(creating(), "intent", "create")]], created(), updated, Drop(DB, kind="test:Lamp"))
    assert verdicts(recovered(store, file)) == [("db", "write"), ("db", "write"), ("db", "write")]
    assert stored(store) is None


def test_a_failed_disk_leaves_what_the_same_run_announced(store: LocalStore) -> None:
    """No later run has been: the spill continues where the journal ends."""
    ledger = write(store, [Put(creating(), "intent", "create")], close=False)
    fold = ledger.fold
    error = AlchemyError("the disk is full")
    Spill(store.files, store.layout.spill, store.place, fold, 1, "5e55" * 8).write([created()], error)
    (info,) = spills(store)
    assert (info.scope, info.run, info.changes, info.why, info.problem) == (PROD, "R-1", 1, "the disk is full", "")
    assert verdicts(recovered(store, Path(info.file))) == [("db", "write")]
    with pytest.raises(Fenced):
        ledger.close(outcome="done", counts={}, failures=[])


# --- what is refused


def test_a_spill_of_another_state_is_refused(store: LocalStore, tmp_path: Path) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    other = store_in(tmp_path / "other")
    write(other)
    with pytest.raises(Refused, match=r"was spilled by a run on the state in .*\.alchemy, not in .*/other"):
        recovered(other, file)
    (other.root / "spill").mkdir()
    beside = other.root / "spill" / file.name
    beside.write_bytes(file.read_bytes())
    with pytest.raises(Refused, match=f"is about an earlier {PROD}: it was made anew since"):
        recovered(other, beside)
    assert beside.exists()
    empty = store_in(tmp_path / "empty")
    (empty.root / "spill").mkdir(parents=True)
    (empty.root / "spill" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(Refused, match="there is no such scope"):
        recovered(empty, empty.root / "spill" / file.name)


def test_a_state_directory_that_was_moved_keeps_its_spills(store: LocalStore, tmp_path: Path) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    moved = store.root.rename(tmp_path / "moved")
    assert verdicts(recovered(store_in(moved), moved / "spill" / file.name)) == [("db", "write")]


def test_a_spill_in_the_temporary_directory_is_found_and_recovered(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "tmp"
    elsewhere.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(elsewhere))
    (store.root).mkdir()
    (store.root / "spill").write_text("in the way")
    ledger = write(store, [Put(creating(), "intent", "create")], close=False)
    error = AlchemyError("the disk is full")
    Spill(store.files, store.layout.spill, store.place, ledger.fold, 1, "5e55" * 8).write([created()], error)
    (info,) = spills(store, "my-app")
    assert Path(info.file).parent == elsewhere
    assert info.file in error.hint
    assert spills(store_in(tmp_path / "other")) == ()
    (store.root / "spill").unlink()
    report = recovered(store, Path(info.file))
    assert verdicts(report) == [("db", "write")]
    assert Path(report.kept).parent == store.root / "spill" / "done"
    with pytest.raises(Fenced):
        ledger.close(outcome="done", counts={}, failures=[])


def test_a_file_that_is_not_there_lists_those_that_are(store: LocalStore) -> None:
    with pytest.raises(UsageError) as caught:
        recovered(store, store.root / "spill" / "x.json")
    assert caught.value.hint == "no spill waits to be recovered"
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    with pytest.raises(UsageError) as caught:
        recovered(store, store.root / "x.json")
    assert str(file) in caught.value.hint


def test_a_link_is_not_followed(store: LocalStore, tmp_path: Path) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created())
    (tmp_path / "link.json").symlink_to(file)
    with pytest.raises(StateInvalid, match="is not a plain file of"):
        recovered(store, tmp_path / "link.json")
    inside = file.with_name("link.json")
    inside.symlink_to(file)
    with pytest.raises(AlchemyError, match=r"link\.json"):
        recovered(store, inside)
    assert file.exists()


HOSTILE = {
    "empty": b"",
    "torn": b'{"type": "spill", "format": 1, "scope": "my-a',
    "no object": b"[]",
    "another type": b'{"type": "backup"}',
    "newer": b'{"type": "spill", "format": 2}',
    "twice": b'{"type": "spill", "type": "spill"}',
    "deep": b'{"type": ' + b"[" * 5000 + b"]" * 5000 + b"}",
    "NaN": b'{"type": "spill", "epoch": NaN}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_spill_is_an_error_with_its_name(store: LocalStore, name: str) -> None:
    write(store)
    (store.root / "spill").mkdir()
    file = store.root / "spill" / "evil.json"
    file.write_bytes(HOSTILE[name])
    with pytest.raises(StateInvalid, match=r"evil\.json"):
        recovered(store, file)
    (info,) = spills(store)
    assert "evil.json" in info.problem


BODY: dict[str, Any] = {
    "format": 1,
    "type": "spill",
    "scope": PROD,
    "place": "",
    "at": "",
    "epoch": 1,
    "session": "a",
    "lineage": "b",
    "seq": 1,
    "serial": 1,
    "why": "x",
}


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"scope": "../../etc"}, "scope"),
        ({"seq": -1}, "its seq is no number"),
        ({"epoch": True}, "its epoch is no number"),
        ({"lineage": None}, "its lineage is no text"),
        ({"ops": None}, "its ops are no list"),
        ({"ops": [1]}, "its ops are no list"),
        ({"ops": [{}]}, "operation"),
        ({"ops": [{"op": "hold", "hold": None}]}, "ops/0 is about nothing"),
        ({"ops": [{"op": "drop", "address": "other/prod/db"}]}, "ops/0 is about other/prod/db, which is not in my-app"),
        ({"ops": [{"op": "drop", "address": "my-app/production/db"}]}, "which is not in my-app/prod"),
        ({"ops": [{"op": "put", "row": {"type": "resource", "address": "my-app/prod/../x"}}]}, ""),
        ({"ops": [{"op": "put", "row": {**row(DB).to_json(), "status": "gone"}}]}, ""),
        ({"ops": [{"op": "put", "row": {**row(DB).to_json(), "outputs": []}}]}, ""),
        ({"ops": [{"op": "put", "row": {**row(DB).to_json(), "generation": "1"}}]}, ""),
    ],
)
def test_a_spill_with_wrong_contents_is_an_error_that_says_which(
    store: LocalStore, changed: dict[str, Any], why: str
) -> None:
    write(store)
    (store.root / "spill").mkdir()
    file = store.root / "spill" / "evil.json"
    file.write_text(json.dumps({**BODY, "ops": [], **changed}))
    with pytest.raises(StateInvalid, match=r"evil\.json is no spill") as caught:
        recovered(store, file)
    assert why in caught.value.message


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_spill_changed_anywhere_is_read_or_refused_and_never_anything_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    fold = Fold(PROD, seq=3, epoch=1, lineage="b")
    body = {**BODY, "ops": [op.to_json() for op in (created(), Drop(DB), Put(scope_row(PROD, ScopeKind.STAGE)))]}
    raw = bytearray(json.dumps(body).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = parse_spill(Path("evil.json"), bytes(raw))
    except StateInvalid:
        return
    for step, _ in judge(found, fold):
        assert step.verdict in ("write", "stored", "skip")


def test_a_spill_that_was_altered_is_noticed_and_nothing_is_written(store: LocalStore) -> None:
    file = fenced(store, [[Put(creating(), "intent", "create")]], created(DB, outputs={"id": "größe", "size": 0.1}))
    raw = file.read_bytes()
    for before, after in ((b"0.1", b"0.2"), (b'"seq": ', b'"seq": 1'), (b'"ready"', b'"updating"'), (b"\\u00f6", b"o")):
        assert before in raw
        file.write_bytes(raw.replace(before, after, 1))
        with pytest.raises(StateInvalid, match="its checksum does not match: it was edited or is damaged") as caught:
            recovered(store, file)
        assert "the line with sha256 is removed" in caught.value.hint
        (info,) = spills(store)
        assert "its checksum does not match" in info.problem
    assert store.read_fold(PROD).epoch == 2, "nothing was opened"
    body = json.loads(raw)
    file.write_text(json.dumps(body))
    assert recovered(store, file, dry_run=True).written == 1, "what it says is the same in another layout"
    del body["sha256"]
    body["ops"][0]["row"]["outputs"]["id"] = "typed by a person"
    file.write_text(json.dumps(body))
    recovered(store, file)
    found = stored(store)
    assert found is not None
    assert found.outputs["id"] == "typed by a person"


def test_names_of_spills_never_meet_and_fit_into_a_directory() -> None:
    assert spill_name("a-b/c", 1, "5" * 32) != spill_name("a/b-c", 1, "5" * 32)
    deep = "/".join("a" * 60 for _ in range(8))
    assert len(os.fsencode(spill_name(deep, 1 << 40, "5" * 32))) < 255
    assert spill_name(deep, 1, "5" * 32) != spill_name(deep.replace("a/a", "b/a", 1), 1, "5" * 32)
    assert str(ScopePath.parse(deep)) == deep

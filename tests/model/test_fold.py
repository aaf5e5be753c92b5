from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alchemy.model.fold import Fold, Stamp
from alchemy.model.records import Drop, Emit, Put, Record, decode, encode
from alchemy.model.values import ScopeKind, Status, Target
from tests.model.rows import AT, row, scope
from tests.model.test_records import HOLDER

STAGE = "my-app/prod"
NAMES = [f"{STAGE}/a", f"{STAGE}/b", f"{STAGE}/x/c"]


class Writer:
    """Makes records that follow each other, as a journal does."""

    def __init__(self, fold: Fold) -> None:
        self.fold = fold

    def write(self, *ops: Put | Drop | Emit, kind: str = "commit", epoch: int = 1, **body: Any) -> None:
        fold = self.fold
        made = Record(
            fold.seq + 1, epoch, "s", "w", kind, AT, fold.prev, fold.serial + 1, tuple(o.to_json() for o in ops), body
        )
        line, _ = encode(made)
        fold.apply(*decode(line))


def opened() -> Writer:
    writer = Writer(Fold(STAGE))
    stage = scope(STAGE, ScopeKind.STAGE)
    writer.write(Put(stage), kind="open", holder=HOLDER.to_json(), lineage="1" * 32, seals={})
    return writer


ops = st.lists(
    st.one_of(
        st.builds(
            lambda a, s, n, g, f: Put(row(a, status=s, seq=n, generation=g, former=f)),
            st.sampled_from(NAMES),
            st.sampled_from(list(Status)),
            st.integers(0, 20),
            st.integers(0, 2),
            st.booleans(),
        ),
        st.builds(lambda a, g: Drop(a, generation=g), st.sampled_from(NAMES), st.sampled_from([None, 0, 1, 2])),
        st.builds(lambda p: Put(scope(p)), st.sampled_from([f"{STAGE}/x", f"{STAGE}/y"])),
        st.builds(lambda p: Drop(scope=p), st.sampled_from([f"{STAGE}/x", f"{STAGE}/y"])),
    ),
    max_size=25,
)


@given(ops)
def test_a_snapshot_is_the_fold(made: list[Put | Drop]) -> None:
    writer = opened()
    for op in made:
        writer.write(op)
    writer.write(kind="release", declared={"complete": True, "orphans": [NAMES[0]]})
    fold = writer.fold
    stored = fold.to_snapshot()
    back = Fold.from_snapshot(deepcopy(stored))
    assert back.to_snapshot() == stored
    assert (back.resources, back.scopes, back.stamps) == (fold.resources, fold.scopes, fold.stamps)
    assert (back.seq, back.epoch, back.serial, back.prev) == (fold.seq, fold.epoch, fold.serial, fold.prev)
    assert (back.lineage, back.next_seq, back.declared) == (fold.lineage, fold.next_seq, fold.declared)


@given(ops)
def test_reading_a_snapshot_leaves_it_as_it_was(made: list[Put | Drop]) -> None:
    writer = opened()
    for op in made:
        writer.write(op)
    stored = writer.fold.to_snapshot()
    copy = deepcopy(stored)
    Fold.from_snapshot(stored)
    assert stored == copy


@given(ops, st.integers(0, 25))
def test_a_snapshot_and_the_records_after_it_are_all_records(made: list[Put | Drop], cut: int) -> None:
    whole = opened()
    first = opened()
    for op in made:
        whole.write(op)
    for op in made[:cut]:
        first.write(op)
    second = Writer(Fold.from_snapshot(first.fold.to_snapshot()))
    for op in made[cut:]:
        second.write(op)
    assert second.fold.to_snapshot() == whole.fold.to_snapshot()


@given(ops)
def test_the_number_for_the_next_resource_was_never_given(made: list[Put | Drop]) -> None:
    writer = opened()
    given_out: set[int] = set()
    for op in made:
        writer.write(op)
        if isinstance(op, Put) and hasattr(op.row, "seq"):
            given_out.add(op.row.seq)
        assert writer.fold.next_seq > max(given_out, default=0)


def test_a_row_remembers_the_record_that_wrote_it() -> None:
    writer = opened()
    writer.write(Put(row(NAMES[0])), Put(scope(f"{STAGE}/x")))
    writer.write(Put(row(NAMES[1])))
    stamps = writer.fold.stamps
    assert stamps[NAMES[0]] == stamps["\x00" + f"{STAGE}/x"] == Stamp(1, 2, 2)
    assert stamps[NAMES[1]] == Stamp(1, 3, 3)
    writer.write(Drop(NAMES[0]))
    assert NAMES[0] not in stamps


def test_old_and_new_incarnation_live_side_by_side() -> None:
    writer = opened()
    old = row(NAMES[0], generation=0, former=True)
    writer.write(Put(old), Put(row(NAMES[0], generation=1)))
    assert len(writer.fold.resources) == 2
    current = writer.fold.current(NAMES[0])
    assert current is not None
    assert current.generation == 1
    writer.write(Drop(NAMES[0], generation=0))
    assert list(writer.fold.resources) == [NAMES[0]]


def test_a_run_is_open_until_it_is_released() -> None:
    writer = opened()
    fold = writer.fold
    assert not fold.released
    assert fold.holder == HOLDER
    assert fold.lineage == "1" * 32
    writer.write(kind="release", outcome="done")
    assert fold.released
    assert fold.last_release["outcome"] == "done"


def test_an_orphan_is_what_the_newest_complete_deploy_left_out_until_it_is_written_again() -> None:
    writer = opened()
    fold = writer.fold
    writer.write(Put(row(NAMES[0])), Put(row(NAMES[1])))
    writer.write(kind="release", declared={"complete": True, "orphans": [NAMES[0]]})
    assert fold.orphaned(NAMES[0])
    assert not fold.orphaned(NAMES[1])
    writer.write(kind="open", epoch=2, holder=HOLDER.to_json(), seals={})
    writer.write(kind="release", epoch=2, declared={"complete": False})
    assert fold.orphaned(NAMES[0]), "a run that did not end well says nothing"
    writer.write(Put(row(NAMES[0])))
    assert not fold.orphaned(NAMES[0])


def test_below_is_a_scope_and_what_is_inside_it_only() -> None:
    writer = opened()
    for address in [*NAMES, f"{STAGE}/xy"]:
        writer.write(Put(row(address)))
    assert [r.address for r in writer.fold.below(f"{STAGE}/x")] == [f"{STAGE}/x/c"]
    assert len(writer.fold.below(STAGE)) == 4


def test_the_target_is_kept_with_the_scope() -> None:
    writer = opened()
    assert writer.fold.target is None
    target = Target(account="a" * 32, name="local cloud")
    writer.write(Put(replace(scope(STAGE, ScopeKind.STAGE), target=target)))
    assert writer.fold.target == target
    assert writer.fold.kind is ScopeKind.STAGE

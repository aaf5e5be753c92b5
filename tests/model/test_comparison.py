"""Going back, tried on histories like those that runs write, cut off anywhere: what stays, and what comes back."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemy.model.comparison import UNSURE, compare, inside, same_row, still_declared, whole_ops
from alchemy.model.consequences import consequences
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Op, Put, Record
from alchemy.model.values import ResourceState, ScopeKind, Status, Target
from tests.model.rows import row, scope

PROD = "my-app/prod"
IDS = ("a", "a", "db/x")


class Story:
    """A stage under runs that may be cut off between any two records."""

    def __init__(self) -> None:
        self.fold = Fold(PROD, lineage="l" * 32)
        self.tokens = 0
        self.write(Put(scope(PROD, ScopeKind.STAGE)))

    def write(self, *ops: Op) -> None:
        apply(self.fold, ops)

    def do(self, what: str, id: str, size: int) -> None:
        """One record of a run on the resource `id`, where it makes sense."""
        address = f"{PROD}/{id}"
        now = self.fold.resources.get(address)
        if now is None:
            if what == "begin":
                place = address.rpartition("/")[0]
                if place not in self.fold.scopes:
                    self.write(Put(scope(place)))
                self.write(Put(self.new(address, Status.CREATING, 0, size)))
        elif what == "end":
            self.end(now)
        elif what == "update" and now.status is Status.READY:
            self.write(Put(replace(now, status=Status.UPDATING, pending={"size": size})))
        elif what == "replace" and now.status is Status.READY:
            made = self.new(address, Status.REPLACING, now.generation + 1, size)
            self.write(Put(replace(now, former=True)), Put(made))
        elif what == "delete":
            self.write(Put(replace(now, status=Status.DELETING)))
        elif what == "collect":
            for old in [r for r in self.fold.resources.values() if r.former and r.address == address]:
                self.write(Drop(address, generation=old.generation, kind=old.kind))

    def end(self, now: ResourceState) -> None:
        if now.status is Status.DELETING:
            self.write(Drop(now.address, kind=now.kind))
        elif now.status is not Status.READY:
            props = now.pending or now.props
            done = replace(now, status=Status.READY, outputs={"id": now.token}, pending=None, verify=False)
            self.write(Put(replace(done, props=props)))

    def new(self, address: str, status: Status, generation: int, size: int) -> ResourceState:
        self.tokens += 1
        name = f"{address}-{generation}"
        return row(
            address,
            status=status,
            token=f"t{self.tokens}",
            props={"size": size},
            props_hash="",
            generation=generation,
            physical_name=name,
            seq=self.tokens,
        )


def apply(fold: Fold, ops: Any) -> None:
    """As one record that is durable."""
    record = Record(fold.seq + 1, 1, "s", "w", "commit", "", "", fold.serial + 1, tuple(op.to_json() for op in ops))
    fold.apply(record, "c")


def restored(now: Fold, then: Fold, subject: str = PROD) -> Fold:
    after = copy.deepcopy(now)
    apply(after, compare(now, then, subject, "f", "").ops)
    return after


STEPS = st.tuples(
    st.sampled_from(
        ["begin", "end", "end", "update", "replace", "replace", "delete", "collect", "save", "save", "restore"]
    ),
    st.sampled_from(IDS),
    st.integers(1, 3),
)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Fold, Fold]:
    """(now, then): two moments of one history, which may itself have gone back before."""
    story = Story()
    saved = [copy.deepcopy(story.fold)]
    for what, id, size in draw(st.lists(STEPS, min_size=5, max_size=40)):
        if what == "save":
            saved.append(copy.deepcopy(story.fold))
        elif what == "restore":
            story.fold = restored(story.fold, saved[size % len(saved)])
        else:
            story.do(what, id, size)
    return story.fold, draw(st.sampled_from(saved))


def tokens(fold: Fold, *, unsure: bool = False) -> set[str]:
    rows = fold.resources.values()
    return {r.token for r in rows if not unsure or r.status in UNSURE}


many = settings(max_examples=150)


@many
@given(pairs())
def test_an_object_of_which_nobody_knows_whether_it_exists_is_never_forgotten(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    assert tokens(now, unsure=True) <= tokens(restored(now, then))


@many
@given(pairs())
def test_what_waits_to_be_deleted_goes_on_waiting_unless_it_is_current_again(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    after = restored(now, then)
    current = {r.token for r in after.resources.values() if not r.former}
    names = {r.physical_name for r in after.resources.values() if not r.former}
    for old in now.resources.values():
        if old.former:
            assert old.key in after.resources or old.token in current or old.physical_name in names


@many
@given(pairs())
def test_no_object_is_current_and_waits_to_be_deleted_at_once(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    rows = restored(now, then).resources.values()
    assert not {r.physical_name for r in rows if r.former} & {r.physical_name for r in rows if not r.former}


@many
@given(pairs())
def test_every_finished_row_of_then_is_there_unless_its_object_was_made_anew_and_that_is_under_way(
    pair: tuple[Fold, Fold],
) -> None:
    now, then = pair
    after = restored(now, then)
    for key, wanted in then.resources.items():
        if wanted.former or wanted.status is not Status.READY:
            continue
        found, before = after.resources[key], now.resources.get(key)
        if found.token != wanted.token:
            assert before is not None
            assert before.status is not Status.READY
        else:
            assert found.props == wanted.props
            assert found.outputs == wanted.outputs


@many
@given(pairs())
def test_restoring_twice_is_restoring_once(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    after = restored(now, then)
    assert compare(after, then, PROD, "f", "").same


@many
@given(pairs())
def test_undone_it_is_as_it_was(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    back = restored(restored(now, then), now)
    assert back.resources.keys() == now.resources.keys()
    assert [key for key, row in now.resources.items() if not same_row(row, back.resources[key])] == []
    assert back.scopes.keys() == now.scopes.keys()


@many
@given(pairs(), st.sampled_from([f"{PROD}/db", f"{PROD}/a", f"{PROD}/db/x"]))
def test_nothing_outside_the_subject_is_touched(pair: tuple[Fold, Fold], subject: str) -> None:
    now, then = pair
    after = restored(now, then, subject)
    outside = {key: row for key, row in now.resources.items() if not inside(key, subject)}
    assert {key: row for key, row in after.resources.items() if not inside(key, subject)} == outside
    assert {path for path in now.scopes if not inside(path, subject)} <= after.scopes.keys()
    assert {row.scope for row in after.resources.values()} <= after.scopes.keys()


@many
@given(pairs())
def test_a_journal_that_begins_with_it_holds_the_same(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    begun = Fold(PROD)
    apply(begun, whole_ops(now, compare(now, then, PROD, "f", "").ops))
    after = restored(now, then)
    assert begun.resources.keys() == after.resources.keys()
    assert all(same_row(row, after.resources[key]) for key, row in begun.resources.items())
    assert begun.scopes.keys() == after.scopes.keys()
    assert all(row.verify or row.former for row in begun.resources.values())


@many
@given(pairs())
def test_the_counts_are_those_of_the_rows(pair: tuple[Fold, Fold]) -> None:
    now, then = pair
    found = compare(now, then, PROD, "f", "")
    after = restored(now, then)
    assert {row.address for row in found.appear} == {k for k, r in after.resources.items() if not r.former} - set(
        now.resources
    )
    assert {row.address for row in found.vanish} == {k for k, r in now.resources.items() if not r.former} - set(
        after.resources
    )
    assert len(consequences(found, now, then)) >= (found.counts != (0, 0, 0))


# -- calls without an end, one by one ------------------------------------------------------------------------------


def story(*steps: str) -> tuple[Story, Fold]:
    """Steps on `a`; the state at `save`."""
    told, saved = Story(), Fold(PROD)
    for number, step in enumerate(steps, 1):
        if step == "save":
            saved = copy.deepcopy(told.fold)
        else:
            told.do(step, "a", number)
    return told, saved


def shown(fold: Fold) -> dict[str, str]:
    return {
        f"{row.generation} {'former ' if row.former else ''}{row.token}": str(row.status)
        for row in fold.resources.values()
    }


@pytest.mark.parametrize(
    ("steps", "rows", "unfinished"),
    [
        # being made for the first time: the backup knows nothing of it
        (("save", "begin"), {"0 t1": "creating"}, True),
        # made anew, the object of then is gone already
        (("begin", "end", "save", "delete", "end", "begin"), {"0 t2": "creating"}, True),
        (("begin", "end", "save", "delete", "end", "begin", "end", "delete"), {"0 t2": "deleting"}, True),
        # made anew and finished: the state names the object of then
        (("begin", "end", "save", "delete", "end", "begin", "end"), {"0 t1": "ready"}, False),
        # a replacement under way: the old one is current again, the new one is looked for and deleted
        (("begin", "end", "save", "replace"), {"0 t1": "ready", "1 former t2": "replacing"}, True),
        # a replacement that is done, the old one still waiting: it is current again and waits no more
        (("begin", "end", "save", "replace", "end"), {"0 t1": "ready"}, False),
        # a deletion under way is taken back: the next run looks
        (("begin", "end", "save", "delete"), {"0 t1": "ready"}, False),
        (("save", "begin", "end", "delete"), {"0 t1": "deleting"}, True),
        # the backup saw it being made: its end is known by now
        (("begin", "save", "end"), {"0 t1": "ready"}, False),
        (("begin", "end", "replace", "save", "end"), {"1 t2": "ready", "0 former t1": "ready"}, False),
        # an update since: the object has the new props
        (("begin", "end", "save", "update", "end"), {"0 t1": "updating"}, False),
        (("begin", "end", "save", "update"), {"0 t1": "updating"}, False),
        # being made or deleted then, and gone since
        (("begin", "save", "end", "delete", "end"), {}, False),
        (("begin", "end", "delete", "save", "end"), {}, False),
        (("begin", "save", "end", "delete", "end", "begin", "end"), {"0 t2": "ready"}, False),
        # being updated: it exists, so it leaves the state like any other
        (("save", "begin", "end", "update"), {}, False),
        # an old incarnation that was deleted since does not come back
        (("begin", "end", "replace", "end", "save", "collect"), {"1 t2": "ready"}, False),
        # a former one of an object that then did not know goes on waiting
        (("save", "begin", "end", "replace", "end"), {"0 former t1": "ready"}, False),
    ],
)
def test_a_call_without_an_end(steps: tuple[str, ...], rows: dict[str, str], unfinished: bool) -> None:
    told, saved = story(*steps)
    found = compare(told.fold, saved, PROD, "f", "")
    assert bool(found.unfinished) is unfinished
    assert shown(restored(told.fold, saved)) == rows


def test_an_update_since_is_an_update_to_be_made() -> None:
    told, saved = story("begin", "end", "save", "update", "end")
    after = restored(told.fold, saved).resources[f"{PROD}/a"]
    assert (after.props, after.pending, after.verify) == ({"size": 1}, {"size": 4}, True)
    undone = restored(restored(told.fold, saved), told.fold).resources[f"{PROD}/a"]
    assert (undone.props, undone.pending, undone.status) == ({"size": 4}, None, Status.READY)


def test_undone_what_waited_to_be_deleted_waits_again() -> None:
    told, saved = story("begin", "end", "save", "replace", "end")
    back = restored(restored(told.fold, saved), told.fold)
    assert shown(back) == {"1 t2": "ready", "0 former t1": "ready"}


def test_what_is_restored_is_not_deleted_as_somebody_elses_former_incarnation() -> None:
    """Explicit names: b took the name over that a had, and going back gives it to a again."""
    mine = row(f"{PROD}/a", physical_name="shared")
    old = row(f"{PROD}/b", physical_name="shared", token="t9", former=True)
    now, then = stage(row(f"{PROD}/b", physical_name="other", token="t10"), old), stage(mine)
    assert set(restored(now, then).resources) == {f"{PROD}/a"}


def test_the_owners_row_stays_also_when_nothing_else_does() -> None:
    after = restored(stage(row(f"{PROD}/a")), Fold(PROD, lineage="l" * 32))
    assert (set(after.resources), set(after.scopes)) == (set(), {PROD})


def test_what_comes_back_is_no_orphan_and_what_was_one_stays_one() -> None:
    now, then = stage(row(f"{PROD}/a"), row(f"{PROD}/b", props={"size": 2})), stage(row(f"{PROD}/b"))
    now.declared = {"complete": True, "orphans": [f"{PROD}/a", f"{PROD}/b"], "seq": 99, "next_seq": 4}
    ops = compare(now, then, f"{PROD}/b", "f", "").ops
    assert still_declared(now, ops) == {"complete": True, "orphans": [f"{PROD}/a"], "next_seq": 4}
    now.declared = {"complete": False, "orphans": []}
    assert still_declared(now, ops) is None


def test_a_scope_above_the_subject_comes_back_with_it() -> None:
    deep = row(f"{PROD}/one/two/x")
    then = stage(deep)
    apply(then, [Put(scope(f"{PROD}/one"))])
    after = restored(stage(), then, f"{PROD}/one/two")
    assert set(after.scopes) == {PROD, f"{PROD}/one", f"{PROD}/one/two"}
    assert set(restored(stage(), then, f"{PROD}/one/two/x").scopes) == set(after.scopes)


# -- what is said ------------------------------------------------------------------------------------------------


def stage(*rows: ResourceState, target: str = "") -> Fold:
    fold = Fold(PROD, lineage="l" * 32)
    own = scope(PROD, ScopeKind.STAGE)
    if target:
        own = replace(own, target=Target(account=target * 32, name="Cloudflare"))
    apply(fold, [Put(own), *(Put(scope(path)) for path in sorted({r.scope for r in rows} - {PROD})), *map(Put, rows)])
    return fold


def said(now: Fold, then: Fold, subject: str = PROD) -> str:
    return "\n".join(consequences(compare(now, then, subject, "f", ""), now, then))


def test_each_kind_of_difference_has_its_sentence() -> None:
    now = stage(row(f"{PROD}/gone"), row(f"{PROD}/other", props={"size": 2}), row(f"{PROD}/anew", token="t2"))
    then = stage(row(f"{PROD}/back"), row(f"{PROD}/other", props={"size": 1}), row(f"{PROD}/anew"))
    text = said(now, then)
    assert "gone leaves the state and stays in the cloud, if it is there still: nobody tracks or deletes it" in text
    assert "back returns: the next deploy looks in the cloud" in text
    assert "other goes back in the state only" in text
    assert "anew was made anew since then" in text


def test_who_uses_what_leaves_is_named() -> None:
    api, db = f"{PROD}/compute/api", f"{PROD}/db/main"
    now, then = stage(row(api, db), row(db)), stage(row(api, f"{PROD}/db/old"), row(f"{PROD}/db/old"))
    assert f"{api} uses {db}, which leaves the state" in said(now, then, f"{PROD}/db")
    assert f"{api} needs {PROD}/db/old, which is not in the state" in said(now, then, f"{PROD}/compute")
    assert "uses" not in said(now, then)


def test_a_hundred_names_are_five_and_a_number() -> None:
    text = said(stage(*(row(f"{PROD}/r{n:03d}") for n in range(100))), stage())
    assert "r000, r001, r002, r003, r004 and 95 more leave the state" in text


def test_a_change_of_target_is_said() -> None:
    now, then = stage(target="b"), stage(target="a")
    assert "its target becomes Cloudflare (account aaaaaaaa…) again" in said(now, then)
    assert [type(op) for op in compare(now, then, PROD, "f", "").ops] == [Put]
    assert compare(now, stage(), PROD, "f", "").same, "a target is never taken away"


# -- secrets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "then", "differs"),
    [
        ({"$secret": "v1.a.b", "$equal": "x"}, {"$secret": "v1.c.d", "$equal": "x"}, False),
        ({"$secret": "v1.a.b", "$equal": "x"}, {"$secret": "v1.c.d", "$equal": "y"}, True),
        ({"$secret": "v1.a.b"}, {"$secret": "v1.c.d"}, True),
        ("in the open", {"$secret": "v1.c.d", "$equal": "y"}, True),
        ({"deep": [{"$secret": "v1.a.b", "$equal": "x"}]}, {"deep": []}, True),
        ({"deep": [{"$secret": "v1.a.b", "$equal": "x"}]}, "text", True),
    ],
)
def test_a_secret_is_compared_and_never_shown(now: Any, then: Any, differs: bool) -> None:
    one, other = (row(f"{PROD}/a", props={"env": {"KEY": value}}, props_hash="") for value in (now, then))
    (changed,) = compare(stage(one), stage(other), PROD, "f", "").change
    assert bool(changed.fields) is differs
    shown = repr(changed.fields)
    assert "v1." not in shown
    assert "$equal" not in shown
    if differs:
        assert "•••" in shown
    if now == "in the open":
        assert "in the open" not in shown, "it may be the same, sealed since"

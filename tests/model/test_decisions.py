"""Decisions on a plan: nothing that stays loses what it uses, whatever is decided."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.errors import Refused, StateInvalid
from alchemy.model.decisions import STAYS, Choice, DecidedPlan, Decisions, Fate, apply, everything, foreseen
from alchemy.model.deletions import DeletionPlan, block
from alchemy.model.drafts import Draft, changes, draft, go_on, refuse_changes
from alchemy.model.effects import effects
from alchemy.model.values import Action, ResourceState, ScopeKind, Status
from tests.model.rows import row, scope
from tests.model.test_deletions import API, DB, SITE, STAGE, at, plan, stored_states

D, K, S, F = Choice.DESTROY, Choice.KEEP, Choice.SKIP, Choice.FORGET


def decide(made: DeletionPlan, said: dict[str, Choice], **more: Any) -> DecidedPlan:
    return apply(made, Decisions(made.fingerprint, said, **more))


def fates(decided: DecidedPlan) -> dict[str, Fate]:
    return {step.address.removeprefix(f"{STAGE}/"): step.fate for step in decided.steps}


ALL = {SITE.address: D, API.address: D, DB.address: D}


def test_what_is_not_decided_is_skipped() -> None:
    decided = decide(plan([DB]), {})
    assert fates(decided) == {"database/db": Fate.SKIPPED}
    assert decided.steps[0].why == "not decided"
    assert decided.idle


def test_what_is_decided_runs_in_the_order_of_the_plan() -> None:
    decided = decide(plan([DB, API, SITE]), ALL)
    assert list(fates(decided)) == ["site", "compute/api", "database/db"]
    assert set(fates(decided).values()) == {Fate.RUNS}
    assert [step.number for step in decided.steps] == [1, 2, 3]


@pytest.mark.parametrize("choice", [K, S, None])
def test_what_something_that_stays_uses_is_held_back(choice: Choice | None) -> None:
    said = {key: value for key, value in (ALL | {API.address: choice}).items() if value}
    decided = decide(plan([DB, API, SITE]), said)
    assert fates(decided)["site"] is Fate.RUNS
    assert fates(decided)["database/db"] is Fate.HELD
    assert decided.by_key[DB.address].why == f"still used by {API.address}"


def test_what_is_held_back_holds_back_what_it_uses() -> None:
    assert fates(decide(plan([DB, API, row(at("site"), API.address)]), ALL | {SITE.address: S})) == {
        "site": Fate.SKIPPED,
        "compute/api": Fate.HELD,
        "database/db": Fate.HELD,
    }


def test_in_a_circle_the_one_that_stays_keeps_the_other_although_it_comes_first() -> None:
    one, two = row(at("one"), at("two"), seq=1), row(at("two"), at("one"), seq=2)
    assert fates(decide(plan([one, two]), {one.key: S, two.key: D})) == {"two": Fate.HELD, "one": Fate.SKIPPED}


def test_what_is_forgotten_holds_nothing_back() -> None:
    assert fates(decide(plan([DB, API]), {API.address: F, DB.address: D})) == {
        "compute/api": Fate.FORGOTTEN,
        "database/db": Fate.RUNS,
    }


def test_a_blocked_step_says_how_to_unblock_it() -> None:
    decided = decide(plan([row(DB.address, protect=True)]), {DB.address: D})
    assert (decided.steps[0].fate, decided.steps[0].why) == (Fate.BLOCKED, "it is protected")
    known = "declare it with protect=False and deploy; or `alchemy scope keep ADDRESS`; or `alchemy scope rm ADDRESS`"
    assert decided.steps[0].unblock == known
    used = decide(plan([DB, API], API.address), {DB.address: D}).steps[0]
    assert used.unblock == f"deploy {API.address} without it, or destroy {API.address} first"


@pytest.mark.parametrize(("choice", "fate"), [(K, Fate.KEPT), (F, Fate.FORGOTTEN), (S, Fate.SKIPPED)])
def test_a_blocked_step_can_be_kept_skipped_or_forgotten(choice: Choice, fate: Fate) -> None:
    assert decide(plan([row(DB.address, protect=True)]), {DB.address: choice}).steps[0].fate is fate


def test_what_nothing_loaded_can_delete_is_blocked_with_what_it_uses_and_its_scope() -> None:
    scopes = [scope(at("compute")), scope(at("database")), scope(at("edge"))]
    ghost = row(at("compute", "ghost"), DB.address, kind="acme:Ghost")
    made = plan([DB, ghost, row(at("edge", "x"))], scopes=scopes)
    assert made.scopes == (at("compute"), at("database"), at("edge"))
    blocked = block(made, lambda row: "no class" if row.kind == "acme:Ghost" else "")
    decided = apply(blocked, everything(blocked))
    assert fates(decided) == {"edge/x": Fate.RUNS, "compute/ghost": Fate.BLOCKED, "database/db": Fate.HELD}
    assert dict(decided.scopes) == {at("database"): f"{DB.address} stays", at("edge"): ""}
    assert made.fingerprint != blocked.fingerprint


def test_what_will_be_held_back_is_foreseen() -> None:
    made = plan([row(SITE.address, API.address, protect=True), API, DB])
    assert {step.address: step.blocked for step in foreseen(made)} == {
        SITE.address: "it is protected",
        API.address: f"still used by {SITE.address}",
        DB.address: f"still used by {API.address}",
    }
    assert foreseen(plan([DB, API])) == plan([DB, API]).deletions


def test_what_is_only_forgotten_needs_no_class() -> None:
    made = block(plan([row(DB.address, retain=True)]), lambda _: "no class")
    assert made.blocked == ()


def test_stopping_before_a_step_leaves_it_and_all_behind_it() -> None:
    decided = decide(plan([DB, API, SITE]), ALL | {DB.address: K}, stop_before=API.address)
    assert fates(decided) == {"site": Fate.RUNS, "compute/api": Fate.BEYOND, "database/db": Fate.BEYOND}
    assert decided.steps[1].why == f"the run stops before {API.address}"


def test_an_old_incarnation_stays_while_its_unfinished_successor_stays() -> None:
    old = row(DB.address, former=True)
    new = row(DB.address, generation=1, status=Status.REPLACING)
    decided = decide(plan([old, new]), {old.key: D, new.key: S})
    assert decided.by_key[old.key].fate is Fate.HELD
    assert decided.by_key[old.key].why == "its replacement did not finish"
    done = row(DB.address, generation=1)
    assert decide(plan([old, done]), {old.key: D, done.key: S}).by_key[old.key].fate is Fate.RUNS


def test_an_old_incarnation_cannot_be_kept() -> None:
    old = row(DB.address, former=True)
    with pytest.raises(Refused, match="an incarnation that was replaced is not kept"):
        decide(plan([old], DB.address), {old.key: K})


def test_decisions_about_what_is_not_in_the_plan_are_refused() -> None:
    made = plan([DB])
    for wrong in (
        Decisions(made.fingerprint, {API.address: D}),
        Decisions(made.fingerprint, breakpoints=frozenset([API.address])),
        Decisions(made.fingerprint, stop_before=API.address),
    ):
        with pytest.raises(Refused, match=r"no step of the plan is about my-app/prod/compute/api"):
            apply(made, wrong)


def test_decisions_on_another_plan_are_refused() -> None:
    with pytest.raises(Refused, match="made on another plan"):
        apply(plan([DB, API]), everything(plan([DB])))


def test_a_decision_is_taken_back_and_an_earlier_value_is_the_undo() -> None:
    first = Decisions("f").decide(["a", "b"], D)
    second = first.decide(["b"], K).mark("a")
    assert (dict(second.choices), second.breakpoints) == ({"a": D, "b": K}, frozenset(["a"]))
    assert second.mark("a").breakpoints == frozenset()
    assert dict(second.decide(["a", "b"], None).choices) == {}
    assert dict(first.choices) == {"a": D, "b": D}


# -- words ------------------------------------------------------------------------------------------------------


def test_a_step_tells_its_call_who_uses_it_and_what_is_after() -> None:
    scopes = [scope(at("compute")), scope(at("database"))]
    decided = decide(plan([DB, API], scopes=scopes), {API.address: D, DB.address: D})
    told = effects(decided, DB.address)
    assert told.call == "delete acme:Topic my-app-prod-database-db"
    assert [(step.address, step.fate) for step in told.used_by] == [(API.address, Fate.RUNS)]
    assert [step.address for step in effects(decided, API.address).uses] == [DB.address]
    assert "no backup of the state brings it back" in told.lost
    assert told.after == (
        f"the row of {DB.address} is gone, and so is the object",
        "the scope my-app/prod/database goes with it: nothing is left in it",
    )


def test_a_step_that_only_forgets_sends_nothing() -> None:
    decided = decide(plan([row(DB.address, adopted=True)]), {DB.address: D})
    told = effects(decided, DB.address)
    assert told.call == ""
    assert told.after == (f"the row of {DB.address} is gone; the object stays, it is not ours to delete",)


def test_a_scope_in_which_something_stays_says_what() -> None:
    decided = decide(plan([DB, row(at("database", "old"))], scopes=[scope(at("database"))]), {DB.address: D})
    text = "the scope my-app/prod/database stays: my-app/prod/database/old is not decided"
    assert effects(decided, DB.address).after[1] == text


# -- drafts -----------------------------------------------------------------------------------------------------


def test_a_draft_comes_back_as_it_was() -> None:
    old = row(DB.address, former=True, generation=3)
    made = plan([old, API], DB.address)
    said = Decisions(made.fingerprint, {old.key: D, API.address: S}, frozenset([old.key]), API.address)
    saved = draft(made, "nothing", said)
    assert Draft.parse(json.dumps(saved.to_json()).encode()) == saved


def test_decisions_on_a_plan_that_is_the_same_go_on_as_they_are() -> None:
    made = plan([DB, API])
    said = Decisions(made.fingerprint, {API.address: D, DB.address: K}, stop_before=DB.address)
    refuse_changes(draft(made, "declared", said), made)
    assert go_on(draft(made, "declared", said), made, lambda key: True) == said


def test_what_was_carried_out_is_no_change() -> None:
    made = plan([DB, API, SITE])
    then = draft(made, "declared", Decisions(made.fingerprint, ALL | {SITE.address: K}))
    left = plan([row(DB.address, seq=1, status=Status.DELETING), replaced(SITE, kept=False)], SITE.address)
    with pytest.raises(Refused, match=f"{SITE.address} is no longer to go"):
        go_on(then, left, {SITE.address, DB.address}.__contains__)
    with pytest.raises(Refused, match="is no longer to go"):
        refuse_changes(then, left)


def replaced(one: ResourceState, **changed: Any) -> ResourceState:
    return ResourceState.from_json({**one.to_json(), **changed})


def test_the_rest_of_a_draft_runs_after_a_crash() -> None:
    made = plan([DB, API, SITE])
    then = draft(made, "declared", Decisions(made.fingerprint, ALL, frozenset([SITE.address])))
    left = plan([replaced(DB, status="deleting", error="lost")])
    assert go_on(then, left, {DB.address}.__contains__) == Decisions(left.fingerprint, {DB.address: D})


def test_what_somebody_keeps_since_is_named_where_the_draft_lets_it_go() -> None:
    made = plan([DB, API])
    left = plan([replaced(DB, kept=True), API])
    with pytest.raises(Refused, match=f"{DB.address} is kept now") as refused:
        go_on(
            draft(made, "declared", Decisions(made.fingerprint, {DB.address: D, API.address: D})), left, lambda _: False
        )
    assert refused.value.exit_code == 5
    kept = draft(made, "declared", Decisions(made.fingerprint, {DB.address: K, API.address: D}))
    assert go_on(kept, left, lambda _: False).choices == {API.address: D}


def test_what_came_is_named() -> None:
    made = plan([DB])
    then = draft(made, "declared", everything(made))
    with pytest.raises(Refused, match=rf"{API.address} is to go too \(not in the program\)"):
        go_on(then, plan([DB, API]), lambda key: True)


def test_another_object_at_the_same_address_is_named() -> None:
    then = draft(plan([DB]), "declared", everything(plan([DB])))
    for other in (replaced(DB, token="t1"), replaced(DB, physical_name="db-2"), replaced(DB, protect=True)):
        with pytest.raises(Refused, match=f"{DB.address} is another object, or is treated otherwise"):
            go_on(then, plan([other]), lambda key: True)


def test_what_is_blocked_by_now_is_named_and_what_is_free_by_now_is_not() -> None:
    free, used = plan([DB]), plan([DB, API], API.address)
    assert changes(draft(free, "declared", everything(free)), used) == [f"{DB.address}: still used by {API.address}"]
    then = draft(used, "declared", everything(used))
    assert changes(then, free) == [f"{DB.address}: no longer blocked: still used by {API.address}"]
    assert go_on(then, free, lambda key: True) == everything(free)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.pop("steps"), "draft.steps is missing"),
        (lambda d: d.update(more=1), "draft.more is unknown"),
        (lambda d: d.update(format=2), "format 2 is not 1"),
        (lambda d: d.update(survivors="some"), "survivors is not one of"),
        (lambda d: d["decisions"]["choices"].update({"my-app/prod/x": "delete"}), "'delete' is not one of"),
        (lambda d: d["decisions"].update(breakpoints="x"), "breakpoints is no list"),
        (lambda d: d["steps"][0].update(blocked=None), "steps.1.blocked is no text"),
        (lambda d: d["steps"].append(3), "steps.2 is no object"),
    ],
)
def test_a_draft_that_is_none_says_what_is_wrong(change: Any, said: str) -> None:
    made = plan([DB])
    data = draft(made, "declared", everything(made)).to_json()
    change(data)
    with pytest.raises(StateInvalid, match=said):
        Draft.parse(json.dumps(data).encode())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b'{"a":1,"a":2}', b'"x"', b"null"])
def test_bytes_that_are_no_draft_are_refused(data: bytes) -> None:
    with pytest.raises(StateInvalid, match="not a draft of decisions"):
        Draft.parse(data)


# -- properties -------------------------------------------------------------------------------------------------

choices = st.sampled_from([D, K, S, F, None])


@st.composite
def decided_states(draw: st.DrawFn) -> tuple[list[ResourceState], DecidedPlan]:
    rows, alive = draw(stored_states())
    made = plan(rows, *alive, scopes=[scope(path, ScopeKind.NESTED) for path in (at("a"), at("a", "b"), at("c"))])
    said: dict[str, Choice] = {}
    for step in made.deletions:
        choice = draw(choices)
        if choice and not (choice is K and step.row.former):
            said[step.row.key] = choice
    keys = [step.row.key for step in made.deletions]
    stop = draw(st.sampled_from(["", *keys]))
    return rows, decide(made, said, stop_before=stop)


def staying(rows: Sequence[ResourceState], decided: DecidedPlan) -> list[ResourceState]:
    goes = {step.key for step in decided.steps if step.fate not in STAYS}
    return [one for one in rows if one.key not in goes]


@given(decided_states())
def test_nothing_is_destroyed_that_a_row_that_stays_uses(state: tuple[list[ResourceState], DecidedPlan]) -> None:
    rows, decided = state
    planned = decided.by_key
    for one in staying(rows, decided):
        for step in decided.steps:
            if step.fate is not Fate.RUNS or step.step.action is not Action.DELETE or step.address == one.address:
                continue
            outside = one.key not in planned  # it uses the current incarnation, not a former one
            if step.address in one.depends_on and not (outside and step.step.row.former):
                raise AssertionError(f"{one.key!r} stays and uses {step.key!r}")


@given(decided_states())
def test_only_what_was_said_is_done_and_in_the_order_of_the_plan(
    state: tuple[list[ResourceState], DecidedPlan],
) -> None:
    decided = state[1]
    assert [step.step for step in decided.steps] == list(decided.plan.deletions)
    for step in decided.steps:
        assert step.fate is not Fate.RUNS or (step.choice is D and not step.step.blocked)
        assert step.fate is not Fate.KEPT or step.choice is K
        assert step.fate is not Fate.FORGOTTEN or step.choice is F
        assert step.fate is Fate.RUNS or step.fate in (Fate.KEPT, Fate.FORGOTTEN, Fate.SKIPPED) or step.why


@given(decided_states())
def test_deciding_again_comes_to_the_same(state: tuple[list[ResourceState], DecidedPlan]) -> None:
    decided = state[1]
    assert apply(decided.plan, decided.decisions) == decided
    back = Decisions.from_json(json.loads(json.dumps(decided.decisions.to_json())))
    assert apply(decided.plan, back) == decided


@given(decided_states())
def test_a_scope_goes_only_when_nothing_below_it_stays(state: tuple[list[ResourceState], DecidedPlan]) -> None:
    rows, decided = state
    left = staying(rows, decided)
    for path, why in decided.scopes:
        assert bool(why) == any(one.address.startswith(f"{path}/") for one in left)

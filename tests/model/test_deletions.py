from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from alchemy.model.deletions import Deletion, DeletionPlan, batches, plan_deletions
from alchemy.model.values import Action, ResourceState, ScopeKind, ScopeState
from tests.model.rows import row, scope

STAGE = "my-app/prod"


def plan(
    rows: Sequence[ResourceState],
    *alive: str,
    scopes: Sequence[ScopeState] = (),
    alive_scopes: Sequence[str] = (),
    **how: Any,
) -> DeletionPlan:
    return plan_deletions(STAGE, rows, scopes, alive=set(alive), alive_scopes=set(alive_scopes), **how)


def names(steps: Sequence[Deletion]) -> list[str]:
    return [step.address.removeprefix(STAGE + "/") for step in steps]


def at(*path: str) -> str:
    return "/".join([STAGE, *path])


DB = row(at("database", "db"), seq=1)
API = row(at("compute", "api"), DB.address, seq=2)
SITE = row(at("site"), API.address, DB.address, seq=3)


def test_what_the_program_declares_survives() -> None:
    made = plan([DB, API], DB.address, API.address)
    assert made.deletions == ()
    assert made.waves == ()


def test_dependents_go_before_what_they_use() -> None:
    made = plan([DB, API, SITE])
    assert [names(wave) for wave in made.waves] == [["site"], ["compute/api"], ["database/db"]]
    assert {step.reason for step in made.deletions} == {"not in the program"}


def test_inside_a_wave_the_deepest_scope_goes_first_then_the_newest() -> None:
    rows = [row(at("a"), seq=1), row(at("b"), seq=9), row(at("x", "c"), seq=2), row(at("x", "y", "d"), seq=3)]
    rows.append(row(at("x", "e"), seq=8))
    assert names(plan(rows).waves[0]) == ["x/y/d", "x/e", "x/c", "b", "a"]


def test_an_old_incarnation_goes_although_its_address_is_alive() -> None:
    old = row(DB.address, seq=1, generation=0, former=True)
    new = row(DB.address, seq=4, generation=1)
    user = row(API.address, DB.address, seq=2)
    made = plan([old, new, user], DB.address, API.address)
    assert [step.row.key for step in made.deletions] == [old.key]
    assert "replaced by a newer incarnation" in made.deletions[0].reason
    assert not made.blocked


def test_both_incarnations_go_after_their_dependents() -> None:
    old = row(DB.address, seq=1, generation=0, former=True)
    new = row(DB.address, seq=4, generation=1)
    waves = plan([old, new, row(API.address, DB.address, seq=2)]).waves
    assert [len(wave) for wave in waves] == [1, 2]
    assert names(waves[0]) == ["compute/api"]


def test_what_an_operator_keeps_is_passed_over() -> None:
    kept = row(DB.address, kept=True)
    made = plan([kept, row(at("other"))])
    assert names(made.deletions) == ["other"]
    assert made.kept == (DB.address,)


def test_what_a_kept_row_uses_is_blocked() -> None:
    made = plan([DB, row(API.address, DB.address, kept=True)])
    assert [(step.address, step.blocked) for step in made.blocked] == [(DB.address, f"still used by {API.address}")]


def test_a_protected_orphan_is_a_blocked_step() -> None:
    made = plan([row(DB.address, protect=True)])
    assert [(step.action, step.blocked) for step in made.deletions] == [(Action.DELETE, "it is protected")]


def test_protection_does_not_hold_an_old_incarnation() -> None:
    assert not plan([row(DB.address, protect=True, former=True)], DB.address).blocked


def test_an_orphan_that_a_survivor_still_uses_is_blocked() -> None:
    made = plan([DB, API], API.address)
    assert [(step.address, step.blocked) for step in made.deletions] == [(DB.address, f"still used by {API.address}")]


def test_what_is_retained_or_adopted_is_forgotten_and_never_blocked() -> None:
    flags: list[dict[str, Any]] = [{"retain": True}, {"adopted": True}, {"on_destroy": "forget"}]
    for flag in flags:
        made = plan([row(DB.address, protect=True, **flag), API], API.address)
        assert [(step.action, step.blocked) for step in made.deletions] == [(Action.FORGET, "")], flag


def test_on_destroy_wins_over_adopted() -> None:
    made = plan([row(DB.address, adopted=True, on_destroy="delete")])
    assert made.deletions[0].action is Action.DELETE


def test_two_rows_that_use_each_other_go_by_age_and_it_is_said() -> None:
    one, two = row(at("one"), at("two"), seq=1), row(at("two"), at("one"), seq=2)
    made = plan([one, two])
    assert [names(wave) for wave in made.waves] == [["two"], ["one"]]
    assert len(made.notes) == 1
    assert at("one") in made.notes[0]
    assert at("two") in made.notes[0]


def test_a_cycle_costs_only_an_edge_of_the_cycle() -> None:
    """`base` is older than the cycle and used by it: its own edge to `root` has nothing to do with the cycle."""
    root = row(at("root"), seq=1)
    base = row(at("base"), root.address, seq=2)
    one = row(at("one"), at("two"), base.address, seq=3)
    two = row(at("two"), at("one"), seq=4)
    order = names(plan([root, base, one, two]).deletions)
    assert order.index("base") < order.index("root")
    assert order.index("one") < order.index("base")
    assert order == ["two", "one", "base", "root"]


def test_scopes_go_when_nothing_is_left_in_them_the_deepest_first() -> None:
    scopes = [scope(STAGE, ScopeKind.STAGE), scope(at("a")), scope(at("a", "b")), scope(at("c"))]
    rows = [row(at("a", "b", "x")), row(at("c", "y"))]
    made = plan(rows, at("c", "y"), scopes=scopes, alive_scopes=[STAGE, at("c")])
    assert made.scopes == (at("a", "b"), at("a"))


def test_a_scope_that_the_program_entered_stays_with_those_above_it() -> None:
    scopes = [scope(STAGE, ScopeKind.STAGE), scope(at("a")), scope(at("a", "b"))]
    assert plan([], scopes=scopes, alive_scopes=[at("a", "b")]).scopes == ()


def test_a_scope_with_something_that_cannot_go_stays() -> None:
    scopes = [scope(STAGE, ScopeKind.STAGE), scope(at("a"))]
    assert plan([row(at("a", "x"), protect=True)], scopes=scopes).scopes == ()
    assert plan([row(at("a", "x"), kept=True)], scopes=scopes).scopes == ()


def test_destroy_drops_the_stage_itself_last() -> None:
    scopes = [scope(at("a")), scope(STAGE, ScopeKind.STAGE)]
    assert plan([], scopes=scopes).scopes == (at("a"), STAGE)


def test_a_plan_has_a_fingerprint_of_what_it_does() -> None:
    assert plan([DB, API]).fingerprint == plan([API, DB]).fingerprint
    assert plan([DB, API]).fingerprint != plan([DB]).fingerprint
    assert plan([DB]).fingerprint != plan([row(DB.address, protect=True)]).fingerprint


# -- properties: any stored state, any survivors ----------------------------------------------------------------

PLACES = [STAGE, at("a"), at("a", "b"), at("c")]


@st.composite
def stored_states(draw: st.DrawFn) -> tuple[list[ResourceState], set[str]]:
    """Edges may point anywhere, also in circles, to themselves and to rows that are not there."""
    count = draw(st.integers(1, 9))
    addresses = [f"{draw(st.sampled_from(PLACES))}/r{n}" for n in range(count)]
    flags: list[dict[str, Any]] = [{}, {}, {}, {"protect": True}, {"retain": True}, {"adopted": True}, {"kept": True}]
    flag = st.sampled_from(flags)
    rows: list[ResourceState] = []
    for number, address in enumerate(addresses):
        uses = draw(st.lists(st.sampled_from([*addresses, at("gone")]), max_size=3, unique=True))
        rows.append(row(address, *sorted(set(uses) - {address}), seq=number + 1, **draw(flag)))
        if draw(st.booleans()):
            old = draw(st.lists(st.sampled_from(addresses), max_size=2, unique=True))
            rows.append(row(address, *sorted(set(old) - {address}), seq=number + 50, former=True, generation=7))
    alive = draw(st.sets(st.sampled_from(addresses)))
    return draw(st.permutations(rows)), alive


def edges_between(steps: Sequence[Deletion]) -> list[tuple[int, int]]:
    """(user, used) by position."""
    return [
        (i, j)
        for i, user in enumerate(steps)
        for j, used in enumerate(steps)
        if used.address in user.row.depends_on and used.address != user.address
    ]


def reachable(start: int, edges: list[tuple[int, int]]) -> set[int]:
    found, todo = set(), [start]
    while todo:
        here = todo.pop()
        for one, other in edges:
            if one == here and other not in found:
                found.add(other)
                todo.append(other)
    return found


@given(stored_states())
def test_nobody_goes_before_those_who_use_it_unless_they_use_each_other(
    state: tuple[list[ResourceState], set[str]],
) -> None:
    made = plan(state[0], *state[1])
    steps = made.deletions
    edges = edges_between(steps)
    wave_of = {step.row.key: number for number, wave in enumerate(made.waves) for step in wave}
    reach = {i: reachable(i, edges) for i in range(len(steps))}
    for user, used in edges:
        if user not in reach[used]:
            assert wave_of[steps[user].row.key] < wave_of[steps[used].row.key]
    assert bool(made.notes) == any(i in reach[i] for i in reach)


@given(stored_states())
def test_every_row_is_deleted_once_or_survives(state: tuple[list[ResourceState], set[str]]) -> None:
    rows, alive = state
    made = plan(rows, *alive)
    gone = [step.row.key for step in made.deletions]
    assert len(gone) == len(set(gone))
    stay = {r.key for r in rows if not r.former and (r.address in alive or r.kept)}
    assert set(gone) == {r.key for r in rows} - stay
    assert set(made.kept) == {r.address for r in rows if r.kept and not r.former and r.address not in alive}


@given(stored_states())
def test_nothing_a_survivor_uses_is_taken_from_it(state: tuple[list[ResourceState], set[str]]) -> None:
    rows, alive = state
    made = plan(rows, *alive)
    going = {step.address for step in made.deletions if not step.row.former}
    in_use = {need for r in rows if not r.former and r.address not in going for need in r.depends_on}
    for step in made.deletions:
        if not step.row.former and step.address in in_use and step.action is Action.DELETE:
            assert step.blocked


@given(stored_states(), st.randoms(use_true_random=False))
def test_a_plan_does_not_depend_on_the_order_of_the_rows(
    state: tuple[list[ResourceState], set[str]], random: Any
) -> None:
    rows, alive = state
    other = list(rows)
    random.shuffle(other)
    assert plan(rows, *alive).to_json() == plan(other, *alive).to_json()


@given(stored_states(), st.sampled_from(["sequential", "parallel", "batched"]), st.integers(1, 4))
def test_a_strategy_cuts_a_wave_and_never_changes_the_order(
    state: tuple[list[ResourceState], set[str]], strategy: str, size: int
) -> None:
    for wave in plan(state[0]).waves:
        cut = list(batches(wave, strategy, size))
        assert tuple(step for batch in cut for step in batch) == wave
        largest = {"sequential": 1, "batched": size, "parallel": len(wave)}[strategy]
        assert all(0 < len(batch) <= largest for batch in cut)
        assert len(cut) == -(-len(wave) // largest)

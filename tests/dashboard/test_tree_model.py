"""The tree's rows: folding, filter, marks, and a cursor that stays on the thing, not on the number."""

from __future__ import annotations

import time

from hypothesis import given
from hypothesis import strategies as st

from alchemy_tui.store.filter import parse
from alchemy_tui.store.tree_model import TreeModel
from tests.dashboard import worlds
from tests.dashboard.worlds import NOW, World


def model_of(world: World) -> TreeModel:
    model = TreeModel()
    model.load(world.view(), now=NOW.timestamp())
    return model


def shown(model: TreeModel) -> list[str]:
    return [row.identity for row in model.rows]


def test_a_small_tree_opens_unfolded_and_starts_at_the_top() -> None:
    model = model_of(worlds.demo())
    assert len(model.rows) == len(model.view.scopes) + len(model.view.resources)
    assert (model.cursor, model.index) == ("shop", 0)


def test_a_large_tree_opens_with_its_stages_only() -> None:
    model = model_of(worlds.large(300))
    assert shown(model) == ["big", "big/stage-00", "big/stage-01", "big/stage-02"]


def test_folding_hides_what_is_below_and_unfolding_brings_it_back() -> None:
    model = model_of(worlds.demo())
    before = shown(model)
    assert model.fold(False, "shop/prod/database")
    assert [one for one in before if one not in shown(model)] == [
        "shop/prod/database/db-main",
        "shop/prod/database/sessions",
        "shop/prod/database/db-old",
    ]
    assert model.fold(True, "shop/prod/database")
    assert shown(model) == before


def test_a_fold_survives_a_change_of_the_world() -> None:
    world = worlds.demo()
    model = model_of(world)
    model.fold(False, "shop/prod")
    world.resource("shop/dev/database/new", "cloudflare:D1Database")
    model.load(world.view(2))
    assert "shop/prod/database" not in shown(model)
    assert "shop/dev/database/new" in shown(model)


def test_the_cursor_stays_on_its_row_when_rows_appear_above() -> None:
    world = worlds.demo()
    model = model_of(world)
    model.go_to("shop/dev/compute/api")
    before = model.index
    world.scope("shop/prod/another").resource("shop/prod/another/one", "acme:Thing")
    model.load(world.view(2))
    assert model.cursor == "shop/dev/compute/api"
    assert model.index == before + 2


def test_the_cursor_goes_to_the_scope_above_when_its_row_vanishes() -> None:
    world = worlds.demo()
    model = model_of(world)
    model.go_to("shop/prod/database/db-old")
    kept = World()
    for path in ("shop", "shop/prod", "shop/prod/database"):
        kept.scope(path)
    model.load(kept.view(2))
    assert model.cursor == "shop/prod/database"


def test_jumping_opens_whatever_hides_the_row() -> None:
    model = model_of(worlds.demo())
    model.fold_all(False)
    assert "shop/prod/compute/api" not in shown(model)
    assert model.go_to("shop/prod/compute/api")
    assert model.rows[model.index].identity == "shop/prod/compute/api"


def test_jumping_to_what_does_not_exist_moves_nothing() -> None:
    model = model_of(worlds.demo())
    model.move_to(3)
    before = model.cursor
    assert not model.go_to("shop/gone")
    assert model.cursor == before


def test_left_goes_to_the_scope_above() -> None:
    model = model_of(worlds.demo())
    model.go_to("shop/prod/compute/api")
    assert model.go_up()
    assert model.cursor == "shop/prod/compute"


def test_marks_of_what_is_gone_are_dropped() -> None:
    world = worlds.demo()
    model = model_of(world)
    model.go_to("shop/prod/compute/api")
    model.toggle_mark()
    model.go_to("shop/dev")
    model.toggle_mark()
    model.load(World().scope("shop").scope("shop/dev").view(2))
    assert model.marks == {"shop/dev"}


def test_a_filter_shows_matches_and_the_scopes_above_them() -> None:
    model = model_of(worlds.demo())
    model.set_filter(parse("is:orphan kind:worker"))
    assert shown(model) == ["shop", "shop/prod", "shop/prod/compute", "shop/prod/compute/cron-nightly"]
    assert model.matched == 1
    assert [row.identity for row in model.rows if model.matches(row)] == ["shop/prod/compute/cron-nightly"]


def test_a_filter_moves_the_cursor_to_the_first_match_and_keeps_one_that_matches() -> None:
    model = model_of(worlds.demo())
    model.set_filter(parse("cron"))
    assert model.cursor == "shop/prod/compute/cron-nightly"
    model.set_filter(parse(""))
    model.go_to("shop/dev/compute/api")
    model.set_filter(parse("api"))
    assert model.cursor == "shop/dev/compute/api"


def test_clearing_the_filter_brings_every_row_and_the_old_folds_back() -> None:
    model = model_of(worlds.demo())
    model.fold(False, "shop/prod/database")
    before = shown(model)
    model.set_filter(parse("api"))
    model.set_filter(parse(""))
    assert shown(model) == before


def test_a_filter_that_matches_nothing_leaves_no_row_and_no_cursor() -> None:
    model = model_of(worlds.demo())
    model.set_filter(parse("nowhere"))
    assert (model.rows, model.index, model.current) == ([], -1, None)
    model.set_filter(parse(""))
    assert model.current is not None


def test_a_new_match_appears_while_the_filter_is_on() -> None:
    world = worlds.demo()
    model = model_of(world)
    model.set_filter(parse("brand"))
    assert not model.rows
    world.resource("shop/prod/database/brand-new", "cloudflare:D1Database")
    model.load(world.view(2), structure=True)
    assert shown(model)[-1] == "shop/prod/database/brand-new"


def test_no_state_at_all_is_no_rows() -> None:
    model = model_of(worlds.empty())
    assert (model.rows, model.index) == ([], -1)
    assert not model.move_by(1)
    assert not model.toggle()


names = st.sampled_from(["a", "b", "c", "d"])
worlds_of_some = st.lists(st.tuples(names, names, names), max_size=24)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("world"), worlds_of_some),
        st.tuples(st.just("move"), st.integers(-5, 5)),
        st.tuples(st.just("fold"), st.booleans()),
        st.tuples(st.just("filter"), st.sampled_from(["", "a", "b c", "is:ok", "d|a", "-a"])),
        st.tuples(st.just("mark"), st.none()),
        st.tuples(st.just("all"), st.booleans()),
    ),
    max_size=25,
)


def built(triples: list[tuple[str, str, str]]) -> World:
    world = World()
    for app, stage, id in triples:
        for path in (f"app-{app}", f"app-{app}/st-{stage}"):
            if path not in world.scopes:
                world.scope(path)
        if f"app-{app}/st-{stage}/{id}" not in world.resources:
            world.resource(f"app-{app}/st-{stage}/{id}", "acme:Thing")
    return world


@given(worlds_of_some, steps)
def test_whatever_happens_the_cursor_is_on_its_thing_or_above_it(
    start: list[tuple[str, str, str]], happenings: list[tuple[str, object]]
) -> None:
    model = model_of(built(start))
    for kind, value in happenings:
        before = model.cursor
        if kind == "world":
            model.load(built(value).view(2))  # type: ignore[arg-type]
            visible = set(shown(model))
            expected = before
            while expected and expected not in visible:
                expected = expected.rpartition("/")[0]
            if expected:
                assert model.cursor == expected
        elif kind == "move":
            model.move_by(int(value))  # type: ignore[call-overload]
        elif kind == "fold":
            model.fold(bool(value))
            assert model.cursor == before
        elif kind == "filter":
            model.set_filter(parse(str(value)))
        elif kind == "mark":
            model.toggle_mark()
        else:
            model.fold_all(bool(value))
        rows = shown(model)
        assert len(rows) == len(set(rows))
        assert (model.index == -1) == (not rows)
        if rows:
            assert rows[model.index] == model.cursor
        assert all(mark in model.view.scopes or mark in model.view.resources for mark in model.marks)
        for number, row in enumerate(model.rows):
            assert row.depth <= (model.rows[number - 1].depth + 1 if number else 0)


def test_ten_thousand_rows_move_fold_and_filter_without_being_felt() -> None:
    model = model_of(worlds.large(1000))
    model.fold_all(True)
    assert len(model.rows) > 10_000

    def fastest(action: object, times: int = 5) -> float:
        best = 9.0
        for _ in range(times):
            began = time.perf_counter()
            action()  # type: ignore[operator]
            best = min(best, time.perf_counter() - began)
        return best

    assert fastest(lambda: model.move_by(1)) < 0.005
    assert fastest(lambda: model.set_filter(parse("res-05 is:ok"))) < 0.25
    model.set_filter(parse(""))
    model.go_to("big/stage-05")

    def fold_and_unfold() -> None:
        model.fold(False)
        model.fold(True)

    assert fastest(fold_and_unfold) < 0.05

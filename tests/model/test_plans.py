"""The file of a plan: what was written comes back, and anything else is refused with the reason."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alchemy.errors import StateInvalid
from alchemy.model.canonical import digest
from alchemy.model.changes import Change, Difference, decide
from alchemy.model.moves import moves
from alchemy.model.plans import PlannedChange, PlannedDeletion, PlannedScope, SavedPlan, is_plan, wish_mark
from alchemy.model.values import Action
from tests.model.rows import row, wish

ADDRESS = "my-app/prod/topic"
DIFF = Difference("size", 1, {"a": [1.5, None, "ü"]}, unknown=False)


def change(**given: Any) -> PlannedChange:
    known: dict[str, Any] = {"address": ADDRESS, "kind": "acme:Topic", "action": "update", "reason": "changed: size"}
    return PlannedChange(**{**known, "wish": "w", "open": ("uses",), "diff": (DIFF,), **given})


def deletion(**given: Any) -> PlannedDeletion:
    known: dict[str, Any] = {"address": "my-app/prod/old", "generation": -1, "kind": "acme:Topic", "action": "delete"}
    return PlannedDeletion(**{**known, "reason": "not in the program", **given})


def scope(**given: Any) -> PlannedScope:
    known: dict[str, Any] = {"path": "my-app/prod", "target": "local cloud", "account": "a" * 32, "serial": 4}
    known |= {"epoch": 2, "lineage": "l", "rows": ((ADDRESS, -1, "m"), ("my-app/prod/old", 3, "n"))}
    return PlannedScope(**{**known, "changes": (change(),), "deletions": (deletion(),), **given})


def plan(**given: Any) -> SavedPlan:
    known: dict[str, Any] = {"made_at": "2026-01-01T00:00:00.000Z", "program": "alchemy_run.py", "program_digest": "d"}
    return SavedPlan(**{**known, "stage": "prod", "adopt": False, "scopes": (scope(),), **given})


def read(frame: Any) -> SavedPlan:
    return SavedPlan.from_bytes(orjson.dumps(frame), "prod.plan")


def resealed(**changed: Any) -> dict[str, Any]:
    """A frame whose checksum holds, whatever is in it."""
    frame = json.loads(plan().to_bytes())
    frame["plan"] |= changed
    frame["checksum"] = digest(frame["plan"])
    return dict(frame)


def test_what_was_written_comes_back() -> None:
    assert SavedPlan.from_bytes(plan().to_bytes(), "prod.plan") == plan()


def test_another_layout_of_the_same_plan_is_the_same_plan() -> None:
    assert read(json.loads(plan().to_bytes())) == plan()


def test_a_torn_file_is_no_plan_wherever_it_was_cut() -> None:
    data = plan().to_bytes().rstrip()
    for end in range(0, len(data), 7):
        with pytest.raises(StateInvalid, match=r"prod\.plan"):
            SavedPlan.from_bytes(data[:end], "prod.plan")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"update"', '"replace"'),
        ('"serial": 4', '"serial": 5'),
        ('"account": "aaaa', '"account": "bbbb'),
        ('"blocked": ""', '"blocked": "x"'),
        ('"fingerprint": "', '"fingerprint": "0'),
    ],
)
def test_an_edited_plan_is_refused(old: str, new: str) -> None:
    text = plan().to_bytes().decode()
    assert text.count(old) == 1
    with pytest.raises(StateInvalid, match="was changed after it was written") as error:
        SavedPlan.from_bytes(text.replace(old, new).encode(), "prod.plan")
    assert error.value.exit_code == 4
    assert "alchemy plan --out" in error.value.hint


def test_a_plan_of_a_newer_version_is_told_from_a_damaged_one() -> None:
    with pytest.raises(StateInvalid, match="of format 2; this version of alchemy reads format 1"):
        read({**json.loads(plan().to_bytes()), "format": 2, "more": True})


@pytest.mark.parametrize("frame", [{}, [], "x", 1, None, {"type": "decisions", "format": 1}], ids=str)
def test_something_else_is_no_plan(frame: Any) -> None:
    with pytest.raises(StateInvalid, match="is not a plan"):
        read(frame)


HOSTILE: list[dict[str, Any]] = [
    {"scopes": None},
    {"scopes": [[]]},
    {"scopes": [{}]},
    {"stage": 1},
    {"adopt": "yes"},
    {"more": 1},
    {"scopes": [json.loads(plan().to_bytes())["plan"]["scopes"][0] | {"rows": [["a", True, "m"]]}]},
    {"scopes": [json.loads(plan().to_bytes())["plan"]["scopes"][0] | {"rows": ["abc"]}]},
    {"scopes": [json.loads(plan().to_bytes())["plan"]["scopes"][0] | {"serial": "4"}]},
    {"scopes": [json.loads(plan().to_bytes())["plan"]["scopes"][0] | {"changes": [{"address": ADDRESS}]}]},
]


@pytest.mark.parametrize("changed", HOSTILE, ids=lambda changed: str(changed)[:60])
def test_a_good_checksum_over_another_shape_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(StateInvalid, match="is no plan of alchemy"):
        read(resealed(**changed))


def test_a_good_checksum_over_another_plan_has_another_fingerprint() -> None:
    with pytest.raises(StateInvalid, match="its fingerprint does not hold"):
        read(resealed(scopes=[json.loads(plan().to_bytes())["plan"]["scopes"][0] | {"serial": 5}]))


@given(st.binary(max_size=80), st.integers(0, 4000))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_whatever_is_in_the_file_it_is_read_or_refused(junk: bytes, at: int) -> None:
    data = plan().to_bytes()
    found = None
    try:
        found = SavedPlan.from_bytes(data[:at] + junk + data[at + len(junk) :], "p")
    except StateInvalid:
        return
    assert found == plan()


def test_only_a_plan_looks_like_one() -> None:
    assert is_plan(plan().to_bytes())
    assert is_plan(plan().to_bytes()[:300])
    assert is_plan(orjson.dumps(json.loads(plan().to_bytes())))
    assert not is_plan(b"")
    assert not is_plan(b'{"name": "alchemy plan", "type": "alchemy plan"}')


# -- what makes two plans different ----------------------------------------------------------------------------------

DIFFERENT: list[tuple[PlannedScope, str]] = [
    (scope(account="b" * 32, target="Cloudflare"), "planned for local cloud, now it would go to Cloudflare"),
    (scope(serial=6), "its state was at serial 4 when planned, now it is at 6"),
    (scope(lineage="m"), "its state is another one of the same serial 4"),
    (
        scope(serial=5, rows=((ADDRESS, -1, "x"),)),
        f"now it is at 5: my-app/prod/old (former) is gone, {ADDRESS} changed",
    ),
    (scope(changes=()), f"{ADDRESS}: planned update (changed: size), now the program does not declare it"),
    (
        scope(changes=(change(action="replace", reason="fixed"),)),
        f"{ADDRESS}: planned update (changed: size), now replace",
    ),
    (scope(changes=(change(wish="v", diff=()),)), "now update (changed: size) to other values: size"),
    (scope(changes=(change(kind="acme:Queue"),)), "now update (changed: size) of kind acme:Queue"),
    (scope(changes=(change(), change(address="my-app/prod/new"))), "my-app/prod/new: not in the plan, now update"),
    (scope(deletions=()), "my-app/prod/old: planned delete (not in the program), now it stays"),
    (scope(deletions=(deletion(action="forget"),)), "planned delete (not in the program), now forget"),
    (scope(deletions=(deletion(blocked="it is protected"),)), "now delete (blocked: it is protected)"),
    (scope(deletions=(deletion(), deletion(generation=2))), "my-app/prod/old: not in the plan, now delete"),
]


@pytest.mark.parametrize(("other", "said"), DIFFERENT, ids=lambda value: value if isinstance(value, str) else "")
def test_what_moved_is_named(other: PlannedScope, said: str) -> None:
    (found,) = moves(plan(), plan(scopes=(other,)))
    assert said in found
    assert plan().fingerprint != plan(scopes=(other,)).fingerprint


def test_another_set_of_scopes_is_another_plan() -> None:
    dev = scope(path="my-app/dev")
    assert moves(plan(), plan(scopes=(scope(), dev))) == ["my-app/dev: not in the plan"]
    assert moves(plan(scopes=(scope(), dev)), plan()) == ["my-app/dev: the program does not open it any more"]


def test_a_local_cloud_that_was_not_there_yet_is_whichever_is_there_now() -> None:
    planned = plan(scopes=(scope(account=""),))
    assert moves(planned, plan()) == []
    assert moves(planned, plan(scopes=(scope(target="Cloudflare"),))) != []


def test_where_the_program_lies_and_when_it_was_planned_is_for_people() -> None:
    other = plan(made_at="2027", program="/elsewhere/run.py", program_digest="other")
    assert moves(plan(), other) == []
    assert plan().fingerprint == other.fingerprint


# -- secrets ----------------------------------------------------------------------------------------------------------


def sealed(cipher: str, equal: str) -> dict[str, Any]:
    return {"$secret": cipher, "$equal": equal}


def test_a_secret_is_dots_in_the_file_and_its_hash_in_the_comparison() -> None:
    before = row(ADDRESS, props={"key": sealed("v1.old", "e1"), "size": 1})
    wanted = wish(ADDRESS, props={"key": sealed("v1.new", "e2"), "size": 1})
    made = plan(scopes=(scope(changes=(PlannedChange.of(decide(before, wanted)),)),))
    assert b"v1.new" not in made.to_bytes()
    assert b"v1.old" not in made.to_bytes()
    again = wish(ADDRESS, props={"key": sealed("v1.third", "e2"), "size": 1})
    assert wish_mark(wanted, ()) == wish_mark(again, ())
    assert wish_mark(wanted, ()) != wish_mark(wish(ADDRESS, props={"key": sealed("v1.new", "e3"), "size": 1}), ())


def test_a_secret_that_has_no_key_yet_is_left_open() -> None:
    wanted = wish(ADDRESS, props={"key": {"deep": [sealed("", "")]}, "size": 1})
    made = PlannedChange.of(Change(address=ADDRESS, kind="acme:Topic", action=Action.CREATE, reason="", desired=wanted))
    assert made.open == ("key",)
    later = replace(wanted, props={"key": {"deep": [sealed("v1.x", "e")]}, "size": 1})
    assert wish_mark(later, made.open) == made.wish

"""`scope validate --accept-edit`: a possible hand edit becomes a record, an impossible one is refused by its field."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from alchemy import Refused, Scope, StateInvalid, UsageError, alchemy
from alchemy.operations.accepting import EditReport, accept_edits, plan_edits
from alchemy.operations.restoring import restore
from alchemy.settings import Options
from alchemy.store.local import LocalStore
from alchemy.store.viewfile import examine
from tests.scenarios.world import PROD, Cloud, Thing, World

OPTIONS = Options(lock_timeout=0.0)


async def two(scope: Scope) -> None:
    Thing("a")
    async with alchemy.run("inner"):
        Thing("b", size=2)


def view(world: World, id: str) -> Path:
    return world.layout.resource_view(f"{PROD}/{id}")


def edit(file: Path, **changed: Any) -> None:
    """As with an editor; None takes the field away."""
    body = {**json.loads(file.read_bytes()), **changed}
    file.write_text(json.dumps({name: value for name, value in body.items() if value is not None}, indent=4))


def accepted(world: World, scope: str = PROD, *only: str) -> EditReport:
    store = LocalStore(world.layout, "9" * 32)
    return asyncio.run(accept_edits(store, plan_edits(store, scope, only), OPTIONS))


def test_an_edit_becomes_a_record_and_is_verified_by_the_next_run(world: World, cloud: Cloud) -> None:
    world.deploy(two)
    edit(view(world, "inner/b"), protect=True, props={"size": 5, "region": "eu", "uses": None}, note="mine")
    (found,) = plan_edits(world.store, PROD).edits
    assert found.subject == f"{PROD}/inner/b"
    assert [(d.path, d.before, d.after) for d in found.differences] == [
        ("note", None, "mine"),
        ("props.size", 2, 5),
        ("protect", None, True),
    ]
    report = accepted(world)
    row = world.rows()["inner/b"]
    assert (row.protect, row.props["size"], row.extra, row.verify) == (True, 5, {"note": "mine"}, True)
    assert row.props_hash != world.rows()["a"].props_hash
    assert not examine(view(world, "inner/b").read_bytes()).problem, "the file is whole again"
    cloud.log.clear()
    world.deploy(two)
    assert cloud.log == ["read b", "update b"], "the program says 2 again"
    asyncio.run(restore(world.store, PROD, report.before))
    assert world.rows()["inner/b"].props["size"] == 2


def test_only_what_was_asked_for_is_taken_over(world: World, cloud: Cloud) -> None:
    world.deploy(two)
    for id in ("a", "inner/b"):
        edit(view(world, id), retain=True)
    assert accepted(world, PROD, f"{PROD}/a").accepted == (f"{PROD}/a",)
    assert accepted(world, f"{PROD}/inner").accepted == (f"{PROD}/inner/b",)
    assert all(row.retain for row in world.rows().values())
    with pytest.raises(UsageError, match="no file of my-app/prod was edited"):
        accepted(world)
    with pytest.raises(UsageError, match="is not in my-app/prod"):
        accepted(world, PROD, f"{PROD}/nobody")


def test_the_view_of_a_scope_can_be_edited_too(world: World, cloud: Cloud) -> None:
    world.deploy(two)
    edit(world.layout.scope_view(f"{PROD}/inner"), comment="ours")
    edit(world.layout.scope_view(PROD), comment="the stage")
    accepted(world)
    assert world.fold().scopes[f"{PROD}/inner"].extra == {"comment": "ours"}
    assert world.fold().scopes[PROD].extra == {"comment": "the stage"}


def test_a_creation_that_somebody_knows_to_be_done_can_be_said_to_be_ready(world: World, cloud: Cloud) -> None:
    cloud.lost.add("create a")
    with pytest.raises(Exception, match="failed"):
        world.deploy(two, timeout=0.05, max_retries=0)
    cloud.lost.clear()
    edit(view(world, "a"), status="ready", outputs={"uid": "uid-00000001", "area": 1})
    accepted(world)
    cloud.log.clear()
    world.deploy(two)
    assert "create a" not in cloud.log
    assert world.rows()["a"].status == "ready"


IMPOSSIBLE: dict[str, tuple[dict[str, Any], str]] = {
    "another address": ({"address": f"{PROD}/other"}, "address"),
    "another kind": ({"kind": "world:Solid"}, "kind cannot be changed by hand"),
    "another object": ({"physical_name": "elsewhere"}, "physical_name cannot be changed by hand"),
    "another token": ({"token": "t"}, "token cannot"),
    "another incarnation": ({"generation": 3}, "generation cannot"),
    "an unknown status": ({"status": "gone"}, "status"),
    "an intent": ({"status": "deleting"}, "status: only 'ready' can be set by hand"),
    "props that are no object": ({"props": []}, "props"),
    "a flag that is no flag": ({"protect": "yes"}, "protect"),
    "a time that is no number": ({"timeout": "60"}, "timeout"),
    "edges that are no texts": ({"depends_on": [1]}, "depends_on"),
    "no outputs": ({"outputs": None}, "outputs"),
    "another type": ({"type": "scope"}, "type"),
    "a newer format": ({"format": 2}, "format"),
    "another place in the journal": ({"journal": {"epoch": 1, "seq": 99, "serial": 99}}, "journal"),
    "no place in the journal": ({"journal": None}, "journal"),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_what_cannot_be_is_refused_with_its_field(what: str, world: World, cloud: Cloud) -> None:
    world.deploy(two)
    changed, field = IMPOSSIBLE[what]
    edit(view(world, "a"), **changed)
    before = world.tree()
    with pytest.raises(StateInvalid) as refused:
        accepted(world)
    assert "my-app/prod/resources/a/state.json" in refused.value.message
    assert field in refused.value.message
    assert "--fix" in refused.value.hint
    assert world.tree() == before


TORN = [
    b'{"type": "resource",',
    b'{"a": 1, "a": 2}',
    b'{"a": NaN}',
    b"[]",
    b'"text"',
    b"\xef\xbb\xbf{}",
    b"{" * 5000,
    b'{"a": "\\ud800"}',
    b'{"a": ' + b"9" * 50 + b"}",
    b"\xff\xfe",
]


@pytest.mark.parametrize("data", TORN)
def test_torn_and_hostile_files_are_refused_by_name(data: bytes, world: World, cloud: Cloud) -> None:
    world.deploy(two)
    view(world, "a").write_bytes(data)
    edit(view(world, "inner/b"), retain=True)
    with pytest.raises(StateInvalid, match=r"resources/a/state\.json"):
        accepted(world)
    assert accepted(world, PROD, f"{PROD}/inner/b").accepted == (f"{PROD}/inner/b",), "the other can be taken alone"
    assert view(world, "a").read_bytes() == data


def test_what_was_edited_or_written_meanwhile_is_refused(world: World, cloud: Cloud) -> None:
    world.deploy(two)
    edit(view(world, "a"), retain=True)
    plan = plan_edits(world.store, PROD)
    edit(view(world, "a"), retain=False, protect=True)
    with pytest.raises(Refused, match="changed meanwhile"):
        asyncio.run(accept_edits(world.store, plan, OPTIONS))
    assert not world.rows()["a"].protect


def test_a_run_puts_the_file_back_and_keeps_the_edit_beside_it(world: World, cloud: Cloud) -> None:
    async def larger(scope: Scope) -> None:
        Thing("a", size=9)
        async with alchemy.run("inner"):
            Thing("b", size=2)

    world.deploy(two)
    edit(view(world, "a"), retain=True)
    world.deploy(larger)
    assert not world.rows()["a"].retain
    assert view(world, "a").with_name("state.json.edited").exists()
    with pytest.raises(UsageError, match="no file"):
        accepted(world)


def test_a_file_that_is_only_laid_out_anew_is_no_edit(world: World, cloud: Cloud) -> None:
    world.deploy(two)
    edit(view(world, "a"))
    with pytest.raises(UsageError, match="no file of"):
        accepted(world)

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alchemy import cloudflare
from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model.paths import ScopePath
from alchemy.model.values import ResourceState, Status
from alchemy.operations.imports.flat import read_flat
from alchemy.operations.imports.planning import Plan, make_plan, make_rows
from alchemy.operations.imports.source import Found, Hidden, Linked, Source, hidden_in
from alchemy.operations.imports.translation import kind_of, translate
from alchemy.operations.imports.tsvalues import Values
from alchemy.operations.imports.typescript import default_name, read_tree
from alchemy.operations.imports.unsealing import Unsealer
from tests.operations.trees import NEW, OLD, PASSWORD, SALTED, lay_out

assert cloudflare.__all__  # importing it defines the kinds
PROD = ScopePath.parse("shop/prod")
FILE = Path("state.json")


def flat(body: Any) -> Source:
    return read_flat(body if isinstance(body, bytes) else json.dumps(body).encode(), FILE)


def planned(source: Source, into: ScopePath = PROD) -> Plan:
    return make_plan(source, into)


def rows(source: Source, into: ScopePath = PROD) -> dict[str, ResourceState]:
    """With what was sealed shown as its pointer."""
    made = make_rows(
        make_plan(source, into), lineage="l", run="R-1", at="2024", first=1, seal=lambda _, scope, id, pointer: pointer
    )
    return {row.key.replace("\x00", "#"): row for row in made}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(NEW, tmp_path_factory.mktemp("new") / ".alchemy")


@pytest.fixture(scope="module")
def old_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(OLD, tmp_path_factory.mktemp("old") / ".alchemy")


# -- flat files -------------------------------------------------------------------------------------------------------

DATABASE = {"kind": "cloudflare:D1Database", "outputs": {"database_id": "d-1", "database_name": "shop-db"}}


def test_an_object_by_id_and_a_list_of_resources_say_the_same() -> None:
    by_id = flat({"resources": {"db": DATABASE, "api": {"kind": "acme:Topic", "depends_on": ["db"]}}})
    listed = flat({"resources": [{"id": "db", **DATABASE}, {"id": "api", "kind": "acme:Topic", "depends_on": ["db"]}]})
    assert rows(by_id).keys() == rows(listed).keys() == {"shop/prod/db", "shop/prod/api"}
    assert by_id.found == listed.found
    assert rows(by_id)["shop/prod/api"].depends_on == ("shop/prod/db",)


def test_a_database_of_a_flat_file_becomes_our_row() -> None:
    row = rows(flat({"resources": {"db": {**DATABASE, "props": {"location_hint": "weur"}}}}))["shop/prod/db"]
    assert row.status is Status.READY
    assert row.verify
    assert row.physical_name == "shop-db"
    assert row.outputs == {"database_id": "d-1", "database_name": "shop-db"}
    assert row.props == {"name": None, "location_hint": "weur", "jurisdiction": None, "read_replication": None}


@pytest.mark.parametrize(
    ("body", "because"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b'{"resources": {}, "resources": {}}', "stands twice"),
        (b'{"resources": {"a": {"kind": "x:Y", "props": {"n": NaN}}}}', "NaN"),
        ([], "has no `resources`"),
        ({"res": {}}, "has no `resources`"),
        ({"resources": "many"}, "neither an object nor a list"),
        ({"resources": [{"kind": "x:Y"}]}, "/resources/0 has no id"),
        ({"resources": [{"id": "a", "kind": "x:Y"}] * 2}, "twice"),
        ({"resources": {"a": 1}}, "/resources/a is not an object"),
        ({"resources": {"a": {}}}, "/resources/a has no kind"),
        ({"resources": {"a": {"kind": ["x"]}}}, "has no kind"),
        ({"resources": {"a": {"kind": "x:Y", "id": "b"}}}, "its id is 'b'"),
        ({"resources": {"a": {"kind": "x:Y", "props": []}}}, "/resources/a/props is not an object"),
        ({"resources": {"a": {"kind": "x:Y", "outputs": 1}}}, "outputs is not an object"),
        ({"resources": {"a": {"kind": "x:Y", "status": "odd"}}}, "status is 'odd'"),
        ({"resources": {"a": {"kind": "x:Y", "status": []}}}, "status is"),
        ({"resources": {"a": {"kind": "x:Y", "name": 5}}}, "name is not a string"),
        ({"resources": {"a": {"kind": "x:Y", "depends_on": "b"}}}, "depends_on is not a list"),
    ],
)
def test_another_shape_is_refused_with_an_example(body: Any, because: str) -> None:
    with pytest.raises(StateInvalid, match=r"state\.json") as caught:
        flat(body)
    assert because in caught.value.message
    assert '"resources": {"main-db"' in caught.value.hint


def test_what_a_flat_file_holds_besides_is_named_not_dropped_in_silence() -> None:
    source = flat({"version": 3, "resources": {"a": {"kind": "x:Y", "depends_on": ["gone"], "tags": [1]}}})
    assert "version" in source.notes[0]
    assert "'gone', which is not in the file" in source.found[0].notes[0]
    assert "tags" in source.found[0].notes[1]


def test_two_ids_that_would_be_one_address_are_refused() -> None:
    with pytest.raises(StateInvalid, match="twice"):
        planned(flat({"resources": {"a/b": {"kind": "x:Y"}, "a:b": {"kind": "x:Y"}}}))


def test_an_id_that_cannot_be_one_names_the_file() -> None:
    with pytest.raises(StateInvalid, match=r"state\.json: .*longer than 256"):
        planned(flat({"resources": {"x" * 300: {"kind": "x:Y"}}}))


# -- kinds ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("cloudflare::D1Database", "cloudflare:D1Database"),
        ("cloudflare:Queue", "cloudflare:Queue"),
        ("acme::Topic", "acme:Topic"),
        ("acme::queue::Topic", "acme:queue-Topic"),
        ("acme/x::Topic", "acme-x:Topic"),
        ("Topic", "custom:Topic"),
        ("::", "custom:unnamed"),
        ("a\x1b::b", "a-:b"),
    ],
)
def test_a_kind_has_one_colon_here(theirs: str, ours: str) -> None:
    assert kind_of(theirs) == ours


def test_every_kind_of_ours_has_a_table_that_gives_what_a_program_would_have_stored() -> None:
    for name in cloudflare.__all__:
        cls = getattr(cloudflare, name)
        made = translate(cls.kind, {}, {"id": "1", "name": "n", "namespaceId": "1", "title": "n"})
        declared = {prop: field.default for prop, field in cls._fields.items() if not field.is_output}
        required = {"entrypoint"}
        assert made.props.keys() == declared.keys()
        assert {k: v for k, v in made.props.items() if k not in required and k != "jurisdiction"} == {
            k: v for k, v in declared.items() if k not in required and k != "jurisdiction"
        }
        outputs = {output for output, field in cls._fields.items() if field.is_output}
        assert outputs <= made.outputs.keys()
        assert made.name == "n"


def test_what_was_not_to_be_deleted_is_retained() -> None:
    assert translate("cloudflare:R2Bucket", {"delete": False}, {"name": "n"}).retain


def test_an_object_that_only_ran_on_a_laptop_has_no_id() -> None:
    made = translate("cloudflare:D1Database", {}, {"id": "", "name": "shop-db", "dev": {"id": "x"}})
    assert made.outputs == {}
    assert made.name == "shop-db"
    assert "looks it up by name" in made.notes[0]


# -- trees ------------------------------------------------------------------------------------------------------------


def test_a_real_tree_becomes_rows_with_the_names_and_ids_of_the_cloud(tree: Path) -> None:
    found = rows(read_tree(tree))
    assert {address: (row.kind, str(row.status)) for address, row in found.items()} == {
        "shop/prod/main-db": ("cloudflare:D1Database", "ready"),
        "shop/prod/cache": ("cloudflare:KVNamespace", "ready"),
        "shop/prod/files": ("cloudflare:R2Bucket", "ready"),
        "shop/prod/jobs": ("cloudflare:Queue", "ready"),
        "shop/prod/api": ("cloudflare:Worker", "ready"),
        "shop/prod/beat": ("acme:Topic", "ready"),
        "shop/prod/beat#0": ("acme:Topic", "ready"),
        "shop/prod/half-made": ("acme:Broken", "creating"),
        "shop/prod/backend/events": ("acme:Topic", "ready"),
        "shop/prod/backend/events#0": ("acme:Topic", "ready"),
        "shop/prod/backend/routes:*.html": ("acme:Topic", "ready"),
        "shop/prod/backend/deep/leaf": ("acme:Topic", "ready"),
        "shop/prod/backend/group": ("acme:Group", "ready"),
        "shop/prod/backend/group-in/inner": ("acme:Topic", "ready"),
    }
    assert {row.id: row.physical_name for row in found.values() if row.kind.startswith("cloudflare")} == {
        "main-db": "shop-main-db-prod",
        "cache": "shop-cache",
        "files": "shop-files-prod",
        "jobs": "shop-jobs",
        "api": "shop-api-prod",
    }
    outputs = {row.id: row.outputs for row in found.values()}
    written = json.loads((tree / "shop/prod/main-db.json").read_text())["output"]["id"]
    assert outputs["main-db"] == {"database_id": written, "database_name": "shop-main-db-prod"}
    assert outputs["cache"].keys() == {"namespace_id", "title"}
    assert outputs["files"] == {"bucket_name": "shop-files-prod", "location": "wnam", "jurisdiction": "default"}
    assert outputs["api"]["url"] == "https://shop-api-prod.local.workers.dev"
    assert all(row.verify for row in found.values())
    assert found["shop/prod/jobs"].props["delivery_delay"] == 5


def test_an_object_that_was_replaced_and_not_deleted_is_a_former_row(tree: Path) -> None:
    found = rows(read_tree(tree))
    old, now = found["shop/prod/backend/events#0"], found["shop/prod/backend/events"]
    assert (old.former, old.generation, old.outputs["arn"]) == (True, 0, "arn:events:eu")
    assert (now.former, now.generation, now.outputs["arn"]) == (False, 1, "arn:events:us")
    assert found["shop/prod/beat#0"].outputs["arn"] == "arn:beat:eu"


def test_edges_come_from_resources_in_props_and_from_ids_in_texts(tree: Path) -> None:
    needs = {address: row.depends_on for address, row in rows(read_tree(tree)).items()}
    assert needs["shop/prod/api"] == tuple(f"shop/prod/{id}" for id in ("cache", "files", "jobs", "main-db"))
    assert needs["shop/prod/backend/deep/leaf"] == ("shop/prod/main-db",)
    assert needs["shop/prod/backend/routes:*.html"] == ("shop/prod/main-db",)
    assert needs["shop/prod/main-db"] == ()


def test_the_order_of_creation_is_kept(tree: Path) -> None:
    found = rows(read_tree(tree)).values()
    order = [row.id for row in sorted(found, key=lambda row: row.seq) if not row.former]
    assert order == ["main-db", "cache", "files", "jobs", "api", "beat"] + [
        "events", "routes:*.html", "leaf", "group", "inner", "half-made",
    ]  # fmt: skip


def test_values_that_json_has_no_form_for_are_kept_readably(tree: Path) -> None:
    props = rows(read_tree(tree))["shop/prod/backend/events"].props
    assert props["created"] == "2024-01-15T10:30:00.000Z"
    assert props["mark"] == "a mark"
    assert props["blob"] == "Ynl0ZXM="
    assert props["@odd"] == 1
    assert props["$$dollar"] == {"$$secret": "not one"}, "no key of the user's looks like one of ours"
    assert props["key"] == "/props/key", "sealed for its place"
    assert props["both"] == "/props/both"


def test_a_worker_keeps_its_bindings_its_texts_and_its_secrets(tree: Path) -> None:
    props = rows(read_tree(tree))["shop/prod/api"].props
    assert props["bindings"].keys() == {"DB", "CACHE", "FILES", "JOBS"}
    bound = props["bindings"]["DB"]
    assert bound["$resource"] == "shop/prod/main-db"
    assert bound["outputs"]["database_name"] == "shop-main-db-prod"
    assert props["env"] == {"REGION": "eu", "API_KEY": "/props/env/API_KEY"}


def test_what_has_no_counterpart_is_kept_beside_the_row(tree: Path) -> None:
    origin = rows(read_tree(tree))["shop/prod/main-db"].extra["origin"]
    assert (origin["tool"], origin["kind"]) == ("Alchemy (TypeScript)", "cloudflare::D1Database")
    assert origin["outputs"]["migrationsTable"] == "d1_migrations"


@pytest.mark.parametrize("below", ["", "shop", "shop/prod"])
def test_the_tree_the_app_or_the_stage_may_be_named(tree: Path, below: str) -> None:
    assert rows(read_tree(tree / below)).keys() == rows(read_tree(tree)).keys()


def test_a_stage_becomes_any_scope(tree: Path) -> None:
    found = rows(read_tree(tree), ScopePath.parse("big/live/shop"))
    assert "big/live/shop/backend/deep/leaf" in found
    assert found["big/live/shop/backend/deep/leaf"].depends_on == ("big/live/shop/main-db",)


def test_of_several_stages_one_has_to_be_named(tree: Path, tmp_path: Path) -> None:
    both = lay_out(OLD, lay_out(NEW, tmp_path / "both"))
    with pytest.raises(UsageError, match="2 stages: shop/old, shop/prod") as caught:
        read_tree(both)
    assert ".alchemy/my-app/prod" in caught.value.hint
    assert len(read_tree(both / "shop" / "old").found) == 2


def test_a_directory_without_state_says_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no state"):
        read_tree(tmp_path)


def change(tree: Path, file: str, edit: Callable[[dict[str, Any]], object]) -> None:
    body = json.loads((tree / file).read_text())
    edit(body)
    (tree / file).write_text(json.dumps(body))


@pytest.mark.parametrize(
    ("edit", "because"),
    [
        (lambda body: body.pop("kind"), "kind is not a text"),
        (lambda body: body.update(id=7), "id is not a text"),
        (lambda body: body.update(status="odd"), "status 'odd'"),
        (lambda body: body.update(seq="1"), "seq is not a whole number"),
        (lambda body: body.update(seq=True), "seq is not a whole number"),
        (lambda body: body.update(props=[]), "props is not an object"),
        (lambda body: body.update(output="x"), "output is not an object"),
        (lambda body: body.update(oldProps=1), "oldProps is not an object"),
        (lambda body: body.update(fqn="shop/other/cache"), "belongs to shop/other"),
        (lambda body: body.update(fqn="cache"), "belongs to another tree|neighbours"),
        (lambda body: body.update(fqn=None), "full name"),
        (lambda body: body.update(id="renamed"), "moved or renamed"),
        (lambda body: body["data"].update(pendingDeletions={"a": 1}), "pendingDeletions is not a list"),
        (lambda body: body["props"].update(k={"@secret": 5}), "a form that is not known"),
    ],
)
def test_a_record_that_is_not_whole_names_its_file(tree: Path, tmp_path: Path, edit: Any, because: str) -> None:
    copy = tmp_path / "prod"
    shutil.copytree(tree / "shop/prod", copy)
    change(copy, "cache.json", edit)
    with pytest.raises(StateInvalid, match=because) as caught:
        planned(read_tree(copy))
    assert ".json" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1, "a": 2}', b"\xff", b"[" * 5000, b"null", b'{"kind": NaN}'])
def test_a_damaged_file_is_named(tree: Path, tmp_path: Path, data: bytes) -> None:
    copy = tmp_path / "prod"
    shutil.copytree(tree / "shop/prod", copy)
    (copy / "cache.json").write_bytes(data)
    with pytest.raises(StateInvalid, match=r"cache\.json"):
        read_tree(copy)


def test_links_are_refused(tree: Path, tmp_path: Path) -> None:
    copy = tmp_path / "prod"
    shutil.copytree(tree / "shop/prod", copy)
    os.symlink("/etc", copy / "link")
    with pytest.raises(StateInvalid, match="symbolic link"):
        read_tree(copy)


def test_an_entry_that_names_no_resource_is_told_about(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "shop", tmp_path / "shop")
    change(tmp_path / "shop", "prod.json", lambda body: body["data"]["pendingDeletions"].append({"resource": {}}))
    assert "names no resource: look for it by hand" in " ".join(read_tree(tmp_path / "shop").notes)


def test_what_a_program_stored_with_a_scope_is_kept_with_it(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "shop/prod", tmp_path / "prod")
    change(tmp_path / "prod", "backend.json", lambda body: body["data"].update(port=8080))
    assert planned(read_tree(tmp_path / "prod")).scopes["shop/prod/backend"] == {"port": 8080}


def test_an_interrupted_update_keeps_both_its_props(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "shop/prod", tmp_path / "prod")
    wish = {"oldProps": {"title": "shop-cache"}, "props": {"title": "shop-other"}, "status": "updating"}
    change(tmp_path / "prod", "cache.json", lambda body: body.update(wish))
    row = rows(read_tree(tmp_path / "prod"))["shop/prod/cache"]
    assert row.status is Status.UPDATING
    assert row.props["name"] == "shop-cache"
    assert row.pending is not None
    assert row.pending["name"] == "shop-other"


def scoped(*scopes: str) -> Source:
    found = tuple(Found(key=scope, scope=(scope,), id="x", kind="a::B", file="x", order=(0,)) for scope in scopes)
    return Source(tool="t", place="p", digest="d", found=found)


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("plain", "plain"),
        ("my scope", "my-scope"),
        ("..", "scope"),
        ("a..b", "a.b"),
        ("é☕", "scope"),
        ("state.json", "state.json-scope"),
        ("x" * 90, "x" * 56),
        ("NUL", "NUL-scope"),
        ("journal", "journal-scope"),
    ],
)
def test_a_scope_gets_the_nearest_name_that_may_be_one(name: str, ours: str) -> None:
    plan = planned(scoped(name))
    assert plan.rows[0].address == f"shop/prod/{ours}/x"
    assert (name == ours) == (not plan.notes)


def test_scopes_that_would_have_one_name_get_two() -> None:
    plan = planned(scoped("a b", "a-b", "A-B"))
    assert len({row.address.casefold() for row in plan.rows}) == 3


def test_an_object_without_a_name_is_called_as_the_tool_calls_it() -> None:
    assert default_name(("shop", "prod", "back end"), "a/b.c") == "shop-back-end-a-b-c-prod"


# -- secrets ----------------------------------------------------------------------------------------------------------


def opened(source: Source, password: str | None = PASSWORD) -> set[str]:
    unsealer = Unsealer(password, "ALCHEMY_PASSWORD")
    trees = [tree for found in source.found for tree in (found.props, found.outputs)]
    return {json.dumps(unsealer.open(hidden)) for tree in trees for hidden in hidden_in(tree)}


def test_secrets_of_both_real_packages_open(tree: Path, old_tree: Path) -> None:
    both = json.dumps({"user": "ana", "code": "needle-object"})
    assert opened(read_tree(tree)) == {'"needle-api-key"', '"needle-topic-key"', both}
    assert opened(read_tree(old_tree)) == {'"needle-topic-key"', both}


def test_a_secret_sealed_with_a_salt_of_its_scope_opens(old_tree: Path, tmp_path: Path) -> None:
    shutil.copytree(old_tree / "shop/old", tmp_path / "old")
    change(tmp_path / "old", "backend.json", lambda body: body["data"].update({"_passkey-salt": SALTED["salt"]}))
    change(tmp_path / "old", "backend/inner.json", lambda body: body["props"].update(k={"@secret": SALTED["sealed"]}))
    assert f'"{SALTED["value"]}"' in opened(read_tree(tmp_path / "old"))


@pytest.mark.parametrize("which", [NEW, OLD])
def test_a_wrong_or_missing_password_names_the_place_and_shows_nothing(which: str, tmp_path: Path) -> None:
    source = read_tree(lay_out(which, tmp_path))
    for password, says in ((None, "none is given"), ("wrong-horse", "does not open")):
        with pytest.raises(UsageError, match=says) as caught:
            opened(source, password)
        assert ".json: /" in caught.value.message
        assert "ALCHEMY_PASSWORD" in caught.value.message + caught.value.hint
        assert "wrong-horse" not in caught.value.message + caught.value.hint


@pytest.mark.parametrize("payload", ["", "AAAA", "not base64!", dict.fromkeys(("ciphertext", "iv", "salt", "tag"), "")])
def test_a_damaged_secret_is_an_error(payload: Any) -> None:
    hidden = Values("f.json").read({"k": {"@secret": payload}}, "/props")["k"]
    assert isinstance(hidden, Hidden)
    with pytest.raises(AlchemyError, match=r"f\.json: /props/k"):
        Unsealer(PASSWORD, "ALCHEMY_PASSWORD").open(hidden)


def test_what_is_sealed_shows_in_no_representation() -> None:
    hidden = Values("f.json").read({"k": {"@secret": "c2VjcmV0"}}, "/props")["k"]
    assert "c2VjcmV0" not in repr(hidden)


def test_a_resource_of_another_stage_keeps_what_was_known_of_it() -> None:
    link = Linked("other/prod/db", "acme::Topic", {"arn": "a"})
    found = Found(key="k", scope=(), id="x", kind="a::B", file="x", props={"db": link}, order=(0,))
    made = rows(Source(tool="t", place="p", digest="d", found=(found,)))
    assert made["shop/prod/x"].props == {"db": {"arn": "a"}}

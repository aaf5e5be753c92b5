"""Workers: what is uploaded, what they are bound to, and whose they are."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from alchemy import D1Database, KVNamespace, Queue, R2Bucket, Resource, RunFailed, Worker, alchemy
from tests.cloudflare.shop import Shop
from tests.localcloud.driver import form

MODULE = 'export default { async fetch() { return new Response("hi") } }'


@pytest.fixture(autouse=True)
def module(shop: Shop) -> None:
    shop.write("src/api.js", MODULE)


def settings(shop: Shop, id: str = "api") -> dict[str, Any]:
    found: dict[str, Any] = shop.cloud.result("GET", f"workers/scripts/{shop.outputs(id)['script_name']}/settings")
    return found


def bindings(shop: Shop, id: str = "api") -> dict[str, dict[str, Any]]:
    return {binding["name"]: binding for binding in settings(shop, id)["bindings"]}


def versions(shop: Shop, id: str = "api") -> int:
    name = shop.outputs(id)["script_name"]
    return len(shop.cloud.result("GET", f"workers/scripts/{name}/versions")["items"])


def all_kinds() -> Resource:
    bound = {"DB": D1Database("db"), "KV": KVNamespace("cache"), "FILES": R2Bucket("files"), "JOBS": Queue("jobs")}
    api = Worker("api", entrypoint="src/api.js", bindings=bound, env={"MODE": "fast"})
    return Worker("front", entrypoint="src/api.js", bindings={"API": api})


def test_a_worker_is_bound_to_resources_of_every_kind_by_what_the_api_needs_of_each(shop: Shop) -> None:
    shop.deploy(all_kinds)
    assert {name: {k: v for k, v in b.items() if k != "name"} for name, b in bindings(shop).items()} == {
        "DB": {
            "type": "d1",
            "id": shop.outputs("db")["database_id"],
            "database_id": shop.outputs("db")["database_id"],
        },
        "KV": {"type": "kv_namespace", "namespace_id": shop.outputs("cache")["namespace_id"]},
        "FILES": {"type": "r2_bucket", "bucket_name": shop.outputs("files")["bucket_name"]},
        "JOBS": {"type": "queue", "queue_name": shop.outputs("jobs")["queue_name"]},
        "MODE": {"type": "plain_text", "text": "fast"},
    }
    assert bindings(shop, "front")["API"]["service"] == shop.outputs("api")["script_name"]


def test_a_bucket_of_a_jurisdiction_is_bound_by_both(shop: Shop) -> None:
    def program() -> Resource:
        return Worker("api", entrypoint="src/api.js", bindings={"B": R2Bucket("files", jurisdiction="eu")})

    shop.deploy(program)
    name = shop.outputs("files")["bucket_name"]
    assert bindings(shop)["B"] == {"name": "B", "type": "r2_bucket", "bucket_name": name, "jurisdiction": "eu"}
    shop.deploy()
    assert shop.cloud.result("GET", "r2/buckets", headers={"cf-r2-jurisdiction": "eu"}) == {"buckets": []}


def test_everything_is_destroyed_users_before_what_they_use(shop: Shop) -> None:
    shop.deploy(all_kinds)
    report = shop.deploy()
    order = [address.rpartition("/")[2] for address in report.deleted]
    assert order[:2] == ["front", "api"]
    assert sorted(order[2:]) == ["cache", "db", "files", "jobs"]
    for path in ("d1/database", "storage/kv/namespaces", "queues", "workers/scripts"):
        assert shop.cloud.result("GET", path) == []


def test_a_worker_forgets_a_binding_before_what_it_was_bound_to_goes(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", bindings={"KV": KVNamespace("cache")}))
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js"))
    assert bindings(shop) == {}
    assert shop.cloud.result("GET", "storage/kv/namespaces") == []
    upload, delete = (next(i for i, r in enumerate(shop.requests) if r[0] == method) for method in ("PUT", "DELETE"))
    assert upload < delete


def test_a_worker_follows_a_replaced_database_before_the_old_one_goes(shop: Shop) -> None:
    def program(jurisdiction: Any) -> Resource:
        db = D1Database("db", jurisdiction=jurisdiction)
        return Worker("api", entrypoint="src/api.js", bindings={"DB": db})

    shop.deploy(lambda: program(None))
    old = shop.outputs("db")["database_id"]
    shop.deploy(lambda: program("eu"))
    assert bindings(shop)["DB"]["id"] == shop.outputs("db")["database_id"] != old
    assert shop.changing().index(("DELETE", f"d1/database/{old}")) == len(shop.changing()) - 1


def test_a_changed_value_of_env_is_a_new_version(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", env={"MODE": "slow"}))
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", env={"MODE": "fast", "MORE": "1"}))
    assert {name: b["text"] for name, b in bindings(shop).items()} == {"MODE": "fast", "MORE": "1"}
    assert versions(shop) == 2


def test_an_output_in_env_is_its_value(shop: Shop) -> None:
    def program() -> Resource:
        db = D1Database("db")
        return Worker("api", entrypoint="src/api.js", env={"DB_ID": db.database_id})

    shop.deploy(program)
    assert bindings(shop)["DB_ID"]["text"] == shop.outputs("db")["database_id"]


def test_a_changed_file_is_uploaded_and_an_unchanged_one_is_not(shop: Shop) -> None:
    def program() -> Resource:
        return Worker("api", entrypoint="src/api.js")

    shop.deploy(program)
    first = shop.outputs("api")["etag"]
    file = shop.write("src/api.js", MODULE.replace("hi", "hello"))
    shop.deploy(program)
    assert shop.outputs("api")["etag"] != first
    assert '"hello"' in shop.cloud.send("GET", f"workers/scripts/{shop.outputs('api')['script_name']}").text
    os.utime(file, (1, 1))
    shop.deploy(program)
    assert (shop.requests, versions(shop)) == ([], 2)


def test_a_changed_worker_does_not_touch_the_workers_bound_to_it(shop: Shop) -> None:
    shop.deploy(all_kinds)
    shop.write("src/api.js", MODULE.replace("hi", "hello"))
    shop.write("src/front.js", MODULE)

    def program() -> Resource:
        return Worker("front", entrypoint="src/front.js", bindings={"API": Worker("api", entrypoint="src/api.js")})

    shop.deploy(program)
    shop.write("src/api.js", MODULE.replace("hi", "good evening"))
    shop.deploy(program)
    assert {path.split("/")[2] for _, path in shop.changing()} == {shop.outputs("api")["script_name"]}


@pytest.mark.parametrize("ending", [".js", ".mjs"])
def test_the_module_arrives_as_it_is(ending: str, shop: Shop) -> None:
    content = "export default {}; // \u2028 é \r\n --boundary \0"
    (shop.directory / f"über{ending}").write_bytes(content.encode())
    shop.deploy(lambda: Worker("api", entrypoint=f"über{ending}"))
    response = shop.cloud.send("GET", f"workers/scripts/{shop.outputs('api')['script_name']}/content/v2")
    assert content.encode() in response.content


def test_its_address_is_on_workers_dev_and_goes_when_it_is_not_wanted(shop: Shop) -> None:
    shop.cloud.result("PUT", "workers/subdomain", json={"subdomain": "acme"})
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"))
    assert shop.outputs("api")["url"] == "https://api.acme.workers.dev"
    assert shop.cloud.result("GET", "workers/scripts/api/subdomain")["enabled"] is True
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", workers_dev=False))
    assert shop.outputs("api")["url"] is None
    assert shop.cloud.result("GET", "workers/scripts/api/subdomain")["enabled"] is False


def test_a_worker_that_was_never_public_is_one_upload(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", workers_dev=False))
    assert len(shop.changing()) == 1


def test_secrets_and_tags_that_others_put_there_survive_an_update(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"))
    [ours] = settings(shop)["tags"]
    secret = {"name": "KEY", "type": "secret_text", "text": "s"}
    shop.cloud.result("PUT", "workers/scripts/api/secrets", json=secret)
    shop.cloud.result("PATCH", "workers/scripts/api/script-settings", json={"tags": ["team:web", ours]})
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", env={"A": "1"}))
    assert sorted(bindings(shop)) == ["A", "KEY"]
    assert settings(shop)["tags"] == ["team:web", ours]


def put_by_hand(shop: Shop, code: str = "export default {}") -> None:
    shop.cloud.result("PUT", "workers/scripts/api", files=form({}, code))


def test_a_script_that_somebody_uploaded_by_hand_is_not_overwritten(shop: Shop) -> None:
    put_by_hand(shop, "export default { mine: 1 }")
    for _ in range(2):
        with pytest.raises(RunFailed) as failed:
            shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"))
        assert "a Worker called api exists already" in failed.value.failures[0][1]
        assert shop.state("api") == {}
    shop.deploy()
    assert "mine: 1" in shop.cloud.send("GET", "workers/scripts/api").text


def test_a_script_that_was_uploaded_by_hand_is_taken_over_when_asked_and_left_when_no_longer_declared(
    shop: Shop,
) -> None:
    put_by_hand(shop, "export default { mine: 1 }")
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", adopt=True))
    assert MODULE in shop.cloud.send("GET", "workers/scripts/api").text
    shop.write("src/api.js", MODULE.replace("hi", "hello"))
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", adopt=True))
    assert "hello" in shop.cloud.send("GET", "workers/scripts/api").text
    shop.deploy()
    assert "hello" in shop.cloud.send("GET", "workers/scripts/api").text


def test_an_upload_by_hand_over_ours_that_removes_the_tag_is_put_right(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"))
    shop.cloud.result("PUT", "workers/scripts/api", files=form({"tags": []}, "export default { mine: 1 }"))
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", env={"A": "1"}))
    assert MODULE in shop.cloud.send("GET", "workers/scripts/api").text
    assert len(settings(shop)["tags"]) == 1


@pytest.mark.parametrize("tried", [True, False], ids=["after trying to update it", "at once"])
def test_a_worker_that_another_stage_adopted_is_neither_overwritten_nor_deleted_by_us(tried: bool, shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"), stage="dev")
    shop.write("src/api.js", MODULE.replace("hi", "prod"))
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api", adopt=True), stage="prod")
    shop.write("src/api.js", MODULE.replace("hi", "dev"))
    if tried:
        with pytest.raises(RunFailed):
            shop.deploy(lambda: Worker("api", entrypoint="src/api.js", name="api"), stage="dev")
    shop.deploy(stage="dev")
    assert shop.state("api", "dev") == {}
    assert '"prod"' in shop.cloud.send("GET", "workers/scripts/api").text


def test_an_entrypoint_is_found_from_a_folder_below_the_project(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.write("pyproject.toml", '[tool.alchemy]\nprogram = "run.py"\n')
    monkeypatch.chdir(shop.directory / "src")
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js"))
    assert MODULE in shop.cloud.send("GET", f"workers/scripts/{shop.outputs('api')['script_name']}").text


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "a file that is missing": ({"entrypoint": "src/none.js"}, "'src/none.js' does not exist below", "build it"),
    "a directory": ({"entrypoint": "src"}, "'src' is a directory", "index.js"),
    "a directory that ends in .js": ({"entrypoint": "odd.js"}, "'odd.js' is a directory", "index.js"),
    "TypeScript": ({"entrypoint": "src/a.ts"}, "'src/a.ts' has to be bundled first", "esbuild src/a.ts --bundle"),
    "TypeScript in capitals": ({"entrypoint": "src/A.TSX"}, "has to be bundled first", "--outfile=dist/A.js"),
    "another kind of file": ({"entrypoint": "pyproject.toml"}, "is not a JavaScript module", ".js or .mjs"),
    "nothing": ({"entrypoint": ""}, "is a directory", "index.js"),
    "a NUL in the path": ({"entrypoint": "a\0.js"}, "cannot be read", "correct the path"),
    "a name that cannot be": ({"name": "../x"}, "name='../x' cannot be a name", "letters, digits"),
    "a name that is too long": ({"name": "x" * 64}, "cannot be a name", "1 to 63"),
    "a string as a binding": ({"bindings": {"DB": "text"}}, "bindings.DB cannot be bound: 'text'", "env="),
    "one name twice": ({"env": {"A": "1"}, "bindings": {"A": "kv"}}, "A is in bindings= and in env=", "another name"),
    "a number in env": ({"env": {"A": 1}}, "env.A: Input should be a valid string", "str | Secret"),
}


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_a_worker_that_cannot_be_is_refused_before_anything_is_called(case: str, shop: Shop) -> None:
    props, message, hint = REFUSED[case]
    (shop.directory / "odd.js").mkdir()
    shop.write("pyproject.toml", "[tool.alchemy]\n")
    errors: list[Any] = []

    def program() -> None:
        given = {"entrypoint": "src/api.js", **props}
        if given.get("bindings", {}).get("A") == "kv":
            given["bindings"] = {"A": KVNamespace("cache", on_destroy="delete")}
        errors.append(Worker("api", **given))

    with pytest.raises(RunFailed) as failed:
        shop.deploy(program)
    error = errors[0]._deployment.task.result().error
    assert [address for address, _ in failed.value.failures] == ["shop/prod/api"]
    assert (message in error.message, hint in error.hint) == (True, True), (error.message, error.hint)
    assert [path for _, path in shop.requests if "workers" in path] == []


def test_destroying_needs_no_source_file(shop: Shop) -> None:
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js"))
    Path("src/api.js").unlink()
    shop.deploy(lambda: Worker("api", entrypoint="src/api.js"), phase="destroy")
    assert shop.cloud.result("GET", "workers/scripts") == []


def test_planning_a_worker_calls_nothing_even_when_what_it_is_bound_to_does_not_exist(shop: Shop) -> None:
    async def program() -> None:
        scope = await alchemy("shop", stage="prod", state_dir=shop.state_dir, phase="plan", quiet=True)
        _ = all_kinds()
        await scope.finalize()

    shop.arun(program())
    assert (shop.requests, shop.cloud.result("GET", "workers/scripts")) == ([], [])


def test_a_secret_is_bound_as_one_and_goes_when_the_program_drops_it(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", "sea-horse")
    by_hand = {"name": "HAND", "type": "secret_text", "text": "put-there-by-hand"}

    def program(*secrets: str) -> Resource:
        env: dict[str, Any] = {name: alchemy.secret(f"worker-value-{name}") for name in secrets}
        bound: dict[str, Any] = {"BOUND": alchemy.secret("worker-value-bound")} if secrets else {}
        return Worker("api", entrypoint="src/api.js", env={"MODE": "fast", **env}, bindings=bound)

    shop.deploy(lambda: program("A", "B"))
    shop.cloud.result("PUT", f"workers/scripts/{shop.outputs('api')['script_name']}/secrets", json=by_hand)
    assert [bindings(shop)[name] for name in "AB"] == [{"name": n, "type": "secret_text"} for n in "AB"]
    assert bindings(shop)["BOUND"]["type"] == "secret_text"
    assert [name for name in ("A", "B", "bound") if f"worker-value-{name}".encode() not in shop.sent[0]] == []
    assert bindings(shop)["MODE"] == {"name": "MODE", "type": "plain_text", "text": "fast"}
    shop.deploy(lambda: program("A"))
    assert sorted(bindings(shop)) == ["A", "BOUND", "HAND", "MODE"]
    shop.deploy(program)
    assert sorted(bindings(shop)) == ["HAND", "MODE"]
    needles = [b"worker-value", b"put-there"]
    files = [file for file in shop.directory.rglob("*") if file.is_file()]
    assert not [file for file in files for needle in needles if needle in file.read_bytes()]

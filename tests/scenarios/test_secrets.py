"""Secrets in a program: sealed in the state, compared without being opened, locked where nobody has the password."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import shutil
from collections.abc import Mapping
from typing import Any

import pytest

from alchemy import (
    Context,
    Outputs,
    Resource,
    ResourceFailed,
    RunFailed,
    Scope,
    Secret,
    StateInvalid,
    UsageError,
    alchemy,
    output,
    prop,
)
from alchemy.model.paths import ScopePath
from alchemy.operations.destroying import destroy_stored
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.settings import Options, find_project
from alchemy.store.keyring import MissingPassword, WrongPassword
from tests.scenarios.world import CLOUD, PROD, World, nothing

PASSWORD = "salt-and-sea-horses"
NEEDLE = "needle-in-the-state"


class Vault(Resource, kind="secrets:Vault"):
    """Takes secrets in every way, gives one out, and needs one to delete when `locked`."""

    key: str = prop(secret=True, default="")
    pin: int | None = prop(secret=True, default=None)
    env: Mapping[str, Any] = prop(default={})
    uses: Any = None
    locked: bool = False
    uid: str = output()
    token: str = output(secret=True)

    async def create(self, ctx: Context) -> Outputs:
        async with CLOUD.get().call("create", self.id):
            CLOUD.get().objects[ctx.name] = {"id": self.id, "key": self.key, "env": self.env, "pin": self.pin}
        return {"uid": f"uid-of-{self.id}", "token": f"{NEEDLE}-token-of-{self.id}"}

    async def read(self, ctx: Context) -> Outputs | None:
        async with CLOUD.get().call("read", self.id):
            found = CLOUD.get().objects.get(ctx.name)
        return {"uid": f"uid-of-{self.id}", "token": f"{NEEDLE}-token-of-{self.id}"} if found else None

    async def update(self, ctx: Context, before: Any) -> Outputs:
        async with CLOUD.get().call("update", self.id):
            CLOUD.get().objects[ctx.name] |= {"key": self.key, "env": self.env, "before": before.key}
        return {}

    async def delete(self, ctx: Context) -> None:
        if self.locked:
            json.dumps({"key": self.key})
        async with CLOUD.get().call("delete", self.id):
            CLOUD.get().objects.pop(ctx.name, None)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)


def only(world: World) -> dict[str, Any]:
    (found,) = world.cloud.objects.values()
    return found


def everything(world: World) -> bytes:
    return b"".join(file.read_bytes() for file in world.root.rglob("*") if file.is_file())


async def full(scope: Scope) -> None:
    env = {"A": alchemy.secret(f"{NEEDLE}-a"), "deep": [{"b": alchemy.secret({"c": f"{NEEDLE}-c"})}], "plain": "x"}
    Vault("v", key=f"{NEEDLE}-key", pin=123456, env=env)


def test_verbs_see_values_and_the_state_sees_none(world: World) -> None:
    world.deploy(full)
    seen = only(world)
    assert seen["key"] == f"{NEEDLE}-key"
    assert seen["pin"] == 123456
    assert seen["env"] == {"A": f"{NEEDLE}-a", "deep": [{"b": {"c": f"{NEEDLE}-c"}}], "plain": "x"}
    assert json.dumps(seen["env"]["A"]) == f'"{NEEDLE}-a"'
    assert repr(seen["env"]) == "{'A': •••, 'deep': [{'b': {'c': •••}}], 'plain': 'x'}"
    stored = everything(world)
    assert NEEDLE.encode() not in stored
    assert b"123456" not in stored
    assert PASSWORD.encode() not in stored
    props = world.rows()["v"].props
    sealed = [
        props["key"],
        props["pin"],
        props["env"]["A"],
        props["env"]["deep"][0]["b"],
        world.rows()["v"].outputs["token"],
    ]
    assert [sorted(value) for value in sealed] == [["$equal", "$secret"]] * 5


def test_the_same_secrets_change_nothing_not_even_a_byte_of_the_row(world: World) -> None:
    world.deploy(full)
    before = world.rows()["v"]
    world.deploy(full)
    assert world.outcomes() == ["keep v done"]
    assert world.rows()["v"] == before


def test_another_value_is_an_update_that_is_shown_as_dots(world: World) -> None:
    async def other(scope: Scope) -> None:
        Vault("v", key="another-key")

    async def first(scope: Scope) -> None:
        Vault("v", key=f"{NEEDLE}-key")

    world.deploy(first)

    async def planned() -> list[Any]:
        async with alchemy("my-app", stage="prod", phase="plan") as scope:
            await other(scope)
        return [(d.path, d.before, d.after) for change in scope.run_state.planned for d in change.diff]

    assert world.run(planned) == [("key", "•••", "•••")]
    world.deploy(other)
    assert world.outcomes() == ["update v done"]
    assert only(world)["before"] == f"{NEEDLE}-key"
    assert only(world)["key"] == "another-key"


def test_a_secret_output_stays_one_wherever_it_goes(world: World) -> None:
    async def body(scope: Scope) -> None:
        a = Vault("a")
        Vault("ref", env={"token": a.token})
        Vault("whole", uses=a)
        await a
        assert repr(a.token) == "•••"
        assert a.token == f"{NEEDLE}-token-of-a"
        Vault("awaited", env={"token": a.token})
        Vault("text", env={"url": f"https://x:{a.token}@host"})

    world.deploy(body)
    assert NEEDLE.encode() not in everything(world)
    seen = {each["id"]: each for each in world.cloud.objects.values()}
    assert seen["text"]["env"] == {"url": f"https://x:{NEEDLE}-token-of-a@host"}
    assert seen["ref"]["env"] == seen["awaited"]["env"] == {"token": f"{NEEDLE}-token-of-a"}
    rows = world.rows()
    assert "$secret" in rows["whole"].props["uses"]["outputs"]["token"]
    assert all(rows[id].depends_on == (f"{PROD}/a",) for id in ("ref", "whole", "awaited", "text"))
    world.deploy(body)
    assert set(world.outcomes()) == {f"keep {id} done" for id in rows}


def test_a_secret_shows_itself_nowhere_by_accident() -> None:
    secret = alchemy.secret("accident-value")
    assert isinstance(secret, Secret)
    assert f"{secret} {secret!r} {[secret]} {secret!s:>4}" == "••• ••• [•••]  •••"
    assert secret != alchemy.secret("accident-value")
    assert secret.value == "accident-value"
    assert copy.deepcopy(secret) is secret
    for dump in (json.dumps, pickle.dumps):
        with pytest.raises(TypeError):
            dump(secret)


def test_dots_in_place_of_a_secret_are_refused_and_not_deployed(world: World) -> None:
    async def body(scope: Scope) -> None:
        await Vault("v", env={"url": f"https://{alchemy.secret('dotted-value')}@host"})

    with pytest.raises(Exception, match="has dots in its place"):
        world.deploy(body)
    assert world.cloud.objects == {}


def test_a_variable_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THERE", "found-value")
    assert alchemy.secret.env("THERE").value == "found-value"
    with pytest.raises(UsageError, match="NOT_THERE is not set"):
        alchemy.secret.env("NOT_THERE")


def test_keys_of_the_users_own_are_never_taken_for_sealed_values(world: World) -> None:
    odd = {"$secret": "v1.x", "$$equal": 1, "$resource": "a"}

    class Echo(Vault, kind="secrets:Echo"):
        said: Any = output()

        async def create(self, ctx: Context) -> Outputs:
            return {"said": self.env, "$secret": "mine", **await super().create(ctx)}

    async def body(scope: Scope) -> None:
        echo = await Echo("e", env=odd)
        assert echo.said == odd
        assert echo.outputs["$secret"] == "mine"

    world.deploy(body)
    world.deploy(body)
    assert world.outcomes() == ["keep e done"]


def test_without_a_password_a_secret_ends_the_deploy_where_it_is_declared(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    with pytest.raises(MissingPassword) as caught:
        world.deploy(full)
    assert "ALCHEMY_PASSWORD" in caught.value.hint
    assert world.cloud.log == []
    assert not (world.state / "my-app/keys.json").exists()


@pytest.mark.parametrize("phase", ["up", "plan", "destroy"])
def test_a_wrong_password_is_an_error_before_anything_is_called_or_announced(world: World, phase: str) -> None:
    world.deploy(full)
    world.cloud.log.clear()
    serial = world.fold().serial
    with pytest.raises(WrongPassword, match="does not open"):
        world.deploy(nothing, phase=phase, password="wrong")
    assert world.cloud.log == []
    assert world.fold().serial == serial
    assert len(world.rows()) == 1


def test_a_deploy_of_a_stage_with_secrets_needs_the_password(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy(full)
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    with pytest.raises(MissingPassword, match="my-app/prod holds secrets"):
        world.deploy(nothing)
    world.deploy(full, password=PASSWORD)
    assert world.outcomes() == ["keep v done"]


def test_a_plan_without_the_password_says_what_it_cannot_compare(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy(full)
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    before = world.tree()

    async def planned() -> Any:
        async with alchemy("my-app", stage="prod", phase="plan") as scope:
            await full(scope)
        return scope.run_state.planned[0]

    change = world.run(planned)
    assert change.reason == "cannot be compared without the password: env, key, pin"
    assert [(d.path, d.unknown, d.locked) for d in change.diff] == [(n, True, True) for n in ("env", "key", "pin")]
    assert world.tree() == before


def test_a_plan_makes_no_key(world: World) -> None:
    world.deploy(full, phase="plan")
    assert not (world.state / "my-app").exists()


def test_what_needs_no_secret_can_be_deleted_without_the_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def two(scope: Scope) -> None:
        Vault("open", key=f"{NEEDLE}-key")
        Vault("closed", key=f"{NEEDLE}-key", locked=True)

    world.deploy(two)
    monkeypatch.delenv("ALCHEMY_PASSWORD")

    def destroy() -> None:
        options = Options(max_retries=0)
        asyncio.run(destroy_stored(world.store, ScopePath.parse(PROD), options, project=find_project(world.root)))

    with pytest.raises(RunFailed) as caught:
        destroy()
    assert caught.value.failures[0][0] == f"{PROD}/closed"
    assert "no password is given" in caught.value.failures[0][1]
    assert list(world.rows()) == ["closed"]
    monkeypatch.setenv("ALCHEMY_PASSWORD", PASSWORD)
    destroy()
    assert world.cloud.objects == {}


def test_a_damaged_value_is_set_again_by_the_next_deploy(world: World) -> None:
    world.deploy(full)
    (world.state / "my-app/keys.json").unlink()  # lost: whoever has the values goes on with another password
    world.deploy(full, password="another-password")
    assert world.outcomes() == ["update v done"]
    world.deploy(full, password="another-password")
    assert world.outcomes() == ["keep v done"]


def test_a_reader_gets_secret_outputs_with_the_password_and_the_others_without(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(full)

    async def read(scope: Scope) -> tuple[str, Any]:
        vault = await Vault("v", key="whatever-it-is")
        return vault.uid, vault.token

    assert world.deploy(read, phase="read") == ("uid-of-v", f"{NEEDLE}-token-of-v")
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    uid, token = world.deploy(read, phase="read")
    assert (uid, repr(token)) == ("uid-of-v", "•••")
    with pytest.raises(MissingPassword):
        f"{token}"
    uid, token = world.deploy(read, phase="read", password="wrong")
    with pytest.raises(WrongPassword):
        str(token)


def test_errors_notes_and_rows_quote_no_secret(world: World) -> None:
    class Chatty(Vault, kind="secrets:Chatty"):
        async def create(self, ctx: Context) -> Outputs:
            ctx.note(f"using {self.key}")
            raise RuntimeError(f"the API says: bad token {self.key}")

    async def body(scope: Scope) -> None:
        Chatty("c", key=f"{NEEDLE}-key")

    with pytest.raises(RunFailed) as caught:
        world.deploy(body)
    said = repr([world.events, caught.value.failures, world.rows()["c"].error])
    assert NEEDLE not in said
    assert said.count("bad token •••") >= 3
    assert NEEDLE.encode() not in everything(world)


def test_a_replacement_and_a_lost_answer_keep_secrets_sealed_and_known(world: World) -> None:
    class Fixed(Vault, kind="secrets:Fixed"):
        region: str = prop(default="eu", fixed=True)

    async def body(scope: Scope) -> None:
        Fixed("f", key=f"{NEEDLE}-key", region=region)

    region = "eu"
    world.cloud.fail("create f", ConnectionError("reset"), ConnectionError("reset"))
    with pytest.raises(RunFailed):
        world.deploy(body, max_retries=0)
    world.deploy(body)
    region = "us"
    world.deploy(body)
    assert world.outcomes() == ["replace f done", "delete f done"]
    assert only(world)["key"] == f"{NEEDLE}-key"
    assert NEEDLE.encode() not in everything(world)


def test_two_stages_share_a_ring_and_no_ciphertext_opens_elsewhere(world: World) -> None:
    world.deploy(full)
    world.deploy(full, stage="dev")
    prod, dev = world.rows()["v"].props["key"], world.rows("my-app/dev")["v"].props["key"]
    assert prod["$secret"].split(".")[1] == dev["$secret"].split(".")[1]
    assert prod["$equal"] != dev["$equal"]
    from alchemy.store.keyfiles import open_ring
    from alchemy.store.sealing import Where

    ring = open_ring(world.store, "my-app", PASSWORD)
    assert ring is not None
    with pytest.raises(StateInvalid):
        ring.open(prod, Where(world.fold("my-app/dev").lineage, "my-app/dev", "my-app/dev", "v", "/props/key"))


def test_two_first_deploys_at_once_agree_on_one_ring(world: World) -> None:
    async def one(stage: str) -> None:
        async with alchemy("my-app", stage=stage) as scope:
            await full(scope)

    async def both() -> None:
        await asyncio.gather(asyncio.create_task(one("blue")), asyncio.create_task(one("green")))

    world.run(both)
    for stage in ("blue", "green"):
        world.deploy(full, stage=stage)
        assert world.outcomes() == ["keep v done"]


def test_what_was_made_before_its_answer_was_lost_is_found_with_its_secrets(world: World) -> None:
    async def body(scope: Scope) -> None:
        vault = await Vault("v", key=f"{NEEDLE}-key")
        assert vault.token == f"{NEEDLE}-token-of-v"

    world.cloud.lost.add("create v")
    with pytest.raises(ResourceFailed):
        world.deploy(body, timeout=0.2, max_retries=0)
    world.cloud.lost.clear()
    world.deploy(body)
    assert len(world.cloud.objects) == 1
    assert NEEDLE.encode() not in everything(world)
    world.deploy(body)
    assert world.outcomes() == ["keep v done"]


def test_what_is_taken_over_has_its_secrets_sealed(world: World) -> None:
    async def body(scope: Scope) -> None:
        Vault("v", key=f"{NEEDLE}-key", adopt=True)

    world.cloud.objects["my-app-prod-v"] = {"id": "v", "key": "another", "env": {}, "pin": None}
    world.deploy(body)
    assert world.outcomes() == ["adopt v done"]
    assert only(world)["key"] == f"{NEEDLE}-key"
    assert NEEDLE.encode() not in everything(world)


def test_a_test_scope_seals_with_its_own_password(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALCHEMY_PASSWORD")

    async def main() -> None:
        async with alchemy.test(__file__, app="my-app", password=PASSWORD) as scope:
            await full(scope)

    world.run(main)
    assert world.cloud.objects == {}
    assert NEEDLE.encode() not in everything(world)


def test_a_rebuild_from_the_cloud_writes_no_secret_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy(full)
    for name in ("resources", "backups", "snapshots"):
        shutil.rmtree(world.layout.scope(PROD) / name, ignore_errors=True)
    (file,) = world.layout.journal(PROD).iterdir()
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0] + b"torn\n")
    program = world.root / "alchemy_run.py"
    program.write_text(
        "from alchemy import alchemy\nfrom tests.scenarios.test_secrets import full\n\n\nasync def main():\n"
        "    async with alchemy('my-app', stage='prod') as scope:\n        await full(scope)\n"
    )
    options, project = Options(lock_timeout=0.0), find_project(world.root)
    monkeypatch.delenv("ALCHEMY_PASSWORD")
    plan = asyncio.run(plan_rebuild(world.store, ScopePath.parse(PROD), options, project=project, program=program))
    asyncio.run(rebuild(world.store, plan, options))
    assert (world.rows()["v"].outputs, world.rows()["v"].props["locked"]) == ({"uid": "uid-of-v", "token": None}, False)
    assert NEEDLE.encode() not in everything(world)
    world.deploy(full, password=PASSWORD)
    world.deploy(full, password=PASSWORD)
    assert world.outcomes() == ["keep v done"]
    assert len(world.cloud.objects) == 1


def test_a_name_cannot_be_a_secret(world: World) -> None:
    class Titled(Vault, kind="secrets:Titled"):
        name: str | None = None

    async def body(scope: Scope) -> None:
        Titled("t", name=alchemy.secret("name-value"))  # type: ignore[arg-type]

    with pytest.raises(RunFailed, match="failed"):
        world.deploy(body)
    assert world.cloud.objects == {}

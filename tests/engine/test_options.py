"""Where an option comes from, who wins, and what is said of one that has no meaning."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from alchemy import Scope, UsageError, alchemy
from alchemy.settings import Options, base_options, find_project
from tests.scenarios.conftest import cloud, world
from tests.scenarios.world import Body, Cloud, Thing, World

__all__ = ["cloud", "world"]


def project(world: World, text: str) -> None:
    (world.root / "pyproject.toml").write_text(f"[tool.alchemy]\n{text}\n")


async def options_of(scope: Scope) -> Options:
    return scope.options


def test_the_defaults_are_those_of_the_manual(world: World) -> None:
    async def main() -> Options:
        async with alchemy("my-app") as scope:
            return scope.options

    assert world.run(main) == Options()
    assert (Options().timeout, Options().lock_timeout, Options().max_retries, Options().retry_delay) == (60, None, 3, 1)
    assert (Options().max_concurrency, Options().batch_size, Options().destroy_strategy) == (10, 5, "sequential")
    assert Options().continue_on_error


def test_command_line_before_argument_before_environment_before_project_file(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main(**options: Any) -> tuple[int, int, int]:
        async with alchemy("my-app", **options) as scope, alchemy.run("inner") as inner:
            return scope.options.max_retries, inner.options.max_retries, scope.options.batch_size

    project(world, "max_retries = 1\nbatch_size = 9")
    assert world.run(main) == (1, 1, 9)
    monkeypatch.setenv("ALCHEMY_MAX_RETRIES", "2")
    assert world.run(main) == (2, 2, 9)
    assert world.run(lambda: main(max_retries=4)) == (4, 4, 9)
    assert world.run(lambda: main(max_retries=4), options={"max_retries": 5}) == (5, 5, 9)


def test_the_command_line_wins_inside_the_program_too(world: World, cloud: Cloud) -> None:
    async def body(app: Scope) -> tuple[int, int]:
        async with alchemy.run("inner", max_retries=1) as inner:
            Thing("old")
        return inner.options.max_retries, app.options.max_retries

    async def main() -> tuple[int, int]:
        async with alchemy("my-app", stage="prod", retry_delay=0.0) as app:
            return await body(app)

    assert world.run(main) == (1, 3)
    assert world.run(main, options={"max_retries": 7}) == (7, 7)

    async def ending() -> None:
        app = await alchemy("my-app", stage="prod", retry_delay=0.0)
        await app.finalize(max_retries=3)

    cloud.fail("delete old", times=1)
    with pytest.raises(Exception, match="failed"):
        world.run(ending, options={"max_retries": 0})
    assert cloud.calls("delete") == ["old"]


def test_blocks_inherit_and_may_differ(world: World) -> None:
    async def main() -> list[tuple[float, bool]]:
        seen = []
        async with (
            alchemy("my-app", timeout=7.0, adopt=True) as app,
            alchemy.run("a") as a,
            alchemy.run("b", timeout=9.0) as b,
            alchemy.run("c", adopt=False) as c,
        ):
            seen += [(s.options.timeout, s.options.adopt) for s in (app, a, b, c)]
        return seen

    assert world.run(main) == [(7.0, True), (7.0, True), (9.0, True), (9.0, False)]


def test_a_stage_opened_in_an_application_inherits_from_it(world: World) -> None:
    async def main() -> float:
        async with alchemy("my-app", timeout=7.0), alchemy("my-app", stage="prod") as prod:
            return prod.options.timeout

    assert world.run(main) == 7.0


def test_a_resource_has_its_scopes_time_or_its_own(world: World) -> None:
    async def body(app: Scope) -> None:
        Thing("plain")
        Thing("own", timeout=11)
        async with alchemy.run("block", timeout=5.0):
            Thing("inner")

    world.deploy(body, timeout=7.0)
    assert {id: row.timeout for id, row in world.rows().items()} == {"plain": 7.0, "own": 11.0, "block/inner": 5.0}


WRONG = [
    ("retry_delay", 1000, "retry_delay=1000 is above 300", "seconds, not milliseconds"),
    ("timeout", 30_000, "timeout=30000 is above 3600", "seconds, not milliseconds"),
    ("lock_timeout", 30_000, "lock_timeout=30000 is above 3600", "seconds, not milliseconds"),
    ("timeout", float("nan"), "timeout cannot be nan", ""),
    ("timeout", -1, "timeout cannot be -1", ""),
    ("timeout", "30", "timeout takes a number of seconds", ""),
    ("timeout", True, "timeout takes a number of seconds", ""),
    ("max_retries", 2.5, "max_retries takes a whole number", ""),
    ("batch_size", 0, "batch_size cannot be 0", ""),
    ("max_concurrency", 0, "max_concurrency cannot be 0", ""),
    ("adopt", "yes", "adopt takes True or False", ""),
    ("destroy_strategy", "chaotic", "destroy_strategy is one of sequential, parallel, batched, not 'chaotic'", ""),
    ("on_error", "explode", "on_error is 'keep' or 'cleanup'", ""),
    ("api_token", 7, "api_token takes a string", ""),
    ("strategie", "parallel", "does not take strategie", "destroy_strategy"),
]


@pytest.mark.parametrize(("name", "value", "says", "hint"), WRONG)
@pytest.mark.parametrize("where", ["alchemy", "run"])
def test_an_option_without_meaning_is_refused_by_name(
    world: World, where: str, name: str, value: object, says: str, hint: str
) -> None:
    async def main() -> None:
        given: dict[str, Any] = {name: value}
        around, inside = (given, {}) if where == "alchemy" else ({}, given)
        async with alchemy("my-app", **around), alchemy.run("block", **inside):
            pass

    with pytest.raises(UsageError, match=says) as error:
        world.run(main)
    assert hint in error.value.hint
    assert error.value.exit_code == 2


@pytest.mark.parametrize("value", [30_000, -1, "5", float("nan")])
def test_a_time_of_a_resource_is_checked_like_any_other(world: World, value: object) -> None:
    async def body(app: Scope) -> None:
        with pytest.raises(UsageError, match="timeout"):
            Thing("db", timeout=value)  # type: ignore[arg-type]

    world.deploy(body)


VARIABLES = [
    ("ALCHEMY_LOCK_TIMEOUT", "soon", "milliseconds"),
    ("ALCHEMY_LOCK_TIMEOUT", "-5", "milliseconds"),
    ("ALCHEMY_LOCK_TIMEOUT", "9999999999", "ALCHEMY_LOCK_TIMEOUT"),
    ("ALCHEMY_RETRY_DELAY", "1.5s", "milliseconds"),
    ("ALCHEMY_RETRY_DELAY", "1000000", "ALCHEMY_RETRY_DELAY"),
    ("ALCHEMY_MAX_RETRIES", "many", "whole number"),
    ("ALCHEMY_MAX_RETRIES", "²", "whole number"),
    ("ALCHEMY_MAX_RETRIES", "-1", "whole number"),
    ("ALCHEMY_DESTROY_STRATEGY", "chaotic", "sequential, parallel, batched"),
]


@pytest.mark.parametrize(("variable", "value", "says"), VARIABLES)
def test_a_bad_variable_is_named_with_what_it_takes(
    world: World, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable) as error:
        base_options(find_project())
    assert says in error.value.message
    assert "seconds, not milliseconds" not in error.value.hint


def test_variables_are_milliseconds_and_python_is_seconds(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ALCHEMY_LOCK_TIMEOUT": "1500",
        "ALCHEMY_RETRY_DELAY": "250",
        "ALCHEMY_MAX_RETRIES": "0",
        "ALCHEMY_DESTROY_STRATEGY": "batched",
        "CLOUDFLARE_API_TOKEN": "t",
        "CLOUDFLARE_ACCOUNT_ID": "a",
        "CLOUDFLARE_API_BASE_URL": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    found = base_options(find_project())
    assert (found.lock_timeout, found.retry_delay, found.max_retries) == (1.5, 0.25, 0)
    assert found.destroy_strategy == "batched"
    assert (found.api_token, found.account_id, found.api_base_url) == ("t", "a", "http://127.0.0.1:1")
    assert "api_token" not in repr(found), "a token is never printed"


def test_an_empty_variable_says_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALCHEMY_LOCK_TIMEOUT", "ALCHEMY_MAX_RETRIES", "ALCHEMY_DESTROY_STRATEGY", "ALCHEMY_STATE_DIR"):
        monkeypatch.setenv(name, "")
    assert base_options(find_project()) == Options()
    assert find_project().state_dir() == world.root / ".alchemy"


@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ('destroy_stratgy = "parallel"', "unknown key 'destroy_stratgy'", "did you mean destroy_strategy?"),
        ("zzzzzz = 1", "unknown key 'zzzzzz'", "known: "),
        ("program = 7", "program takes a str", ""),
        ('kinds = "shop"', "kinds takes a list", ""),
        ("retry_delay = 1000", "retry_delay=1000 is above 300", "seconds, not milliseconds"),
        ("x = [", "cannot be read", "mend"),
    ],
)
def test_a_mistake_in_the_project_file_is_named(world: World, text: str, says: str, hint: str) -> None:
    async def nothing(app: Scope) -> None:
        pass

    project(world, text)
    with pytest.raises(UsageError) as error:
        world.deploy(nothing)
    assert says in error.value.message
    assert hint in error.value.hint


def test_the_project_is_the_nearest_folder_above_that_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    project(world, 'state_dir = "state"')
    inner = world.root / "a" / "b"
    inner.mkdir(parents=True)
    (world.root / "a" / "pyproject.toml").write_text("[tool.other]\n")
    monkeypatch.chdir(inner)
    assert find_project().root == world.root
    assert find_project().state_dir() == world.root / "state"
    assert find_project().state_dir("other") == world.root / "other", "relative to the project, not to where one is"
    assert find_project().state_dir(Path("/x/y")) == Path("/x/y")


def test_without_a_project_file_the_folder_with_the_state_is_the_project(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy(keep_one)
    inner = world.root / "a" / "b"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    world.deploy(keep_one)
    assert world.outcomes() == ["keep db done"]
    assert not (inner / ".alchemy").exists()


async def keep_one(app: Scope) -> None:
    Thing("db")


def test_an_explicit_state_directory_wins_over_the_environment(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALCHEMY_STATE_DIR", "from-env")
    body: Body[None] = keep_one
    world.deploy(body, state_dir="from-argument")
    world.deploy(body)
    assert sorted(p.name for p in world.root.iterdir() if p.is_dir()) == ["from-argument", "from-env"]


@pytest.mark.parametrize("name", ["CLOUDFLARE_API_TOKEN", "CLOUDFLARE_ACCOUNT_ID"])
def test_half_of_the_credentials_is_an_error_and_never_the_local_cloud(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    with pytest.raises(UsageError, match=f"{name} is set, CLOUDFLARE_[A-Z_]+ is not"):
        world.deploy(keep_one)
    assert not world.state.exists()


def test_nothing_of_the_developers_own_is_seen_by_a_test() -> None:
    assert not [name for name in os.environ if name.startswith(("ALCHEMY_", "CLOUDFLARE_", "R2_"))]

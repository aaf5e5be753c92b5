"""`init` and `demo`: what they write works as it stands, and nothing of anybody's is overwritten."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tomllib
import urllib.request
from pathlib import Path

import pytest

from tests.cli.driver import COMMAND, Call, alchemy, environment, forked, terminal


def owners(directory: Path) -> dict[str, int]:
    done = alchemy("scope", "list", "--json", cwd=directory)
    return {scope["path"]: scope["resources"] for scope in json.loads(done.out)["scopes"]}


def test_init_writes_a_project_that_deploys(tmp_path: Path) -> None:
    done = alchemy("init", "My Shop!", cwd=tmp_path)
    assert (done.code, done.out) == (0, "")
    assert "Next:\n  cd My Shop!\n  alchemy plan\n" in done.err
    project = tmp_path / "My Shop!"
    written = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert written == {"pyproject.toml", "alchemy_run.py", "src/worker.js", ".gitignore"}
    assert tomllib.loads((project / "pyproject.toml").read_text())["tool"]["alchemy"]["app"] == "my-shop"
    deployed = alchemy("deploy", cwd=project)
    assert deployed.code == 0, deployed.err
    assert re.fullmatch(r"https://\S+\.workers\.dev\n", deployed.out)
    assert owners(project) == {"my-shop": 3, "my-shop/compute": 1, "my-shop/data": 2}


def test_init_adds_to_what_is_there_and_overwrites_nothing(tmp_path: Path) -> None:
    mine = {
        "pyproject.toml": '[project]\nname = "mine"\nversion = "1"',  # no newline at its end
        "alchemy_run.py": "# mine\n",
        ".gitignore": "*.pyc",
    }
    for name, text in mine.items():
        (tmp_path / name).write_text(text)
    first = alchemy("init", cwd=tmp_path)
    assert first.code == 0
    for name, text in mine.items():
        assert (tmp_path / name).read_text().startswith(text)
    assert (tmp_path / "alchemy_run.py").read_text() == "# mine\n"
    assert (tmp_path / ".gitignore").read_text() == "*.pyc\n.alchemy/\n"
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text())
    assert (project["project"]["name"], "alchemy" in project["tool"]) == ("mine", True)
    after = {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    again = alchemy("init", cwd=tmp_path)
    assert again.code == 0
    assert {path: path.read_text() for path in tmp_path.rglob("*") if path.is_file()} == after
    assert re.findall(r"^  (\w+) ", again.err, re.MULTILINE)[:4] == ["kept"] * 4


def test_folders_become_names_of_applications() -> None:
    from alchemy.cli.init import app_name

    named = {"shop": "shop", "My Shop!": "my-shop", "a..b": "a.b", "---": "my-app", "locks": "my-app", "Übung": "bung"}
    assert {folder: app_name(folder) for folder in named} == named
    assert app_name("test") == "my-app"  # an application cannot be called so
    assert len(app_name("x" * 300)) <= 63


@pytest.mark.slow
def test_the_demo_leaves_a_tree_runs_backups_and_what_to_try_next(tmp_path: Path) -> None:
    """Again and again, also after it was changed by hand, and never to an account that the shell is set up for."""
    account = {"CLOUDFLARE_API_TOKEN": "t", "CLOUDFLARE_ACCOUNT_ID": "0" * 32, "ALCHEMY_STAGE": "other"}
    for runs in (2, 4):
        done = alchemy("demo", cwd=tmp_path, **account)
        assert done.code == 0, done.err
        assert done.out.startswith("lantern ")
        assert f"{2 * runs} runs on record" in done.out
        assert "alchemy-demo. Try:" in done.err
    demo = tmp_path / "alchemy-demo"
    assert owners(demo)["lantern/prod"] == 6
    assert {"lantern/prod/database", "lantern/prod/storage", "lantern/dev/compute"} < owners(demo).keys()
    calls = [Call(("scope", "logs", "lantern/prod")), Call(("scope", "backups", "lantern/dev")), Call(("plan",))]
    logs, backups, plan = forked(calls, demo)
    assert "deleted    lantern/prod/database/analytics" in logs.out
    assert "before R-4" in backups.out
    assert plan.out.count("no changes") == 3, "each stage, and all in all"
    program = demo / "alchemy_run.py"
    program.write_text(
        program.read_text().replace('sessions = KVNamespace("sessions")', 'sessions = KVNamespace("s2")')
    )
    changed = program.read_text()
    again = alchemy("demo", cwd=tmp_path)
    assert again.code == 0
    assert "was changed: deploying it as it is" in again.err
    assert program.read_text() == changed
    assert "lantern/prod/database/sessions" in again.err


def test_the_demo_stays_out_of_another_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    done = alchemy("demo", ".", cwd=tmp_path)
    assert done.code == 5
    assert "holds another project" in done.err
    assert os.listdir(tmp_path) == ["pyproject.toml"]


@pytest.mark.slow
def test_the_demo_on_a_terminal_opens_the_dashboard(tmp_path: Path) -> None:
    with terminal("demo", "shop", cwd=tmp_path) as shown:
        shown.wait_for(r"(?s)Deploying version 1.*deploying again.*order-events")
        shown.type("q")
        assert shown.end() == 0
    assert "Traceback" not in shown.text
    assert "It is in shop. Try:" in shown.text


@pytest.mark.slow
def test_the_local_cloud_is_served_on_the_loopback_address_and_emptied(tmp_path: Path) -> None:
    assert alchemy("init", "shop", cwd=tmp_path).code == 0
    shop = tmp_path / "shop"
    assert alchemy("deploy", cwd=shop).code == 0
    command = [*COMMAND, "cloud", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=shop, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout is not None
            said = [server.stdout.readline().removeprefix("export ").rstrip() for _ in range(3)]
            variables = dict(text.split("=", 1) for text in said)
            address, account = variables["CLOUDFLARE_API_BASE_URL"], variables["CLOUDFLARE_ACCOUNT_ID"]
            assert address.startswith("http://127.0.0.1:")
            request = urllib.request.Request(
                f"{address}/accounts/{account}/d1/database",
                headers={"Authorization": f"Bearer {variables['CLOUDFLARE_API_TOKEN']}"},
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                names = [database["name"] for database in json.load(answer)["result"]]
            assert [name.startswith("shop-data-main") for name in names] == [True]
            # The same cloud over HTTP is the same target: nothing to do, nothing refused.
            again = alchemy("deploy", cwd=shop, **variables)
            assert again.code == 0, again.err
            assert "nothing changed, 3 resources" in again.err
        finally:
            server.terminate()
        assert server.wait(30) == 0
    refused = alchemy("cloud", "reset", cwd=shop)
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    emptied = alchemy("cloud", "reset", "--yes", cwd=shop)
    assert emptied.code == 0
    assert os.listdir(shop / ".alchemy/local-cloud") == ["account-id"]
    assert alchemy("destroy", "shop", "--yes", cwd=shop).code == 0  # what is gone already is no failure
    assert alchemy("deploy", cwd=shop).code == 0

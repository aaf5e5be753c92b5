"""Unlocking, reserving and recovering as people type them, with and without a terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import COMMAND, LIMIT, Call, Done, alchemy, environment, forked, lamps, terminal

pytestmark = pytest.mark.slow
SCOPE = "house/prod"


@contextmanager
def deploying(directory: Path, body: str = 'Lamp("slow", until="go")') -> Iterator[subprocess.Popen[bytes]]:
    """A deploy that hangs in its call."""
    lamps(directory, body)
    holder = subprocess.Popen(
        [*COMMAND, "deploy"], cwd=directory, env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        journal = directory / ".alchemy" / SCOPE / "journal" / "000001.jsonl"
        end = time.monotonic() + LIMIT
        while not journal.exists() or b'"phase":"intent"' not in journal.read_bytes():
            assert holder.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def locks(directory: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(alchemy("scope", "locks", "--json", cwd=directory).out)["locks"]
    return found


def unlock(directory: Path, *arguments: str) -> Done:
    return alchemy("scope", "unlock", SCOPE, *arguments, cwd=directory)


@pytest.fixture
def stale(tmp_path: Path) -> Path:
    """A directory in which a deploy died."""
    with deploying(tmp_path):
        pass
    return tmp_path


def test_without_a_terminal_the_token_says_whose_lock_is_meant(stale: Path) -> None:
    (lock,) = locks(stale)
    assert lock["verdict"] == "stale"
    for arguments in ((), ("--yes",), ("--force",)):
        done = unlock(stale, *arguments)
        assert done.code == 2, done.err
        assert f"next: `alchemy scope unlock {SCOPE} --token {lock['token']}`" in done.err
    done = unlock(stale, "--token", "9-beef")
    assert done.code == 5
    assert f"but by {lock['token']}: deploy by" in done.err
    done = unlock(stale, "--token", lock["token"], "--reason", "runner gone")
    assert done.code == 0, done.err
    assert f"{SCOPE} is free: R-1 of " in done.out
    assert f"  {SCOPE}/slow  creating  R-1" in done.out
    assert "evidence  the system grants the lock: nobody holds it" in done.err
    assert "next: `alchemy deploy --stage prod` goes on from there" in done.err
    assert locks(stale) == []
    assert unlock(stale).out == f"{SCOPE} is free: there was nothing to unlock\n"
    logs = alchemy("scope", "logs", SCOPE, cwd=stale).out
    assert "R-2  unlock  ▲ unlocked" in logs
    assert "R-1  deploy  ▲ lost" in logs
    assert "runner gone; broken: R-1, deploy by" in logs
    audit = [json.loads(file.read_bytes()) for file in sorted((stale / ".alchemy/audit").iterdir())]
    assert [(entry["act"], entry["outcome"]) for entry in audit] == [("unlock", "refused"), ("unlock", "done")]
    (stale / "go").touch()
    assert alchemy("deploy", cwd=stale).code == 0


def test_what_a_dead_run_left_is_in_doubt_until_a_run_has_looked(stale: Path) -> None:
    shown = alchemy("scope", "inspect", SCOPE, cwd=stale)
    assert re.search(r"  R-1 +deploy +▲ lost .* interrupted, 1 change in doubt\n", shown.out), shown.out
    assert "the next `alchemy deploy` or `alchemy destroy` looks up what became of these" in shown.out
    logs = alchemy("scope", "logs", SCOPE, cwd=stale).out
    assert "the log of R-1 ends here: its process is gone" in logs
    left = alchemy("scope", "cleanup", SCOPE, cwd=stale)
    assert left.code == 0
    assert "unfinished since R-1" in left.err
    assert f"next: `alchemy deploy --stage {SCOPE.partition('/')[2]}`" in left.err
    assert "nothing was left behind" not in left.err
    (stale / "go").touch()
    assert alchemy("deploy", cwd=stale).code == 0
    after = alchemy("scope", "inspect", SCOPE, cwd=stale).out
    assert "interrupted, 0 changes in doubt" in after
    assert "looks up what became" not in after
    assert "nothing to do" not in after
    logs = alchemy("scope", "logs", SCOPE, "--run", "R-1", cwd=stale).out
    assert "it was killed, or lost its lock, and R-2 (deploy, by" in logs


def test_on_a_terminal_what_a_dead_run_left_is_opened_by_its_name(stale: Path) -> None:
    with terminal("scope", "unlock", SCOPE, cwd=stale) as shown:
        shown.wait_for("Why")
        assert "stale  its holder is gone: safe to unlock" in shown.text
        shown.type("\n")
        shown.wait_for("Type prod to unlock house/prod: ")
        shown.type("dev\n")
        assert shown.end() == 2
    assert [lock["verdict"] for lock in locks(stale)] == ["stale"]
    with terminal("scope", "unlock", SCOPE, cwd=stale) as shown:
        shown.wait_for("Why")
        shown.type("runner gone\n")
        shown.wait_for("Type prod to unlock house/prod: ")
        shown.type("prod\n")
        assert shown.end() == 0
        assert "cannot write any more" in shown.text
    assert locks(stale) == []
    assert "runner gone" in alchemy("scope", "logs", SCOPE, cwd=stale).out


def test_on_a_terminal_what_is_alive_is_asked_first_and_then_broken_by_saying_so(tmp_path: Path) -> None:
    with deploying(tmp_path) as holder:
        with terminal("scope", "unlock", SCOPE, cwd=tmp_path) as shown:
            shown.wait_for(rf"Ask pid {holder.pid} to stop first, as Ctrl-C does\? \[y/N\]")
            shown.type("n\n")
            assert shown.end() == 5
            assert "which is alive" in shown.text
        with terminal("scope", "unlock", SCOPE, "--force", "--reason", "it hangs", cwd=tmp_path) as shown:
            shown.wait_for("Ask pid")
            shown.type("\n")
            shown.wait_for("Type break house/prod to unlock house/prod: ")
            shown.type("prod\n")
            assert shown.end() == 2
        assert holder.poll() is None
        with terminal("scope", "unlock", SCOPE, "--force", "--reason", "it hangs", cwd=tmp_path) as shown:
            shown.wait_for("Ask pid")
            shown.type("\n")
            shown.wait_for("Type break")
            shown.type("break house/prod\n")
            assert shown.end() == 0
        (tmp_path / "go").touch()
        _, said = holder.communicate(timeout=30)
        assert holder.returncode == 3, said.decode()
        assert "it hangs" in said.decode()
    recover = said.decode().rpartition("`alchemy scope recover ")[2].partition("`")[0]
    done = alchemy("deploy", cwd=tmp_path)
    assert done.code == 0
    assert f"note: 1 change that R-1 of {SCOPE} could not write: `alchemy scope recover " in done.err
    done = alchemy("scope", "recover", recover, cwd=tmp_path)
    assert (done.code, "nothing to write" in done.out) == (0, True), done.out + done.err
    assert "could not write" not in alchemy("deploy", cwd=tmp_path).err


def test_a_holder_that_is_asked_stops_and_nothing_has_to_be_broken(tmp_path: Path) -> None:
    with deploying(tmp_path, 'Lamp("slow", wait=1.5)') as holder:
        with terminal("scope", "unlock", SCOPE, cwd=tmp_path) as shown:
            shown.wait_for("Ask pid")
            shown.type("y\n")
            assert shown.end() == 0
            assert "stopped by itself" in shown.text
        assert holder.wait(20) == 130
    assert locks(tmp_path) == []


def test_a_stop_says_what_to_do_while_the_run_is_finishing_and_when_it_has_ended(tmp_path: Path) -> None:
    with deploying(tmp_path, 'Lamp("slow", wait=6)\nawait Lamp("next")') as holder:
        (lock,) = locks(tmp_path)
        late = alchemy("scope", "stop", SCOPE, "--lock-timeout", "1", cwd=tmp_path)
        assert late.code == 3, late.err
        assert f"`alchemy scope unlock {SCOPE} --token {lock['token']} --force`" in late.err
        over = alchemy("scope", "stop", SCOPE, cwd=tmp_path)
        assert "next: `alchemy deploy --stage prod` goes on where it was not finished" in over.err, over.err
        assert holder.wait(20) == 130


def test_a_scope_is_reserved_and_given_free(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    lock = ("scope", "lock", SCOPE, "--reason", "a migration", "--for")
    wrong = [Call((*lock, text)) for text in ("0h", "2 hours", "999999d")]
    no_reason, done = Call(("scope", "lock", SCOPE)), Call((*lock, "2h"))
    *refused, reserved = forked([*wrong, no_reason, done], tmp_path)
    assert [each.code for each in refused] == [2, 2, 2, 2]
    assert reserved.code == 0, reserved.err
    assert f"{SCOPE} is reserved until " in reserved.out
    (found,) = locks(tmp_path)
    assert (found["verdict"], found["hold"]["reason"]) == ("held", "a migration")
    assert f"next: `alchemy scope unlock {SCOPE} --token {found['token']}` gives it free" in reserved.err
    calls = [("deploy",), ("plan",), ("scope", "locks"), ("scope", "list")]
    calls += [("scope", "unlock", SCOPE, "--token", found["token"], "--json"), ("deploy",)]
    stopped, planned, shown, listed, opened, deployed = forked([Call(call) for call in calls], tmp_path)
    assert stopped.code == 3
    assert ": a migration" in stopped.err
    assert planned.code == 0
    assert "held  reserved by a person: runs stay out" in shown.out
    assert "  reason    a migration" in shown.out
    assert ": a migration" in listed.out
    assert json.loads(opened.out)["outcome"] == "unlocked"
    assert deployed.code == 0


def test_an_application_that_is_reserved_gets_a_journal_and_is_destroyed_like_any_other(tmp_path: Path) -> None:
    lamps(tmp_path, 'Lamp("hall")')
    calls = [("deploy",), ("scope", "lock", "house", "--reason", "freeze"), ("scope", "list", "--json")]
    calls += [("destroy", "house", "--yes"), ("scope", "unlock", SCOPE)]
    _, reserved, listed, refused, above = forked([Call(call) for call in calls], tmp_path)
    assert reserved.code == 0, reserved.err
    assert [(scope["path"], scope["kind"]) for scope in json.loads(listed.out)["scopes"]] == [
        ("house", "application"),
        (SCOPE, "stage"),
    ]
    assert (refused.code, "house" in refused.err) == (3, True)
    assert "house is held: `alchemy scope unlock house`" in above.err
    calls = [("scope", "unlock", "house", "--token", locks(tmp_path)[0]["token"]), ("destroy", "house", "--yes")]
    calls += [("scope", "validate"), ("scope", "list", "--json"), ("deploy",)]
    done = forked([Call(call) for call in calls], tmp_path)
    assert [each.code for each in done] == [0] * 5, done
    assert json.loads(done[3].out)["scopes"] == []


def test_a_stopped_holder_is_shown_as_alive_all_the_same(tmp_path: Path) -> None:
    with deploying(tmp_path) as holder:
        holder.send_signal(signal.SIGSTOP)
        (lock,) = locks(tmp_path)
        assert lock["verdict"] == "live"
        assert f"pid {holder.pid} is stopped, and holds it all the same" in lock["evidence"]
        done = unlock(tmp_path, "--token", lock["token"], "--force", "--json")
        document = json.loads(done.out)
        assert (document["outcome"], document["freed"]) == ("unlocked", [SCOPE])
        assert document["interrupted"][0]["status"] == "creating"
        assert document["before"]["verdict"] == "live"

from __future__ import annotations

import asyncio
import os
import re
import signal
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from alchemy.errors import Fenced, StateInvalid, StorageFailed, UsageError
from alchemy.model.locks import Verdict
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.holders import probe, read_holder
from alchemy.store.layout import Layout
from alchemy.store.locks import LocalLocks
from tests.store.lock_peer import (
    Peer,
    eventually,
    holder,
    locks_in,
    p,
    peer_in,
    refused,
    take,
    verdict,
    view_of,
)

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def peer(root: Path) -> Iterator[Peer]:
    with peer_in(root) as peer:
        yield peer


# --- death, stopping, forking


def test_after_kill_9_the_next_one_has_it_within_a_second(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")

    async def wait() -> float:
        task = asyncio.create_task(locks_in(root).acquire(p("my-app/prod"), timeout=20.0))
        await asyncio.sleep(0.7)  # by now it looks as seldom as it ever will
        assert not task.done()
        peer.kill()
        started = time.monotonic()
        (await task).release()
        return time.monotonic() - started

    assert verdict(root, "my-app/prod") is Verdict.LIVE
    assert asyncio.run(wait()) < 1.0
    assert verdict(root, "my-app/prod") is Verdict.FREE


def test_a_killed_holder_leaves_a_record_that_says_so(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    peer.kill()
    view = view_of(root, "my-app/prod")
    assert view.verdict is Verdict.STALE
    assert view.evidence[1] == f"pid {peer.pid} is gone"


@linux_only
def test_a_stopped_holder_is_live_and_goes_on_when_it_is_woken(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    peer.signal(signal.SIGSTOP)
    assert eventually(lambda: "stopped" in " ".join(view_of(root, "my-app/prod").evidence))
    assert view_of(root, "my-app/prod").verdict is Verdict.LIVE
    assert f"pid {peer.pid}" in refused(root, "my-app/prod", timeout=0.2).message
    peer.signal(signal.SIGCONT)
    assert peer.ask("release") == {"ok": True}
    assert verdict(root, "my-app/prod") is Verdict.FREE


@linux_only
def test_a_forked_child_neither_keeps_nor_drops_the_lock(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    assert peer.ask("fork", release=True)["inherited"] == 0  # it also called release(), and is gone
    assert verdict(root, "my-app/prod") is Verdict.LIVE
    refused(root, "my-app")
    child = peer.ask("fork", release=False)
    try:
        assert child["inherited"] == 0
        peer.kill()
        assert eventually(lambda: not probe(Layout(root), "my-app/prod"))
        os.kill(child["pid"], 0)  # still there
        take(root, "my-app").release()
    finally:
        os.kill(child["pid"], signal.SIGKILL)


def test_a_child_forked_by_foreign_code_neither_keeps_nor_drops_the_lock(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    child = peer.ask("fork_unseen")["pid"]  # has a copy of every descriptor, and called release()
    try:
        assert verdict(root, "my-app/prod") is Verdict.LIVE
        assert read_holder(Layout(root), Files(), "my-app/prod")
        refused(root, "my-app")
        peer.ask("release")
        take(root, "my-app").release()
        os.kill(child, 0)  # still there
    finally:
        os.kill(child, signal.SIGKILL)


def test_the_record_goes_while_the_lock_is_still_held(root: Path) -> None:
    """Killed at any moment, a holder leaves its record or nothing: never a path that looks held or left behind."""
    seen: list[tuple[str, bool, Verdict]] = []

    class Watched(Files):
        def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
            look("before")
            super().replace(path, data, durable=durable)
            look("after")

        def remove(self, path: Path) -> None:
            look("before")
            super().remove(path)
            look("after")

    def look(when: str) -> None:
        seen.append((when, probe(Layout(root), "my-app"), verdict(root, "my-app")))

    lease = asyncio.run(LocalLocks(Layout(root), Watched(), Clock()).acquire(p("my-app"), timeout=0))
    lease.publish(holder("my-app"))
    lease.release()
    assert seen == [(when, True, Verdict.LIVE) for when in ("before", "after", "before", "after")]
    assert verdict(root, "my-app") is Verdict.FREE


def test_a_lease_taken_before_a_fork_is_not_the_childs_to_publish(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    assert peer.ask("publish_in_child") == {"child": "UsageError: lock my-app/prod is not held here"}
    assert read_holder(Layout(root), Files(), "my-app/prod") is None


def test_a_program_started_meanwhile_does_not_keep_the_lock(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    started = peer.ask("spawn")["pid"]
    try:
        peer.kill()
        assert eventually(lambda: not probe(Layout(root), "my-app/prod"))
    finally:
        os.kill(started, signal.SIGKILL)


def test_releasing_twice_takes_nothing_from_the_next_holder(root: Path, peer: Peer) -> None:
    lease = take(root, "my-app/prod")
    lease.publish(holder("my-app/prod"))
    lease.release()
    peer.hold("my-app/prod")
    lease.release()
    assert view_of(root, "my-app/prod").holder == read_holder(Layout(root), Files(), "my-app/prod")
    assert verdict(root, "my-app/prod") is Verdict.LIVE
    with pytest.raises(UsageError, match="is not held here"):
        lease.publish(holder("my-app/prod"))


def test_whoever_takes_the_lock_clears_the_record_of_the_dead_away(root: Path, peer: Peer) -> None:
    """Else it would stand for somebody who has the lock and has not said yet who it is."""
    peer.hold("my-app/prod/database", owner="my-app/prod")
    peer.kill()
    lease = take(root, "my-app/prod/database", owner="my-app/prod")
    for path in ("my-app/prod", "my-app/prod/database"):
        assert read_holder(Layout(root), Files(), path) is None
        assert verdict(root, path) is Verdict.LIVE
    lease.release()
    assert verdict(root, "my-app/prod") is Verdict.FREE


# --- what lies on disk


def test_lock_files_are_private_empty_and_stay(root: Path) -> None:
    lease = take(root, "my-app/prod/database", owner="my-app/prod")
    lease.publish(holder("my-app/prod/database"))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in root.rglob("*") if path.is_dir()} == {0o700}
    lease.release()
    left = {str(path.relative_to(root / "locks")): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    names = (
        "my-app.lock",
        "my-app.lock.gate",
        "my-app/prod.lock",
        "my-app/prod.lock.gate",
        "my-app/prod/database.lock",
        "my-app/prod/database.lock.gate",
    )
    assert left == dict.fromkeys(names, 0)


def replace_lock(root: Path, path: str) -> None:
    """As an unlock by force does."""
    Files().replace(Layout(root).lock(path), b"")


def test_after_a_lock_was_opened_by_force_the_old_holder_touches_nothing(root: Path, peer: Peer) -> None:
    lease = take(root, "my-app/prod")
    lease.publish(holder("my-app/prod"))
    replace_lock(root, "my-app/prod")
    assert verdict(root, "my-app/prod") is Verdict.STALE
    assert view_of(root, "my-app/prod").evidence[1] == f"pid {os.getpid()} still runs, but has lost the lock"
    peer.hold("my-app/prod")
    with pytest.raises(Fenced, match="lock my-app/prod was opened by force"):
        lease.publish(holder("my-app/prod", epoch=2))
    lease.release()
    found = read_holder(Layout(root), Files(), "my-app/prod")
    assert found
    assert found.pid == peer.pid
    assert probe(Layout(root), "my-app/prod")


def test_a_waiter_notices_that_the_lock_was_opened_by_force(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")

    async def wait() -> None:
        task = asyncio.create_task(locks_in(root).acquire(p("my-app/prod"), timeout=20.0))
        await asyncio.sleep(0.2)
        replace_lock(root, "my-app/prod")
        async with asyncio.timeout(2.0):
            (await task).release()

    asyncio.run(wait())


@linux_only
def test_who_holds_on_to_an_ancestor_after_that_is_named_by_its_pid(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    replace_lock(root, "my-app/prod")
    assert refused(root, "my-app").message.endswith(f"its own lock below was opened by force (pid {peer.pid})")


def test_a_file_replaced_between_opening_and_locking_is_not_taken_for_the_lock(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import portalocker

    real = portalocker.lock
    replaced: list[int] = []

    def lock(descriptor: int, flags: portalocker.LockFlags) -> None:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("/prod.lock") and not replaced:
            replaced.append(descriptor)
            replace_lock(root, "my-app/prod")
        real(descriptor, flags)

    monkeypatch.setattr(portalocker, "lock", lock)
    lease = take(root, "my-app/prod")
    assert replaced
    assert probe(Layout(root), "my-app/prod")
    lease.release()


def test_a_directory_removed_with_its_test_scope_is_made_again(root: Path) -> None:
    take(root, "my-app/test/unit-1").release()
    for path in sorted((root / "locks").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    take(root, "my-app/test/unit-1").release()


@pytest.mark.parametrize("name", ["my-app/prod.lock", "my-app/prod.lock.gate", "my-app.lock", "my-app"])
def test_a_symbolic_link_among_the_locks_is_refused_by_name(root: Path, tmp_path: Path, name: str) -> None:
    link = root / "locks" / name
    link.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    link.symlink_to(tmp_path / "elsewhere" / ("" if name == "my-app" else "victim"))
    with pytest.raises(StateInvalid, match=re.escape(f"locks/{name} is a symbolic link")) as caught:
        take(root, "my-app/prod")
    assert caught.value.exit_code == 4
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_directory_a_pipe_or_a_file_in_the_way_is_refused_by_name(root: Path) -> None:
    locks = root / "locks"
    (locks / "a.lock").mkdir(parents=True)
    os.mkfifo(locks / "b.lock")
    (locks / "c").touch()
    for path, what in (
        ("a", "a.lock is a directory"),
        ("b", "b.lock is not a plain file"),
        ("c/d", "is below a plain"),
    ):
        with pytest.raises(StateInvalid, match=what):
            take(root, path)


def test_a_state_directory_that_cannot_be_written_says_what_to_check() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o555)
        answer = as_nobody(Path(name))
    assert answer["error"] == "StorageFailed"
    assert answer["message"] == f"cannot create {name}/locks: Permission denied"
    assert f"chmod u+rwX {name}`" in answer["hint"]


def test_a_lock_file_of_another_user_says_what_to_check() -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        take(Path(name), "my-app").release()
        for path in Path(name).rglob("*"):
            os.chmod(path, 0o755 if path.is_dir() else 0o000)
        answer = as_nobody(Path(name))
        assert answer["error"] == "StorageFailed"
        assert answer["message"] == f"cannot open the lock file {name}/locks/my-app.lock.gate: Permission denied"
        assert f"check owner and permissions of {name}" in answer["hint"]


def as_nobody(root: Path) -> dict[str, str]:
    """What acquiring says in a process without the rights of root."""
    with peer_in(root) as peer:
        return peer.ask("acquire_as_nobody", path="my-app")


def test_a_dangling_state_directory_ends_in_an_error_not_in_a_loop(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StorageFailed, match="not a directory"):
        take(tmp_path / "link", "my-app")

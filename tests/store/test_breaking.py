"""Opening a lock by force takes it from the session that was seen, and from nobody who came after."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from alchemy.errors import Fenced, LockHeld
from alchemy.model.locks import Verdict
from alchemy.store import breaking
from alchemy.store.breaking import break_lock
from alchemy.store.files import Files
from alchemy.store.flocks import take as take_file
from alchemy.store.holders import probe, read_holder
from alchemy.store.layout import Layout
from alchemy.store.locks import Lease
from tests.store.lock_peer import Peer, holder, locks_in, p, peer_in, refused, take, verdict

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def peer(root: Path) -> Iterator[Peer]:
    with peer_in(root) as peer:
        yield peer


def session_of(root: Path, path: str = "my-app/prod") -> str:
    found = read_holder(Layout(root), Files(), path)
    assert found
    return found.session


def unlock(root: Path, path: str = "my-app/prod", session: str = "", files: Files | None = None) -> bool:
    return break_lock(Layout(root), files or Files(), p(path), session or session_of(root, path))


def test_the_lock_of_a_stopped_holder_is_free_and_the_holder_finds_out(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    peer.signal(signal.SIGSTOP)
    assert unlock(root)
    assert verdict(root, "my-app/prod") is Verdict.FREE
    lease = take(root, "my-app/prod")
    lease.publish(holder("my-app/prod", session="a" * 32))
    peer.signal(signal.SIGCONT)
    assert peer.ask("publish", epoch=1)["error"] == "Fenced"
    peer.ask("release")
    assert session_of(root) == "a" * 32
    assert probe(Layout(root), "my-app/prod")
    lease.release()


def test_a_lease_that_was_broken_is_nobodys_and_gives_no_way_below_it(root: Path) -> None:
    lease = take(root, "my-app")
    lease.publish(holder("my-app"))
    assert lease.mine
    assert unlock(root, "my-app")
    assert not lease.mine
    with pytest.raises(Fenced, match="lock my-app was opened by force"):
        take(root, "my-app/prod", held=("my-app",))
    lease.release()
    take(root, "my-app/prod", held=("my-app",)).release()


def test_only_the_session_that_was_seen_is_broken(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    assert not unlock(root, session="f" * 32)
    assert verdict(root, "my-app/prod") is Verdict.LIVE
    refused(root, "my-app/prod")


def test_whoever_has_not_said_who_he_is_is_not_broken(root: Path, peer: Peer) -> None:
    """He came after a holder that died: its record is not his."""
    peer.hold("my-app/prod")
    session = session_of(root)
    peer.kill()
    lease = take(root, "my-app/prod")
    assert not unlock(root, session=session)
    assert lease.mine
    lease.publish(holder("my-app/prod"))
    lease.release()


def test_what_a_dead_holder_left_is_tidied(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    peer.kill()
    assert verdict(root, "my-app/prod") is Verdict.STALE
    assert unlock(root)
    assert verdict(root, "my-app/prod") is Verdict.FREE
    assert not unlock(root, session="f" * 32)


def test_a_waiter_that_keeps_the_gate_gets_it(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")

    async def wait() -> Lease:
        task = asyncio.create_task(locks_in(root).acquire(p("my-app/prod"), timeout=20.0))
        await asyncio.sleep(0.2)
        assert await asyncio.to_thread(unlock, root)
        async with asyncio.timeout(2.0):
            return await task

    lease = asyncio.run(wait())
    assert lease.mine
    lease.release()


class Meanwhile(Files):
    """While the lock file is replaced, somebody else does something."""

    def __init__(self, root: Path, act: Callable[[], None]) -> None:
        super().__init__(root)
        self.act: Callable[[], None] | None = act

    def replace(self, path: Path, data: bytes, *, durable: bool = False) -> None:
        if path.name == "prod.lock" and self.act:
            act, self.act = self.act, None
            act()
        super().replace(path, data, durable=durable)


def test_a_holder_that_gives_it_back_at_that_moment_lets_nobody_in_who_would_be_broken(root: Path) -> None:
    lease = take(root, "my-app/prod")
    lease.publish(holder("my-app/prod"))

    def give_back() -> None:
        lease.release()
        assert "is awaited by" in refused(root, "my-app/prod").message
        assert "is awaited by" in refused(root, "my-app/prod/database").message

    assert unlock(root, files=Meanwhile(root, give_back))
    take(root, "my-app/prod").release()


@linux_only
@pytest.mark.parametrize("path", ["my-app/prod", "my-app/prod/database"])
def test_a_taker_between_gate_and_lock_steps_back(
    root: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """He passed the gate before it was shut: what he takes, or shares, is the file that is being replaced."""
    import portalocker

    peer.hold("my-app/prod")
    real = portalocker.lock
    acted: list[str] = []

    def give_back() -> None:
        peer.ask("release")
        go_on.set()
        tried.wait(5)

    def lock(descriptor: int, flags: portalocker.LockFlags) -> None:
        name = os.readlink(f"/proc/self/fd/{descriptor}")
        if name.endswith("/prod.lock") and threading.current_thread().name == "taker" and not acted:
            acted.append(name)
            threading.Thread(target=unlock, args=(root,), kwargs={"files": Meanwhile(root, give_back)}).start()
            assert go_on.wait(5)
            real(descriptor, flags)
            tried.set()
            return
        real(descriptor, flags)

    go_on, tried = threading.Event(), threading.Event()
    monkeypatch.setattr(portalocker, "lock", lock)
    taken: list[Lease] = []
    taker = threading.Thread(target=lambda: taken.append(take(root, path, timeout=5.0)), name="taker")
    taker.start()
    taker.join(10)
    assert acted
    assert taken[0].mine
    assert peer.ask("acquire", path="my-app/prod")["error"] == "LockHeld"
    taken[0].publish(holder(path))
    taken[0].release()


def test_two_unlocks_at_once_take_turns(root: Path, peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.hold("my-app/prod")
    monkeypatch.setattr(breaking, "PATIENCE", 0.2)
    first = take_file(Layout(root), Files(), Layout(root).unlocking, alone=True)
    assert first
    with pytest.raises(LockHeld, match="another unlock has been at work"):
        unlock(root)
    first.release()
    assert unlock(root)


@linux_only
def test_a_zombie_that_still_shares_what_is_above_is_named_by_its_pid(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    peer.signal(signal.SIGSTOP)
    assert unlock(root)
    message = refused(root, "my-app").message
    assert f"pid {peer.pid}" in message
    assert "opened by force" in message
    peer.kill()
    take(root, "my-app").release()

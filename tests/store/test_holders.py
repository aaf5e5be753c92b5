from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alchemy.errors import InvalidName, StateInvalid
from alchemy.model.locks import Verdict
from alchemy.model.values import Holder
from alchemy.store import identity
from alchemy.store.clock import Clock, stamp
from alchemy.store.files import Files
from alchemy.store.holders import MAX_RECORD, age, in_words, lock_view, lock_views, probe, read_holder
from alchemy.store.layout import Layout
from alchemy.store.locks import Lease
from tests.store.lock_peer import CORE, Peer, eventually, holder, peer_in, record, take, verdict, view_of

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / ".alchemy"


@pytest.fixture
def peer(root: Path) -> Iterator[Peer]:
    with peer_in(root) as peer:
        yield peer


def leave(root: Path, path: str = "my-app/prod", data: bytes | None = None, **changed: Any) -> None:
    """A record of `path` that nobody holds."""
    Files().make_directory(Layout(root).holder(path).parent)
    Layout(root).holder(path).write_bytes(record(holder(path, **changed)) if data is None else data)


def read(root: Path, path: str = "my-app/prod") -> Holder | None:
    return read_holder(Layout(root), Files(), path)


# --- verdicts


def test_a_path_nobody_ever_held_is_free_and_looking_creates_nothing(root: Path) -> None:
    assert verdict(root, "my-app/prod") is Verdict.FREE
    assert lock_views(Layout(root), Files(), Clock()) == []
    assert not root.exists()


def test_a_held_path_is_live_with_its_holder_and_those_above_it_are_free(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    view = view_of(root, "my-app/prod")
    assert view.verdict is Verdict.LIVE
    assert view.holder
    assert (view.holder.pid, view.holder.path, view.you) == (peer.pid, "my-app/prod", False)
    assert 0 <= view.age < 30
    assert view.evidence == ("the system refuses the lock: whoever holds it is alive", f"pid {peer.pid} runs")
    assert verdict(root, "my-app") is Verdict.FREE
    assert read(root, "my-app") is None
    assert verdict(root, "my-app/prod/database") is Verdict.FREE


def test_what_this_process_holds_is_live_to_itself(root: Path) -> None:
    lease = take(root, "my-app")
    lease.publish(holder("my-app", user=identity.user()))
    assert (view_of(root, "my-app").verdict, view_of(root, "my-app").you) == (Verdict.LIVE, True)
    lease.release()
    assert view_of(root, "my-app").verdict is Verdict.FREE


def test_a_held_path_without_a_record_is_live_all_the_same(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    view = view_of(root, "my-app/prod")
    assert (view.verdict, view.holder) == (Verdict.LIVE, None)
    if sys.platform == "linux":
        assert view.evidence[1] == f"it left no record: the system names pid {peer.pid}"


def test_a_held_path_with_the_record_of_a_dead_holder_says_so(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod", record=False)
    leave(root, process_start="1")
    view = view_of(root, "my-app/prod")
    assert view.verdict is Verdict.LIVE
    assert view.evidence[1].startswith("its record is of an earlier holder: pid")


def test_a_killed_holder_is_stale(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    os.kill(peer.pid, 9)  # not collected by its parent: a zombie still has its pid
    assert eventually(lambda: verdict(root, "my-app/prod") is Verdict.STALE)
    for _ in range(2):
        view = view_of(root, "my-app/prod")
        assert view.evidence == ("the system grants the lock: nobody holds it", f"pid {peer.pid} is gone")
        peer.kill()


@linux_only
def test_a_pid_that_belongs_to_another_process_now_is_stale(root: Path) -> None:
    leave(root, process_start="1")
    view = view_of(root, "my-app/prod")
    assert view.verdict is Verdict.STALE
    assert view.evidence[1].startswith(f"pid {os.getpid()} is another process now")


@linux_only
def test_a_record_from_before_the_last_boot_is_stale(root: Path) -> None:
    leave(root, boot_id="another boot")
    view = view_of(root, "my-app/prod")
    assert view.verdict is Verdict.STALE
    assert view.evidence[1] == f"{identity.host()} was started again since"


def test_a_process_that_runs_but_lost_the_lock_is_stale(root: Path) -> None:
    leave(root)
    assert view_of(root, "my-app/prod").evidence[1] == f"pid {os.getpid()} still runs, but has lost the lock"
    assert verdict(root, "my-app/prod") is Verdict.STALE


def test_a_holder_on_another_host_is_unknown_whatever_the_kernel_says_here(root: Path, peer: Peer) -> None:
    for said in ("the lock is granted here, which says nothing about there", "the lock is refused here"):
        leave(root, host="runner-9", boot_id="another machine", since=stamp(Clock().wall() - 3600))
        view = view_of(root, "my-app/prod")
        assert view.verdict is Verdict.UNKNOWN
        assert 3590 < view.age < 3700
        assert "runner-9" in view.evidence[0]
        assert view.evidence[1] == said
        peer.ask("acquire", path="my-app/prod", record=False)


@linux_only
def test_another_host_name_on_the_same_running_kernel_is_the_same_host(root: Path) -> None:
    """A laptop that changed its name, or a container on it: the kernel knows all of them."""
    leave(root, host="old-name", pid=1)
    view = view_of(root, "my-app/prod")
    assert (view.verdict, view.evidence) == (Verdict.STALE, ("the system grants the lock: nobody holds it",))


def test_all_locks_come_live_first_then_unknown_then_left_behind(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod/database", owner="my-app/prod")
    leave(root, "my-app", pid=1, process_start="1")
    leave(root, "other/x", host="runner-9", boot_id="")
    take(root, "free").release()
    (root / "locks" / "a\x1bb.lock").touch()
    (root / "locks" / ".hidden.lock").touch()
    (root / "locks" / "x.lock.stop").touch()
    (root / "locks" / "loop").symlink_to(root / "locks")
    found = [(view.path, str(view.verdict)) for view in lock_views(Layout(root), Files(), Clock())]
    assert found == [
        ("my-app/prod", "live"),
        ("my-app/prod/database", "live"),
        ("other/x", "unknown"),
        ("my-app", "stale"),
    ]


def test_a_lock_that_cannot_be_looked_at_is_unknown_and_hides_no_other(root: Path, peer: Peer) -> None:
    peer.hold("my-app/prod")
    (root / "locks" / "evil.lock").symlink_to("/etc/passwd")
    views = lock_views(Layout(root), Files(), Clock())
    assert [(view.path, view.verdict) for view in views] == [
        ("my-app/prod", Verdict.LIVE),
        ("evil", Verdict.UNKNOWN),
    ]
    assert "evil.lock is a symbolic link" in views[1].evidence[0]
    with pytest.raises(StateInvalid):
        probe(Layout(root), "evil")


@pytest.mark.parametrize("next_one", [False, True])
def test_a_lock_given_back_while_it_is_looked_at_is_not_called_stale(root: Path, next_one: bool) -> None:
    lease = take(root, "my-app/prod")
    lease.publish(holder("my-app/prod", epoch=1))
    later: list[Lease] = []

    class Slow(Files):
        """Between the reader's look at the record and its look at the lock the holder ends."""

        def read(self, path: Path) -> bytes:
            data = super().read(path)
            if not later:
                lease.release()
                later.append(take(root, "my-app/prod"))
                later[0].publish(holder("my-app/prod", epoch=2))
                if not next_one:
                    later[0].release()
            return data

    view = lock_view(Layout(root), Slow(), "my-app/prod", clock=Clock())
    if next_one:
        assert (view.verdict, view.holder and view.holder.epoch) == (Verdict.LIVE, 2)
    else:
        assert view.verdict is Verdict.FREE
    later[0].release()


def test_a_lock_taken_after_it_was_looked_at_is_not_called_stale(root: Path) -> None:
    leave(root, epoch=1)
    later: list[Lease] = []

    class Slow(Files):
        """Between the reader's look at the lock and its second look at the record the next one begins."""

        reads = 0

        def read(self, path: Path) -> bytes:
            self.reads += 1
            if self.reads == 2:
                later.append(take(root, "my-app/prod"))
                later[0].publish(holder("my-app/prod", epoch=2))
            return super().read(path)

    view = lock_view(Layout(root), Slow(), "my-app/prod", clock=Clock())
    assert (view.verdict, view.holder and view.holder.epoch) == (Verdict.LIVE, 2)
    later[0].release()


@pytest.mark.parametrize("path", ["../x", "my-app/../../etc", "a\x1b", "", "my-app//x"])
def test_a_path_outside_the_grammar_reaches_no_file(root: Path, path: str) -> None:
    for ask in (lambda: probe(Layout(root), path), lambda: read(root, path), lambda: verdict(root, path)):
        with pytest.raises(InvalidName):
            ask()


# --- records


def test_what_was_published_is_read_back(root: Path) -> None:
    lease = take(root, "my-app/prod")
    mine = holder("my-app/prod", epoch=41)
    lease.publish(mine)
    assert read(root) == mine
    lease.release()
    assert read(root) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe\x00",
        b"[" * 10_000,
        b'{"path": "my-app/prod"}',
        record(holder("my-app/prod"))[:-20],
        record(holder("my-app/dev")),
        record(holder("my-app/prod")) + b" " * MAX_RECORD,
        record(holder("my-app/prod")).replace(b'"epoch": 1', b'"epoch": 1' + b"0" * 5000),
    ],
)
def test_a_torn_or_foreign_record_is_no_record(root: Path, data: bytes) -> None:
    leave(root)
    assert read(root)
    leave(root, data=data)
    assert read(root) is None
    assert verdict(root, "my-app/prod") is Verdict.FREE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("pid", -1),
        ("pid", 0),
        ("pid", True),
        ("pid", "1"),
        ("pid", 1 << 40),
        ("epoch", 1.5),
        ("host", None),
        ("user", {}),
    ],
)
def test_a_record_with_a_field_of_another_type_is_no_record(root: Path, field: str, value: object) -> None:
    leave(root, data=json.dumps({**holder("my-app/prod").to_json(), field: value}).encode())
    assert read(root) is None


def test_a_record_with_fields_of_a_newer_version_is_read(root: Path) -> None:
    leave(root, data=json.dumps({**holder("my-app/prod").to_json(), "runner": "x"}).encode())
    assert read(root)


def test_a_link_a_pipe_or_a_directory_is_no_record(root: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    good.write_bytes(record(holder("my-app/prod")))
    file = Layout(root).holder("my-app/prod")
    file.parent.mkdir(parents=True)
    file.symlink_to(good)
    assert read(root) is None
    file.unlink()
    os.mkfifo(file)
    assert read(root) is None  # and does not wait for a writer
    file.unlink()
    file.mkdir()
    assert read(root) is None


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=4)
FIELDS = holder("my-app/prod").to_json()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changed=st.dictionaries(st.sampled_from(sorted(FIELDS)), JSON, max_size=4))
@example(changed={"since": "0001-01-01T00:00:00+14:00"})
@example(changed={"since": "9999-12-31T23:59:59-12:00"})
@example(changed={"user": "\x1b[31m", "host": "\u202e", "command": "\ud800"})
def test_no_record_breaks_a_reader_or_reaches_the_terminal_unescaped(root: Path, changed: dict[str, Any]) -> None:
    leave(root, data=json.dumps({**FIELDS, **changed}).encode())
    view = view_of(root, "my-app/prod")
    assert view.verdict in (Verdict.FREE, Verdict.STALE, Verdict.UNKNOWN)
    assert view.age >= 0
    shown = " ".join(view.evidence) + (in_words(view.holder, Clock()) if view.holder else "")
    shown.encode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e]", shown)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200))
def test_no_bytes_break_a_reader(root: Path, data: bytes) -> None:
    leave(root, data=data)
    assert read(root) is None


def test_a_holder_in_words_has_the_time_of_day_and_the_date_only_when_it_was_not_today() -> None:
    now = Clock().wall()
    today = holder("my-app/prod", pid=4121, host="laptop", since=stamp(now))
    assert re.fullmatch(r"ana@laptop, pid 4121, since \d\d:\d\d, alchemy deploy", in_words(today, Clock()))
    before = holder("my-app/prod", pid=4121, host="laptop", since="2024-01-15T12:30:00.000Z")
    assert re.search(r", since 2024-01-1[456] \d\d:\d\d, ", in_words(before, Clock()))
    unsaid = holder("my-app/prod", pid=4121, host="laptop", since="yesterday")
    assert in_words(unsaid, Clock()) == "ana@laptop, pid 4121, alchemy deploy"
    assert age(unsaid, Clock()) == 0


def test_a_clock_that_was_set_back_makes_no_negative_age(root: Path) -> None:
    leave(root, since=stamp(Clock().wall() + 500))
    assert view_of(root, "my-app/prod").age == 0


def test_reading_loads_neither_asyncio_nor_portalocker() -> None:
    program = "import sys, alchemy.store.holders as _; print({'asyncio', 'portalocker', 'pydantic'} & set(sys.modules))"
    said = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(CORE)}, capture_output=True, check=True
    )
    assert said.stdout == b"set()\n"

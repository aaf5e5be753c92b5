"""Reading locks: who holds a path, alive or left behind, with the evidence. Changes nothing, waits for nobody.

Neighbours: `locks` takes what is read here; `model.locks` is the answer's shape. The journal's opener is the truth
about who a holder is, the record read here (`<path>.lock.holder.json`) its mirror; whether somebody holds a path at
all, only the kernel knows. Read-only commands load this: standard library only, no asyncio, no portalocker.
"""

from __future__ import annotations

import fcntl
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

from alchemy.errors import StateInvalid, StorageFailed
from alchemy.model.locks import LockView, Verdict
from alchemy.model.paths import ScopePath
from alchemy.model.schema import check_holder
from alchemy.model.strict import parse
from alchemy.model.text import safe_text
from alchemy.model.values import Holder
from alchemy.store.clock import Clock
from alchemy.store.files import Files
from alchemy.store.identity import boot_id, host, process_start, user
from alchemy.store.layout import Layout
from alchemy.store.lockfiles import flock_pids, open_lock, same_file, stored

MAX_RECORD = 16_384  # bytes; ours are below 1,000, anything bigger is not ours
_LOOKS = 8  # a lock that changes hands as often while being looked at is alive
_ORDER = (Verdict.LIVE, Verdict.HELD, Verdict.UNKNOWN, Verdict.STALE, Verdict.FREE)


def _checked(path: ScopePath | str) -> ScopePath:
    return path if isinstance(path, ScopePath) else ScopePath.parse(path)


def probe(layout: Layout, path: ScopePath | str) -> bool:
    """True when somebody, this process included, holds `path` itself; those who hold a path below it do not count."""
    return is_taken(layout, layout.lock(_checked(path)))


def is_taken(layout: Layout, file: Path) -> bool:
    """Somebody has a lock file or a gate alone; a missing file is nobody's."""
    taken = False
    for _ in range(_LOOKS):
        try:
            descriptor = open_lock(layout, file, os.O_RDONLY)
        except FileNotFoundError:
            return False
        try:
            taken = not _granted(descriptor, file)
            if same_file(descriptor, file):
                break
        finally:
            os.close(descriptor)
    return taken


def _granted(descriptor: int, file: Path) -> bool:
    """Take the shared side and give it back at once: shorter than anybody's patience with a refusal."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageFailed(
            f"cannot lock {safe_text(file)}: {error.strerror}",
            hint="the file system must support flock: keep the state directory on a local disk",
        ) from error
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing alone would leave it with a child forked in between
    return True


# --- the holder's record


def read_holder(layout: Layout, files: Files, path: ScopePath | str) -> Holder | None:
    """The record of `path`'s holder, or of the last one that died; None when there is none that can be trusted."""
    try:
        return check_record(layout, files, path)
    except (OSError, StorageFailed, StateInvalid, ValueError):
        return None


def check_record(layout: Layout, files: Files, path: ScopePath | str) -> Holder:
    """The same; whatever is wrong with it is raised: ValueError, an error of the files, FileNotFoundError."""
    path = _checked(path)
    file = layout.holder(path)
    found = os.lstat(file)
    if stat.S_ISREG(found.st_mode) and found.st_size > MAX_RECORD:
        raise ValueError(f"it has {found.st_size} bytes: ours are below {MAX_RECORD}")
    data = parse(files.read(file), MAX_RECORD)
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    check_holder(data)
    if data["path"] != str(path):
        raise ValueError(f"misplaced: it is of {safe_text(data['path'], 200)}")
    return Holder.from_json(data)


def _since(holder: Holder) -> datetime | None:
    try:
        at = datetime.fromisoformat(holder.since)
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        return at.astimezone()  # OverflowError, ValueError: the first and the last year have no other zone
    except (ValueError, OverflowError):
        return None


def age(holder: Holder, clock: Clock) -> float:
    """Seconds since it took the lock; 0 when the record does not say."""
    since = _since(holder)
    return max(0.0, clock.wall() - since.timestamp()) if since else 0.0


def in_words(holder: Holder, clock: Clock) -> str:
    """`ana@laptop, pid 4121, since 08:41, alchemy deploy`: local time, with the date when it was not today."""
    words = [f"{safe_text(holder.user, 40)}@{safe_text(holder.host, 60)}", f"pid {holder.pid}"]
    since = _since(holder)
    if since:
        today = datetime.fromtimestamp(clock.wall(), UTC).astimezone().date()
        words.append(f"since {since:%H:%M}" if since.date() == today else f"since {since:%Y-%m-%d %H:%M}")
    if holder.command:
        words.append(safe_text(holder.command, 80))
    return ", ".join(words)


def is_gone(holder: Holder) -> str:
    """Why its process cannot be running, as a sentence; "" when it runs or cannot be seen from here."""
    if holder.host != host():
        return ""
    if holder.boot_id and boot_id() and holder.boot_id != boot_id():
        return f"{safe_text(holder.host, 60)} was started again since"
    state = _process_state(holder.pid)
    if state in ("", "Z", "X"):
        return f"pid {holder.pid} is gone"
    started = process_start(holder.pid)
    if started and holder.process_start and started != holder.process_start:
        return f"pid {holder.pid} is another process now: it started at another time than the holder"
    return ""


def _process_state(pid: int) -> str:
    """The kernel's letter (R, S, T stopped, Z dead but not yet collected); "?" where it says no more; "" when gone."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:  # somebody else's
        pass
    try:
        status = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return "?"
    return status[status.rindex(b")") + 2 :][:1].decode()


# --- both together


def lock_view(layout: Layout, files: Files, path: ScopePath | str, *, clock: Clock) -> LockView:
    """The verdict on one path. Never raises for what lies on disk: what cannot be read is UNKNOWN and says why."""
    path = _checked(path)
    try:
        held, holder = _look(layout, files, path)
    except (StateInvalid, StorageFailed) as error:
        return LockView(str(path), Verdict.UNKNOWN, read_holder(layout, files, path), (error.message,))
    if holder is None:
        if not held:
            return LockView(str(path), Verdict.FREE, None)
        return LockView(str(path), Verdict.LIVE, None, (_REFUSED, _no_record(layout, path)))
    verdict, evidence = _judge(held, holder)
    you = (holder.user, holder.host) == (user(), host())
    return LockView(str(path), verdict, holder, evidence, age(holder, clock), you)


def _no_record(layout: Layout, path: ScopePath) -> str:
    pids = flock_pids(layout.lock(path))
    return f"it left no record{': the system names pid ' if pids else ''}{', '.join(map(str, pids))}"


_REFUSED = "the system refuses the lock: whoever holds it is alive"
_GRANTED = "the system grants the lock: nobody holds it"


def _judge(held: bool, holder: Holder) -> tuple[Verdict, tuple[str, ...]]:
    there = safe_text(holder.host, 60)
    if holder.host != host() and not (holder.boot_id and holder.boot_id == boot_id()):
        kernel = "the lock is refused here" if held else "the lock is granted here, which says nothing about there"
        return Verdict.UNKNOWN, (f"taken on another host, {there}: from here its process cannot be seen", kernel)
    gone = is_gone(holder)
    if held:
        seen = f"its record is of an earlier holder: {gone}" if gone else ""
        if not gone and holder.host == host():
            stopped = _process_state(holder.pid) == "T"
            seen = f"pid {holder.pid} is stopped, and holds it all the same" if stopped else f"pid {holder.pid} runs"
        return Verdict.LIVE, (_REFUSED, seen) if seen else (_REFUSED,)
    if not gone and holder.host == host():
        gone = f"pid {holder.pid} still runs, but has lost the lock"
    return Verdict.STALE, (_GRANTED, gone) if gone else (_GRANTED,)


def _look(layout: Layout, files: Files, path: ScopePath) -> tuple[bool, Holder | None]:
    """Held, and by whom, of one moment: a record is written after taking and removed before giving back, so one that
    is there before and after the lock was free was left behind."""
    before = read_holder(layout, files, path)
    for _ in range(_LOOKS):
        held = probe(layout, path)
        if not held and before is None:
            return False, None
        after = read_holder(layout, files, path)
        if before == after:
            return held, after
        before = after
    return True, before


def lock_views(layout: Layout, files: Files, clock: Clock) -> list[LockView]:
    """Every lock somebody holds or left behind: live ones first, then by path."""
    views = [lock_view(layout, files, path, clock=clock) for path in stored(layout, files)]
    views = [view for view in views if view.verdict is not Verdict.FREE]
    return sorted(views, key=lambda view: (_ORDER.index(view.verdict), view.path))

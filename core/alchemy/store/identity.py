"""Who we are to others: host, user, process and boot, so that a holder can be told alive from dead."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import Holder


@cache
def boot_id() -> str:
    """Differs after each boot; "" where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process_start(pid: int) -> str:
    """When `pid` started, in the kernel's own unit, so that a reused pid is told apart; "" when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return ""
    return stat[stat.rindex(b")") + 2 :].split()[19].decode()


@cache
def host() -> str:
    return safe_text(os.uname().nodename, 80) or "localhost"


@cache
def user() -> str:
    for variable in ("LOGNAME", "USER", "USERNAME"):
        if os.environ.get(variable):
            return safe_text(os.environ[variable], 80)
    try:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name
    except (ImportError, KeyError):
        return str(os.getuid())


def command() -> str:
    """How this process was started, for people: the program's name and its arguments."""
    name = Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "python"
    return safe_text(" ".join([name, *sys.argv[1:]]), 200)


def make_holder(path: ScopePath | str, session: str, now: str, epoch: int, purpose: str) -> Holder:
    """This process as others see it; epoch 0 before one is open."""
    return Holder(
        path=str(path),
        epoch=epoch,
        session=session,
        pid=os.getpid(),
        process_start=process_start(os.getpid()),
        boot_id=boot_id(),
        host=host(),
        user=user(),
        command=command(),
        since=now,
        purpose=purpose,
    )

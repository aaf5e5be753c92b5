"""The local cloud on a loopback port, for wrangler and SDKs.

Neighbours: `app` is the application; the command line prints the address this announces.
"""

from __future__ import annotations

import contextlib
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from alchemy.errors import UsageError
from alchemy.localcloud import BASE_PATH
from alchemy.localcloud.app import build

HOST = "127.0.0.1"  # never another address: any token is accepted


def run(directory: Path, port: int, announce: Callable[[str], None] | None) -> None:
    """Bind, announce, serve until a signal."""
    with bind(port) as listener:
        config = uvicorn.Config(
            build(directory), log_config=None, access_log=False, lifespan="off", server_header=False
        )
        if announce is not None:
            announce(f"http://{HOST}:{listener.getsockname()[1]}{BASE_PATH}")  # the kernel queues who connects early
        with signals_end_quietly():
            uvicorn.Server(config).run(sockets=[listener])


@contextlib.contextmanager
def signals_end_quietly() -> Iterator[None]:
    """Uvicorn stops at SIGINT and SIGTERM, then sends itself the signal again: here that is the end, not an error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def bind(port: int) -> socket.socket:
    """A listening socket on the loopback address; port 0 takes a free one."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            cause = "in use" if error.errno == errno.EADDRINUSE else "not ours to use"
            hint = "take another one with --port, or a free one with --port 0"
            raise UsageError(f"port {port} of {HOST} is {cause}", hint=hint) from error
        raise
    return listener

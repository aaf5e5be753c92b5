"""The embedded local cloud: Cloudflare's REST API v4 over SQLite and files, as an ASGI application.

Neighbours: `alchemy.wiring` puts `create_app` behind httpx.ASGITransport, `alchemy cloud serve` calls `serve`; nothing
else in this package is for others. Importing it is cheap: starlette loads with the first application.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.localcloud.account import account_id

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = ["BASE_PATH", "account_id", "create_app", "serve"]

BASE_PATH = "/client/v4"


def create_app(directory: Path) -> Starlette:
    """The cloud stored under `directory`, which is made on the first request; safe beside other processes."""
    from alchemy.localcloud.app import build

    return build(directory)


def serve(directory: Path, port: int, announce: Callable[[str], None] | None = None) -> None:
    """Serve the cloud on 127.0.0.1 until SIGINT or SIGTERM; port 0 takes a free one.

    `announce(base_url)` is called once, when the socket accepts connections. Raises UsageError when the port is taken.
    """
    from alchemy.localcloud.server import run

    run(directory, port, announce)

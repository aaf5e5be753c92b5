"""The ASGI application: who may call, which handler answers, and what an error looks like to the client.

Neighbours: `router` finds the route, `call` describes the request, `store` gives the transaction, the product modules
answer. Nothing is kept between requests; even the account id is read again, because the directory may be replaced.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import Headers, QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.types import Receive, Scope, Send

from alchemy.errors import AlchemyError
from alchemy.localcloud import (
    BASE_PATH,
    d1,
    d1_transfers,
    identity,
    kv,
    kv_values,
    queue_messages,
    queues,
    r2,
    r2_objects,
    worker_scripts,
    worker_settings,
    worker_versions,
)
from alchemy.localcloud.account import account_id
from alchemy.localcloud.call import LARGEST_BODY, Call, Route, Transaction
from alchemy.localcloud.envelope import Refusal, Reply, failure, shown
from alchemy.localcloud.files import START_AGAIN
from alchemy.localcloud.router import Router, parameters
from alchemy.localcloud.store import Store

INTERNAL = 10001
PRODUCTS = (
    identity, d1, d1_transfers, kv, kv_values, r2, r2_objects, queues, queue_messages,
    worker_scripts, worker_settings, worker_versions,
)  # fmt: skip


def build(directory: Path) -> Starlette:
    """The application over one directory."""
    return Starlette(routes=[Mount("/", app=Gateway(directory))])


class Gateway:
    """The ASGI side of the cloud."""

    def __init__(self, directory: Path) -> None:
        self.store = Store(directory)
        self.router = Router(route for product in PRODUCTS for route in product.ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            reply = await self.answer(request)
        except Refusal as refusal:
            reply = failure(refusal)
        except (sqlite3.Error, OSError, AlchemyError) as error:
            reply = failure(storage_refusal(error, self.store.directory))
        body = b"" if request.method == "HEAD" else reply.body
        response = Response(body, reply.status)
        response.init_headers({**reply.headers, "content-length": str(len(reply.body))})
        await response(scope, receive, send)

    async def answer(self, request: Request) -> Reply:
        path = sent_path(request.scope)
        route = self.find(request, path)
        arguments = parameters(route.template, path)
        if arguments is None:
            raise Refusal(400, 7003, "Could not route: a name in the path is not UTF-8")
        body = await read_body(request, route)
        origin = f"{request.url.scheme}://{request.url.netloc}{BASE_PATH}"
        return await self.store.run(
            lambda: self.carry_out(route, arguments, request.query_params, request.headers, body, origin)
        )

    def find(self, request: Request, path: str) -> Route:
        """The route, for somebody who may use it."""
        method, routes = request.method, self.router.find(path)
        if not any(route.public for route in routes.values()):
            authorize(request.headers)
        if not routes:
            known = path.startswith("/accounts/")
            code, cause = (7003, "perhaps your object identifier is invalid?") if known else (7000, "no such route")
            raise Refusal(404, code, f"Could not route to {shown(BASE_PATH + path)}, {cause}")
        route = routes.get("GET" if method == "HEAD" and "HEAD" not in routes else method)
        if route is None:
            allowed = ", ".join(sorted(routes))
            raise Refusal(
                405, 10405, f"Method not allowed for this path: it takes {allowed}", headers={"allow": allowed}
            )
        return route

    def carry_out(
        self, route: Route, params: dict[str, str], arguments: QueryParams, headers: Headers, body: bytes, origin: str
    ) -> Reply:
        """On the worker thread: check the account, open the transaction, call the handler."""
        ours = account_id(self.store.directory)
        assert ours is not None  # it was created if it was absent
        check_account(params.get("account", ours), ours)
        if route.mode is Transaction.OWN:
            with self.store.transaction(write=False) as connection:
                pass  # opens the database, so that the directory and its files exist
            return route.handler(Call(params, arguments, headers, body, ours, origin, self.store, connection))
        with self.store.transaction(write=route.mode is Transaction.WRITE) as connection:
            return route.handler(Call(params, arguments, headers, body, ours, origin, self.store, connection))


def sent_path(scope: Scope) -> str:
    """The path below the base, still percent-encoded: only so an encoded slash can be told from a separator."""
    raw = scope.get("raw_path")
    path = raw.partition(b"?")[0].decode("latin-1") if raw else quote(scope["path"])
    if path != BASE_PATH and not path.startswith(BASE_PATH + "/"):
        raise Refusal(404, 7000, f"No route for that URI: this is Cloudflare's API below {BASE_PATH}")
    return path.removeprefix(BASE_PATH) or "/"


def authorize(headers: Headers) -> None:
    """Any non-empty bearer token will do: the cloud is on this machine and knows no users."""
    header = headers.get("authorization", "")
    if not header:
        raise Refusal(400, 9106, "Missing Authorization header: any token is accepted, for example `Bearer local`")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Refusal(400, 6003, "Invalid format for Authorization header: expected `Bearer <token>`")


def check_account(asked: str, ours: str) -> None:
    if asked == ours:
        return
    if len(asked) == 32 and all(character in "0123456789abcdef" for character in asked):
        raise Refusal(403, 9109, f"Unauthorized to access requested resource: this local cloud is account {ours}")
    raise Refusal(404, 7003, "Could not route: the account in the path is not 32 hex digits")


async def read_body(request: Request, route: Route) -> bytes:
    """The whole body, refused as soon as it is known to be larger than the operation takes."""
    limit = route.largest_body
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and int(announced[:16]) > limit:
        raise too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def too_large(limit: int) -> Refusal:
    return Refusal(413, 10027, f"The request body is larger than {limit // (1024 * 1024) or LARGEST_BODY} MiB")


def storage_refusal(error: Exception, directory: Path) -> Refusal:
    """A fault of the disk or of the files, as an answer the client can act on."""
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        message = "The local cloud is busy with another process: Please wait and consider throttling your request speed"
        return Refusal(429, 971, message, headers={"retry-after": "1"})  # nothing was done: safe to repeat
    if isinstance(error, AlchemyError):
        return Refusal(500, INTERNAL, f"{error.message}; {error.hint}")
    return Refusal(500, INTERNAL, f"the local cloud under {directory} cannot be used: {error}; {START_AGAIN}")

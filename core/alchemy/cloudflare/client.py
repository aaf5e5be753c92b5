"""Cloudflare's REST API as the kinds use it: paths below the account, the envelope, both paging styles.

One request a call, never repeated here: the engine repeats, after a look. Neighbours: `failures` names what went wrong.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alchemy.cloudflare.failures import is_gone, lost_answer, read_envelope, unusable
from alchemy.errors import CloudError

if TYPE_CHECKING:
    import httpx

    from alchemy.engine.context import Context

LARGEST_PAGE = 1000  # what namespaces and databases allow


@dataclass(frozen=True, slots=True)
class Api:
    """One product in one account. Parts of a path are names: they are escaped, so that none can leave its place."""

    http: httpx.AsyncClient
    account: str
    service: str

    @classmethod
    def of(cls, ctx: Context, service: str) -> Api:
        return cls(ctx.cloud, ctx.account, service)

    async def call(self, method: str, *path: str, **request: Any) -> Any:
        """The envelope's `result`. CloudError for a refusal, a fault or no answer; `request` is httpx's."""
        return (await self._exchange(method, path, request)).get("result")

    async def find(self, *path: str, **request: Any) -> dict[str, Any] | None:
        """A GET; None when there is no such object."""
        try:
            found = await self.call("GET", *path, **request)
        except CloudError as error:
            if is_gone(error):
                return None
            raise
        return self.checked(found)

    def checked(self, result: Any) -> dict[str, Any]:
        """A result that has to describe an object."""
        if not isinstance(result, dict):
            raise unusable(self.service, f"a description was expected, not {type(result).__name__}")
        return result

    async def items(
        self, *path: str, params: Mapping[str, Any] | None = None, member: str = "", **request: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Everything in a list: numbered pages or cursors, as the answers say. `member`: its key in the result."""
        asked: dict[str, Any] = dict(params or {})
        seen, page = 0, 1
        while True:
            envelope = await self._exchange("GET", path, {**request, "params": asked})
            result, info = envelope.get("result"), envelope.get("result_info")
            found = self.checked(result).get(member) if member else result
            if not isinstance(found, list):
                raise unusable(self.service, f"a list was expected, not {type(found).__name__}")
            for item in found:
                yield self.checked(item)
            seen += len(found)
            info = info if isinstance(info, dict) else {}
            cursor, total = info.get("cursor"), info.get("total_count")
            if cursor and cursor != asked.get("cursor"):
                asked["cursor"] = cursor
            elif not cursor and found and isinstance(total, int) and seen < total:
                page += 1
                asked["page"] = page
            else:
                return

    async def _exchange(self, method: str, path: tuple[str, ...], request: dict[str, Any]) -> dict[str, Any]:
        import httpx

        url = "/".join(["/accounts", quote(self.account, safe=""), *path[:1], *(quote(p, safe="") for p in path[1:])])
        try:
            response = await self.http.request(method, url, **request)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise lost_answer(error, self.http, self.service) from error
        return read_envelope(response, self.service, self.http)

"""The client against answers that the local cloud never gives: typed errors, waits, bodies that are not the API's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from alchemy.cloudflare.client import Api
from alchemy.cloudflare.failures import is_gone, is_taken
from alchemy.errors import AlchemyError, CloudError, UsageError
from tests.localcloud.driver import Cloud

TOKEN = "v1.0-8d3fa2c49e-secret-token"
HTML = b"<html><h1>502 Bad Gateway</h1></html>"


def api(answer: Callable[[httpx.Request], httpx.Response], service: str = "d1", token: str = TOKEN) -> Api:
    client = httpx.AsyncClient(
        transport=httpx.MockTransport(answer),
        base_url="https://api.example.com/client/v4",
        headers={"Authorization": f"Bearer {token}"},
    )
    return Api(client, "acc", service)


def failing(answer: Callable[[httpx.Request], httpx.Response], service: str = "d1", method: str = "GET") -> Any:
    """What the call raises, and how many requests it took."""
    seen: list[httpx.Request] = []

    def counted(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return answer(request)

    with pytest.raises(AlchemyError) as failed:
        asyncio.run(api(counted, service).call(method, "d1/database"))
    assert len(seen) == 1  # never repeated here
    return failed.value


def envelope(*errors: Any, **more: Any) -> bytes:
    return json.dumps({"success": False, "errors": list(errors), "messages": [], "result": None, **more}).encode()


def error(code: int, message: str = "as it is", **more: Any) -> dict[str, Any]:
    return {"code": code, "message": message, **more}


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    service: str = "d1"
    headers: dict[str, str] = field(default_factory=dict)
    code: int = 0
    transient: bool = False
    gone: bool = False
    taken: bool = False
    wait: float | None = None
    says: str = ""
    hint: str = ""


ANSWERS = {
    "throttled": Answer(
        429,
        envelope(error(971, "Please wait and consider throttling your request speed")),
        headers={"retry-after": "17"},
        code=971,
        transient=True,
        wait=17.0,
        says="Please wait",
        hint="rate limit",
    ),
    "throttled until a date": Answer(
        429,
        envelope(error(971)),
        headers={"retry-after": "Mon, 23 Nov 2026 05:31:00 GMT", "date": "Mon, 23 Nov 2026 05:30:50 GMT"},
        code=971,
        transient=True,
        wait=10.0,
    ),
    "throttled until a date that has passed": Answer(
        429,
        envelope(error(971)),
        headers={"retry-after": "Mon, 23 Nov 2026 05:30:00 GMT", "date": "Mon, 23 Nov 2026 05:30:50 GMT"},
        code=971,
        transient=True,
        wait=0.0,
    ),
    "throttled for an hour": Answer(
        429, envelope(error(971)), headers={"retry-after": "3600"}, code=971, transient=True, wait=300.0
    ),
    "throttled with nonsense": Answer(
        429, envelope(error(971)), headers={"retry-after": "soon"}, code=971, transient=True, wait=None
    ),
    "throttled by a proxy": Answer(
        429, HTML, headers={"content-type": "text/html", "retry-after": "3"}, transient=True, wait=3.0
    ),
    "a fault with HTML": Answer(
        502, HTML, headers={"content-type": "text/html"}, transient=True, says="HTTP 502 (text/html) instead of the API"
    ),
    "a fault without a body": Answer(503, b"", transient=True, says="HTTP 503"),
    "a fault in an envelope": Answer(500, envelope(error(10001, "internal")), code=10001, transient=True),
    "a database that is gone": Answer(404, envelope(error(7404)), code=7404, gone=True),
    "a namespace that is gone": Answer(404, envelope(error(10013)), service="kv", code=10013, gone=True),
    "a Worker that is gone": Answer(404, envelope(error(10007)), service="workers", code=10007, gone=True),
    "a service that is gone": Answer(400, envelope(error(10090)), service="workers", code=10090, gone=True),
    "a bucket that is gone": Answer(404, envelope(error(10006)), service="r2", code=10006, gone=True),
    "a code that is only a namespace's": Answer(400, envelope(error(10013)), service="queues", code=10013, gone=False),
    "an identifier that never was one": Answer(400, envelope(error(7003)), code=7003, gone=True),
    "an unknown code with 404": Answer(404, envelope(error(99999)), code=99999, gone=True),
    "a database name that is taken": Answer(400, envelope(error(7502)), code=7502, taken=True, hint="adopt=True"),
    "a title that is taken": Answer(400, envelope(error(10014)), service="kv", code=10014, taken=True),
    "a bucket name that is taken": Answer(409, envelope(error(10004)), service="r2", code=10004, taken=True),
    "a queue name that is taken": Answer(409, envelope(error(11009)), service="queues", code=11009, taken=True),
    "an account that is full": Answer(400, envelope(error(7406)), code=7406, hint="account's limit"),
    "a token that lacks a permission": Answer(
        403, envelope(error(10000, "Authentication error")), code=10000, hint="permission D1 Write"
    ),
    "a token for another account": Answer(403, envelope(error(9109)), service="r2", code=9109, hint="R2 Storage Write"),
    "a chain of causes": Answer(
        400,
        envelope(error(6003, "Invalid request headers", error_chain=[error(6111, "Invalid format for Authorization")])),
        code=6003,
        says="Invalid request headers: Invalid format for Authorization (d1 6003, HTTP 400)",
    ),
    "an upload that does not start": Answer(
        400, envelope(error(10021, "SyntaxError")), service="workers", code=10021, hint="mend the module"
    ),
    "no although HTTP says yes": Answer(200, envelope(error(7400)), code=7400),
    "errors without codes": Answer(400, envelope("oops", {"message": "no"}, None), says="no (d1 0, HTTP 400)"),
    "no errors at all": Answer(400, envelope(), says="HTTP 400 without a reason"),
    "a message of many lines": Answer(400, envelope(error(7400, "a\n\x1b[31mb")), code=7400, says="a␊␛[31mb"),
    "an answer that echoes the token": Answer(400, envelope(error(7400, f"bad {TOKEN}")), code=7400, says="bad •••"),
}


@pytest.mark.parametrize("case", ANSWERS, ids=str)
def test_a_refusal_is_a_typed_error(case: str) -> None:
    answer = ANSWERS[case]
    raised = failing(
        lambda _: httpx.Response(answer.status, content=answer.body, headers=answer.headers), answer.service
    )
    assert isinstance(raised, CloudError)
    assert (raised.service, raised.status, raised.code) == (answer.service, answer.status, answer.code)
    assert (raised.transient, is_gone(raised), is_taken(raised)) == (answer.transient, answer.gone, answer.taken)
    assert raised.retry_after == answer.wait
    assert answer.says in raised.message
    assert answer.hint in raised.hint
    assert TOKEN not in raised.message + raised.hint
    assert raised.message.isprintable()


STRANGERS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "a login page": (200, b"<html>log in</html>", {"content-type": "text/html"}),
    "a proxy's 404": (404, HTML, {"content-type": "text/html"}),
    "a proxy's 403": (403, HTML, {"content-type": "text/html"}),
    "a redirect": (302, b"", {"location": "https://example.com/"}),
    "another API's JSON": (404, b'{"detail": "Not Found"}', {"content-type": "application/json"}),
    "a JSON list": (200, b"[]", {"content-type": "application/json"}),
    "JSON that is too deep": (200, b"[" * 100_000, {"content-type": "application/json"}),
    "a path the API does not know": (404, envelope(error(7000, "No route for that URI")), {}),
}


@pytest.mark.parametrize("case", STRANGERS, ids=str)
def test_what_is_not_the_api_is_never_taken_for_an_answer_about_an_object(case: str) -> None:
    status, body, headers = STRANGERS[case]
    raised = failing(lambda _: httpx.Response(status, content=body, headers=headers))
    assert isinstance(raised, UsageError)  # not a CloudError: a 404 would drop the row
    assert "https://api.example.com/client/v4/accounts/acc/d1/database is not Cloudflare's API" in raised.message
    assert "CLOUDFLARE_API_BASE_URL" in raised.hint


LOST: dict[str, tuple[Exception, type[AlchemyError], str]] = {
    "connection refused": (httpx.ConnectError("refused"), CloudError, "no answer from api.example.com: ConnectError: "),
    "no answer in time": (httpx.ReadTimeout(""), CloudError, "no answer from api.example.com: ReadTimeout"),
    "cut off": (httpx.RemoteProtocolError("peer closed"), CloudError, "RemoteProtocolError: peer closed"),
    "a header that cannot be": (
        httpx.LocalProtocolError(f"Illegal header value b'Bearer {TOKEN}\n'"),
        UsageError,
        "a header is not valid",
    ),
    "an address without a scheme": (httpx.UnsupportedProtocol("missing"), UsageError, "the API's address"),
}


@pytest.mark.parametrize("case", LOST, ids=str)
def test_an_answer_that_never_came_is_worth_a_look_unless_nothing_could_be_sent(case: str) -> None:
    cause, kind, says = LOST[case]

    def answer(_: httpx.Request) -> httpx.Response:
        raise cause

    raised = failing(answer, method="POST")
    assert type(raised) is kind
    assert says in raised.message
    assert raised.__cause__ is cause
    assert getattr(raised, "transient", False) is (kind is CloudError)
    assert TOKEN not in raised.message + raised.hint


@pytest.mark.parametrize("result", [None, [], "text", 5], ids=repr)
def test_a_yes_that_describes_nothing_is_an_unknown_outcome(result: Any) -> None:
    answer = httpx.Response(200, json={"success": True, "errors": [], "messages": [], "result": result})
    with pytest.raises(CloudError) as failed:
        asyncio.run(api(lambda _: answer).find("d1/database", "x"))
    assert failed.value.transient


GOOD: dict[str, tuple[int, bytes, Any]] = {
    "an envelope": (200, b'{"success": true, "errors": [], "messages": [], "result": {"id": 1}}', {"id": 1}),
    "an envelope without a result": (200, b'{"success": true, "errors": [], "messages": ["done"]}', None),
    "a result without an envelope": (200, b'{"result": {"id": 1}}', {"id": 1}),
    "no body": (204, b"", None),
}


@pytest.mark.parametrize("case", GOOD, ids=str)
def test_every_form_of_yes_is_understood(case: str) -> None:
    status, body, result = GOOD[case]
    assert asyncio.run(api(lambda _: httpx.Response(status, content=body)).call("GET", "d1/database")) == result


def test_names_stay_in_their_place_of_the_path() -> None:
    paths: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path.decode())
        return httpx.Response(200, json={"success": True, "result": {}})

    asyncio.run(api(answer).find("r2/buckets", "a/../b?c#d%2f é"))
    assert paths == ["/client/v4/accounts/acc/r2/buckets/a%2F..%2Fb%3Fc%23d%252f%20%C3%A9"]


def paged(pages: list[dict[str, Any]]) -> tuple[list[Any], list[dict[str, str]]]:
    """Everything a list gives when the server answers with these pages, then with its last one for ever."""
    asked: list[dict[str, str]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        assert len(asked) < 20, "it never ends"
        page = pages[min(len(asked), len(pages)) - 1]
        return httpx.Response(200, json={"success": True, "errors": [], **page})

    async def collect() -> list[Any]:
        return [item["n"] async for item in api(answer).items("things", params={"per_page": 2})]

    return asyncio.run(collect()), asked


def rows(*numbers: int) -> list[dict[str, int]]:
    return [{"n": number} for number in numbers]


PAGES: dict[str, tuple[list[dict[str, Any]], list[int], int]] = {
    "numbered": (
        [
            {"result": rows(1, 2), "result_info": {"page": 1, "total_count": 3}},
            {"result": rows(3), "result_info": {"page": 2, "total_count": 3}},
        ],
        [1, 2, 3],
        2,
    ),
    "cursors": (
        [
            {"result": rows(1, 2), "result_info": {"cursor": "a"}},
            {"result": rows(3, 4), "result_info": {"cursor": "b"}},
            {"result": rows(5), "result_info": {"cursor": ""}},
        ],
        [1, 2, 3, 4, 5],
        3,
    ),
    "the whole list": ([{"result": rows(1, 2, 3)}], [1, 2, 3], 1),
    "an empty list": ([{"result": [], "result_info": {"total_count": 0}}], [], 1),
    "a total that counts what nobody shows": (
        [
            {"result": rows(1), "result_info": {"total_count": 5}},
            {"result": [], "result_info": {"total_count": 5}},
        ],
        [1],
        2,
    ),
    "a server that ignores the page": ([{"result": rows(1, 2), "result_info": {"total_count": 4}}], [1, 2, 1, 2], 2),
    "a cursor that does not move": ([{"result": rows(1), "result_info": {"cursor": "a"}}], [1, 1], 2),
}


@pytest.mark.parametrize("case", PAGES, ids=str)
def test_a_list_is_read_to_its_end_and_ends(case: str) -> None:
    pages, expected, requests = PAGES[case]
    found, asked = paged(pages)
    assert (found, len(asked)) == (expected, requests)


def test_the_local_cloud_is_paged_in_both_styles(tmp_path: Any) -> None:
    cloud = Cloud(tmp_path / "local-cloud")
    names = [f"thing-{number}" for number in range(5)]
    for name in names:
        cloud.result("POST", "storage/kv/namespaces", json={"title": name})
        cloud.result("POST", "r2/buckets", json={"name": name})

    async def collect() -> tuple[list[str], list[str]]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app=cloud.app),
            base_url="http://local-cloud/client/v4",
            headers={"Authorization": "Bearer local"},
        ) as client:
            kv, r2 = (Api(client, cloud.account, service) for service in ("kv", "r2"))
            numbered = [n["title"] async for n in kv.items("storage/kv/namespaces", params={"per_page": 2})]
            params = {"per_page": 2}
            return numbered, [b["name"] async for b in r2.items("r2/buckets", params=params, member="buckets")]

    numbered, cursored = asyncio.run(collect())
    assert (sorted(numbered), cursored) == (names, names)

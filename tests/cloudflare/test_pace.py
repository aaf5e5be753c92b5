"""How fast Cloudflare is asked: one budget, one pause for all, counted by a server that says 429 over real HTTP."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st

from alchemy import KVNamespace, alchemy, wiring
from alchemy.cloudflare.pace import BURST, RATE, Budget, Pace
from alchemy.engine.calls import Calls, CallTimedOut, Stopped, hold
from alchemy.localcloud import BASE_PATH, account_id, create_app
from alchemy.localcloud.server import bind
from alchemy.model.events import Entry, Noted
from alchemy.settings import Invocation, Options, invocation
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore

WINDOW, MOST = 300.0, 1200  # what Cloudflare counts: seconds, requests


# -- the budget ---------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(0.0, 400.0), max_size=40), st.lists(st.integers(1, 400), max_size=40))
def test_whenever_requests_come_no_five_minutes_hold_more_than_allowed(gaps: list[float], crowds: list[int]) -> None:
    budget, now, sent = Budget(), 0.0, list[float]()
    for gap, crowd in zip(gaps, crowds, strict=False):
        now += gap
        sent.extend(budget.take(now) for _ in range(crowd))
    assert sent == sorted(sent), "whoever asks first goes first"
    for first, last in zip(sent, sent[MOST:], strict=False):
        assert last - first > WINDOW


def test_a_thousand_requests_at_once_are_spread_and_a_few_do_not_wait() -> None:
    budget = Budget()
    sent = [budget.take(100.0) for _ in range(1000)]
    assert sent[:BURST] == pytest.approx([100.0] * BURST)
    assert sent[-1] == pytest.approx(100.0 + (1000 - BURST) / RATE)
    later = sent[-1] + BURST / RATE
    assert [budget.take(later) for _ in range(BURST)] == pytest.approx([later] * BURST), "it has filled up again"


# -- what an answer asks for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after": "17"}, 17.0),
        (429, {"retry-after": "3600"}, 300.0),
        (429, {"retry-after": "Mon, 23 Nov 2026 05:31:00 GMT", "date": "Mon, 23 Nov 2026 05:30:50 GMT"}, 10.0),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "42"}, 42.0),
        (429, {"retry-after": "5", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "42"}, 5.0),
        (429, {}, None),
        (429, {"retry-after": "soon"}, None),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "42"}, 42.0),
        (200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset": "42"}, None),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1785000000"}, None),
        (200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "nan"}, None),
        (200, {"ratelimit": '"default";r=0;t=30', "ratelimit-policy": '"default";q=1200;w=300'}, 30.0),
        (200, {"ratelimit": '"default";r=7;t=30, "burst";r=0;t=2'}, 2.0),
        (200, {"ratelimit": '"default";r=7;t=30'}, None),
        (200, {"ratelimit": ";;,="}, None),
        (200, {"retry-after": "9"}, None),
        (503, {"retry-after": "9"}, None),
    ],
)
def test_an_answer_stops_everything_for_as_long_as_it_says(
    status: int, headers: dict[str, str], seconds: float | None
) -> None:
    pace = Pace(None, clock=lambda: 1000.0)
    asyncio.run(pace.after(httpx.Response(status, headers=headers)))
    assert pace.until == (float("-inf") if seconds is None else 1000.0 + seconds)


def test_a_later_answer_that_asks_for_less_does_not_end_the_pause() -> None:
    pace = Pace(None, clock=lambda: 1000.0)
    for seconds in (30, 2):
        asyncio.run(pace.after(httpx.Response(429, headers={"retry-after": str(seconds)})))
    assert pace.until == 1030.0


# -- standing still -----------------------------------------------------------------------------------------------


def test_the_time_at_our_own_gate_is_not_the_time_of_the_call() -> None:
    async def one(at_the_gate: float, at_work: float) -> str:
        async def call() -> str:
            await hold(at_the_gate)
            await asyncio.sleep(at_work)
            return "done"

        return await Calls(1).make(call, 0.3)

    assert asyncio.run(one(0.6, 0.0)) == "done"
    assert asyncio.run(one(0.2, 0.2)) == "done"
    with pytest.raises(CallTimedOut):
        asyncio.run(one(0.2, 30.0))
    with pytest.raises(CallTimedOut):
        asyncio.run(one(0.0, 30.0))


def test_requests_of_one_call_that_wait_side_by_side_count_once() -> None:
    async def call() -> None:
        await asyncio.gather(*(hold(0.2) for _ in range(5)))
        await asyncio.sleep(30.0)

    began = time.monotonic()
    with pytest.raises(CallTimedOut):
        asyncio.run(Calls(1).make(call, 0.2))
    assert time.monotonic() - began < 0.9, "five times 0.2 would be 1.2"


def test_a_run_that_is_interrupted_does_not_wait_for_the_end_of_a_pause() -> None:
    async def main() -> None:
        calls = Calls(1)
        made = asyncio.create_task(calls.make(lambda: hold(300.0), 60.0))
        await asyncio.sleep(0.05)
        await calls.drain()
        with pytest.raises(Stopped):
            await made

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 3.0


# -- a server that counts -----------------------------------------------------------------------------------------


@dataclass
class Counting:
    """The local cloud behind a rate limit: after `allowed` requests it refuses all for `seconds`, then allows all."""

    app: Any
    allowed: int
    seconds: int
    account: str = ""
    url: str = ""
    arrived: list[tuple[float, str, int]] = field(default_factory=list)  # when, method, status
    bodies: list[bytes] = field(default_factory=list)  # of the POSTs that were let through
    until: float = 0.0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        now = time.monotonic()
        if len(self.arrived) >= self.allowed and not self.until:
            self.until = now + self.seconds
        if now < self.until:
            self.arrived.append((now, scope["method"], 429))
            headers = [(b"retry-after", str(self.seconds).encode()), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 429, "headers": headers})
            body = b'{"success": false, "errors": [{"code": 971, "message": "Please wait"}], "result": null}'
            await send({"type": "http.response.body", "body": body})
            return
        self.arrived.append((now, scope["method"], 200))

        async def heard() -> Any:
            message = await receive()
            if scope["method"] == "POST":
                self.bodies.append(message.get("body", b""))
            return message

        await self.app(scope, heard, send)


@contextmanager
def counting(directory: Path, allowed: int, seconds: int) -> Iterator[Counting]:
    cloud = Counting(create_app(directory), allowed, seconds)
    cloud.account = account_id(directory) or ""
    with bind(0) as listener:
        server = uvicorn.Server(uvicorn.Config(cloud, log_config=None, access_log=False, lifespan="off"))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            cloud.url = f"http://127.0.0.1:{listener.getsockname()[1]}{BASE_PATH}"
            yield cloud
        finally:
            server.should_exit = True
            thread.join(20.0)
    assert not thread.is_alive()


@pytest.mark.slow
def test_fifty_creates_stop_together_when_one_is_told_to_wait_and_none_is_made_twice(tmp_path: Path) -> None:
    notes: list[str] = []

    def listen(entry: Entry) -> None:
        if isinstance(entry.event, Noted):
            notes.append(entry.event.text)

    async def program(cloud: Counting) -> None:
        given = {"api_token": "t" * 40, "account_id": cloud.account, "api_base_url": cloud.url}
        async with alchemy("shop", stage="prod", state_dir=tmp_path / "state", quiet=True, retry_delay=0.01, **given):
            before: Any = None
            for number in range(50):
                after = [before] if before and number % 5 == 0 else []
                before = KVNamespace(f"n{number:02d}", name=f"n{number:02d}", depends_on=after)

    token = invocation.set(Invocation(listener=listen))
    try:
        with counting(tmp_path / "cloud", allowed=60, seconds=2) as cloud:
            asyncio.run(program(cloud))
    finally:
        invocation.reset(token)
    refused = [at for at, _, status in cloud.arrived if status == 429]
    assert 1 <= len(refused) <= 10, "only those that were under way ran into it"
    assert [at for at, _, _ in cloud.arrived if refused[-1] < at < refused[0] + 2.0] == [], "nobody knocked meanwhile"
    made = [body.split(b'"')[3].decode() for body in cloud.bodies]
    assert sorted(made) == [f"n{number:02d}" for number in range(50)], "each was asked for once"
    for number in range(5, 50, 5):
        assert made.index(f"n{number:02d}") > made.index(f"n{number - 1:02d}"), "what it uses came first"
    # Each name is looked for before its create; who was refused looks once more.
    counts = Counter((method, status) for _, method, status in cloud.arrived)
    assert counts["POST", 200] == 50
    assert counts["GET", 200] <= 50 + len(refused)
    (note,) = [text for text in notes if "asks to wait" in text]
    prefix, _, rest = note.partition(": ")
    assert prefix == "Cloudflare asks to wait 2 s"
    assert 10 <= int(rest.split()[0]) <= 50
    assert rest.endswith(" calls wait")


# -- where it applies ---------------------------------------------------------------------------------------------


def connected(tmp_path: Path, **given: Any) -> httpx.AsyncClient:
    return wiring.connect(LocalStore(Layout(tmp_path), "a" * 32), Options(**given)).client


def paced(client: httpx.AsyncClient) -> list[Any]:
    return [*client.event_hooks["request"], *client.event_hooks["response"]]


def test_the_local_cloud_is_asked_as_fast_as_it_answers(tmp_path: Path) -> None:
    assert paced(connected(tmp_path)) == []


def test_sessions_with_one_token_share_one_pace_and_others_do_not(tmp_path: Path) -> None:
    one, same, other, elsewhere = (
        paced(connected(tmp_path, api_token=token, account_id="a", api_base_url=url))
        for token, url in [("t1", ""), ("t1", ""), ("t2", ""), ("t1", "https://proxy.example/client/v4")]
    )
    assert one == same
    assert len(one) == 2
    assert one != other
    assert one != elsewhere


@pytest.mark.parametrize(
    ("url", "held_back"), [("", True), ("https://proxy.example/v4", True), ("http://127.0.0.1:8787/client/v4", False)]
)
def test_the_budget_is_for_the_real_api_alone(tmp_path: Path, url: str, held_back: bool) -> None:
    client = connected(tmp_path, api_token=f"budget {url}", account_id="a", api_base_url=url)
    before, _ = paced(client)
    request = client.build_request("GET", "/user")

    async def ask() -> bool:
        for _ in range(BURST):
            await before(request)
        began = time.monotonic()
        await before(request)
        return time.monotonic() - began > 0.5 / RATE

    assert asyncio.run(ask()) is held_back

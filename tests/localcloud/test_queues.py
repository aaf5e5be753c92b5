from __future__ import annotations

import base64
import sqlite3
from typing import Any

import pytest

from tests.localcloud.driver import Cloud


@pytest.fixture
def queue(cloud: Cloud) -> str:
    return f"queues/{cloud.result('POST', 'queues', json={'queue_name': 'jobs'})['queue_id']}"


def pull(cloud: Cloud, queue: str, **options: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = cloud.result("POST", f"{queue}/messages/pull", json=options)["messages"]
    return messages


def let_time_pass(cloud: Cloud, seconds: float) -> None:
    with sqlite3.connect(cloud.directory / "account.sqlite") as other:
        other.execute("UPDATE queue_messages SET visible = visible - ?, sent = sent - ?", (seconds, seconds))
    other.close()


def test_a_queue_lives_from_create_to_delete(cloud: Cloud) -> None:
    body = {"queue_name": "jobs", "settings": {"delivery_delay": 5}}
    made = cloud.result("POST", "queues", json=body)
    assert made["settings"] == {"delivery_delay": 5, "delivery_paused": False, "message_retention_period": 345600}
    assert (made["consumers_total_count"], made["producers_total_count"]) == (0, 0)
    where = f"queues/{made['queue_id']}"
    assert cloud.result("GET", where) == made
    changed = cloud.result("PATCH", where, json={"settings": {"delivery_paused": True}})
    assert (changed["settings"]["delivery_paused"], changed["settings"]["delivery_delay"]) == (True, 5)
    assert cloud.result("PUT", where, json={"queue_name": "tasks"})["queue_name"] == "tasks"
    response = cloud.send("DELETE", where)
    assert (response.status_code, "result" in response.json()) == (200, False)
    assert cloud.refusal("GET", where) == (404, 11000)
    assert cloud.refusal("DELETE", where) == (404, 11000)


def test_a_queue_name_is_taken_once(cloud: Cloud, queue: str) -> None:
    assert cloud.refusal("POST", "queues", json={"queue_name": "jobs"}) == (409, 11009)
    other = cloud.result("POST", "queues", json={"queue_name": "other"})["queue_id"]
    assert cloud.refusal("PATCH", f"queues/{other}", json={"queue_name": "jobs"}) == (409, 11009)


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "x" * 64, None, 7])
def test_a_bad_queue_name_is_refused(cloud: Cloud, name: Any) -> None:
    assert cloud.refusal("POST", "queues", json={"queue_name": name}) == (400, 11003)


def test_the_list_is_whole_on_its_first_page(cloud: Cloud) -> None:
    for number in range(30):
        cloud.result("POST", "queues", json={"queue_name": f"q{number:02}"})
    assert len(cloud.result("GET", "queues?page=1")) == 30
    assert cloud.result("GET", "queues?page=2") == []
    assert [one["queue_name"] for one in cloud.result("GET", "queues?name=q07&name=q07&page=1")] == ["q07"]
    assert cloud.result("GET", "queues?name=q0") == []


def test_a_queue_has_one_consumer(cloud: Cloud, queue: str) -> None:
    made = cloud.result("POST", f"{queue}/consumers", json={"type": "http_pull", "settings": {"batch_size": 5}})
    assert made["settings"] == {"batch_size": 5, "max_retries": 3, "retry_delay": 0, "visibility_timeout_ms": 30000}
    assert cloud.refusal("POST", f"{queue}/consumers", json={"type": "http_pull"}) == (400, 11004)
    assert cloud.result("GET", f"{queue}/consumers") == [made] == cloud.result("GET", queue)["consumers"]
    where = f"{queue}/consumers/{made['consumer_id']}"
    changed = cloud.result("PUT", where, json={"type": "http_pull", "settings": {"batch_size": 7}})
    assert changed["settings"]["batch_size"] == 7
    assert cloud.result("GET", where) == changed
    assert "result" not in cloud.send("DELETE", where).json()
    assert cloud.result("GET", f"{queue}/consumers") == []
    assert cloud.refusal("GET", where) == (404, 11000)


CONSUMERS = [
    ("no type", {}, (400, 10026)),
    ("an unknown type", {"type": "carrier-pigeon"}, (400, 10026)),
    ("a Worker without a name", {"type": "worker"}, (400, 10026)),
    ("a Worker that does not exist", {"type": "worker", "script_name": "none"}, (400, 11001)),
    ("a dead letter queue that does not exist", {"type": "http_pull", "dead_letter_queue": "none"}, (400, 11000)),
    ("too large a batch", {"type": "http_pull", "settings": {"batch_size": 1000}}, (400, 10026)),
]


@pytest.mark.parametrize(("body", "refusal"), [case[1:] for case in CONSUMERS], ids=[case[0] for case in CONSUMERS])
def test_a_consumer_that_cannot_be_is_refused(
    cloud: Cloud, queue: str, body: dict[str, Any], refusal: tuple[int, int]
) -> None:
    assert cloud.refusal("POST", f"{queue}/consumers", json=body) == refusal


def test_a_worker_that_consumes_is_not_deleted(cloud: Cloud, queue: str) -> None:
    cloud.upload("w1", {})
    consumer = cloud.result("POST", f"{queue}/consumers", json={"type": "worker", "script_name": "w1"})
    assert (consumer["script_name"], consumer["settings"]["max_wait_time_ms"]) == ("w1", 5000)
    assert cloud.refusal("DELETE", "workers/scripts/w1?force=true") == (400, 10064)
    cloud.send("DELETE", f"{queue}/consumers/{consumer['consumer_id']}")
    assert cloud.result("DELETE", "workers/scripts/w1") is None


def test_a_dead_letter_queue_in_use_is_not_deleted(cloud: Cloud, queue: str) -> None:
    dead = cloud.result("POST", "queues", json={"queue_name": "dead"})["queue_id"]
    body = {"type": "http_pull", "dead_letter_queue": "dead"}
    consumer = cloud.result("POST", f"{queue}/consumers", json=body)
    assert consumer["dead_letter_queue"] == "dead"
    assert cloud.refusal("DELETE", f"queues/{dead}") == (400, 10026)
    cloud.send("DELETE", queue)
    assert cloud.send("DELETE", f"queues/{dead}").status_code == 200


def test_messages_are_pulled_only_with_a_pull_consumer(cloud: Cloud, queue: str) -> None:
    assert cloud.refusal("POST", f"{queue}/messages/pull", json={}) == (400, 0)


def test_a_message_is_delivered_until_it_is_acknowledged(cloud: Cloud, queue: str) -> None:
    cloud.result("POST", f"{queue}/consumers", json={"type": "http_pull"})
    cloud.result("POST", f"{queue}/messages", json={"body": "plain", "content_type": "text"})
    sent = cloud.result("POST", f"{queue}/messages/batch", json={"messages": [{"body": {"a": 1}}, {"body": [2]}]})
    assert sent["metadata"]["metrics"]["backlog_count"] == 3
    first, second, third = pull(cloud, queue)
    assert (first["body"], first["attempts"]) == ("plain", 1)
    assert base64.b64decode(second["body"]) == b'{"a":1}'
    assert pull(cloud, queue) == []
    body = {
        "acks": [{"lease_id": first["lease_id"]}, {"lease_id": "none"}],
        "retries": [{"lease_id": second["lease_id"]}],
    }
    answer = cloud.result("POST", f"{queue}/messages/ack", json=body)
    assert (answer["ackCount"], answer["retryCount"], list(answer["warnings"])) == (1, 1, ["none"])
    assert [(one["id"], one["attempts"]) for one in pull(cloud, queue)] == [(second["id"], 2)]
    let_time_pass(cloud, 31)
    assert {one["id"] for one in pull(cloud, queue)} == {second["id"], third["id"]}
    assert cloud.result("GET", f"{queue}/metrics")["backlog_count"] == 2


def test_a_message_tried_too_often_goes_to_the_dead_letter_queue(cloud: Cloud, queue: str) -> None:
    dead = f"queues/{cloud.result('POST', 'queues', json={'queue_name': 'dead'})['queue_id']}"
    body = {"type": "http_pull", "dead_letter_queue": "dead", "settings": {"max_retries": 1}}
    cloud.result("POST", f"{queue}/consumers", json=body)
    cloud.result("POST", f"{dead}/consumers", json={"type": "http_pull"})
    cloud.result("POST", f"{queue}/messages", json={"body": "job", "content_type": "text"})
    for _ in range(2):
        assert len(pull(cloud, queue)) == 1
        let_time_pass(cloud, 31)
    assert pull(cloud, queue) == []
    assert [one["body"] for one in pull(cloud, dead)] == ["job"]


def test_a_delayed_or_paused_message_waits(cloud: Cloud, queue: str) -> None:
    cloud.result("POST", f"{queue}/consumers", json={"type": "http_pull"})
    cloud.result("POST", f"{queue}/messages", json={"body": "later", "delay_seconds": 60})
    assert pull(cloud, queue) == []
    let_time_pass(cloud, 61)
    cloud.result("PATCH", queue, json={"settings": {"delivery_paused": True}})
    assert cloud.refusal("POST", f"{queue}/messages/pull", json={}) == (409, 11000)
    cloud.result("PATCH", queue, json={"settings": {"delivery_paused": False}})
    assert len(pull(cloud, queue)) == 1


def test_messages_are_purged(cloud: Cloud, queue: str) -> None:
    cloud.result("POST", f"{queue}/messages/batch", json={"messages": [{"body": number} for number in range(3)]})
    [peeked, *_] = cloud.result("POST", f"{queue}/messages/peek", json={"batch_size": 1})["messages"]
    assert cloud.result("POST", f"{queue}/messages/purge", json={"refs": [{"ref": peeked["ref"]}]})["errors"] == []
    assert cloud.result("GET", f"{queue}/metrics")["backlog_count"] == 2
    assert cloud.refusal("POST", f"{queue}/purge", json={}) == (400, 10026)
    cloud.result("POST", f"{queue}/purge", json={"delete_messages_permanently": True})
    assert cloud.result("GET", f"{queue}/metrics")["backlog_count"] == 0
    assert cloud.result("GET", f"{queue}/purge")["started_at"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"body": "x" * 200_000}, (413, 10026)),
        ({"body": 7, "content_type": "text"}, (400, 10026)),
        ({"body": "x", "content_type": "smoke"}, (400, 10026)),
        ({"body": "x", "delay_seconds": -1}, (400, 10026)),
    ],
    ids=["too large", "no text", "unknown type", "in the past"],
)
def test_a_bad_message_is_refused(cloud: Cloud, queue: str, body: dict[str, Any], refusal: tuple[int, int]) -> None:
    assert cloud.refusal("POST", f"{queue}/messages", json=body) == refusal

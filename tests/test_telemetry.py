"""Spans, to a real collector's protocol on the loopback address; and nothing of it for who did not ask."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.cli.driver import Call, Done, forked, lamps

pytestmark = pytest.mark.slow
BLOCK = """
async with alchemy.run("upstairs"):
    await Lamp("attic")
Lamp("hall", broken=True)
"""


class Collector:
    """What an OpenTelemetry collector hears over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                body = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    for scope in resource.scope_spans:
                        ours.spans += scope.spans
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.shutdown()
    made.server.server_close()


def deploy(folder: Path, program: str, **environment: str) -> Done:
    lamps(folder, program)
    (done,) = forked([Call(("deploy", "--max-retries", "0"), tuple(environment.items()))], folder)
    return done


def attributes(span: Span) -> dict[str, object]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_run_is_a_span_with_its_blocks_and_changes_inside(tmp_path: Path, collector: Collector) -> None:
    done = deploy(tmp_path, BLOCK, ALCHEMY_TELEMETRY="otel", OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert done.code == 1, done.err
    spans = {str(attributes(span).get("alchemy.address", span.name)): span for span in collector.spans}
    run, block = spans["deploy house/prod"], spans["house/prod/upstairs"]
    attic, hall = spans["house/prod/upstairs/attic"], spans["house/prod/hall"]
    assert (run.parent_span_id, block.parent_span_id) == (b"", run.span_id)
    assert (attic.parent_span_id, hall.parent_span_id) == (block.span_id, run.span_id)
    assert {span.trace_id for span in collector.spans} == {run.trace_id}
    assert (hall.status.code, "no bulb" in hall.status.message) == (Status.STATUS_CODE_ERROR, True)
    assert attic.status.code == Status.STATUS_CODE_UNSET
    assert attributes(run)["alchemy.outcome"] == "failed"
    assert attributes(run)["alchemy.count.create"] == 1
    assert attributes(attic)["alchemy.kind"] == "test:Lamp"
    assert all(span.end_time_unix_nano >= span.start_time_unix_nano > 0 for span in collector.spans)


def test_a_collector_that_is_not_there_costs_a_few_seconds_and_not_the_deploy(tmp_path: Path) -> None:
    gone = Collector()
    gone.server.server_close()
    done = deploy(tmp_path, 'Lamp("hall")', ALCHEMY_TELEMETRY="otel", OTEL_EXPORTER_OTLP_ENDPOINT=gone.url)
    assert done.code == 0, done.err
    assert "Traceback" not in done.err
    assert "opentelemetry" not in done.err.lower()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"ALCHEMY_TELEMETRY": "otel"}, "nobody said where the spans go"),
        ({"ALCHEMY_TELEMETRY": "yes"}, "ALCHEMY_TELEMETRY='yes' is not known"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_done(
    tmp_path: Path, environment: dict[str, str], said: str
) -> None:
    done = deploy(tmp_path, 'Lamp("hall")', **environment)
    assert done.code == 2
    assert said in done.err
    assert not (tmp_path / "hall").exists()


def test_nothing_is_sent_by_default(tmp_path: Path, collector: Collector) -> None:
    done = deploy(tmp_path, 'Lamp("hall")', OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)
    assert done.code == 0, done.err
    assert collector.spans == []

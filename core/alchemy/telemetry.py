"""OpenTelemetry spans of runs, scopes and changes, for who asks: `ALCHEMY_TELEMETRY=otel`, and the extra `otel`.

Nothing is sent otherwise, and nothing anywhere but to the program's own tracer provider or the endpoint named by
OTEL_EXPORTER_OTLP_ENDPOINT. A listener of the one event stream; `engine.session` knows nothing of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from alchemy.errors import UsageError
from alchemy.model.events import (
    ChangeEnded,
    ChangeRetried,
    ChangeStarted,
    Entry,
    RunEnded,
    RunStarted,
    ScopeEntered,
    ScopeLeft,
)
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

VARIABLE = "ALCHEMY_TELEMETRY"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PATIENCE = 5.0  # seconds that the end of a run waits for a collector


def listeners() -> list[Callable[[Entry], None]]:
    """What a session tells besides the terminal: nothing, or the spans. UsageError names what is missing."""
    asked = os.environ.get(VARIABLE, "")
    if asked in ("", "0", "off"):
        return []
    if asked != "otel":
        raise UsageError(f"{VARIABLE}={safe_text(asked, 40)!r} is not known", hint=f"{VARIABLE}=otel, or leave it out")
    return [_spans()]


_made: list[Spans] = []  # one a process: its provider has a thread of its own


def _spans() -> Spans:
    if not _made:
        try:
            from opentelemetry import trace
            from opentelemetry.sdk.trace import TracerProvider
        except ImportError:
            raise UsageError(
                f"{VARIABLE}=otel needs packages that are not installed", hint="pip install 'alchemy-scope[otel]'"
            ) from None
        theirs = trace.get_tracer_provider()
        _made.append(Spans(theirs if isinstance(theirs, TracerProvider) else _own_provider()))
    return _made[0]


def _own_provider() -> TracerProvider:
    if not any(os.environ.get(name) for name in ENDPOINTS):
        raise UsageError(
            f"{VARIABLE}=otel: nobody said where the spans go",
            hint=f"set {ENDPOINTS[1]}=http://localhost:4318, or a tracer provider in the program",
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        raise UsageError(
            f"{VARIABLE}=otel needs an exporter that is not installed", hint="pip install 'alchemy-scope[otel]'"
        ) from None
    import logging

    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    # A collector that is not there is no fault of the deploy: it is not told line by line.
    logging.getLogger("opentelemetry").addHandler(logging.NullHandler())
    logging.getLogger("opentelemetry").propagate = False
    name = os.environ.get("OTEL_SERVICE_NAME", "alchemy")
    provider = TracerProvider(resource=Resource.create({"service.name": name}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=PATIENCE)))
    return provider


class Spans:
    """A span for each run, in it one for each block, in these one for each change."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("alchemy")
        self._open: dict[str, Span] = {}  # by scope path
        self._changes: dict[tuple[str, str], Span] = {}  # by address and action

    def __call__(self, entry: Entry) -> None:
        event = entry.event
        if isinstance(event, RunStarted):
            name = f"{event.purpose} {event.subject}"
            attributes = {"alchemy.run": entry.run, "alchemy.purpose": event.purpose, "alchemy.target": event.target}
            self._open[event.subject] = self._begin(name, event.subject, {"alchemy.scope": event.subject, **attributes})
        elif isinstance(event, ScopeEntered):
            self._open[event.subject] = self._begin(event.subject, event.subject, {"alchemy.scope": event.subject})
        elif isinstance(event, ScopeLeft) and event.subject in self._open:
            self._end(self._open.pop(event.subject))
        elif isinstance(event, ChangeStarted | ChangeRetried | ChangeEnded):
            self._change(event)
        elif isinstance(event, RunEnded):
            self._run_ended(event)

    def _change(self, event: ChangeStarted | ChangeRetried | ChangeEnded) -> None:
        if isinstance(event, ChangeRetried):
            for (address, _), span in self._changes.items():
                if address == event.subject:
                    span.add_event("retry", {"alchemy.attempt": event.attempt, "alchemy.error": event.error})
            return
        key = event.subject, event.action
        if isinstance(event, ChangeStarted):
            attributes = {"alchemy.address": event.subject, "alchemy.kind": event.kind, "alchemy.action": event.action}
            self._changes[key] = self._begin(f"{event.action} {event.kind}", event.subject, attributes)
            return
        if key in self._changes:
            span = self._changes.pop(key)
            span.set_attribute("alchemy.outcome", event.outcome)
            self._end(span, event.error if event.outcome != "done" else None)

    def _run_ended(self, event: RunEnded) -> None:
        for key in [key for key in self._changes if key[0].startswith(f"{event.subject}/")]:
            self._end(self._changes.pop(key), "no answer: what was announced is looked up by the next run")
        for path in [path for path in self._open if path.startswith(f"{event.subject}/")]:
            self._end(self._open.pop(path))
        if event.subject in self._open:
            span = self._open.pop(event.subject)
            span.set_attribute("alchemy.outcome", event.outcome)
            for action, number in event.counts.items():
                span.set_attribute(f"alchemy.count.{action}", number)
            self._end(span, f"{len(event.failures)} failed" if event.outcome == "failed" else None)
        if not self._open:
            self._provider.force_flush(int(PATIENCE * 1000))

    def _begin(self, name: str, about: str, attributes: dict[str, Any]) -> Span:
        from opentelemetry import trace

        above = about.rpartition("/")[0]
        while above and above not in self._open:
            above = above.rpartition("/")[0]
        around = trace.set_span_in_context(self._open[above]) if above else None
        return self._tracer.start_span(name, context=around, attributes=attributes)

    @staticmethod
    def _end(span: Span, error: str | None = None) -> None:
        from opentelemetry.trace import Status, StatusCode

        if error is not None:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end()

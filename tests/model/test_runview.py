from __future__ import annotations

from alchemy.model.events import (
    ChangeEnded,
    ChangePlanned,
    ChangeRetried,
    ChangeStarted,
    Entry,
    Event,
    LockWaited,
    Noted,
    Progressed,
    RunEnded,
    RunStarted,
    ScopeEntered,
)
from alchemy.model.runview import RunView
from tests.model.rows import AT

DB, API, TOPIC = "my-app/prod/db", "my-app/prod/api", "acme:Topic"


def view_of(*events: Event) -> RunView:
    view = RunView("my-app/prod")
    for event in events:
        view.apply(Entry("R-7", 0, AT, event))
    return view


STARTED = RunStarted("my-app/prod", "deploy", "local cloud", "ana@laptop", 42, "alchemy deploy")


def test_a_run_says_who_what_and_where() -> None:
    view = view_of(STARTED)
    assert (view.run, view.purpose, view.who, view.pid, view.target) == (
        "R-7",
        "deploy",
        "ana@laptop",
        42,
        "local cloud",
    )
    assert (view.started_at, view.outcome) == (AT, "")


def test_a_change_goes_from_planned_to_running_to_done() -> None:
    view = view_of(STARTED, ChangePlanned(DB, TOPIC, "create", "new"))
    assert view.rows[DB].state == "planned"
    view.apply(Entry("R-7", 0, AT, ChangeStarted(DB, TOPIC, "create", "new")))
    assert (view.rows[DB].state, view.running, view.finished) == ("running", 1, 0)
    view.apply(Entry("R-7", 0, AT, Progressed(DB, 1.0, 3.0)))
    assert view.rows[DB].progress == (1.0, 3.0)
    view.apply(Entry("R-7", 0, AT, ChangeEnded(DB, TOPIC, "create", "done", 0.5)))
    assert (view.rows[DB].state, view.rows[DB].took, view.running, view.finished) == ("done", 0.5, 0, 1)
    assert view.counts == {"create": 1}


def test_a_retry_shows_the_attempt_and_why() -> None:
    view = view_of(STARTED, ChangeStarted(DB, TOPIC, "create"), ChangeRetried(DB, 1, 3, 2.0, "busy"))
    assert (view.rows[DB].state, view.rows[DB].attempt, view.rows[DB].error) == ("retrying", 1, "busy")
    assert view.running == 1


def test_failures_are_listed_skipped_ones_only_counted() -> None:
    view = view_of(
        ChangeStarted(DB, TOPIC, "create"),
        ChangeEnded(DB, TOPIC, "create", "failed", 0.1, "no room"),
        ChangeEnded(API, TOPIC, "create", "skipped", error=f"{DB} failed"),
    )
    assert view.failures == [(DB, "no room")]
    assert view.counts == {"failed": 1, "skipped": 1}
    assert view.rows[API].state == "skipped"


def test_a_resource_that_is_replaced_and_then_collected_has_one_row() -> None:
    view = view_of(
        ChangeStarted(DB, TOPIC, "replace"),
        ChangeEnded(DB, TOPIC, "replace", "done"),
        ChangeStarted(DB, TOPIC, "delete", "replaced by a newer incarnation"),
        ChangeEnded(DB, TOPIC, "delete", "done"),
    )
    assert len(view.rows) == 1
    assert view.counts == {"replace": 1, "delete": 1}


def test_the_release_has_the_last_word() -> None:
    view = view_of(
        ChangeEnded(DB, TOPIC, "create", "done"),
        RunEnded("my-app/prod", "failed", {"create": 1, "keep": 9}, [[API, "gone"]], 2.5, 10),
    )
    assert (view.outcome, view.counts, view.failures, view.took) == (
        "failed",
        {"create": 1, "keep": 9},
        [(API, "gone")],
        2.5,
    )


def test_waiting_names_the_holder_until_the_run_starts() -> None:
    view = view_of(LockWaited("my-app/prod", "ana@laptop, pid 7"))
    assert view.waiting_for == "ana@laptop, pid 7"
    view.apply(Entry("R-7", 0, AT, STARTED))
    assert view.waiting_for == ""


def test_each_entry_is_a_new_version() -> None:
    view = view_of(STARTED, Noted(DB, "hello"), ScopeEntered("my-app/prod/x"), Progressed(DB, 1, 2))
    assert view.version == 4
    assert not view.rows, "a note and progress of something unknown add nothing"

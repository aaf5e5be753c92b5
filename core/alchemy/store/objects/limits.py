"""The numbers of the protocol; times in seconds. None of them decides whether a write counts: the journal does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    heartbeat: float = 10.0  # a holder shows that it lives
    lease: float = 60.0  # unchanged for so long, by the watcher's own clock: dead
    give_up: float = 40.0  # a holder that could not show it for so long starts nothing more
    patience: float = 40.0  # an unanswered write is asked about for so long, the time-outs of requests included
    longest_request: float = 12.0  # one that lasted longer counts as this: the machine may have slept
    quiet: float = 5.0  # without an answer, until somebody is told
    farewell: float = 5.0  # a claim that is given back is waited for so long
    linger: float = 0.25  # results that nobody awaits wait so long for company: each record is a request
    gap: float = 1.05  # between two writes of one key by one process: R2 takes one a second; others get 0
    pause: float = 0.2  # after an unanswered write, doubled up to
    longest_pause: float = 5.0
    poll: float = 0.5  # between looks at who is in the way, growing up to
    longest_poll: float = 4.0
    tail: int = 40  # records behind the newest snapshot: each is a request for whoever opens the journal
    history: int = 1000  # records below a snapshot that are kept for people
    sweep: int = 200  # records deleted by one run at most

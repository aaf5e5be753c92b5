"""Fakes that ship, for our tests and for those of programs and kinds: a clock that is moved by hand."""

from __future__ import annotations

from alchemy.testing.clock import ManualClock

__all__ = ["ManualClock"]

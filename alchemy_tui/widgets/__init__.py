"""The parts of a screen. Everything they draw comes from `present` as lines and goes through `paint`."""

from __future__ import annotations

"""Whole screens, and the dialogs above them."""

from __future__ import annotations

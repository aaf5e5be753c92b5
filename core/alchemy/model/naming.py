"""Physical names: what a resource is called in the cloud, decided before the first call is announced.

A pure function of lineage, address and generation, so that a run that died after the call finds its object again.
"""

from __future__ import annotations

import hashlib
import re

MAX_NAME = 63
_NOT_ALLOWED = re.compile(r"[^a-z0-9]+")


def ownership_mark(lineage: str, address: str, generation: int) -> str:
    """Six hex digits that differ between stages, laptops and incarnations."""
    return hashlib.sha256(f"{lineage}\x00{address}\x00{generation}".encode()).hexdigest()[:6]


def physical_name(lineage: str, address: str, generation: int, limit: int = MAX_NAME) -> str:
    """`<app>-<stage>-<path>-<id>-<6 hex>` in `[a-z0-9-]`, at most `limit` characters; the mark is never clipped."""
    stem = plain_name(address, limit - 7)
    return f"{stem}-{ownership_mark(lineage, address, generation)}"


def plain_name(address: str, limit: int = MAX_NAME) -> str:
    """The name without the mark: what somebody would have called the object by hand."""
    stem = _NOT_ALLOWED.sub("-", address.lower()).strip("-") or "x"
    return stem[:limit].rstrip("-")

"""What one path holds in a run. Entering a path twice shares it; collection asks it who survives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alchemy.engine.deploy import Deployment


@dataclass(slots=True)
class Members:
    """By id within the path; `children` are names of nested scopes."""

    declared: dict[str, Deployment] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)

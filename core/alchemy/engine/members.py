"""What one path holds in a run. Entering a path twice shares it; collection asks it who survives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alchemy.errors import InvalidName
from alchemy.model.paths import ScopePath, skeleton

if TYPE_CHECKING:
    from alchemy.engine.deploy import Deployment


@dataclass(slots=True)
class Members:
    """By id within the path; `children` are names of nested scopes."""

    declared: dict[str, Deployment] = field(default_factory=dict)
    registered: set[str] = field(default_factory=set)
    children: set[str] = field(default_factory=set)
    skeletons: dict[str, str] = field(default_factory=dict)  # how an id looks -> the first one that looks so

    def look_alike(self, id: str) -> str:
        """Another id of this run that people cannot tell from this one; "" when there is none."""
        first = self.skeletons.setdefault(skeleton(id), id)
        return "" if first == id else first

    def claim_child(self, path: ScopePath, name: str) -> None:
        """InvalidName when `name` is a resource of `path` already, or a scope that differs only in case."""
        if name in self.declared:
            raise InvalidName(f"{path}/{name} is a resource already", hint="rename one of the two")
        for other in self.children:
            if other != name and other.lower() == name.lower():
                raise InvalidName(f"{path}/{name} and {other} differ only in case", hint="rename one of the two")
        self.children.add(name)

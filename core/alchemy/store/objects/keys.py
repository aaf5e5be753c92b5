"""Where everything lies in a bucket: the names of `layout`, below the project's prefix, with `/` throughout.

Only validated scope paths become keys, only here. Numbers have 16 digits, so that keys sort like numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from alchemy.model.paths import ScopePath

_NUMBERED = re.compile(r"(\d{16})\.json")


@dataclass(frozen=True, slots=True)
class Keys:
    """`prefix` is empty or ends in `/`."""

    prefix: str = ""

    def scope(self, path: ScopePath | str) -> str:
        return f"{self.prefix}{path}/"

    def journal(self, path: ScopePath | str) -> str:
        return f"{self.prefix}{path}/journal/"

    def record(self, path: ScopePath | str, seq: int) -> str:
        return f"{self.prefix}{path}/journal/{seq:016d}.json"

    def snapshots(self, path: ScopePath | str) -> str:
        return f"{self.prefix}{path}/snapshots/"

    def snapshot(self, path: ScopePath | str, seq: int) -> str:
        return f"{self.prefix}{path}/snapshots/{seq:016d}.json"

    def backups(self, path: ScopePath | str) -> str:
        return f"{self.prefix}{path}/backups/"

    @property
    def locks(self) -> str:
        return f"{self.prefix}locks/"

    def lock(self, path: ScopePath | str) -> str:
        return f"{self.prefix}locks/{path}.lock"

    def below_lock(self, path: ScopePath | str) -> str:
        """The claims of everything below `path` begin with this."""
        return f"{self.prefix}locks/{path}/"

    def locked(self, key: str) -> str:
        """The scope path of a claim's key; "" for any other key."""
        if not key.startswith(self.locks) or not key.endswith(".lock"):
            return ""
        return key[len(self.locks) : -len(".lock")]

    @property
    def audit(self) -> str:
        return f"{self.prefix}audit/"


def number(key: str, folder: str) -> int:
    """Which record or snapshot a key of `folder` names; 0 when it is something else."""
    found = _NUMBERED.fullmatch(key[len(folder) :])
    return int(found[1]) if found else 0

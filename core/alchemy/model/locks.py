"""What a lock looks like from outside: a verdict about its holder, with the evidence.

`store.holders` makes these from the kernel's answer and the holder's record; front ends draw them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from alchemy.model.values import Hold, Holder


class Verdict(StrEnum):
    """What is known of a lock's holder. FREE: nobody. HELD: reserved by `scope lock`."""

    FREE = "free"
    LIVE = "live"
    STALE = "stale"
    UNKNOWN = "unknown"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class LockView:
    """One lock with its evidence. `age` is seconds since the holder took it (0 when free).

    HELD: `hold` says why and until when; `holder` is then the process that wrote it, which has ended.
    """

    path: str
    verdict: Verdict
    holder: Holder | None
    evidence: tuple[str, ...] = ()  # sentences, strongest first
    age: float = 0.0
    you: bool = False  # the holder is this user on this host
    hold: Hold | None = None  # a person keeps runs out, whatever the verdict

    @property
    def token(self) -> str:
        """Names exactly this holder; unlocking takes it, so that nobody who came later is broken."""
        return self.holder.token if self.holder else ""

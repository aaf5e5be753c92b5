"""What a kind's verbs are given: a name decided before the call, a token for every try, the cloud, two ways to talk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from alchemy.model.events import Event, Noted, Progressed
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    import httpx

    from alchemy.model.values import Target


@dataclass(frozen=True, slots=True)
class Connection:
    """A cloud as the engine sees it: an httpx client that does not know whom it talks to, and which cloud it is."""

    client: httpx.AsyncClient
    target: Target


@dataclass(frozen=True, slots=True)
class Context:
    """`name`: the physical name. `token`: the same for every try of this creation. `scope`: the scope's path."""

    name: str
    token: str
    scope: str
    address: str
    _connect: Callable[[], Connection]
    _emit: Callable[[Event], None]
    adopted: bool = False  # the object was there before us, and the program asked to take it over

    @property
    def cloud(self) -> httpx.AsyncClient:
        return self._connect().client

    @property
    def account(self) -> str:
        """The account id of the target."""
        return self._connect().target.account

    def note(self, text: Any) -> None:
        """A line in the run's log."""
        self._emit(Noted(self.address, safe_text(text, 500)))

    def progress(self, done: float, total: float) -> None:
        """How far a long call is."""
        self._emit(Progressed(self.address, float(done), float(total)))

"""Writing an object that stands alone (a backup, a note, an entry), so that it is there, once, whatever is answered.

Steps (`requests`). Neighbours: records have `epochs`, claims have `claims`, since more hangs on them.
"""

from __future__ import annotations

from alchemy.errors import StorageFailed
from alchemy.model.text import safe_text
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.patience import Patience
from alchemy.store.objects.port import Changed, Found, Taken, Unknown
from alchemy.store.objects.requests import Create, Get, Pause, Replace, Steps


def create_whole(key: str, body: bytes, limits: Limits) -> Steps[bool]:
    """False when something else has that name."""
    now: float = yield Pause()
    pause, said, patience = limits.pause, "", Patience(limits, now)
    while True:
        try:
            yield Create(key, body)
            return True
        except (Taken, Unknown) as answer:
            said = str(answer)
        patience.look((yield Pause()))
        found: Found | None = yield Get(key)
        if found is not None:
            return found.body == body
        now = yield Pause(pause)
        pause = min(pause * 2, limits.longest_pause)
        if patience.over(now):
            raise _failed(key, said)


def put_whole(key: str, body: bytes, limits: Limits) -> Steps[None]:
    """Over whatever is there."""
    now: float = yield Pause()
    said, patience = "", Patience(limits, now)
    while True:
        found: Found | None = yield Get(key)
        if found is not None and found.body == body:
            return
        try:
            yield Replace(key, body, found.etag) if found else Create(key, body)
            return
        except (Taken, Changed, Unknown) as answer:
            said = str(answer)
        now = yield Pause(max(limits.gap, limits.pause))
        if patience.over(now):
            raise _failed(key, said)


def _failed(key: str, said: str) -> StorageFailed:
    return StorageFailed(
        f"{safe_text(key)} cannot be written: {safe_text(said, 300)}", hint="`alchemy doctor` tries the store"
    )

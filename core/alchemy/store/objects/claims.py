"""Claims: one small object for each scope path that says who has it or waits for it. They decide when to take over.

Never whether a write counts: that is the journal's affair. A claim is written only with a condition, carries a fresh
nonce each time (equal bytes would have equal ETags) and is never deleted, since a delayed DELETE would kill the next
one. A free one is so short that a listing tells it. Neighbours: `locking` takes many of them in the right order.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from alchemy.errors import StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.patience import Patience
from alchemy.store.objects.port import Changed, Found, Listed, Taken, Unknown
from alchemy.store.objects.requests import Create, Get, Pause, Replace, Steps

FREE_SIZE = 100  # bytes: a free claim is shorter, any other is longer
MAX_CLAIM = 16_384


@dataclass(frozen=True, slots=True)
class Claim:
    """Somebody has `path`, or waits for it. `holder` is as the journal's opener has it, with epoch 0 before that."""

    path: str
    id: str  # fresh for each acquisition
    session: str
    holder: dict[str, Any] = field(default_factory=dict)
    place: str = ""  # where its process can be looked up: boot and process namespace
    beat: int = 0
    held: bool = False  # not only asked for

    @property
    def epoch(self) -> int:
        return int(self.holder.get("epoch", 0))


def encode_claim(claim: Claim) -> bytes:
    data = {name: getattr(claim, name) for name in Claim.__slots__}
    body = orjson.dumps({"v": 1, **data, "nonce": uuid.uuid4().hex}) + b"\n"
    return body + b" " * (FREE_SIZE + 1 - len(body))


def encode_free() -> bytes:
    return orjson.dumps({"v": 1, "free": uuid.uuid4().hex}) + b"\n"


def is_free(found: Found | Listed) -> bool:
    return (found.size if isinstance(found, Listed) else len(found.body)) <= FREE_SIZE


def decode_claim(path: str, body: bytes) -> Claim:
    """What cannot be read is somebody's all the same, without a name."""
    try:
        data = orjson.loads(body) if len(body) <= MAX_CLAIM else {}
        claim = Claim(**{name: data[name] for name in Claim.__slots__})
    except (ValueError, KeyError, TypeError):
        return Claim(path, "", "")
    types = ((claim.id, str), (claim.session, str), (claim.holder, dict), (claim.place, str), (claim.beat, int))
    fits = all(isinstance(value, kind) for value, kind in types) and claim.path == path
    return claim if fits and isinstance(claim.holder.get("epoch", 0), int) else Claim(path, "", "")


class Own:
    """One claim of ours, from its first write to the last. One thread at a time."""

    def __init__(self, keys: Keys, claim: Claim, limits: Limits) -> None:
        self.key = keys.lock(claim.path)
        self.path = ScopePath.parse(claim.path)
        self.claim = claim
        self.limits = limits
        self.stands = False  # as far as we know
        self.lost = False  # it was ours, and somebody took it
        self.alive = 0.0  # when the last write of it that succeeded was sent
        self._etag = ""
        self._wrote: float | None = None
        self._unsure = False  # a write began, and nobody knows how it ended

    def take(self, found: Found | None) -> Steps[bool]:
        """Over what was found there: nothing, a free claim, or one that is to be broken. False: somebody was faster."""
        self.stands = yield from self._write(encode_claim(self.claim), found.etag if found else "")
        self.lost = False
        return self.stands

    def beat(self, claim: Claim | None = None) -> Steps[bool]:
        """Shows that we live; False when the claim is not ours any more: somebody holds us for dead, or broke it."""
        self.claim = replace(claim or self.claim, beat=self.claim.beat + 1)
        if self.stands and not (yield from self._write(encode_claim(self.claim), self._etag)):
            self.stands, self.lost = False, True
        return self.stands

    def free(self, *, staying: bool = False) -> Steps[None]:
        """Gives it back, when it is ours; also when a write was cut off, so that nobody knows.

        `staying`: only to let others go first, so it is worth all our patience; else a farewell is short.
        """
        if self._unsure and not self.stands:
            found: Found | None = yield Get(self.key)
            if found is not None and self.is_ours(found):
                self.stands, self._etag = True, found.etag
        if self.stands:
            self.stands = False
            if not (yield from self._write(encode_free(), self._etag, None if staying else self.limits.farewell)):
                self.lost = True

    def _write(self, body: bytes, etag: str, seconds: float | None = None) -> Steps[bool]:
        """True when the object holds `body`, written over `etag` ("": over nothing) or an earlier write of ours."""
        now: float = yield Pause()
        patience = Patience(self.limits, now, seconds)
        while True:
            if self._wrote is not None and now - self._wrote < self.limits.gap:
                now = yield Pause(self.limits.gap - (now - self._wrote))
            self._wrote, self._unsure = now, True
            try:
                self._etag = yield (Replace(self.key, body, etag) if etag else Create(self.key, body))
                self.alive, self._unsure = now, False
                return True
            except (Taken, Changed, Unknown) as answer:
                said, clear = str(answer), not isinstance(answer, Unknown)
            now = yield Pause()
            if patience.over(now) and not clear:  # a clear answer says that reading tells
                raise self._failed(said)
            found: Found | None = yield Get(self.key)
            self._unsure = False
            if found is None:
                if etag:
                    return False
            elif found.body == body:
                self._etag, self.alive = found.etag, now
                return True
            elif self.is_ours(found):
                etag = found.etag
            elif found.etag != etag:
                return False
            now = yield Pause(self.limits.pause)

    def _failed(self, said: str) -> StorageFailed:
        return StorageFailed(
            f"{safe_text(self.key)} cannot be written: {safe_text(said, 300)}", hint="`alchemy doctor` tries the store"
        )

    def is_ours(self, found: Found) -> bool:
        """An earlier write of this claim, which arrived late."""
        return not is_free(found) and decode_claim(self.claim.path, found.body).id == self.claim.id


def break_claim(keys: Keys, path: ScopePath, session: str, limits: Limits) -> Steps[None]:
    """By force: the claim of `session` on `path` becomes free. Anybody else's stays.

    Whoever calls this has fenced the journal before: StorageFailed says so.
    """
    now: float = yield Pause()
    patience = Patience(limits, now)
    while True:
        try:
            found: Found | None = yield Get(keys.lock(path))
            if found is None or is_free(found) or decode_claim(str(path), found.body).session != session:
                return
            yield Replace(keys.lock(path), encode_free(), found.etag)
            return
        except (Changed, Unknown, StorageFailed) as answer:
            said = answer.message if isinstance(answer, StorageFailed) else str(answer)
        now = yield Pause(max(limits.gap, limits.pause))
        if patience.over(now):
            raise StorageFailed(
                f"the lock {path} could not be freed, though its holder can write nothing there any more: "
                f"{safe_text(keys.lock(path))}: {safe_text(said, 300)}",
                hint="run the same command again when the store answers; or end the holder's process: the lock of one "
                f"that is gone ends within {limits.lease:.0f} s",
            )

"""Protocols with one thing wrong each. Every one of them must be found by the explorer, or it looks in vain."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from alchemy.model.records import Record, encode
from alchemy.store.objects.epochs import Writer
from alchemy.store.objects.locking import Acquisition, InTheWay
from alchemy.store.objects.port import Found, Taken, Unknown
from alchemy.store.objects.requests import Create, Delete, Get, Steps


class TakesUnknownForSuccess(Writer):
    def put(self, record: Record, line: bytes) -> Steps[Record | None]:
        try:
            yield Create(self._key(record.seq), line)
        except Unknown:
            pass
        except Taken:
            found: Found | None = yield Get(self._key(record.seq))
            return self.decode(record.seq, found.body)[0] if found else None
        return None


class DeletesOpeners(Writer):
    def remember(self, record: Record) -> None:
        pass


class TakesTheNextNumber(Writer):
    """On a collision, without looking at the epoch it collided with."""

    def append(self, record: Record, line: bytes) -> Steps[None]:
        while (other := (yield from self.put(record, line))) is not None:
            self.apply(other, encode(other)[1])
            record = replace(record, seq=record.seq + 1, prev=self.fold.prev)
            line, _ = encode(record)


class TakesItsOwnForAStranger(Writer):
    """Nothing is read back: 412 means lost."""

    def is_ours(self, record: Record, found: Record) -> bool:
        return False


class BelievesItsOpener(Writer):
    """Also where a living holder had compacted the number away."""

    def stands(self, seq: int) -> Steps[bool]:
        yield from ()
        return True


class DeletesDoubtfulOpeners(Writer):
    """They may have counted, and be what a sleeper has to collide with."""

    def stands(self, seq: int) -> Steps[bool]:
        stands = yield from super().stands(seq)
        if not stands:
            yield Delete((self._key(seq),))
        return stands


class CompactsBlindly(Writer):
    """Without reading the snapshot back."""

    def _store(self, key: str, body: bytes) -> Steps[bool]:
        with suppress(Taken, Unknown):
            yield Create(key, body)
        return True


class DoesNotLook(Acquisition):
    def look_up(self) -> Steps[InTheWay | None]:
        yield from ()
        return None

    def look_down(self) -> Steps[InTheWay | None]:
        yield from ()
        return None


class IgnoresMereClaims(Acquisition):
    """Only what is held counts; the own claim is said to be held after looking."""

    def attempt(self) -> Steps[InTheWay | None]:
        blocker = yield from super().attempt()
        if blocker is None:
            yield from self.own.beat(replace(self.own.claim, held=True))
        return blocker

    def counts(self, found: Found) -> bool:
        return b'"held":true' in found.body


class DoesNotYield(Acquisition):
    """Keeps its claim while it waits for those above."""

    def attempt(self) -> Steps[InTheWay | None]:
        if not self.own.stands:
            blocker = yield from self.claim_own()
            if blocker:
                return blocker
        yield from self.own.beat()
        return (yield from self.look_up()) or (yield from self.look_down())

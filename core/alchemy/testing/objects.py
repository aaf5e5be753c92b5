"""An object store in memory that keeps the contract to the letter. Neighbour: `store.objects.port`."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence

from alchemy.store.objects.port import Changed, Found, Listed, Taken


class MemoryObjects:
    """Implements `Objects`, from any thread. `requests` counts them by verb.

    An ETag is made of the content, as S3 does it: a change and its undoing cannot be told from no change at all.
    """

    def __init__(self, place: str = "memory://objects") -> None:
        self._place = place
        self._lock = threading.Lock()
        self._bodies: dict[str, bytes] = {}
        self.requests: Counter[str] = Counter()

    @property
    def place(self) -> str:
        return self._place

    def bodies(self) -> dict[str, bytes]:
        """A copy of everything; not a request."""
        with self._lock:
            return dict(self._bodies)

    def create(self, key: str, body: bytes) -> str:
        with self._lock:
            self.requests["create"] += 1
            if key in self._bodies:
                raise Taken(key)
            self._bodies[key] = bytes(body)
            return _etag(body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        with self._lock:
            self.requests["replace"] += 1
            if key not in self._bodies or _etag(self._bodies[key]) != etag:
                raise Changed(key)
            self._bodies[key] = bytes(body)
            return _etag(body)

    def get(self, key: str) -> Found | None:
        with self._lock:
            self.requests["get"] += 1
            body = self._bodies.get(key)
        return None if body is None else Found(body, _etag(body))

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        low = after.encode()
        with self._lock:
            self.requests["list"] += 1
            bodies = [(key, body) for key, body in self._bodies.items() if key.startswith(prefix)]
        found = [Listed(key, len(body), _etag(body)) for key, body in bodies]
        return sorted((item for item in found if item.key.encode() > low), key=lambda item: item.key.encode())

    def folders(self, prefix: str) -> Sequence[str]:
        with self._lock:
            self.requests["folders"] += 1
            rests = [key[len(prefix) :] for key in self._bodies if key.startswith(prefix)]
        return sorted({rest.partition("/")[0] for rest in rests if "/" in rest}, key=str.encode)

    def delete(self, key: str) -> None:
        with self._lock:
            self.requests["delete"] += 1
            self._bodies.pop(key, None)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'

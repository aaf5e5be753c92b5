"""A bucket of R2, or of any S3 that keeps conditions, through obstore: each outcome as the port names it, none guessed.

Writes go through a client that never tries again: it would meet its own object and call it a stranger's. Neighbours:
`port` is the contract, `answers` reads what obstore raised, `settings` says where and as whom, `probe` finds out
whether the store keeps its word.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from alchemy.errors import StorageFailed
from alchemy.model.text import safe_text
from alchemy.store.objects.answers import Answer, Refusal, read
from alchemy.store.objects.port import Changed, Found, Listed, Taken, Unknown
from alchemy.store.objects.settings import BucketSettings
from alchemy.store.objects.silence import Silence

if TYPE_CHECKING:
    from obstore.store import S3Credential, S3Store

LARGE = 1024 * 1024  # bytes; above it a request may take LARGE_TIMES as long
LARGE_TIMES = 8
MOST_KEY = 1024  # bytes

T = TypeVar("T")

_started_in = 0  # the process in which the library's threads run; they do not survive a fork


class Bucket:
    """Implements `Objects`. From any thread; not in a forked child of a process that has used one."""

    def __init__(self, settings: BucketSettings, silence: Silence | None = None) -> None:
        self.settings = settings
        self.silence = silence or Silence()
        self._clients: dict[tuple[int, float], S3Store] = {}

    def __repr__(self) -> str:
        return f"<Bucket {self.place}>"

    @property
    def place(self) -> str:
        return self.settings.place

    def spelling_etags(self, *, quoted: bool) -> Bucket:
        """The same bucket with If-Match spelled otherwise."""
        return Bucket(replace(self.settings, quoted_etags=quoted), self.silence)

    def create(self, key: str, body: bytes) -> str:
        return self._put(key, body, "create", Taken)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        bare = etag.removeprefix("W/").strip('"')
        return self._put(key, body, {"e_tag": f'"{bare}"' if self.settings.quoted_etags else bare}, Changed)

    def get(self, key: str) -> Found | None:
        _check(key)

        def ask() -> Found:
            import obstore

            result = obstore.get(self._client(), key)
            return Found(bytes(result.bytes()), result.meta["e_tag"] or "")

        try:
            return self._call(ask)
        except Refusal as refusal:
            if refusal.answer.absent:
                return None
            raise self._failure(f"reading {key}", refusal.answer) from refusal.__cause__

    def list(self, prefix: str, *, after: str = "") -> Sequence[Listed]:
        _check(prefix.removesuffix("/"), after)
        folder = prefix[: prefix.rfind("/") + 1]  # the library knows whole parts of a key only

        def ask() -> Sequence[Listed]:
            import obstore

            found = obstore.list(self._client(), folder or None, offset=after or None).collect()
            return [Listed(meta["path"], meta["size"], meta["e_tag"] or "") for meta in found]

        found = self._read(f"listing {prefix or 'it'}", ask)
        low = after.encode()
        wanted = [item for item in found if item.key.startswith(prefix) and item.key.encode() > low]
        return sorted(wanted, key=lambda item: item.key.encode())

    def folders(self, prefix: str) -> Sequence[str]:
        _check(prefix.removesuffix("/"))

        def ask() -> Sequence[str]:
            import obstore

            return obstore.list_with_delimiter(self._client(), prefix or None)["common_prefixes"]

        found = self._read(f"listing {prefix or 'it'}", ask)
        return sorted({name.rstrip("/")[len(prefix) :] for name in found}, key=str.encode)

    def delete(self, key: str) -> None:
        _check(key)

        def ask() -> None:
            import obstore

            obstore.delete(self._client(), key)

        for attempt in (1, 2):
            try:
                return self._call(ask, writing=True)
            except Refusal as refusal:
                if refusal.answer.absent:
                    return None
                # The library tries again by itself, but not what got no answer in time.
                if attempt == 2 or refusal.answer.kind != "Timeout":
                    raise self._failure(f"deleting {key}", refusal.answer) from refusal.__cause__

    def _put(self, key: str, body: bytes, mode: Any, lost: type[Taken] | type[Changed]) -> str:
        _check(key)

        def ask() -> str:
            import obstore

            client = self._client(writing=True, size=len(body))
            return obstore.put(client, key, body, mode=mode, use_multipart=False)["e_tag"] or ""

        try:
            return self._call(ask, writing=True)
        except Refusal as refusal:
            answer, cause = refusal.answer, refusal.__cause__
        if answer.status == 412 or (answer.absent and lost is Changed):
            raise lost(key) from cause
        if answer.final:
            raise self._failure(f"writing {key}", answer) from cause
        raise Unknown(f"{key}: {answer.text}") from cause

    def _read(self, doing: str, ask: Callable[[], T]) -> T:
        try:
            return self._call(ask)
        except Refusal as refusal:
            raise self._failure(doing, refusal.answer) from refusal.__cause__

    def _call(self, ask: Callable[[], T], *, writing: bool = False) -> T:
        """What `ask` returns, or Refusal with what came back."""
        self._refuse_fork()
        from obstore.exceptions import BaseError

        with self.silence.asking(writing=writing) as heard:
            try:
                result = ask()
            except (BaseError, OSError, ValueError) as error:  # FileNotFoundError and bad paths are not BaseErrors
                answer = read(error)
                if answer.final:
                    heard()
                raise Refusal(answer) from error
            heard()
            return result

    def _failure(self, doing: str, answer: Answer) -> StorageFailed:
        cause, hint = answer.explain(self.settings)
        return StorageFailed(f"{self.place}: {safe_text(doing, 300)} failed: {cause}", hint=hint)

    def _refuse_fork(self) -> None:
        global _started_in
        if _started_in not in (0, os.getpid()):
            raise StorageFailed(
                f"{self.place}: a forked process cannot use object storage that its parent has used",
                hint="start it with subprocess, or with multiprocessing's `spawn`",
            )
        _started_in = os.getpid()

    def _client(self, *, writing: bool = False, size: int = 0) -> S3Store:
        """Made when first needed. Racing threads may make one each, which is only a waste."""
        asked = self.settings
        retries = 0 if writing else asked.retries
        # A reading may be a large snapshot: it may go on as long as bytes arrive.
        patience = asked.timeout * (LARGE_TIMES if size > LARGE or not writing else 1)
        client = self._clients.get((retries, patience))
        if client is None:
            client = self._clients[retries, patience] = _connect(asked, retries, patience)
        return client


def _connect(asked: BucketSettings, retries: int, patience: float) -> S3Store:
    """Everything is said: the library would take AWS_* variables for what is not, and they are another account's."""
    from obstore.store import S3Store

    def identify() -> S3Credential:
        return {"access_key_id": asked.access_key_id, "secret_access_key": asked.secret_access_key, "expires_at": None}

    quick = timedelta(seconds=asked.timeout)
    return S3Store(
        asked.bucket,
        endpoint=asked.endpoint,
        aws_endpoint_url_s3=asked.endpoint,
        region=asked.region,
        credential_provider=identify,
        virtual_hosted_style_request=False,
        conditional_put="etag",
        disable_bulk_delete=True,
        disable_tagging=True,
        s3_express=False,
        request_payer=False,
        skip_signature=False,
        unsigned_payload=False,
        client_options={
            "allow_http": asked.endpoint.startswith("http://"),
            "timeout": timedelta(seconds=patience),
            "read_timeout": quick if retries else timedelta(seconds=patience),
            "connect_timeout": timedelta(seconds=asked.connect_timeout),
        },
        retry_config={
            "max_retries": retries,
            "retry_timeout": timedelta(seconds=asked.timeout * 4 / 3),  # after silence once more, not `retries` times
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=2),
                "base": 2,
            },
        },
    )


def _check(*keys: str) -> None:
    """Keys are built from checked names; one that is not would come out of the library as another one."""
    for key in filter(None, keys):
        parts = key.split("/")
        if not all(parts) or {".", ".."} & {*parts} or not key.isprintable() or len(key.encode()) > MOST_KEY:
            raise StorageFailed(
                f"{safe_text(key, 120)!r} cannot be the key of an object",
                hint="a name of an application, stage or resource is behind it: choose a shorter or plainer one",
            )

"""Whether a store keeps its word, found out before state is trusted to it: stores that take a condition and ignore it
are common, and say nothing.

Neighbours: `bucket` is what is tried; who opens a store calls `admit`, `alchemy doctor` calls `examine_anew`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from alchemy.errors import Refused, StorageFailed
from alchemy.store.clock import Clock
from alchemy.store.objects.bucket import Bucket
from alchemy.store.objects.port import Changed, Found, Objects, Taken, Unknown

FOLDER = ".alchemy-probe/"
FORMAT = 1

_TRIES = 4
_PAUSE = 1.2  # seconds; R2 takes one write a second to one key
_LITTER = 24 * 3600  # seconds; what a probe that was killed left behind goes after that
_NEVER = ".not"  # the key of what is never there
_LOST = "it answered 412"
_AGAIN = "try again; see the service's status page if it lasts"
_SUPPORT = (
    "two runs could overwrite each other there: use R2 or another S3 that keeps If-None-Match and If-Match, "
    'or local files: state_store = "file" in [tool.alchemy]'
)


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the probe. `detail` says what happened instead; empty when it passed.

    `clear`: it did not pass because of what the store does; else it did not tell, now, and `hint` may say why.
    """

    name: str
    passed: bool
    detail: str = ""
    clear: bool = True
    hint: str = ""


def admit(bucket: Bucket, *, sleep: Callable[[float], None] = time.sleep) -> Bucket:
    """The bucket, with If-Match spelled as its store wants it. One GET when it was probed before.

    Refused names the check that failed, StorageFailed what keeps us out, or keeps the store from answering.
    """
    key = remembered_key(bucket)
    known = bucket.get(key)
    quoted = _quoting(known.body, bucket.settings.host) if known is not None else None
    if quoted is not None:
        return bucket.spelling_etags(quoted=quoted)
    trusted, checks = examine(bucket, sleep=sleep)
    bad = [check for check in checks if not check.passed]
    for check in bad:
        if check.clear:
            raise Refused(f"{bucket.place} cannot hold state: {check.detail} ({check.name})", hint=_SUPPORT)
    if bad:
        what = f"{bucket.place} could not be tried before state is trusted to it: {bad[0].detail} ({bad[0].name})"
        raise StorageFailed(what, hint=bad[0].hint or _AGAIN)
    _remember(trusted, key)
    return trusted


def examine(bucket: Bucket, *, sleep: Callable[[float], None] = time.sleep) -> tuple[Bucket, list[Check]]:
    """The probe, with quoted ETags and, when that fails, with bare ones; the better of the two, with its lines."""
    quoted = bucket.spelling_etags(quoted=True)
    checks = probe(quoted, bucket.settings.prefix, sleep=sleep)
    if all(check.passed for check in checks) or len(checks) == 1:  # nothing could be created: no ETag was said
        return quoted, checks
    bare = bucket.spelling_etags(quoted=False)
    others = probe(bare, bucket.settings.prefix, sleep=sleep)
    return (bare, others) if all(check.passed for check in others) else (quoted, checks)


def examine_anew(bucket: Bucket, *, sleep: Callable[[float], None] = time.sleep) -> list[Check]:
    """As `examine`, whatever is remembered; from now on that is what came out."""
    trusted, checks = examine(bucket, sleep=sleep)
    key = remembered_key(bucket)
    known = bucket.get(key)
    believed = _quoting(known.body, bucket.settings.host) if known is not None else None
    found = trusted.settings.quoted_etags if all(check.passed for check in checks) else None
    if found is None and not any(check.clear for check in checks if not check.passed):
        return checks  # nothing new is known
    if known is not None and believed != found:
        try:
            bucket.delete(key)
        except StorageFailed:
            return checks  # the line about deleting says so
    if found is not None and believed != found:
        _remember(trusted, key)
    return checks


def probe(objects: Objects, prefix: str = "", *, sleep: Callable[[float], None] = time.sleep) -> list[Check]:
    """Every line, in the order tried; what it wrote is gone afterwards. StorageFailed when it cannot even write.

    Safe at the same time as others: each has a key of its own.
    """
    key = f"{prefix}{FOLDER}run-{int(Clock().wall()):x}-{secrets.token_hex(8)}"
    trial = _Trial(objects, key, sleep)
    try:
        return trial.run()
    finally:
        trial.clear_away(prefix + FOLDER)


def remembered_key(bucket: Bucket) -> str:
    host = hashlib.sha256(bucket.settings.host.encode()).hexdigest()[:16]
    return f"{bucket.settings.prefix}{FOLDER}{host}.json"


def _quoting(body: bytes, host: str) -> bool | None:
    """What was remembered, or None when it is not to be believed: then the store is probed again."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("endpoint") != host:
        return None
    quoted = document.get("quoted_etags")
    return quoted if isinstance(quoted, bool) else None


def _remember(bucket: Bucket, key: str) -> None:
    """Best effort: without it the next one probes again. Somebody else's is as good."""
    document = {
        "format": FORMAT,
        "endpoint": bucket.settings.host,
        "bucket": bucket.settings.bucket,
        "quoted_etags": bucket.settings.quoted_etags,
        "checked_at": Clock().now(),
    }
    body = json.dumps(document, indent=2).encode()
    try:
        bucket.create(key, body)
    except (Taken, Unknown):
        there = bucket.get(key)
        if there is not None and _quoting(there.body, bucket.settings.host) is None:
            try:
                bucket.replace(key, body, there.etag)
            except (Changed, Unknown):
                return


class _Trial:
    """One run of the checks on one key that nobody else has."""

    def __init__(self, objects: Objects, key: str, sleep: Callable[[float], None]) -> None:
        self._objects = objects
        self._key = key
        self._sleep = sleep
        self._written = b""  # what was stored last, as far as it admits
        self._etag = ""

    def run(self) -> list[Check]:
        created = self._create()
        if not created.passed:
            return [created]
        first = self._etag
        wrong = '"' + "0" * 32 + '"'
        lines: list[tuple[str, Callable[[str], Check]]] = [
            ("create it only once", lambda name: self._refuses(name, "a write that must only create", None)),
            ("refuse a wrong ETag", lambda name: self._refuses(name, "a write with a wrong ETag", wrong)),
            ("replace it", self._replace),
            ("refuse an old ETag", lambda name: self._refuses(name, "a write with an old ETag", first)),
            ("refuse to replace nothing", self._replace_nothing),
            ("list it at once", self._list),
            ("read what was written last", self._read),
            ("delete it", self._delete),
        ]
        checks = [created]
        for name, line in lines:
            try:
                checks.append(line(name))
            except StorageFailed as error:
                checks.append(Check(name, False, error.message, clear=False, hint=error.hint))
            if not checks[-1].clear:
                break  # what was written, or not, may still be on its way: the rest would mean nothing
        return checks

    def clear_away(self, folder: str) -> None:
        """What this run and killed ones left. An old one's key says when it was made."""
        try:
            old = [item.key for item in self._objects.list(f"{folder}run-") if _is_litter(item.key)]
            for key in (self._key, self._key + _NEVER, *old):
                self._objects.delete(key)
        except StorageFailed:
            return  # a line of the probe says so already; the next one clears this away too

    def _create(self) -> Check:
        body = self._body("created")
        outcome, etag = self._write(body, None)
        self._written, self._etag = body, etag
        if etag:
            return Check("create an object", True)
        return Check("create an object", False, f"{outcome} to the creation of an object", clear=outcome == _LOST)

    def _refuses(self, name: str, what: str, etag: str | None) -> Check:
        body = self._body(name)
        outcome, written = self._write(body, etag)
        if written:
            return Check(name, False, f"it answered 200 to {what}")
        if outcome != _LOST:
            return Check(name, False, f"{outcome} to {what}", clear=False)
        found = self._objects.get(self._key)
        if found is not None and found.body == body:
            return Check(name, False, f"it said no to {what}, and wrote it all the same")
        return self._compare(name, found)

    def _replace(self, name: str) -> Check:
        body = self._body(name)
        outcome, etag = self._write(body, self._etag)
        if not etag:
            return Check(name, False, f"{outcome} to a write with the right ETag", clear=outcome == _LOST)
        self._written, self._etag = body, etag
        return Check(name, True)

    def _replace_nothing(self, name: str) -> Check:
        key = self._key + _NEVER
        for _ in self._tries():
            try:
                self._objects.replace(key, self._body(name), self._etag)
            except Changed:
                return Check(name, True)
            except Unknown:
                continue
            break
        there = self._objects.get(key) is not None
        said = "it answered 200" if there else "no clear answer"
        what = f"{said} to a write with the ETag of an object that is not there"
        return Check(name, False, what, clear=there)

    def _list(self, name: str) -> Check:
        folder, _, _ = self._key.rpartition("/")
        above, _, last = folder.rpartition("/")
        listed = [item.size for item in self._objects.list(self._key) if item.key == self._key]
        seen = last in self._objects.folders(f"{above}/" if above else "")
        passed = listed == [len(self._written)] and seen
        return Check(name, passed, "" if passed else "a listing does not show what was written before it")

    def _read(self, name: str) -> Check:
        return self._compare(name, self._objects.get(self._key))

    def _delete(self, name: str) -> Check:
        self._objects.delete(self._key)
        passed = self._objects.get(self._key) is None
        return Check(name, passed, "" if passed else "an object that was deleted is still there")

    def _compare(self, name: str, found: Found | None) -> Check:
        if found is None or found.body != self._written:
            return Check(name, False, "reading gives something else than what was written last")
        if found.etag.strip('"') != self._etag.strip('"'):
            return Check(name, False, "reading gives another ETag than writing gave")
        return Check(name, True)

    def _write(self, body: bytes, etag: str | None) -> tuple[str, str]:
        """How it ended in words, and the ETag when it is stored. An unclear answer is looked into, then asked again."""
        outcome = ""
        for attempt in self._tries():
            try:
                put = self._objects
                done = put.create(self._key, body) if etag is None else put.replace(self._key, body, etag)
            except (Taken, Changed):
                own = self._objects.get(self._key) if attempt else None
                return ("", own.etag) if own is not None and own.body == body else (_LOST, "")
            except Unknown as error:
                outcome = f"it has no clear answer ({str(error).rpartition(': ')[2]})"
                found = self._objects.get(self._key)
                if found is not None and found.body == body:
                    return "", found.etag
            else:
                return "", done
        return outcome, ""

    def _tries(self) -> Iterator[int]:
        yield 0
        for attempt in range(1, _TRIES):
            self._sleep(_PAUSE)
            yield attempt

    def _body(self, name: str) -> bytes:
        return f'{{"probe": "{self._key}", "check": "{name}"}}'.encode()


def _is_litter(key: str) -> bool:
    made = key.rpartition("/run-")[2].partition("-")[0]
    try:
        return int(made, 16) < Clock().wall() - _LITTER
    except ValueError:
        return False

"""Which bucket, where, as whom: the R2_* variables and the project file, checked before anything is sent.

Neighbours: `bucket` uses what this returns; who opens a store calls `bucket_settings` and takes local files for None.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from alchemy.errors import UsageError
from alchemy.model.text import safe_text

KEY_ID, SECRET, BUCKET = "R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME"
ACCOUNT, ACCOUNT_TOO, ENDPOINT, REGION = "R2_ACCOUNT_ID", "CLOUDFLARE_ACCOUNT_ID", "R2_ENDPOINT", "R2_REGION"
R2_HOST = "r2.cloudflarestorage.com"

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_AMAZON = re.compile(r"s3(?:[.-](?:dualstack\.)?([a-z0-9-]+))?\.amazonaws\.com(\.cn)?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
_PREFIX = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings:
    """A bucket of R2, or of any S3 that keeps conditions. `prefix` is empty or ends in `/`; its repr has no secret.

    `quoted_etags`: how the store wants If-Match spelled; the probe finds out. Seconds: `timeout` for a request, of
    which `connect_timeout` for a connection. What only reads is tried again `retries` times.
    """

    endpoint: str
    bucket: str
    prefix: str = ""
    access_key_id: str = field(repr=False)
    secret_access_key: str = field(repr=False)
    region: str = "auto"
    quoted_etags: bool = True
    timeout: float = 10.0
    connect_timeout: float = 5.0
    retries: int = 4

    @property
    def place(self) -> str:
        """For people, without a secret; of two buckets of one name in two places, or accounts, each has its own."""
        where = f"s3://{self.host}"
        if self.is_r2:
            account, _, jurisdiction = self.host.partition(R2_HOST)[0].rstrip(".").partition(".")
            where = "r2://" + ".".join(filter(None, (account[:8], jurisdiction)))
        return same_spelling(f"{where}/{self.bucket}/{self.prefix}")

    @property
    def is_r2(self) -> bool:
        return (urlsplit(self.endpoint).hostname or "").endswith(f".{R2_HOST}")

    @property
    def host(self) -> str:
        """Where the bucket is, with the port: what the probe's result is remembered for."""
        return urlsplit(self.endpoint).netloc


def same_spelling(place: str) -> str:
    """The one text for the place of a bucket, from any that means it."""
    scheme, _, rest = place.partition("://")
    host, _, path = rest.partition("/")
    host = host.lower()
    name = re.sub(r"\.?(:(443|80))?$", "", host)
    amazon = _AMAZON.fullmatch(name)
    if amazon:  # whatever the region: a bucket's name is there once
        name = f"s3.amazonaws.com{amazon[2] or ''}"
    path = "/".join(part for part in path.split("/") if part)
    return f"{scheme.lower()}://{name}/{path}"


def bucket_settings(environment: Mapping[str, str], table: Mapping[str, object]) -> BucketSettings | None:
    """None when state is in local files: no R2_* variable is set, or the project file says so."""
    wanted = table.get("state_store", "")
    if wanted not in ("", "file", "r2"):
        raise UsageError(
            f"[tool.alchemy] state_store is 'file' or 'r2', not {safe_text(repr(wanted), 60)}",
            hint='state_store = "file" keeps state in local files, "r2" insists on the bucket of the R2_* variables',
        )
    given = {name: environment.get(name, "").strip() for name in (KEY_ID, SECRET, BUCKET)}
    if wanted == "file" or not (any(given.values()) or wanted == "r2"):
        return None
    _refuse_gaps(given, table)
    for name in (KEY_ID, SECRET):
        if not re.fullmatch(r"[!-~]+", given[name]):
            raise UsageError(f"{name} holds characters that no key has", hint="copy it again, without spaces")
    if not _BUCKET.fullmatch(given[BUCKET]):
        raise UsageError(
            f"{BUCKET}={safe_text(given[BUCKET], 80)!r} is not the name of a bucket",
            hint="3 to 63 letters, digits, dots and hyphens; the name alone, without an address",
        )
    endpoint = _endpoint(environment, given[BUCKET])
    amazon = _AMAZON.fullmatch(urlsplit(endpoint).hostname or "")
    return BucketSettings(
        endpoint=endpoint,
        bucket=given[BUCKET],
        prefix=_prefix(table.get("state_prefix", "")),
        access_key_id=given[KEY_ID],
        secret_access_key=given[SECRET],
        region=environment.get(REGION, "").strip() or (amazon[1] or "us-east-1" if amazon else "auto"),
    )


def _refuse_gaps(given: Mapping[str, str], table: Mapping[str, object]) -> None:
    """Half a configuration is never taken for "local files": a team's state would split."""
    missing = [name for name, value in given.items() if not value]
    if not missing:
        return
    there = [name for name, value in given.items() if value]
    because = f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} set" if there else 'state_store = "r2"'
    local = 'state_store = "file" in [tool.alchemy]' if there else "remove state_store from [tool.alchemy]"
    raise UsageError(
        f"state in object storage needs {', '.join(missing)} too ({because})",
        hint=f"set {'it' if len(missing) == 1 else 'them'}, or say that local files are meant: {local}",
    )


def _endpoint(environment: Mapping[str, str], bucket: str) -> str:
    """`scheme://host[:port]`. R2_ENDPOINT, else the one of the account."""
    text = environment.get(ENDPOINT, "").strip()
    if not text:
        name = ACCOUNT if environment.get(ACCOUNT, "").strip() else ACCOUNT_TOO
        account = environment.get(name, "").strip()
        if not account:
            raise UsageError(
                f"state in object storage needs an account: neither {ACCOUNT}, {ACCOUNT_TOO} nor {ENDPOINT} is set",
                hint=f"set {ACCOUNT} for R2, or {ENDPOINT}=https://… for another S3",
            )
        if not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", account):
            raise UsageError(
                f"{name}={safe_text(account, 80)!r} is not the id of an account",
                hint="32 hexadecimal digits; the overview page of R2 shows them",
            )
        return f"https://{account.lower()}.{R2_HOST}"
    wrong = UsageError(
        f"{ENDPOINT} is not the address of an S3 service",
        hint=f"{ENDPOINT}=https://host[:port], without keys or a path",
    )
    if re.search(r"[^!-~]", text):
        raise wrong
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host or parts.scheme not in ("http", "https") or "@" in parts.netloc or parts.query or parts.fragment:
        raise wrong
    if parts.path.strip("/") not in ("", bucket):  # dashboards show the address with the bucket in it
        raise wrong
    return _spell(parts, "http" if "://" not in text and host in _LOOPBACK else parts.scheme, host, port)


def _spell(parts: SplitResult, scheme: str, host: str, port: int | None) -> str:
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}" + (f":{port}" if port is not None else "")


def _prefix(value: object) -> str:
    """Empty, or what every key begins with, ending in `/`."""
    text = value.strip("/") if isinstance(value, str) else None
    if text is None or (text and (not _PREFIX.fullmatch(text) or ".." in text or len(text) > 256)):
        raise UsageError(
            f"[tool.alchemy] state_prefix {safe_text(repr(value), 80)} cannot be the beginning of a key",
            hint="at most 256 letters, digits, `.`, `_` and `-`, in parts with `/` between them",
        )
    return f"{text}/" if text else ""

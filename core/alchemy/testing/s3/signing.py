"""AWS Signature Version 4 as a server checks it: who asks, and whether what arrived is what was signed.

Neighbour: `server` refuses with the code that this returns. Stdlib only, so that it shares no mistake with the client.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.parse import quote, unquote

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[^/]+)/s3/aws4_request), ?"
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_SIGNED_ALWAYS = {"host", "x-amz-content-sha256", "x-amz-date"}


def find_fault(
    method: str, path: str, query: str, headers: Mapping[str, str], body: bytes, secrets: Mapping[str, str]
) -> str:
    """The error code of S3, or "". `path` and `query` as they came over the wire, header names in lower case."""
    parts = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if parts is None:
        return "AccessDenied"
    secret = secrets.get(parts["key"])
    if secret is None:
        return "InvalidAccessKeyId"
    names = parts["names"].split(";")
    if not set(names) >= _SIGNED_ALWAYS or any(name not in headers for name in names):
        return "AccessDenied"
    promised = headers["x-amz-content-sha256"]
    if promised not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return "XAmzContentSHA256Mismatch"
    request = "\n".join(
        [
            method,
            _encode(unquote(path), "/"),
            _canonical_query(query),
            *(f"{name}:{' '.join(headers[name].split())}" for name in names),
            "",
            parts["names"],
            promised,
        ]
    )
    stamp = headers["x-amz-date"]
    digest = hashlib.sha256(request.encode()).hexdigest()
    wanted = f"AWS4-HMAC-SHA256\n{stamp}\n{parts['scope']}\n{digest}"
    key = b"AWS4" + secret.encode()
    for step in (parts["day"], parts["region"], "s3", "aws4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    right = hmac.digest(key, wanted.encode(), "sha256").hex()
    return "" if hmac.compare_digest(right, parts["signature"]) else "SignatureDoesNotMatch"


def _canonical_query(query: str) -> str:
    pairs = [pair.partition("=") for pair in query.replace("+", " ").split("&") if pair]
    return "&".join(sorted(f"{_encode(unquote(name))}={_encode(unquote(value))}" for name, _, value in pairs))


def _encode(text: str, safe: str = "") -> str:
    return quote(text, safe=f"{safe}-_.~")

"""Sealed values: how a secret stands in a row, bound to its place, so that it opens nowhere else.

AES-256-GCM under a key of its own for each stage; the place is authenticated, the length is blurred, and an HMAC beside
it tells equal values without opening them. Neighbours: `keyring` brings the keys and the password they lie behind.
"""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final

from alchemy.errors import StateInvalid
from alchemy.model.canonical import Json, canonical
from alchemy.model.text import safe_text

FORMAT: Final = 1
MARK: Final = "$secret"
EQUAL: Final = "$equal"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_PAD = 32  # a short password and a long one are the same size in the file, up to here
_EQUAL_BYTES = 16
_FORM = re.compile(r"v1\.([0-9a-f]{8})\.([A-Za-z0-9_-]{40,})")


@dataclass(frozen=True, slots=True)
class Where:
    """The one place a sealed value belongs to. `owner` has the journal, `pointer` is RFC 6901 into the row."""

    lineage: str
    owner: str  # my-app/prod
    scope: str  # my-app/prod/database
    id: str
    pointer: str  # /props/env/API_KEY

    def bound(self) -> bytes:
        """What the ciphertext is authenticated with."""
        return canonical([FORMAT, self.lineage, self.scope, self.id, self.pointer])

    def below(self, name: str | int) -> Where:
        """The same row, one step deeper."""
        step = str(name).replace("~", "~0").replace("/", "~1")
        return Where(self.lineage, self.owner, self.scope, self.id, f"{self.pointer}/{step}")

    def __str__(self) -> str:
        return safe_text(f"{self.scope}/{self.id}{self.pointer}", 300)


def is_sealed(value: object) -> bool:
    """A value as `seal` writes it; user data is never one, because `escape` went over it."""
    return isinstance(value, dict) and MARK in value


def key_id(sealed: Json, where: Where) -> str:
    """Which data key it was sealed with. StateInvalid when it has not the form of a sealed value."""
    return _parts(sealed, where)[0]


def seal(value: Json, where: Where, kid: str, key: bytes) -> dict[str, str]:
    """`value` is plain JSON that `normalise` passed; `key` is the data key called `kid`."""
    import os

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce = os.urandom(NONCE_BYTES)
    box = AESGCM(_stage_key(key, where, b"seal")).encrypt(nonce, _padded(canonical(value)), where.bound())
    return {MARK: f"v1.{kid}.{encode_bytes(nonce + box)}", EQUAL: _equal(value, where, key)}


def open_sealed(sealed: Json, where: Where, key: bytes) -> Json:
    """The value. StateInvalid when a byte was changed, or the value was moved here from another place."""
    import orjson
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    box = _parts(sealed, where)[1]
    try:
        padded = AESGCM(_stage_key(key, where, b"seal")).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], where.bound())
        return orjson.loads(_unpadded(padded))
    except (InvalidTag, ValueError):
        raise StateInvalid(
            f"the sealed value at {where} does not open: it was changed, or copied here from another place",
            hint="set the secret again in the program and deploy, or `alchemy scope restore` a backup from before",
        ) from None


def is_equal(value: Json, sealed: Json, where: Where, key: bytes) -> bool:
    """Whether `sealed` holds `value`, without opening it."""
    stored = sealed.get(EQUAL) if isinstance(sealed, dict) else None
    return isinstance(stored, str) and hmac.compare_digest(stored.encode(), _equal(value, where, key).encode())


def escape(value: Json) -> Json:
    """User data in which no key can be taken for one of ours: keys that begin with `$` get one more."""
    if isinstance(value, dict):
        return {"$" + key if key.startswith("$") else key: escape(item) for key, item in value.items()}
    return [escape(item) for item in value] if isinstance(value, list) else value


def unescape(value: Json) -> Json:
    """The opposite of `escape`."""
    if isinstance(value, dict):
        return {key[1:] if key.startswith("$$") else key: unescape(item) for key, item in value.items()}
    return [unescape(item) for item in value] if isinstance(value, list) else value


def encode_bytes(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode_bytes(text: str) -> bytes:
    """ValueError unless `encode_bytes` could have written it: one text for one sequence of bytes."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:  # binascii.Error is one
        raise ValueError("it is not base64url") from error
    if encode_bytes(data) != text:
        raise ValueError("it is not base64url")
    return data


def derive(key: bytes, purpose: bytes) -> bytes:
    """A key of its own for one purpose (HKDF-SHA256)."""
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose).derive(key)


def _stage_key(key: bytes, where: Where, purpose: bytes) -> bytes:
    return derive(key, b"alchemy " + purpose + b" " + canonical([FORMAT, where.owner, where.lineage]))


def _equal(value: Json, where: Where, key: bytes) -> str:
    message = canonical([where.bound().decode(), value])
    return encode_bytes(hmac.digest(_stage_key(key, where, b"equal"), message, "sha256")[:_EQUAL_BYTES])


def _parts(sealed: Json, where: Where) -> tuple[str, bytes]:
    text: Any = sealed.get(MARK) if isinstance(sealed, dict) else None
    form = _FORM.fullmatch(text) if isinstance(text, str) else None
    try:
        if form is not None:
            return form[1], decode_bytes(form[2])
    except ValueError:
        pass
    newer = isinstance(text, str) and re.match(r"v[0-9]+\.", text) and not text.startswith("v1.")
    raise StateInvalid(
        f"the sealed value at {where} " + ("is of a newer format" if newer else "is damaged: it has not its form"),
        hint="use the version that wrote it"
        if newer
        else "set the secret again in the program and deploy, or `alchemy scope restore` a backup from before",
    )


def _padded(data: bytes) -> bytes:
    framed = len(data).to_bytes(4, "big") + data
    return framed + bytes(-len(framed) % _PAD)


def _unpadded(padded: bytes) -> bytes:
    size = int.from_bytes(padded[:4], "big")
    if len(padded) % _PAD or size + 4 > len(padded) or any(padded[4 + size :]) or len(padded) - size - 4 >= _PAD:
        raise ValueError("wrong length")
    return padded[4 : 4 + size]

"""`keys.json`: the data keys of one application, wrapped by a key that only the password gives.

Deriving that key costs a quarter of a second and 64 MiB on purpose, so it is done once a process, when the first secret
is met. Another password wraps the same keys again; rotating adds a key. Neighbours: `sealing` uses the keys, `keyfiles`
stores the ring.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from alchemy.errors import StateInvalid, UsageError
from alchemy.model.canonical import Json, canonical, digest
from alchemy.model.text import safe_text
from alchemy.store import sealing
from alchemy.store.sealing import NONCE_BYTES, Where, decode_bytes, encode_bytes

KEYS: Final = "keys.json"
FORMAT: Final = 1
_SALT_BYTES = 16
_DAMAGED = "copy keys.json back from your own copy or a backup of the state; without it, sealed values cannot be opened"


class WrongPassword(UsageError):
    """The ring is whole, and this password does not open it."""


class MissingPassword(UsageError):
    """A secret has to be sealed or opened, and no password was given."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of deriving a key from a password (Argon2id). Stored, so that it can be raised later."""

    memory: int = 64 * 1024  # KiB
    passes: int = 3
    lanes: int = 1

    def check(self, place: str) -> None:
        """A ring from elsewhere must not make us fill the memory or wait for hours."""
        if any(type(number) is not int for number in (self.memory, self.passes, self.lanes)) or not (
            8 <= self.memory <= 1 << 20 and 1 <= self.passes <= 64 and 1 <= self.lanes <= 16
        ):
            raise damaged(place, "the cost of its password is out of bounds")


@dataclass(frozen=True, slots=True)
class _Lock:
    """What a password leads through to the key that wraps the data keys."""

    cost: Cost
    salt: bytes
    check: str  # tells a wrong password from damage

    def to_json(self) -> dict[str, Json]:
        cost = {"memory_kib": self.cost.memory, "passes": self.cost.passes, "lanes": self.cost.lanes}
        return {"kdf": "argon2id", **cost, "salt": encode_bytes(self.salt), "check": self.check}


@dataclass(slots=True)
class KeyRing:
    """The opened ring of one application. Neither its `repr` nor its errors show a key, a password or a value."""

    application: str
    current: str  # the id of the key that seals new values
    place: str = KEYS  # the file, for errors
    created: dict[str, str] = field(default_factory=dict)  # by key id
    extra: dict[str, Any] = field(default_factory=dict)  # what a newer version wrote
    _keys: dict[str, bytes] = field(default_factory=dict, repr=False)
    _wrapping: bytes = field(default=b"", repr=False)
    _lock: _Lock | None = field(default=None, repr=False)

    # -- a ring from a password ---------------------------------------------------------------------------------

    @classmethod
    def create(cls, application: str, password: str | None, at: str, cost: Cost = Cost()) -> KeyRing:
        """A new ring with one random key; not stored yet. `at` is the time, ISO-8601."""
        ring = cls(application, "")
        ring._set_password(password, cost)
        ring.rotate(at)
        return ring

    @classmethod
    def unlock(cls, data: bytes, password: str | None, place: str = KEYS) -> KeyRing:
        """From the bytes of `keys.json`. MissingPassword, WrongPassword, or StateInvalid when the ring is damaged."""
        body = _document(data, place)
        try:
            stored = body["password"]
            lock = _Lock(
                Cost(stored["memory_kib"], stored["passes"], stored["lanes"]),
                decode_bytes(stored["salt"]),
                stored["check"],
            )
            if stored["kdf"] != "argon2id":
                raise ValueError("its password goes through a function that is not known")
            lock.cost.check(place)
            wrapped = {kid: (decode_bytes(key["wrapped"]), str(key["created"])) for kid, key in body["keys"].items()}
            ring = cls(str(body["application"]), str(body["current"]), place, {}, body["extra"])
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise damaged(place, "a field that it needs is missing or not of its form") from error
        ring._wrapping, ring._lock = _stretch(_required(password, place), lock.salt, lock.cost), lock
        if not hmac.compare_digest(lock.check.encode(), _check(ring._wrapping).encode()):
            raise WrongPassword(
                f"the password does not open {safe_text(place)}",
                hint="set ALCHEMY_PASSWORD to the password that the secrets of "
                f"{safe_text(ring.application)} were sealed with",
            )
        for kid, (box, created) in wrapped.items():
            ring._keys[kid], ring.created[kid] = ring._unwrapped(kid, box), created
        if ring.current not in ring._keys:
            raise damaged(place, "the key that it names as current is not in it")
        return ring

    def to_bytes(self) -> bytes:
        """The document; indented, its checksum last."""
        import orjson

        assert self._lock is not None
        keys = {
            kid: {"created": self.created[kid], "wrapped": encode_bytes(self._wrapped(kid))}
            for kid in sorted(self._keys)
        }
        body: dict[str, Any] = {**self.extra, "format": FORMAT, "type": "keys", "application": self.application}
        body |= {"current": self.current, "password": self._lock.to_json(), "keys": keys}
        body["sha256"] = digest(body)
        return orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def rewrap(self, password: str | None, cost: Cost = Cost()) -> None:
        """Another password from the next store on; the data keys stay, so nothing has to be sealed again."""
        self._set_password(password, cost)

    def rotate(self, at: str) -> str:
        """A new key for what is sealed from now on; older ones still open. Returns its id."""
        kid = os.urandom(4).hex()
        while kid in self._keys:
            kid = os.urandom(4).hex()
        self._keys[kid], self.created[kid], self.current = os.urandom(sealing.KEY_BYTES), at, kid
        return kid

    def retire(self, named: Collection[str]) -> tuple[str, ...]:
        """Drops the keys that no stored value or backup names (`named`); never the current one. Which ones."""
        gone = tuple(sorted(kid for kid in self._keys if kid not in named and kid != self.current))
        for kid in gone:
            del self._keys[kid], self.created[kid]
        return gone

    # -- values -------------------------------------------------------------------------------------------------

    def seal(self, value: Json, where: Where) -> dict[str, str]:
        """As it stands in a row: `{"$secret": …, "$equal": …}`. Sealing twice gives two different texts."""
        return sealing.seal(value, where, self.current, self._keys[self.current])

    def open(self, sealed: Json, where: Where) -> Json:
        """The value. StateInvalid when it was changed, moved, or sealed by a key that is not in this ring."""
        return sealing.open_sealed(sealed, where, self._key_of(sealed, where))

    def same(self, value: Json, sealed: Json, where: Where) -> bool:
        """Whether `sealed` holds `value`, without opening it."""
        return sealing.is_equal(value, sealed, where, self._key_of(sealed, where))

    def reseal(self, sealed: Json, before: Where, now: Where) -> dict[str, str]:
        """For a row that is renamed, and for the key of now after a rotation."""
        return self.seal(self.open(sealed, before), now)

    def _key_of(self, sealed: Json, where: Where) -> bytes:
        kid = sealing.key_id(sealed, where)
        try:
            return self._keys[kid]
        except KeyError:
            raise StateInvalid(
                f"the sealed value at {where} needs the key {kid}, which {safe_text(self.place)} does not hold",
                hint="restore the backup together with its keys, or set the secret again in the program and deploy",
            ) from None

    # -- wrapping -----------------------------------------------------------------------------------------------

    def _set_password(self, password: str | None, cost: Cost) -> None:
        cost.check(self.place)
        salt = os.urandom(_SALT_BYTES)
        self._wrapping = _stretch(_required(password, self.place), salt, cost)
        self._lock = _Lock(cost, salt, _check(self._wrapping))

    def _bound(self, kid: str) -> bytes:
        return canonical(["alchemy keys", FORMAT, self.application, kid])

    def _wrapped(self, kid: str) -> bytes:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = os.urandom(NONCE_BYTES)
        key = sealing.derive(self._wrapping, b"alchemy wrap")
        return nonce + AESGCM(key).encrypt(nonce, self._keys[kid], self._bound(kid))

    def _unwrapped(self, kid: str, box: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        try:
            key = sealing.derive(self._wrapping, b"alchemy wrap")
            found = AESGCM(key).decrypt(box[:NONCE_BYTES], box[NONCE_BYTES:], self._bound(kid))
        except (InvalidTag, ValueError):
            raise damaged(self.place, f"the password is right, its key {safe_text(kid, 20)} is not whole") from None
        if len(found) != sealing.KEY_BYTES:
            raise damaged(self.place, f"its key {safe_text(kid, 20)} has a wrong length")
        return found


def _required(password: str | None, place: str) -> str:
    if not password:
        raise MissingPassword(
            f"{safe_text(place)}: secrets are sealed with a password, and none is given",
            hint="set ALCHEMY_PASSWORD, or give alchemy(…, password=…)",
        )
    return password


def _stretch(password: str, salt: bytes, cost: Cost) -> bytes:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    raw = unicodedata.normalize("NFC", password).encode("utf-8", "surrogateescape")
    stretcher = Argon2id(
        salt=salt, length=sealing.KEY_BYTES, iterations=cost.passes, lanes=cost.lanes, memory_cost=cost.memory
    )
    return stretcher.derive(raw)


def _check(wrapping: bytes) -> str:
    return encode_bytes(hashlib.sha256(sealing.derive(wrapping, b"alchemy check")).digest()[:16])


def damaged(place: str, why: str) -> StateInvalid:
    """The one error for a ring that cannot be believed."""
    return StateInvalid(f"{safe_text(place)} is damaged: {why}", hint=_DAMAGED)


def _document(data: bytes, place: str) -> dict[str, Any]:
    """The fields of a whole, unedited document; those we do not know under `extra`."""
    import orjson

    known = ("format", "type", "application", "current", "password", "keys")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise damaged(place, "it is empty" if not data.strip() else "it is not whole JSON") from error
    if not isinstance(body, dict) or body.get("type") != "keys":
        raise damaged(place, "it is not a ring of keys")
    if not isinstance(body.get("format"), int) or body["format"] > FORMAT:
        raise StateInvalid(
            f"{safe_text(place)} has format {safe_text(body.get('format'), 20)}, this version reads {FORMAT}",
            hint="use the newer version that wrote it",
        )
    check = body.pop("sha256", None)
    if check != digest(body):
        raise damaged(place, "its checksum does not match: it was edited, or a part of it is lost")
    extra = {name: value for name, value in body.items() if name not in known}
    return {**{name: body[name] for name in known if name in body}, "extra": extra}

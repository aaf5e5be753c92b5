"""Opening what Alchemy (TypeScript) sealed, in its three forms; what is opened here is sealed again at once.

A text is a libsodium secretbox, base64 of nonce and box, under BLAKE2b of the password, or under Argon2id with a salt
of the scope where an experimental version kept one. An object is AES-256-GCM under scrypt, with a salt of its own.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterator

from alchemy.errors import StateInvalid, UsageError
from alchemy.model import strict
from alchemy.model.canonical import Json
from alchemy.operations.imports.source import Hidden, within
from alchemy.store.keyring import MissingPassword

_NONCE = 24  # of a secretbox


class Unsealer:
    """`variable` is where the password came from, for errors. Keys are derived once for each salt."""

    def __init__(self, password: str | None, variable: str) -> None:
        self._password = (password or "").encode("utf-8", "surrogateescape")
        self._variable = variable
        self._keys: dict[tuple[str, bytes], bytes] = {}

    def open(self, hidden: Hidden) -> Json:
        """The value. UsageError when the password is missing or not the right one; StateInvalid when it is no JSON."""
        if not self._password:
            raise MissingPassword(
                f"{hidden.where} is sealed with a password, and none is given",
                hint=f"set {self._variable} to the password of the program that wrote it",
            )
        payload = hidden.payload
        text = self._box(payload, hidden) if isinstance(payload, str) else self._gcm(payload)
        if text is None:
            raise UsageError(
                f"the password in {self._variable} does not open {hidden.where}, or the value is damaged",
                hint="set the password that the program gave when it was deployed",
            )
        try:
            return within(strict.parse(text)) if hidden.structured else text.decode()
        except ValueError:
            raise StateInvalid(f"what is sealed at {hidden.where} is no text that was written by the tool") from None

    def _box(self, payload: str, hidden: Hidden) -> bytes | None:
        from nacl.exceptions import CryptoError
        from nacl.secret import SecretBox

        raw = _base64(payload)
        for key in self._box_keys(hidden.salts):
            try:
                return SecretBox(key).decrypt(raw[_NONCE:], raw[:_NONCE])
            except (CryptoError, ValueError, TypeError):
                continue
        return None

    def _box_keys(self, salts: tuple[str, ...]) -> Iterator[bytes]:
        yield hashlib.blake2b(self._password, digest_size=32).digest()
        for salt in dict.fromkeys(salts):
            raw = _base64(salt)
            if len(raw) == 16:
                yield self._key("argon2id", raw)

    def _gcm(self, payload: dict[str, str]) -> bytes | None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt, iv, box, tag = (_base64(payload[part]) for part in ("salt", "iv", "ciphertext", "tag"))
        try:
            return AESGCM(self._key("scrypt", salt)).decrypt(iv, box + tag, None)
        except (InvalidTag, ValueError):
            return None

    def _key(self, function: str, salt: bytes) -> bytes:
        key = self._keys.get((function, salt))
        if key is None:
            if function == "scrypt":
                key = hashlib.scrypt(self._password, salt=salt, n=16384, r=8, p=1, dklen=32)
            else:
                from nacl.pwhash import argon2id

                key = argon2id.kdf(
                    32,
                    self._password,
                    salt,
                    opslimit=argon2id.OPSLIMIT_INTERACTIVE,
                    memlimit=argon2id.MEMLIMIT_INTERACTIVE,
                )
            self._keys[(function, salt)] = key
        return key


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return b""

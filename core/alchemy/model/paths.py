"""Names: the grammar of scope paths and resource ids, and how an id becomes a file name.

Every path on disk and every key in a bucket is built from names that passed through here; nothing else may.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from alchemy.errors import InvalidName
from alchemy.model.text import safe_text

MAX_DEPTH = 16
MAX_PATH_BYTES = 512  # keys of the object store end at 1,024 bytes; half is left for what is stored below
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_RESERVED = frozenset(
    ["state.json", "resources", "backups", "locks", "journal", "snapshots", "logs", "keys.json"]
    + ["local-cloud", "audit", "spill"]
)
_RESERVED_ENDINGS = (".lock", ".gate", ".tmp", ".json", ".holder", ".stop", ".edited")
_RESERVED_BEGINNING = "journal."  # of journals that were set aside
_DEVICES = frozenset(
    ["con", "nul", "aux", "prn", *(f"{port}{digit}" for port in ("com", "lpt") for digit in "0123456789¹²³")]
)
_RULE = "use letters, digits, '.', '_' and '-', at most 63, beginning with a letter or digit"


def check_name(name: object, what: str = "scope name") -> str:
    """`name` itself when it is inside the grammar of scope names; InvalidName otherwise."""
    shown = safe_text(name, 80)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidName(f"{what} {shown!r} is not allowed", hint=_RULE)
    if name[-1] in ".-" or ".." in name:
        raise InvalidName(f"{what} {shown!r} is not allowed: it ends in '.' or '-', or holds '..'", hint=_RULE)
    low = name.lower()
    taken = low in _RESERVED or low.startswith(_RESERVED_BEGINNING) or low.endswith(_RESERVED_ENDINGS)
    if taken or low.split(".")[0] in _DEVICES:
        raise InvalidName(f"{what} {shown!r} is reserved", hint="choose another name")
    return name


def check_id(id: object) -> str:
    """A resource id in NFC: 1 to 256 characters, no '/', no control characters."""
    shown = safe_text(id, 80)
    if not isinstance(id, str) or not id:
        raise InvalidName("a resource id is a string that is not empty", hint="give the resource a name")
    id = unicodedata.normalize("NFC", id)
    if len(id) > 256:
        raise InvalidName(f"resource id {shown!r} is longer than 256 characters", hint="shorten it")
    if "/" in id or any(unicodedata.category(c) in ("Cc", "Cs") for c in id):
        raise InvalidName(
            f"resource id {shown!r} is not allowed: it holds '/' or a control character",
            hint="use a scope (alchemy.run) for hierarchy",
        )
    return id


# Letters of other alphabets that look like Latin ones, after folding: what people mistake, or are made to mistake.
_PAIRS = (
    "аa вb еe һh кk мm нh оo рp сc тt уy хx ѕs іi јj ԁd ԛq ԝw αa βb γy εe ηn ιi κk νv οo ρp τt υu χx ωw օo սu հh ոn"
)
_LIKE_LATIN = {ord(pair[0]): pair[1] for pair in _PAIRS.split()}


def skeleton(id: str) -> str:
    """The same for ids that look alike: in another case, another Unicode form, or with letters of another alphabet."""
    if id.isascii():
        return id.lower()
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", id).casefold())
    return "".join(c for c in folded if unicodedata.category(c) != "Cf").translate(_LIKE_LATIN)


@dataclass(frozen=True, slots=True, order=True)
class ScopePath:
    """`my-app/prod/database`: where a scope lives, in state, in locks and on screen."""

    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: object) -> ScopePath:
        """From `a/b/c`; InvalidName names the part that is outside the grammar."""
        if not isinstance(text, str) or not text:
            raise InvalidName("a scope path is a string that is not empty", hint="for example my-app/prod")
        parts = tuple(text.split("/"))
        for part in parts:
            check_name(part, f"scope path {safe_text(text, 80)!r}: part")
        if parts[0].lower() == "test":
            raise InvalidName("an application cannot be called 'test'", hint="choose another name")
        path = cls(parts)
        path._check_size()
        return path

    def _check_size(self) -> None:
        if len(self.parts) > MAX_DEPTH or len(str(self)) > MAX_PATH_BYTES:
            raise InvalidName(
                f"scope path {safe_text(self, 80)!r} is too deep or too long",
                hint=f"at most {MAX_DEPTH} levels and {MAX_PATH_BYTES} bytes",
            )

    def child(self, name: str) -> ScopePath:
        path = ScopePath((*self.parts, check_name(name)))
        path._check_size()
        return path

    @property
    def name(self) -> str:
        return self.parts[-1]

    @property
    def app(self) -> str:
        return self.parts[0]

    @property
    def parent(self) -> ScopePath | None:
        return ScopePath(self.parts[:-1]) if len(self.parts) > 1 else None

    @property
    def ancestors(self) -> tuple[ScopePath, ...]:
        """From the application down to the parent."""
        return tuple(ScopePath(self.parts[:n]) for n in range(1, len(self.parts)))

    def holds(self, other: ScopePath) -> bool:
        """True when `other` is this path or below it."""
        return other.parts[: len(self.parts)] == self.parts

    def __str__(self) -> str:
        return "/".join(self.parts)


def address_of(scope: ScopePath | str, id: str) -> str:
    """`my-app/prod/database/db-main`. Ids hold no '/', so an address splits at its last one."""
    return f"{scope}/{id}"


def split_address(address: str) -> tuple[str, str]:
    """(scope path, id)."""
    scope, _, id = address.rpartition("/")
    return scope, id


_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._-")


def encode_id(id: str) -> str:
    """The file name of a resource id: injective also where names ignore case or Unicode form.

    Plain bytes stay, others become `~xx`; capitals are escaped so that `Worker` and `worker` never meet;
    above 120 characters: 70 + `~~` + 40 hex of SHA-256.
    """
    raw = id.encode()
    out = [chr(byte) if byte in _PLAIN else f"~{byte:02x}" for byte in raw]
    if raw[0] in b".-_" or id.lower() in _RESERVED or id.lower().split(".")[0] in _DEVICES:
        out[0] = f"~{raw[0]:02x}"
    if raw[-1] in b".":
        out[-1] = f"~{raw[-1]:02x}"
    if id.lower().endswith(_RESERVED_ENDINGS):
        out[-1] = f"~{raw[-1]:02x}"
    name = "".join(out)
    if len(name) > 120:
        head = name[:70]
        cut = head.rfind("~", 67)  # never end inside an escape
        name = (head if cut < 0 else head[:cut]) + "~~" + hashlib.sha256(raw).hexdigest()[:40]
    return name

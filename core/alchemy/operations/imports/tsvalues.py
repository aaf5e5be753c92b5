"""How Alchemy (TypeScript) writes values that JSON has no form for, and what they are here.

`{"@secret"}`, `{"@date"}`, `{"@symbol"}`, `{"@buffer"}`, `{"@schema"}`, `{"@scope"}`; keys that are symbols are written
`Symbol(name)`, and a resource inside a prop stands there with its outputs and its symbols.
"""

from __future__ import annotations

import re
from typing import Any

from alchemy.errors import StateInvalid
from alchemy.model.canonical import Json
from alchemy.model.text import safe_text
from alchemy.operations.imports.source import BEYOND, Hidden, Linked, Tree, is_beyond

ID, KIND, FQN = (f"Symbol(alchemy::Resource{name})" for name in ("ID", "Kind", "FQN"))
_SYMBOL = re.compile(r"Symbol\((.*)\)", re.DOTALL)
_ENCRYPTED = ("ciphertext", "iv", "salt", "tag")


class Values:
    """Of one file. `salts` as for `Hidden`; `notes` are what was not kept as it was."""

    def __init__(self, file: str, salts: tuple[str, ...] = ()) -> None:
        self._file = file
        self._salts = salts
        self.notes: list[str] = []

    def read(self, tree: dict[str, Json], place: str) -> dict[str, Tree]:
        """Props or an output: its symbols are left out."""
        return {name: self._read(item, f"{place}/{name}") for name, item in tree.items() if not _SYMBOL.fullmatch(name)}

    def _read(self, value: Json, place: str) -> Tree:
        if isinstance(value, list):
            return [self._read(item, f"{place}/{number}") for number, item in enumerate(value)]
        if isinstance(value, dict):
            return self._object(value, place)
        if is_beyond(value):
            self._note(BEYOND)
            return str(value)
        return value

    def _object(self, value: dict[str, Any], place: str) -> Tree:
        if "@secret" in value:
            return self._hidden(value["@secret"], place)
        if "@date" in value:
            return value["@date"]  # ISO 8601
        if "@schema" in value:
            return self._read(value["@schema"], f"{place}/@schema")
        if "@symbol" in value:
            name = _SYMBOL.fullmatch(str(value["@symbol"]))
            self._note("symbols are kept as text")
            return name[1] if name else str(value["@symbol"])
        if "@scope" in value:
            return None
        if "@buffer" in value:
            self._note("buffers are kept as base64")
            return value["@buffer"]
        fqn, kind = value.get(FQN), value.get(KIND)
        plain = self.read(value, place)
        return Linked(fqn, kind, plain) if isinstance(fqn, str) and isinstance(kind, str) else plain

    def _hidden(self, payload: Json, place: str) -> Hidden:
        structured = isinstance(payload, dict) and set(payload) == {"data"}
        if structured:
            payload = payload["data"]
        sealed = isinstance(payload, dict) and all(isinstance(payload.get(part), str) for part in _ENCRYPTED)
        if not isinstance(payload, str) and not sealed:
            raise StateInvalid(
                f"{safe_text(self._file)}: the secret at {safe_text(place, 200)} has a form that is not known",
                hint="let the version of Alchemy that wrote it write it again, or take the secret out",
            )
        return Hidden(payload, self._salts, structured, f"{safe_text(self._file)}: {safe_text(place, 200)}")

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

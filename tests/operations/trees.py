"""Trees that the real packages wrote (fixtures/make_trees.mjs), laid out on disk."""

from __future__ import annotations

import json
from pathlib import Path

FIXTURES = Path(__file__).parent / "fixtures"
NEW, OLD = "alchemy-0.94.0", "alchemy-0.70.2"
PASSWORD = "correct-horse"
NEEDLES = ("needle-api-key", "needle-topic-key", "needle-object")
# By libsodium-wrappers-sumo 0.7.15, as an experimental version sealed with a salt of the scope.
SALTED = {
    "salt": "htNBJ/NcF21FXbUVwlkYXQ==",
    "sealed": "G+UDVK6ooIbUFMk6kRexDu40NbwDvAZxOQSYHvlEVfAw0M26Mvpama6jIEpKvb1YqcuQoQ8=",
    "value": "needle-salted",
}


def texts(name: str) -> dict[str, str]:
    """Path below `.alchemy` -> the file's text."""
    found: dict[str, str] = json.loads((FIXTURES / f"{name}.json").read_text())
    return found


def lay_out(name: str, root: Path, **instead: str) -> Path:
    """The tree as the package wrote it, with some words exchanged; the directory it is in."""
    for path, text in texts(name).items():
        for word, other in instead.items():
            text = text.replace(word, other)
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root

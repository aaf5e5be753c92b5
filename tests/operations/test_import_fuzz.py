"""Sources in which anything may stand anywhere: an error that names the file, never a traceback."""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from alchemy import cloudflare
from alchemy.errors import AlchemyError
from alchemy.model.paths import ScopePath
from alchemy.operations.imports.flat import read_flat
from alchemy.operations.imports.planning import make_plan, make_rows
from alchemy.operations.imports.source import Source
from alchemy.operations.imports.typescript import read_tree
from tests.operations.trees import NEW, lay_out, texts

assert cloudflare.__all__
INTO = ScopePath.parse("shop/prod")
ODD: list[Any] = [None, True, 0, -1, 1 << 70, 1.5, "", "x", "a/b", "\x1b[2J", "x" * 300, [], {}, [[]], {"@secret": {}}]
ODD += [
    {"@secret": None},
    {"@date": 5},
    {"@symbol": []},
    {"@buffer": {}},
    {"Symbol(alchemy::ResourceFQN)": 1},
    [1, "b"],
]
ODD += [{"Symbol(alchemy::ResourceFQN)": "shop/prod/api", "Symbol(alchemy::ResourceKind)": "::"}, {"": {"$secret": 1}}]
DATABASE = {"kind": "cloudflare:D1Database", "props": {"name": "n"}, "outputs": {"database_id": "i"}, "status": "ready"}
WORKER = {"kind": "cloudflare:Worker", "props": {"bindings": {"DB": 1}, "env": {}}, "depends_on": ["db"], "name": "n"}
FLAT = {"resources": {"db": DATABASE, "api": WORKER}}


def spots(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a document."""
    inside = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(spot for key, item in inside for spot in spots(item, (*path, key)))]


def exchanged(tree: Any, path: tuple[Any, ...], odd: Any) -> Any:
    if not path:
        return odd
    changed = copy.deepcopy(tree)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = odd
    return changed


def rows(source: Source) -> int:
    plan = make_plan(source, INTO)
    made = make_rows(plan, lineage="l", run="R-1", at="2024", first=1, seal=lambda *_: {"$secret": "v1"})
    return len(json.dumps([row.to_json() for row in made]))


def refusal(read: Callable[[], Source]) -> str:
    """The error's message; "" when it was read."""
    try:
        assert rows(read())
    except AlchemyError as error:
        return error.message
    return ""


def test_a_flat_file_with_anything_anywhere_is_read_or_refused() -> None:
    said: Counter[bool] = Counter()
    for spot in spots(FLAT):
        for odd in ODD:
            data = json.dumps(exchanged(FLAT, spot, odd)).encode()
            message = refusal(partial(read_flat, data, Path("state.json")))
            assert not message or "state.json" in message, (spot, odd)
            said[bool(message)] += 1
    assert min(said.values()) > 100


@pytest.mark.slow
def test_a_tree_with_anything_anywhere_is_read_or_refused(tmp_path: Path) -> None:
    tree = lay_out(NEW, tmp_path)
    documents = {name: json.loads(text) for name, text in texts(NEW).items()}
    every = [(name, spot) for name, body in documents.items() for spot in spots(body)]
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    said: Counter[bool] = Counter()
    for name, spot in chance.sample(every, 150):
        odd = chance.choice(ODD)
        (tree / name).write_text(json.dumps(exchanged(documents[name], spot, odd)))
        message = refusal(partial(read_tree, tree / "shop/prod"))
        assert not message or ".json" in message, (seed, name, spot, odd, message)
        said[bool(message)] += 1
        (tree / name).write_text(json.dumps(documents[name]))
    assert min(said.values()) > 10

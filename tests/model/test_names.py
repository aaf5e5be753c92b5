from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from alchemy.errors import InvalidName
from alchemy.model.naming import MAX_NAME, ownership_mark, physical_name, plain_name
from alchemy.model.paths import (
    MAX_DEPTH,
    MAX_PATH_BYTES,
    ScopePath,
    address_of,
    check_id,
    check_name,
    encode_id,
    split_address,
)

ESCAPE = "\x1b[31mred"
RESERVED = ["state.json", "resources", "backups", "locks", "journal", "snapshots", "logs", "keys.json", "audit"]
DEVICES = ["con", "CON", "nul", "aux.txt", "prn", "com1", "LPT9", "com¹"]

ids = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=256)


@pytest.mark.parametrize("name", ["a", "my-app", "Prod", "v1.2_3", "0", "x" * 63, "pr-17", "a_", "state", "test"])
def test_a_plain_name_is_a_scope_name(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", "a[b]", "../x", "..", ".", "a/b", ESCAPE, "a b", "-a", ".hidden", "_a", "a-", "a.", "a..b", "x" * 64, "größe"]
    + ["a\n", "a\x00", "‮evil", "a\u200bb", "*", "~", "a:b", "a\\b", "%2e", " a", None, 7, b"a", ["a"]],
)
def test_anything_else_is_refused_with_the_rule(name: object) -> None:
    with pytest.raises(InvalidName, match="is not allowed") as refused:
        check_name(name)
    assert "letters, digits" in refused.value.hint
    assert refused.value.message.isprintable()


@pytest.mark.parametrize(
    "name", [*RESERVED, *DEVICES, "Journal", "x.lock", "x.LOCK", "x.tmp", "x.json", "x.gate", "x.stop", "local-cloud"]
)
def test_names_with_a_meaning_on_disk_are_reserved(name: str) -> None:
    with pytest.raises(InvalidName):
        check_name(name)


def test_a_refusal_names_the_part_of_the_path_that_is_wrong() -> None:
    with pytest.raises(InvalidName, match=re.escape("scope path 'my-app/a[b]/x': part 'a[b]' is not allowed")):
        ScopePath.parse("my-app/a[b]/x")


@pytest.mark.parametrize("path", ["", "/", "a/", "/a", "a//b", "a/../b", "a/./b", "test", "test/x", "Test/prod", None])
def test_a_path_is_names_joined_by_slashes(path: object) -> None:
    with pytest.raises(InvalidName):
        ScopePath.parse(path)


def test_a_path_is_at_most_so_deep_and_so_long() -> None:
    deep = ScopePath.parse("/".join("a" * MAX_DEPTH))
    with pytest.raises(InvalidName, match="too deep or too long"):
        deep.child("b")
    long = ScopePath.parse("/".join(["x" * 63] * (MAX_PATH_BYTES // 64)))
    with pytest.raises(InvalidName, match="too deep or too long"):
        long.child("b")


def test_a_path_knows_its_place() -> None:
    path = ScopePath.parse("my-app/prod/database")
    assert (path.app, path.name, str(path.parent)) == ("my-app", "database", "my-app/prod")
    assert [str(p) for p in path.ancestors] == ["my-app", "my-app/prod"]
    assert ScopePath.parse("my-app").parent is None
    assert path.parent is not None
    assert path.parent.holds(path)
    assert path.holds(path)
    assert not path.holds(path.parent)
    assert not ScopePath.parse("my-app/pro").holds(path)


@pytest.mark.parametrize("id", ["", "a/b", "a\x00", "\x1b[31m", "a\nb", "\x85", "x" * 257, "\ud800", None, 3, b"x"])
def test_an_id_holds_no_slash_and_no_control_character(id: object) -> None:
    with pytest.raises(InvalidName) as refused:
        check_id(id)
    assert refused.value.message.isprintable()


@pytest.mark.parametrize("id", ["main", "a[b]", "größe", "../x".replace("/", ":"), "🚀", "a b", "x" * 256])
def test_an_id_may_be_almost_any_text(id: str) -> None:
    assert check_id(id) == id


def test_two_spellings_of_one_id_are_one_id() -> None:
    assert check_id("u\u0308ber") == check_id("\u00fcber") == "über"


@given(ids)
def test_an_address_splits_into_what_it_was_made_of(id: str) -> None:
    assert split_address(address_of("my-app/prod", id)) == ("my-app/prod", id)


def folded(name: str) -> str:
    """As the most forgiving file system would compare it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


@given(ids, ids)
@example("Worker", "worker")
@example("K", "\u212a")  # the Kelvin sign folds to k
@example("ß", "ss")
@example("fi", "ﬁ")
@example("x" * 121, "x" * 120 + "y")
@example("~41", "A")
@example("a.json", "a~2ejson")
@example("con", "~63on")
@example("resources", "~72esources")
@example("." + "x" * 130, "~2e" + "x" * 130)
def test_two_ids_never_meet_in_one_file(one: str, other: str) -> None:
    one, other = check_id(one), check_id(other)
    assume(one != other)
    assert folded(encode_id(one)) != folded(encode_id(other))


@given(ids)
@example("CON")
@example("nul.txt")
@example("state.json")
@example("x.lock")
@example("...")
@example("a.")
@example("🚀" * 64)
@example("é" * 256)
@example("x" * 68 + "é" * 60)
def test_every_id_has_a_file_name_that_every_system_takes(id: str) -> None:
    name = encode_id(check_id(id))
    assert re.fullmatch(r"[a-z0-9~][a-z0-9._~-]*", name)
    assert len(name) <= 255 - len(".edited")
    assert name[-1] != "."
    assert name.split(".")[0] not in [device.lower() for device in DEVICES]
    assert name not in RESERVED
    assert not name.endswith((".lock", ".gate", ".tmp", ".json", ".holder", ".stop"))


@given(ids)
def test_a_file_name_does_not_depend_on_anything_but_the_id(id: str) -> None:
    assert encode_id(id) == encode_id(str(id))


lineages = st.text("0123456789abcdef", min_size=32, max_size=32)


@given(lineages, ids, st.integers(0, 99), st.integers(20, 63))
def test_a_physical_name_is_one_every_product_takes(lineage: str, id: str, generation: int, limit: int) -> None:
    name = physical_name(lineage, f"my-app/prod/{id}", generation, limit)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name)
    assert len(name) <= limit
    assert "--" not in name
    assert name == physical_name(lineage, f"my-app/prod/{id}", generation, limit)
    assert name.endswith("-" + ownership_mark(lineage, f"my-app/prod/{id}", generation))


def test_a_physical_name_differs_by_lineage_address_and_generation() -> None:
    names = [
        physical_name(lineage, address, generation)
        for lineage in ("a" * 32, "b" * 32)
        for address in ("my-app/prod/db", "my-app/prod/d-b", "my-app/dev/db", "my-app/prod-db")
        for generation in (0, 1)
    ]
    assert len(set(names)) == len(names)
    assert names[0].startswith("my-app-prod-db-")


def test_a_plain_name_is_what_somebody_would_have_typed() -> None:
    assert plain_name("My-App/prod/database/main_db") == "my-app-prod-database-main-db"
    assert plain_name("größe/ß") == "gr-e"
    assert plain_name("日本") == "x"
    assert len(plain_name("x" * 200)) == MAX_NAME

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Callable

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
    skeleton,
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


def variants(dice: random.Random, id: str) -> str:
    """Another id that a careless encoding would put into the same file."""
    turn = dice.randrange(12)
    place = dice.randrange(len(id))
    if turn == 0:
        return id.swapcase()
    if turn == 1:
        return unicodedata.normalize(dice.choice(["NFD", "NFKC", "NFKD"]), id)
    if turn == 2:
        return id[:place] + id[place].swapcase() + id[place + 1 :]
    if turn == 3:
        return encode_id(check_id(id))
    if turn == 4:
        return encode_id(check_id(id)).upper()
    if turn == 5:
        return id + id[-1]
    if turn == 6:
        return id.casefold()
    if turn == 7:
        return id[:place] + f"~{ord(id[place]) & 0xFF:02x}" + id[place + 1 :]
    if turn == 8:
        return id[:place] + dice.choice(AWKWARD) + id[place:]
    if turn == 9:
        return id.rstrip(". ") or "x"
    if turn == 10:
        return id[: dice.choice([69, 70, 71, 119, 120, 121])] + dice.choice(["", "x", "é", "~"])
    return id.translate({ord("a"): "а", ord("K"): "\u212a", ord("s"): "ſ", ord("i"): "ı"})


AWKWARD = ["A", "~", "~~", "~41", "~c3~a9", "é", "e\u0301", "ß", "ẞ", "ss", "ﬁ", "\u212a", "ſ", "İ", "ı", "Ω", "\u2126"]
AWKWARD += [
    ".",
    "..",
    "-",
    "_",
    ".json",
    ".LOCK",
    ".tmp",
    "con",
    "NUL",
    "com¹",
    "aux.txt",
    "state.json",
    "Resources",
    "journal",
]
AWKWARD += ["x" * 60, "x" * 119, "é" * 20, "日本", "🚀", "\u200b", " ", "\u3000", "%2e", "a b", "№", "½", "²"]


def test_four_thousand_pairs_that_nearly_meet_do_not() -> None:
    """Aimed at case, Unicode forms, escapes and long ids; the same every time."""
    dice = random.Random(20240115)
    tried = clipped = 0
    while tried < 4000:
        one = "".join(dice.choice(AWKWARD) for _ in range(dice.randint(1, 5)))[:200]
        other = variants(dice, one)
        try:
            one, other = check_id(one), check_id(other)
        except InvalidName:
            continue
        if one == other:
            continue
        tried += 1
        names = encode_id(one), encode_id(other)
        clipped += "~~" in names[0]
        assert folded(names[0]) != folded(names[1]), (one, other)
        for name in names:
            assert re.fullmatch(r"[a-z0-9~][a-z0-9._~-]*", name)
            assert len(name.encode()) <= 120
            assert is_free(name), name
    assert 500 < clipped < 3500


def is_free(name: str) -> bool:
    """No scope, file of ours or device is called so, with whatever ending an editor or we may add."""
    low = folded(name)
    devices = {device.lower() for device in DEVICES}
    return not (low[-1] == "." or low in RESERVED or low.endswith(ENDINGS) or low.split(".")[0] in devices)


ENDINGS = (".lock", ".gate", ".tmp", ".json", ".holder", ".stop", ".edited")


@pytest.mark.parametrize("change", [str, str.upper, str.title])
def test_every_reserved_word_and_ending_is_refused_in_any_case(change: Callable[[str], str]) -> None:
    words = ["state.json", "resources", "backups", "locks", "journal", "snapshots", "logs", "keys.json"]
    words += ["local-cloud", "audit", "spill"]
    devices = ["con", "nul", "aux", "prn", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))]
    for word in [*words, *devices, *(f"{device}.txt" for device in devices), "journal.damaged-1", "journal.old"]:
        with pytest.raises(InvalidName, match="is reserved"):
            check_name(change(word))
        with pytest.raises(InvalidName):
            ScopePath.parse(f"my-app/{change(word)}")
    for ending in ENDINGS:
        with pytest.raises(InvalidName, match="is reserved"):
            check_name("prod" + change(ending))
    for near in ("states.json2", "resource", "journals", "console", "com10x", "lpt", "prod.locked", "test.d"):
        assert check_name(near) == near
    with pytest.raises(InvalidName, match="cannot be called 'test'"):
        ScopePath.parse(change("test"))
    assert str(ScopePath.parse(f"my-app/x/{change('test')}"))


def test_superscript_digits_are_not_even_in_the_grammar() -> None:
    for name in ("com¹", "lpt²", "com³.txt"):
        with pytest.raises(InvalidName):
            check_name(name)
        assert encode_id(name).startswith("~63") or encode_id(name).startswith("~6c")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Worker", "worker"),
        ("ﬁle", "file"),
        ("pаypal", "paypal"),
        ("ѕсоре", "scope"),
        ("K", "\u212a"),
        ("ſ", "s"),
        ("αpp", "app"),
    ]
    + [("a\u200bb", "ab"), ("Straße", "STRASSE"), ("２", "2")],
)
def test_ids_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    assert encode_id(one) != encode_id(other)


@pytest.mark.parametrize(
    ("one", "other"), [("db1", "db2"), ("größe", "grosse"), ("db-1", "db_1"), ("日本", "本日"), ("a", "b")]
)
def test_ids_that_do_not_look_alike_have_two(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


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

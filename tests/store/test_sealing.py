from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemy.errors import AlchemyError, StateInvalid, UsageError
from alchemy.model.canonical import digest, normalise
from alchemy.store.keyfiles import open_or_create_ring, open_ring, store_ring
from alchemy.store.keyring import Cost, KeyRing, MissingPassword, WrongPassword
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.objects.store import ObjectStore
from alchemy.store.sealing import Where, decode_bytes, encode_bytes, escape, is_sealed, key_id, unescape
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store
from alchemy.testing.objects import MemoryObjects

AT = "2024-01-15T10:30:00.000Z"
PASSWORD = "correct horse ☕"
NEEDLE = "needle-in-the-haystack"
CHEAP = Cost(memory=64, passes=1)  # what it costs is tried once, below
HERE = Where("1ineage", "my-app/prod", "my-app/prod/database", "db-main", "/props/env/API_KEY")

RING = KeyRing.create("my-app", PASSWORD, AT, CHEAP)
SEALED = RING.seal(NEEDLE, HERE)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def unlocked(data: bytes, password: str | None = PASSWORD) -> KeyRing:
    return KeyRing.unlock(data, password, "/state/my-app/keys.json")


def edited(change: Callable[[dict[str, Any]], object]) -> bytes:
    """The document with one thing changed by somebody who also put the checksum right."""
    body = json.loads(RING.to_bytes())
    change(body)
    del body["sha256"]
    return orjson.dumps({**body, "sha256": digest(body)})


# -- values -------------------------------------------------------------------------------------------------------


@given(json_values)
def test_what_is_sealed_opens_as_it_was(value: Any) -> None:
    value = normalise(value)
    sealed = RING.seal(value, HERE)
    assert RING.open(json.loads(json.dumps(sealed)), HERE) == value
    assert RING.same(value, sealed, HERE)


def test_a_sealed_value_has_the_form_that_is_documented() -> None:
    version, kid, box = SEALED["$secret"].split(".")
    assert (version, kid) == ("v1", RING.current)
    assert is_sealed(SEALED)
    assert key_id(SEALED, HERE) == RING.current
    assert len(decode_bytes(box)) == 12 + 32 + 16  # nonce, one block of padding, tag


def test_neither_the_value_nor_its_length_can_be_seen() -> None:
    assert NEEDLE not in json.dumps(SEALED)
    assert NEEDLE.encode() not in decode_bytes(SEALED["$secret"].split(".")[2])
    assert len({len(RING.seal("x" * n, HERE)["$secret"]) for n in range(27)}) == 1
    assert len(RING.seal("x" * 27, HERE)["$secret"]) > len(SEALED["$secret"])


def test_the_same_value_sealed_twice_is_two_texts_that_tell_that_they_are_equal() -> None:
    again = RING.seal(NEEDLE, HERE)
    assert again["$secret"] != SEALED["$secret"]
    assert again["$equal"] == SEALED["$equal"]
    assert RING.same(NEEDLE, SEALED, HERE)
    assert not RING.same(NEEDLE + "!", SEALED, HERE)


def test_equal_values_in_two_places_cannot_be_told_to_be_equal() -> None:
    for there in elsewhere():
        assert RING.seal(NEEDLE, there)["$equal"] != SEALED["$equal"]
        assert not RING.same(NEEDLE, SEALED, there)


def elsewhere() -> list[Where]:
    return [
        replace(HERE, lineage="0ther"),
        replace(HERE, owner="my-app/dev"),
        replace(HERE, scope="my-app/prod"),
        replace(HERE, id="db-other"),
        replace(HERE, pointer="/props/env/OTHER"),
        replace(HERE, pointer="/outputs/env/API_KEY"),
    ]


@pytest.mark.parametrize("there", elsewhere(), ids=lambda there: str(there))
def test_a_ciphertext_that_was_moved_does_not_open(there: Where) -> None:
    with pytest.raises(StateInvalid, match="copied here from another place") as caught:
        RING.open(SEALED, there)
    assert str(there) in caught.value.message
    assert caught.value.hint
    assert NEEDLE not in repr(caught.value)


def test_a_row_that_is_renamed_takes_its_secret_along() -> None:
    there = replace(HERE, id="db-renamed")
    assert RING.open(RING.reseal(SEALED, HERE, there), there) == NEEDLE


def test_no_byte_of_a_ciphertext_can_change_unseen() -> None:
    head, box = SEALED["$secret"].rsplit(".", 1)
    raw = decode_bytes(box)
    for place in range(len(raw)):
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        with pytest.raises(StateInvalid):
            RING.open({"$secret": f"{head}.{encode_bytes(changed)}"}, HERE)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: "", "damaged"),
        (lambda text: None, "damaged"),
        (lambda text: 7, "damaged"),
        (lambda text: "v1.zz.abc", "damaged"),
        (lambda text: text + "=", "damaged"),
        (lambda text: text[:-20], "does not open"),
        (lambda text: text[:30], "damaged"),
        (lambda text: "v2." + text[3:], "newer format"),
        (lambda text: text.replace(RING.current, "00000000"), "needs the key 00000000"),
    ],
)
def test_what_is_no_sealed_value_says_so(change: Callable[[str], Any], says: str) -> None:
    with pytest.raises(StateInvalid, match=says) as caught:
        RING.open({"$secret": change(SEALED["$secret"])}, HERE)
    assert "my-app/prod/database/db-main/props/env/API_KEY" in caught.value.message


def test_a_pointer_names_steps_that_hold_slashes_and_tildes() -> None:
    assert HERE.below("a/b~c").below(0).pointer == "/props/env/API_KEY/a~1b~0c/0"


@given(json_values)
def test_user_data_can_never_be_taken_for_a_sealed_value(value: Any) -> None:
    def sealed_anywhere(tree: Any) -> bool:
        if isinstance(tree, dict):
            return is_sealed(tree) or any(map(sealed_anywhere, tree.values()))
        return isinstance(tree, list) and any(map(sealed_anywhere, tree))

    for tree in (value, {"$secret": value}, [{"$$secret": value, "$resource": "x"}]):
        assert unescape(escape(tree)) == tree
        assert not sealed_anywhere(escape(tree))


@given(st.binary(max_size=80))
def test_bytes_have_one_text_only(data: bytes) -> None:
    assert decode_bytes(encode_bytes(data)) == data
    assert encode_bytes(data) == base64.urlsafe_b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("text", ["YQ==", "YR", "Y", "a+b/", "YQ\n", "é"])
def test_another_text_for_the_same_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        decode_bytes(text)


# -- the ring -----------------------------------------------------------------------------------------------------


def test_the_ring_opens_with_its_password_and_holds_it_nowhere() -> None:
    data = RING.to_bytes()
    assert unlocked(data).open(SEALED, HERE) == NEEDLE
    for secret in (PASSWORD.encode(), *RING._keys.values(), RING._wrapping):
        assert secret not in data
        assert secret not in repr(RING).encode()
        assert secret.hex().encode() not in repr(RING).encode()


def test_the_cost_is_the_one_that_the_design_asks_for_and_is_stored() -> None:
    ring = KeyRing.create("my-app", PASSWORD, AT)
    body = json.loads(ring.to_bytes())
    stored = {name: body["password"][name] for name in ("kdf", "memory_kib", "passes", "lanes")}
    assert stored == {"kdf": "argon2id", "memory_kib": 65536, "passes": 3, "lanes": 1}
    assert len(decode_bytes(body["password"]["salt"])) == 16
    assert unlocked(ring.to_bytes()).current == ring.current


def test_two_rings_of_one_password_share_nothing() -> None:
    other = KeyRing.create("my-app", PASSWORD, AT, CHEAP)
    assert other._wrapping != RING._wrapping
    with pytest.raises(StateInvalid, match="does not hold"):
        other.open(SEALED, HERE)


def test_a_password_is_the_same_however_its_accents_were_typed() -> None:
    ring = KeyRing.create("my-app", "cafe\u0301", AT, CHEAP)
    assert unlocked(ring.to_bytes(), "caf\u00e9").current == ring.current


def test_a_wrong_password_is_told_from_damage() -> None:
    with pytest.raises(WrongPassword, match="does not open") as caught:
        unlocked(RING.to_bytes(), "guess-0815")
    assert "keys.json" in caught.value.message
    assert "ALCHEMY_PASSWORD" in caught.value.hint
    assert "guess-0815" not in repr(caught.value) + caught.value.hint


@pytest.mark.parametrize("password", [None, ""])
def test_no_password_is_told_before_anything_is_made(password: str | None) -> None:
    with pytest.raises(MissingPassword) as caught:
        KeyRing.create("my-app", password, AT, CHEAP)
    assert "ALCHEMY_PASSWORD" in caught.value.hint
    with pytest.raises(UsageError):
        unlocked(RING.to_bytes(), password)


def test_no_byte_of_the_ring_can_change_unseen() -> None:
    data = RING.to_bytes()
    for place in range(0, len(data), 5):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            body = json.loads(changed)
        except ValueError:
            body = None
        if body == json.loads(data):  # white space
            continue
        with pytest.raises(StateInvalid) as caught:
            unlocked(changed)
        assert "keys.json" in caught.value.message
        assert caught.value.hint


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_torn_ring_is_damage(cut: int) -> None:
    with pytest.raises(StateInvalid, match=r"keys\.json is damaged"):
        unlocked(RING.to_bytes()[:cut])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda body: body.pop("password"), "a field that it needs"),
        (lambda body: body["password"].pop("salt"), "a field that it needs"),
        (lambda body: body["password"].update(salt="!"), "a field that it needs"),
        (lambda body: body["password"].update(kdf="md5"), "a field that it needs"),
        (lambda body: body["password"].update(memory_kib=1 << 40), "out of bounds"),
        (lambda body: body["password"].update(passes=True), "out of bounds"),
        (lambda body: body["password"].update(passes=10**9), "out of bounds"),
        (lambda body: body.update(keys=[]), "a field that it needs"),
        (lambda body: body.update(keys={}), "names as current"),
        (lambda body: body.update(current="00000000"), "names as current"),
        (lambda body: body.update(application="other"), "not whole"),
        (lambda body: body["keys"][RING.current].update(wrapped="AAAA"), "not whole"),
        (lambda body: body["keys"].update({"0badc0de": body["keys"][RING.current]}), "not whole"),
        (lambda body: body.update(format=2), "this version reads 1"),
        (lambda body: body.update(type="backup"), "not a ring"),
    ],
)
def test_a_ring_that_somebody_edited_is_damage_and_never_a_wrong_password(change: Any, says: str) -> None:
    with pytest.raises(StateInvalid, match=says):
        unlocked(edited(change))


def test_what_a_newer_version_wrote_beside_is_kept() -> None:
    ring = unlocked(edited(lambda body: body.update(hint="the usual")))
    assert json.loads(ring.to_bytes())["hint"] == "the usual"


def test_another_password_opens_the_same_values_and_the_old_one_no_longer() -> None:
    ring = unlocked(RING.to_bytes())
    ring.rewrap("another", CHEAP)
    assert unlocked(ring.to_bytes(), "another").open(SEALED, HERE) == NEEDLE
    with pytest.raises(WrongPassword):
        unlocked(ring.to_bytes(), PASSWORD)


def test_after_a_rotation_new_values_have_another_key_and_old_ones_still_open() -> None:
    ring = unlocked(RING.to_bytes())
    kid = ring.rotate("2025-01-01T00:00:00.000Z")
    ring = unlocked(ring.to_bytes())
    assert key_id(ring.seal(NEEDLE, HERE), HERE) == kid != key_id(SEALED, HERE)
    assert ring.open(SEALED, HERE) == NEEDLE
    assert ring.same(NEEDLE, SEALED, HERE)
    resealed = ring.reseal(SEALED, HERE, HERE)
    assert ring.retire({key_id(SEALED, HERE)}) == ()
    assert ring.retire({kid}) == (key_id(SEALED, HERE),)
    ring = unlocked(ring.to_bytes())
    assert ring.open(resealed, HERE) == NEEDLE
    with pytest.raises(StateInvalid, match="does not hold"):
        ring.open(SEALED, HERE)


# -- the file -----------------------------------------------------------------------------------------------------


@pytest.fixture(params=["files", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A store that holds nothing yet."""
    if request.param == "files":
        return LocalStore(Layout(tmp_path))
    return ObjectStore(MemoryObjects(), tmp_path, prefix="team/")


def test_a_ring_is_made_once_and_found_again(place: Store) -> None:
    assert open_ring(place, "my-app", PASSWORD) is None
    first = open_or_create_ring(place, "my-app", PASSWORD)
    again = open_or_create_ring(place, "my-app", PASSWORD)
    assert again.open(first.seal(NEEDLE, HERE), HERE) == NEEDLE
    with pytest.raises(WrongPassword, match=r"my-app/keys\.json"):
        open_or_create_ring(place, "my-app", "another")


def test_on_disk_it_lies_in_the_applications_folder_for_its_owner_only(tmp_path: Path) -> None:
    open_or_create_ring(LocalStore(Layout(tmp_path)), "my-app", PASSWORD)
    path = tmp_path / "my-app" / "keys.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["keys.json"]


def test_the_ring_of_another_application_is_refused(place: Store) -> None:
    shelf_of(place).create("shop/keys.json", RING.to_bytes())
    with pytest.raises(AlchemyError, match="belongs to my-app"):
        open_ring(place, "shop", PASSWORD)


def test_a_stored_change_is_there_for_the_next_process(place: Store) -> None:
    shelf_of(place).create("my-app/keys.json", RING.to_bytes())
    ring = unlocked(RING.to_bytes())
    ring.rewrap("another", CHEAP)
    store_ring(place, ring)
    found = open_ring(place, "my-app", "another")
    assert found is not None
    assert found.open(SEALED, HERE) == NEEDLE


@pytest.mark.slow
def test_of_four_processes_that_make_the_ring_at_once_all_have_the_same(tmp_path: Path) -> None:
    source = (
        "import sys; from pathlib import Path; from alchemy.store.keyfiles import open_or_create_ring;"
        "from alchemy.store.layout import Layout; from alchemy.store.local import LocalStore; sys.stdin.readline();"
        "print(open_or_create_ring(LocalStore(Layout(Path(sys.argv[1]))), 'my-app', 'p').current)"
    )
    core = str(Path(__file__).parents[2] / "core")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", source, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": core},
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    said = {racer.communicate(timeout=60)[0].strip() for racer in racers}
    assert len(said) == 1
    assert said != {""}


# -- the shelf ----------------------------------------------------------------------------------------------------


def test_what_is_put_on_a_shelf_is_whole_and_taken_once(place: Store) -> None:
    shelf = shelf_of(place)
    assert shelf.names("my-app/backups") == []
    assert shelf.read("my-app/backups/a.json") is None
    assert shelf.create("my-app/backups/a.json", b"one")
    assert shelf.create("my-app/backups/a.json", b"one"), "the same bytes again"
    assert not shelf.create("my-app/backups/a.json", b"two")
    assert shelf.read("my-app/backups/a.json") == b"one"
    shelf.replace("my-app/backups/a.json", b"two")
    shelf.replace("my-app/backups/b.json", b"three")
    shelf.replace("my-app/backups/below/c.json", b"four")
    assert shelf.names("my-app/backups") == ["a.json", "b.json"]
    shelf.remove("my-app/backups/a.json")
    shelf.remove("my-app/backups/a.json")
    assert shelf.names("my-app/backups") == ["b.json"]

"""What `alchemy.store.objects.port` promises, as tests for whatever implements it: bring a fixture `objects`."""

from __future__ import annotations

import pytest

from alchemy.store.objects.port import Changed, Found, Listed, Objects, Taken


class KeepsTheContract:
    """For subclasses that bring `objects`, empty below `c/`."""

    def test_what_was_created_is_read_back(self, objects: Objects) -> None:
        etag = objects.create("c/one.json", b"body")
        assert objects.get("c/one.json") == Found(b"body", etag)

    def test_an_empty_body_is_a_body(self, objects: Objects) -> None:
        etag = objects.create("c/empty", b"")
        assert objects.get("c/empty") == Found(b"", etag)
        assert objects.list("c/") == [Listed("c/empty", 0)]

    def test_what_was_never_written_is_none(self, objects: Objects) -> None:
        assert objects.get("c/nothing") is None

    def test_a_name_is_created_once(self, objects: Objects) -> None:
        objects.create("c/one", b"first")
        with pytest.raises(Taken):
            objects.create("c/one", b"second")
        with pytest.raises(Taken):
            objects.create("c/one", b"first")  # also its own, again
        assert held(objects, "c/one").body == b"first"

    def test_a_replacement_needs_the_etag_of_what_is_there(self, objects: Objects) -> None:
        first = objects.create("c/one", b"first")
        second = objects.replace("c/one", b"second", first)
        assert second != first
        with pytest.raises(Changed):
            objects.replace("c/one", b"third", first)
        assert objects.get("c/one") == Found(b"second", second)

    def test_the_etag_that_reading_gives_is_good_for_replacing(self, objects: Objects) -> None:
        objects.create("c/one", b"first")
        objects.replace("c/one", b"second", held(objects, "c/one").etag)
        assert held(objects, "c/one").body == b"second"

    def test_what_is_not_there_cannot_be_replaced(self, objects: Objects) -> None:
        etag = objects.create("c/one", b"body")
        with pytest.raises(Changed):
            objects.replace("c/two", b"body", etag)
        assert objects.get("c/two") is None

    def test_the_same_bytes_again_have_the_same_etag(self, objects: Objects) -> None:
        """Why everything that is replaced carries a nonce: a change and its undoing are not seen."""
        first = objects.create("c/one", b"a")
        second = objects.replace("c/one", b"b", first)
        assert objects.replace("c/one", b"a", second) == first

    def test_deleting_twice_is_fine(self, objects: Objects) -> None:
        objects.create("c/one", b"body")
        objects.delete("c/one")
        objects.delete("c/one")
        assert objects.get("c/one") is None
        assert objects.create("c/one", b"again")

    def test_a_listing_is_in_the_order_of_the_bytes(self, objects: Objects) -> None:
        keys = ["c/a", "c/a.json", "c/a/b", "c/Z", "c/ä", "c/\uffee", "c/😀", "c/z", "c/~1"]
        for key in keys:
            objects.create(key, key.encode())
        listed = objects.list("c/")
        assert [item.key for item in listed] == sorted(keys, key=str.encode)
        assert [item.size for item in listed] == [len(item.key.encode()) for item in listed]

    def test_a_listing_begins_behind_a_key_that_need_not_be_there(self, objects: Objects) -> None:
        for number in (1, 2, 4):
            objects.create(f"c/{number}", b"")
        assert [item.key for item in objects.list("c/", after="c/2")] == ["c/4"]
        assert [item.key for item in objects.list("c/", after="c/3")] == ["c/4"]
        assert [item.key for item in objects.list("c/", after="c/0")] == ["c/1", "c/2", "c/4"]
        assert objects.list("c/", after="c/9") == []

    def test_a_prefix_may_end_within_a_name(self, objects: Objects) -> None:
        for key in ("c/run-1", "c/run-2", "c/rune", "c/running/x", "c/other"):
            objects.create(key, b"")
        assert [item.key for item in objects.list("c/run-")] == ["c/run-1", "c/run-2"]
        assert [item.key for item in objects.list("c/run")] == ["c/run-1", "c/run-2", "c/rune", "c/running/x"]
        assert objects.list("c/nobody") == []

    def test_folders_are_one_level(self, objects: Objects) -> None:
        for key in ("c/file", "c/prod/a", "c/prod/b", "c/prod.lock/x", "c/dev/deep/down", "c/Dev/x"):
            objects.create(key, b"")
        assert objects.folders("c/") == ["Dev", "dev", "prod", "prod.lock"]
        assert objects.folders("c/dev/") == ["deep"]
        assert objects.folders("c/nobody/") == []
        assert "c" in objects.folders("")

    def test_names_come_back_as_they_were_given(self, objects: Objects) -> None:
        keys = ["c/a b", "c/a%20b", "c/a+b", "c/~c3~bc", "c/ü", "c/a?b#c", "c/a&b=<c>\"'", "c/a*b", "c/x" * 200]
        for number, key in enumerate(keys):
            objects.create(key, b"%d" % number)
        assert [held(objects, key).body for key in keys] == [b"%d" % number for number in range(len(keys))]
        assert {item.key for item in objects.list("c/")} == set(keys)

    def test_bodies_are_bytes(self, objects: Objects) -> None:
        for number, body in enumerate([bytes(range(256)), b"\r\n" * 9, b"x" * 5_500_000]):
            objects.create(f"c/{number}", body)
            assert held(objects, f"c/{number}").body == body


def held(objects: Objects, key: str) -> Found:
    found = objects.get(key)
    assert found is not None
    return found

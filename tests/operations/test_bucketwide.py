"""`scope validate` of a bucket, and of spills wherever they are: nothing that waits or is damaged is called sound."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import orjson
import pytest

from alchemy.errors import StateInvalid
from alchemy.model.records import Put
from alchemy.operations.validate import validate
from alchemy.store.spill import ELSEWHERE, spill_digest
from alchemy.store.store import Store
from tests.model import rows
from tests.operations.test_moving import PROD, Places, write


@pytest.fixture
def places(tmp_path: Path) -> Places:
    found = Places(tmp_path / "state")
    write(found.bucket(), PROD, Put(rows.row("shop/prod/a", seq=1)))
    return found


def spill(store: Store, file: Path) -> Path:
    body = {
        "format": 1,
        "type": "spill",
        "scope": "shop/prod",
        "place": store.place,
        "session": "0" * 32,
        "epoch": 1,
        "lineage": "",
        "seq": 1,
        "serial": 1,
        "why": "the disk was full",
        "at": "",
        "ops": [{"op": "drop", "address": "shop/prod/a", "kind": "test:Row", "action": "delete"}],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps({**body, "sha256": spill_digest(body)}))
    file.chmod(0o600)
    return file


def test_a_sound_bucket_has_no_findings_and_foreign_folders_in_it_are_no_applications(places: Places) -> None:
    store = places.bucket("")
    write(store, PROD, Put(rows.row("shop/prod/a", seq=1)))
    store.objects.create("photos/2024/cat.jpg", b"")
    assert store.owners() == ["shop", "shop/prod"]
    assert validate(places.bucket("")) == []
    assert validate(places.bucket()) == []


def test_garbage_for_a_claim_and_an_object_of_nobody_are_named(places: Places) -> None:
    objects = places.bucket().objects
    objects.create("team/locks/shop/prod/data.lock", b"{" * 200)
    objects.create("team/shop/prod/notes.txt", b"mine")
    objects.create("team/shop/README", b"ours")
    found = {one.file: one for one in validate(places.bucket())}
    assert found.keys() == {"locks/shop/prod/data.lock", "shop/prod/notes.txt", "shop/README"}
    assert {one.severity for one in found.values()} == {"warning"}
    assert "`alchemy scope unlock shop/prod/data`" in found["locks/shop/prod/data.lock"].way_out


def test_over_a_damaged_journal_in_a_bucket_rebuild_is_named(places: Places) -> None:
    objects = places.bucket().objects
    name = next(item.key for item in objects.list("team/shop/prod/journal/"))
    found = objects.get(name)
    assert found is not None
    objects.replace(name, b"{}", found.etag)
    with pytest.raises(StateInvalid) as error:
        places.bucket().read_fold(PROD)
    assert "`alchemy scope rebuild shop/prod`" in error.value.hint


def test_a_spill_that_waits_is_found_beside_a_bucket_and_in_the_directory_for_temporary_files(places: Places) -> None:
    files = Places(places.root.parent / "files").files()
    write(files, PROD, Put(rows.row("shop/prod/a", seq=1)))
    for store in (places.bucket(), files):
        inside = spill(store, store.root / "spill/one.json")
        elsewhere = spill(store, Path(tempfile.gettempdir()) / f"{ELSEWHERE}test-{os.getpid()}-{id(store):x}.json")
        try:
            for scope in (None, "shop", "shop/prod"):
                found = {one.file: one for one in validate(store, scope)}
                assert {"spill/one.json", str(elsewhere)} <= found.keys(), scope
                for file, one in ((inside, found["spill/one.json"]), (elsewhere, found[str(elsewhere)])):
                    assert "R-1 of shop/prod could not write 1 change" in one.problem or "a run of" in one.problem
                    assert f"`alchemy scope recover {file}`" in one.way_out
            assert sum("could not write" in one.problem for one in validate(store)) == 2  # each is told once
        finally:
            elsewhere.unlink()
            shutil.rmtree(store.root / "spill")

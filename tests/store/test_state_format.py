"""The samples of `docs/state-format.md` are what our own code reads and writes.

Every fenced block marked `json` is one of the kinds in `SAMPLES`, told by what is in it; a block of anything else is
marked `text`. The samples were written by one program; the records are of one journal, in its order.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from alchemy.model import strict
from alchemy.model.backup import read_head, read_whole
from alchemy.model.exports import read_export
from alchemy.model.fold import Fold, Stamp
from alchemy.model.records import Record, decode, encode, entries
from alchemy.model.values import Holder, ResourceState, ScopeState
from alchemy.operations.auditing import audit_log
from alchemy.operations.recovering import judge
from alchemy.operations.spills import parse_spill
from alchemy.store.backups import HEAD, backup_name, read_backup
from alchemy.store.keyring import KeyRing, WrongPassword
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.moving import MOVED, read_mark
from alchemy.store.objects.claims import decode_claim, is_free
from alchemy.store.objects.keys import Keys
from alchemy.store.objects.locks import holder_of
from alchemy.store.objects.port import Found
from alchemy.store.objects.probe import admit, remembered_key
from alchemy.store.objects.snapshots import decode_snapshot, encode_snapshot
from alchemy.store.spill import spill_name
from alchemy.store.viewfile import examine, render
from alchemy.testing.s3 import Server
from tests.objects.buckets import bucket_at

PAGE = Path(__file__).parents[2] / "docs" / "state-format.md"
BLOCK = re.compile(r"^```json\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PASSWORD = "correct horse"
SAMPLES: dict[str, Callable[[dict[str, Any]], bool]] = {
    "record": lambda body: "r" in body and "ops" in body["r"],
    "snapshot": lambda body: "r" in body and "log" in body["r"],
    "backup": lambda body: body.get("type") == "backup",
    "view": lambda body: "journal" in body and "sha256" in body,
    "holder": lambda body: "process_start" in body,
    "audit": lambda body: "act" in body,
    "spill": lambda body: body.get("type") == "spill",
    "keys": lambda body: body.get("type") == "keys",
    "move": lambda body: body.get("type") == "move",
    "export": lambda body: body.get("type") == "export",
    "claim": lambda body: "nonce" in body,
    "free claim": lambda body: "free" in body,
    "probe": lambda body: "quoted_etags" in body,
}


@dataclass(frozen=True)
class Sample:
    line: int
    text: bytes

    @property
    def body(self) -> dict[str, Any]:
        body = orjson.loads(self.text)
        assert isinstance(body, dict)
        return body

    @property
    def kind(self) -> str:
        return next((kind for kind, fits in SAMPLES.items() if fits(self.body)), "unknown")


def samples() -> list[Sample]:
    page = PAGE.read_text(encoding="utf-8")
    return [Sample(page[: m.start()].count("\n") + 1, m[1].encode()) for m in BLOCK.finditer(page)]


def of(kind: str) -> list[Sample]:
    return [sample for sample in samples() if sample.kind == kind]


def the(kind: str) -> Sample:
    (sample,) = of(kind)
    return sample


def named(sample: Sample) -> str:
    return f"line{sample.line}"


def records() -> list[tuple[Record, str]]:
    return [decode(sample.text) for sample in of("record")]


def test_the_page_has_a_sample_of_everything() -> None:
    assert {sample.kind for sample in samples()} == set(SAMPLES)
    found = records()
    assert {record.kind for record, _ in found} == {"open", "commit", "restore", "release"}
    assert {op["op"] for record, _ in found for op in record.ops} == {"put", "drop", "hold", "event"}
    assert {name for record, _ in found for name in ("seals", "unlock", "begins") if name in record.body} == {
        "seals",
        "unlock",
        "begins",
    }


@pytest.mark.parametrize("sample", of("record"), ids=named)
def test_a_record_is_read_and_written_the_same_and_tells_something(sample: Sample) -> None:
    record, check = decode(sample.text)
    assert encode(record) == (sample.text, check)
    assert list(entries(record))


def test_the_records_are_of_one_journal_and_the_fold_takes_them() -> None:
    fold = Fold("")
    for record, check in records():
        if record.seq == fold.seq + 1 and record.prev:
            assert record.prev == fold.prev
        assert record.seq > fold.seq
        assert record.epoch >= fold.epoch
        assert record.serial >= fold.serial
        fold.apply(record, check)
        if record.kind == "release":
            assert fold.released
            assert fold.declared["complete"]
    assert fold.lineage
    assert fold.holder is not None
    assert fold.hold is not None
    assert fold.hold.active(fold.hold.since)
    assert [row.verify for row in fold.resources.values()] == [True]


@pytest.mark.parametrize("sample", of("view"), ids=named)
def test_a_view_is_whole_and_what_we_would_write(sample: Sample) -> None:
    assert examine(sample.text).problem == ""
    body = sample.body
    place = body.pop("journal")
    del body["sha256"], body["format"]
    row = ScopeState.from_json(body) if body["type"] == "scope" else ResourceState.from_json(body)
    assert row.extra == {}
    assert render(row, Stamp(**place)) == sample.text


def test_the_holder_is_read_and_written_the_same_and_is_the_one_that_was_broken() -> None:
    body = the("holder").body
    assert Holder.from_json(body).to_json() == body
    assert [record.body["unlock"]["broken"] for record, _ in records() if "unlock" in record.body] == [body]


def test_the_backup_is_whole_and_brings_back_what_it_holds() -> None:
    text = the("backup").text
    body = read_backup(text)
    fold = Fold.from_snapshot(body["state"])
    assert fold.to_snapshot() == body["state"]
    assert body["counts"] == {"resources": len(fold.resources), "scopes": len(fold.scopes)}
    assert (body["seq"], body["epoch"], body["serial"]) == (fold.seq, fold.epoch, fold.serial)
    name = backup_name(body["taken"])
    assert read_whole(name, text, body["scope"]).header == read_head(name, text[:HEAD], len(text))


def test_the_export_is_whole_and_what_we_would_write() -> None:
    text = the("export").text
    assert read_export(text, "page").to_json() == orjson.loads(text)


def test_the_audit_entry_is_listed(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.audit.mkdir()
    (layout.audit / "entry.json").write_bytes(the("audit").text)
    (entry,) = audit_log(LocalStore(layout))
    assert (entry.act, entry.outcome) == ("unlock", "done")
    assert entry.detail["broken"] == the("holder").body


def test_the_spill_is_of_the_broken_run_and_can_be_recovered() -> None:
    sample = the("spill")
    spilled = parse_spill(Path("spill.json"), sample.text)
    broken = Holder.from_json(the("holder").body)
    assert spilled.epoch == broken.epoch
    assert spill_name(str(spilled.scope), spilled.epoch, sample.body["session"]).startswith("my-app~prod-4-")
    fold = Fold("my-app/prod")
    for record, check in records():
        if record.epoch < spilled.epoch:
            fold.apply(record, check)
    assert fold.lineage == spilled.lineage
    ((step, op),) = judge(spilled, fold)
    assert step.verdict == "write"
    assert op is not None


def test_the_key_ring_opens_with_its_password_only() -> None:
    text = the("keys").text
    assert KeyRing.unlock(text, PASSWORD).to_bytes()[:300] == text[:300]
    with pytest.raises(WrongPassword):
        KeyRing.unlock(text, "incorrect horse")


def test_the_mark_of_a_move_is_read(tmp_path: Path) -> None:
    text = the("move").text
    (tmp_path / MOVED).write_bytes(text)
    mark = read_mark(LocalStore(Layout(tmp_path)), MOVED)
    assert mark is not None
    assert mark.to_bytes() == text


def test_the_snapshot_is_read_and_written_the_same() -> None:
    text = the("snapshot").text
    read = decode_snapshot("key", "my-app/prod", text)
    assert encode_snapshot(read.fold, read.below, read.kept) == text
    assert read.fold.resources


def test_the_claims_are_read_and_the_free_one_is_told_by_its_size() -> None:
    text, free = the("claim").text, the("free claim").text
    claim = decode_claim("my-app/prod", text)
    holder = holder_of(claim)
    assert claim.held
    assert claim.id
    assert holder is not None
    assert holder.epoch == claim.epoch
    assert holder.session == claim.session
    assert (is_free(Found(text, "")), is_free(Found(free, ""))) == (False, True)


def test_what_is_remembered_of_a_store_spares_the_probe() -> None:
    """For the endpoint that it names, and for no other: there everything is tried."""
    text = the("probe").text
    body = strict.parse(text)
    with Server() as server:
        bucket = bucket_at(server.endpoint)
        here = text.replace(body["endpoint"].encode(), bucket.settings.host.encode())
        server.put(remembered_key(bucket), here)
        assert admit(bucket, sleep=lambda _: None).settings.quoted_etags == body["quoted_etags"]
        assert server.counts() == {"GET": 1}
        server.put(remembered_key(bucket), text)
        admit(bucket, sleep=lambda _: None)
        assert server.counts()["PUT"] > 1


def test_the_keys_of_a_bucket_are_as_the_page_says() -> None:
    keys = Keys("")
    page = PAGE.read_text(encoding="utf-8")
    assert keys.record("my-app/prod", 41) == "my-app/prod/journal/0000000000000041.json"
    assert keys.lock("my-app/prod") == "locks/my-app/prod.lock"
    for shown in ("<scope>/journal/<seq, 16 digits>.json", "locks/<path>.lock", ".alchemy-probe/"):
        assert shown in page

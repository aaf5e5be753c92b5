"""The samples of `docs/state-format.md` are what our own code reads and writes.

Every fenced block marked `json` or `jsonl` is one of: journal lines (`{"r":…,"c":…}`, one a line, each following the
one before it), a view (`"journal"` and `"sha256"`), a holder (`"process_start"`), a backup (`"type": "backup"`).
A block of anything else is marked `text`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from alchemy.model.fold import Fold, Stamp
from alchemy.model.records import decode, encode, entries
from alchemy.model.values import Holder, ResourceState, ScopeState
from alchemy.store.backups import read_backup
from alchemy.store.viewfile import examine, render

PAGE = Path(__file__).parents[2] / "docs" / "state-format.md"
BLOCK = re.compile(r"^```(json|jsonl)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Sample:
    line: int
    text: bytes

    @property
    def kind(self) -> str:
        first = self.text.lstrip().splitlines()[0]
        if first.startswith(b'{"r":'):
            return "journal"
        body = orjson.loads(self.text)
        if body.get("type") == "backup":
            return "backup"
        if "journal" in body and "sha256" in body:
            return "view"
        return "holder" if "process_start" in body else "unknown"


def samples() -> list[Sample]:
    page = PAGE.read_text(encoding="utf-8")
    return [Sample(page[: m.start()].count("\n") + 1, m[2].encode()) for m in BLOCK.finditer(page)]


def of(kind: str) -> list[Sample]:
    return [sample for sample in samples() if sample.kind == kind]


def named(sample: Sample) -> str:
    return f"line{sample.line}"


def test_the_page_has_a_sample_of_everything() -> None:
    kinds = [sample.kind for sample in samples()]
    assert "unknown" not in kinds
    assert {"journal", "view", "holder", "backup"} <= set(kinds)
    lines = [line for sample in of("journal") for line in sample.text.splitlines(keepends=True)]
    assert {"open", "commit", "release"} <= {decode(line)[0].kind for line in lines}


@pytest.mark.parametrize("sample", of("journal"), ids=named)
def test_a_journal_sample_is_read_and_written_the_same(sample: Sample) -> None:
    for line in sample.text.splitlines(keepends=True):
        record, check = decode(line)
        assert encode(record) == (line, check)
        assert list(entries(record)) or record.kind == "commit"


def test_the_journal_samples_are_one_run_and_the_fold_takes_them() -> None:
    lines = [line for sample in of("journal") for line in sample.text.splitlines(keepends=True)]
    fold = Fold("")
    for line in lines:
        record, check = decode(line)
        if record.seq == fold.seq + 1:
            assert record.prev == fold.prev
        assert record.seq > fold.seq
        assert record.epoch >= fold.epoch
        fold.apply(record, check)
    assert fold.released
    assert fold.lineage
    assert fold.holder is not None
    assert fold.resources


@pytest.mark.parametrize("sample", of("view"), ids=named)
def test_a_view_sample_is_whole_and_what_we_would_write(sample: Sample) -> None:
    found = examine(sample.text)
    assert found.problem == ""
    body = orjson.loads(sample.text)
    place = body.pop("journal")
    del body["sha256"], body["format"]
    row = ScopeState.from_json(body) if body["type"] == "scope" else ResourceState.from_json(body)
    assert row.extra == {}
    assert render(row, Stamp(**place)) == sample.text


@pytest.mark.parametrize("sample", of("holder"), ids=named)
def test_a_holder_sample_is_read_and_written_the_same(sample: Sample) -> None:
    body = orjson.loads(sample.text)
    assert Holder.from_json(body).to_json() == body


@pytest.mark.parametrize("sample", of("backup"), ids=named)
def test_a_backup_sample_is_whole_and_brings_back_what_it_holds(sample: Sample) -> None:
    body = read_backup(sample.text)
    fold = Fold.from_snapshot(body["state"])
    assert fold.to_snapshot() == body["state"]
    assert body["counts"] == {"resources": len(fold.resources), "scopes": len(fold.scopes)}
    assert (body["seq"], body["epoch"], body["serial"]) == (fold.seq, fold.epoch, fold.serial)

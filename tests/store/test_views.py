from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from alchemy.errors import StateInvalid
from alchemy.model.canonical import digest
from alchemy.model.fold import Stamp
from alchemy.model.records import Drop, Put
from alchemy.model.values import ScopeKind
from alchemy.store.evidence import read_views
from alchemy.store.viewfile import examine, read_view, render
from alchemy.store.views import Views, newest_stamp, stray_views, view_files
from tests.model.rows import row, scope
from tests.store.stage import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def body(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_bytes())
    return data


def test_each_row_has_its_file_with_the_place_it_came_from(stage: Stage) -> None:
    fold = stage.run("a")
    view = body(stage.view("a"))
    assert (view["address"], view["status"], view["format"]) == ("my-app/prod/a", "ready", 1)
    assert view["journal"] == {"epoch": 1, "seq": 2, "serial": 2}
    assert examine(stage.view("a").read_bytes()).problem == ""
    assert body(stage.own_view)["journal"]["seq"] == fold.seq, "the owner's says where the journal ends"
    assert stage.view("a").relative_to(stage.layout.root) == Path("my-app/prod/resources/a/state.json")


def test_files_of_what_went_are_gone_with_their_directories(stage: Stage) -> None:
    journal = stage.open()
    deep = row("my-app/prod/x/y/a")
    stage.write(journal, Put(scope("my-app/prod/x")), Put(scope("my-app/prod/x/y")), Put(deep))
    stage.end(journal)
    assert stage.layout.resource_view(deep.address).exists()
    journal = stage.open()
    stage.write(journal, Drop(deep.address), Drop(scope="my-app/prod/x/y"), Drop(scope="my-app/prod/x"))
    stage.end(journal)
    assert sorted(path.name for path in stage.layout.scope(stage.path).iterdir()) == ["journal", "state.json"]


def test_an_old_incarnation_has_a_file_beside_the_new_one(stage: Stage) -> None:
    journal = stage.open()
    stage.write(journal, Put(stage.row("a", former=True, generation=0)), Put(stage.row("a", generation=1)))
    stage.end(journal)
    assert body(stage.view("a", 0))["former"] is True
    assert body(stage.view("a"))["generation"] == 1
    journal = stage.open()
    stage.write(journal, Drop(stage.address("a"), generation=0))
    stage.end(journal)
    assert [path.name for path in stage.view("a").parent.iterdir()] == ["state.json"]


def test_a_hand_edit_is_put_beside_the_view_when_the_row_is_written_again(stage: Stage) -> None:
    stage.run("a")
    edited = stage.view("a").read_bytes().replace(b'"ready"', b'"deleting"')
    stage.view("a").write_bytes(edited)
    stage.run()
    assert stage.view("a").read_bytes() == edited, "nothing touches it until the row is written"
    assert stage.load().fold.resources[stage.address("a")].status == "ready", "the journal is the truth"
    stage.run("a")
    assert examine(stage.view("a").read_bytes()).problem == ""
    assert stage.view("a").with_name("state.json.edited").read_bytes() == edited


def test_a_hand_edit_is_not_lost_with_its_row(stage: Stage) -> None:
    stage.run("a")
    stage.view("a").write_bytes(b"mine")
    journal = stage.open()
    stage.write(journal, Drop(stage.address("a")))
    stage.end(journal)
    assert not stage.view("a").exists()
    assert stage.view("a").with_name("state.json.edited").read_bytes() == b"mine"


def test_after_a_crash_missing_and_old_files_are_written_and_strays_removed(stage: Stage) -> None:
    stage.run("a", "gone", "same")
    old = stage.view("a").read_bytes()
    journal = stage.open()
    stray = stage.view("gone").read_bytes()
    stage.write(journal, Put(stage.row("a", error="new")), Put(stage.row("b")), Drop(stage.address("gone")))
    stage.die(journal)
    # as if it had died before its views
    stage.view("a").write_bytes(old)
    stage.view("b").unlink(missing_ok=True)
    stage.view("gone").parent.mkdir(exist_ok=True)
    stage.view("gone").write_bytes(stray)
    same = stage.view("same").stat()
    stage.run()
    assert body(stage.view("a"))["error"] == "new"
    assert stage.view("b").exists()
    assert not stage.view("gone").parent.exists()
    assert stage.view("same").stat().st_mtime_ns == same.st_mtime_ns, "one that is right is not touched"


def test_after_another_boot_files_are_looked_at_again(stage: Stage) -> None:
    """They are never synced: a machine that lost power may have lost them."""
    stage.run("a")
    stage.view("a").unlink()
    stage.run()
    assert not stage.view("a").exists(), "in the same boot nothing is looked at"
    stage.boot = "boot-2"
    stage.run()
    assert stage.view("a").exists()


def test_after_another_boot_they_are_looked_at_although_a_snapshot_was_read(stage: Stage) -> None:
    journal = stage.open()
    stage.write(journal, *[Put(stage.row(f"r{n}", seq=n + 1)) for n in range(210)])
    stage.end(journal)
    assert list(stage.layout.snapshots(stage.path).iterdir())
    stage.view("r7").unlink()
    stage.boot = "boot-2"
    stage.run()
    assert stage.view("r7").exists()


def test_a_damaged_file_is_left_for_people_to_see(stage: Stage) -> None:
    stage.run("a")
    stage.view("a").write_bytes(stage.view("a").read_bytes()[:40])
    journal = stage.open()
    stage.die(journal)
    stage.run()
    assert len(stage.view("a").read_bytes()) == 40


@pytest.mark.parametrize("left", [b"", bytes(400)])
def test_a_file_that_a_power_cut_left_empty_is_written_again_after_it(stage: Stage, left: bytes) -> None:
    stage.run("a")
    whole = stage.view("a").read_bytes()
    stage.view("a").write_bytes(left)
    stage.boot = "another"
    stage.run()
    assert stage.view("a").read_bytes() == whole
    assert not stage.view("a").with_name("state.json.edited").exists()


@pytest.mark.parametrize(
    ("data", "problem", "line"),
    [
        (b"", "it is empty", 0),
        (b" \n", "it is empty", 0),
        (b'{\n  "a": 1,\n', "Invalid JSON", 3),
        (b"\xff\xfe", "Invalid JSON", 1),
        (b"[]", "it holds no object", 1),
        (b"7", "it holds no object", 1),
        (b"{}", "edited by hand", 0),
        (b'{"sha256": 5, "journal": 7}', "edited by hand", 0),
        (b'{"a": 123456789012345678901234567890}', "edited by hand", 0),
        (b'{"a": ' + b"[" * 2000 + b"]" * 2000 + b"}", "", 0),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line(data: bytes, problem: str, line: int) -> None:
    found = examine(data)
    assert found.problem.startswith(problem)
    assert found.problem
    assert found.stamp is None
    if line:
        assert found.line == line


def test_no_single_byte_of_a_view_can_change_its_meaning_unseen() -> None:
    import orjson

    data = render(row("my-app/prod/a", outputs={"id": "größe"}), Stamp(1, 2, 3))
    meaning = orjson.loads(data)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        found = examine(changed)
        try:
            same = orjson.loads(changed) == meaning
        except orjson.JSONDecodeError:
            same = False
        assert found.problem or same, changed[place - 10 : place + 10]


def test_views_of_other_owners_and_links_are_not_ours(tmp_path: Path) -> None:
    app, prod = Stage(tmp_path, "my-app"), Stage(tmp_path, "my-app/prod")
    prod.run("a")
    app.run("b")
    (tmp_path / "my-app" / "linked").symlink_to(tmp_path / "my-app" / "prod")
    fold = app.load().fold
    assert set(view_files(app.files, app.layout, fold)) == {app.own_view, app.view("b")}
    assert stray_views(app.files, app.layout, fold) == []


@pytest.mark.parametrize("stage", ["my-app/prod", "my-app/test/e2e-1"])
@pytest.mark.parametrize("view", ["there", "torn", "gone"])
def test_what_is_left_of_a_stage_that_lost_its_journal_is_no_stray_of_its_application(
    tmp_path: Path, stage: str, view: str
) -> None:
    app, lost = Stage(tmp_path, "my-app"), Stage(tmp_path, stage)
    for _ in range(8):  # its numbers are above those of the stage, and then below
        app.run("b")
    lost.run("a")
    folders = [lost.layout.journal(stage), lost.layout.snapshots(stage), lost.layout.backups(stage)]
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    if view == "torn":
        lost.own_view.write_bytes(lost.own_view.read_bytes()[:50])
    elif view == "gone":
        lost.own_view.unlink()
    kept = lost.view("a").read_bytes()
    stamp, fold = examine(kept).stamp, app.load().fold
    assert stamp is not None
    assert fold.seq > stamp.seq
    assert stray_views(app.files, app.layout, fold) == []
    Views(app.files, app.layout, fold).check_all(also_damaged=True)
    app.run("c")
    assert lost.view("a").read_bytes() == kept
    lost.view("a").write_bytes(render(lost.row("a"), stamp._replace(seq=999)))
    newest = newest_stamp(app.files, app.layout, app.load().fold, thorough=True)
    assert newest is not None
    assert newest[0].seq < 999, "nor evidence against its journal"
    assert [seen.row for seen in read_views(lost.files, lost.layout, stage) if seen.key.endswith("/a")] != []


def test_a_nested_scope_of_an_application_is_its_own(tmp_path: Path) -> None:
    app = Stage(tmp_path, "my-app")
    fold = app.run("b")
    nested = app.layout.scope_view("my-app/inner")
    nested.parent.mkdir()
    nested.write_bytes(render(scope("my-app/inner", ScopeKind.NESTED), Stamp(1, 1, 1)))
    assert stray_views(app.files, app.layout, fold) == [nested]


def test_what_somebody_else_put_there_is_no_stray(stage: Stage) -> None:
    fold = stage.run("a")
    other = stage.view("other")
    other.parent.mkdir(parents=True)
    other.write_bytes(b'{"not": "ours"}')
    ahead = stage.view("ahead")
    ahead.parent.mkdir(parents=True)
    ahead.write_bytes(render(stage.row("ahead"), Stamp(9, 999, 999)))
    assert stray_views(stage.files, stage.layout, fold) == []
    newest = newest_stamp(stage.files, stage.layout, fold, thorough=True)
    assert newest is not None
    assert newest[1] == ahead


def test_a_run_that_is_killed_at_once_cannot_lose_its_file_unseen(stage: Stage) -> None:
    """The owner's view says that the run began before the first acknowledgement: what is done after it has evidence."""
    stage.run("a")
    journal = stage.open()
    stage.write(journal, Put(stage.row("b")))
    assert body(stage.own_view)["journal"]["seq"] == stage.load().fold.seq
    stage.die(journal)
    for view in (stage.view("a"), stage.view("b")):  # as if it had died before it wrote another one
        view.unlink(missing_ok=True)
    stage.epoch(2).unlink()
    with pytest.raises(StateInvalid, match=re.escape(f"{stage.epoch(2)}: it ends at record")):
        stage.open()


def test_a_view_that_cannot_be_written_does_not_stop_a_run(stage: Stage) -> None:
    stage.run("a")
    stage.own_view.unlink()
    stage.own_view.mkdir()
    stage.run("b")
    assert stage.ids == ["a", "b"]


def checked(data: dict[str, Any], text: bytes) -> bytes:
    """`text`, with the checksum of `data` in the place of SUM."""
    return text.replace(b"SUM", digest(data).encode())


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        (b'"kind": "x", ', "Invalid JSON: this key stands twice in one object, at /kind"),
        (b'"later": NaN, ', "Invalid JSON: NaN is no JSON, at /later"),
        (b'"later": 1e999, ', "Invalid JSON: a number is too large, at /later"),
        (b'"later": ' + b"9" * 41 + b", ", "Invalid JSON: an integer has more than 40 digits, at /later"),
        (b'"later": "\\ud800", ', "Invalid JSON: a text holds half a character, at /later"),
        (b'"later": ' + b"[" * 90 + b"]" * 90 + b", ", "Invalid JSON: it is nested deeper than 80 levels"),
        (b'"later": ' + b"9" * 25 + b", ", "edited by hand"),
        (b"", ""),
    ],
)
def test_what_parsers_disagree_about_is_no_view_even_with_a_right_checksum(extra: bytes, why: str) -> None:
    data = json.loads(render(row("my-app/prod/a"), Stamp(1, 2, 3)))
    del data["sha256"]
    whole = json.dumps(data).encode()
    found = examine(checked(data, whole[:-1].replace(b"{", b"{" + extra, 1) + b', "sha256": "SUM"}'))
    assert found.problem.startswith(why)
    assert bool(found.stamp) == (not why), "laid out in another way it is still whole"


def test_a_view_with_a_byte_order_mark_or_in_another_encoding_is_none() -> None:
    data = render(row("my-app/prod/a"), Stamp(1, 2, 3))
    for wrong in (b"\xef\xbb\xbf" + data, data.decode().encode("utf-16"), data.replace(b"acme", b"\xff")):
        assert examine(wrong).problem.startswith("Invalid JSON")


def test_a_view_of_a_later_version_is_named_as_that() -> None:
    data = json.loads(render(row("my-app/prod/a"), Stamp(1, 2, 3)))
    found = examine(json.dumps({**data, "format": 2}).encode())
    assert found.problem == "format 2 is newer than this version reads (1); use the one that wrote it"


def test_a_right_checksum_over_something_else_is_no_row() -> None:
    for wrong in ({"address": 5}, {"status": "frozen"}, {"address": "../../x"}, {"type": "thing"}, {"journal": None}):
        data = {**json.loads(render(row("my-app/prod/a"), Stamp(1, 2, 3))), **wrong}
        del data["sha256"]
        found = examine(json.dumps({**data, "sha256": digest(data)}).encode())
        assert found.problem.startswith("edited by hand: its checksum is right, and it is no row")


def test_a_view_in_the_place_of_another_is_misplaced(tmp_path: Path) -> None:
    """Also one that a copy of a whole directory brought along: it tells nothing about this journal."""
    prod, dev = Stage(tmp_path, "my-app/prod"), Stage(tmp_path, "my-app/dev")
    prod.run("a", "b", "c", "d")
    dev.run("a")
    kept = dev.view("a").read_bytes()
    for theirs in (prod.view("a"), prod.view("b"), prod.own_view):
        dev.view("a").write_bytes(theirs.read_bytes())
        found = read_view(dev.files, dev.view("a"), dev.address("a"))
        assert found is not None
        assert found.problem.startswith("misplaced: it is the file of my-app/prod")
        newest = newest_stamp(dev.files, dev.layout, dev.load().fold, thorough=True)
        assert newest == (dev.load().fold.stamps["\x00" + dev.path], dev.own_view)
        assert stray_views(dev.files, dev.layout, dev.load().fold) == []
    dev.view("a").write_bytes(kept)
    dev.own_view.write_bytes(prod.own_view.read_bytes())
    dev.run("b")
    assert dev.ids == ["a", "b"]
    dev.epoch(2).unlink()
    with pytest.raises(StateInvalid):
        dev.open()


def test_fields_of_a_newer_version_are_written_again(stage: Stage) -> None:
    journal = stage.open()
    stage.write(journal, Put(stage.row("a", extra={"colour": "red"})))
    stage.end(journal)
    stage.view("a").unlink()
    stage.boot = "boot-2"
    stage.run("b")
    assert body(stage.view("a"))["colour"] == "red"

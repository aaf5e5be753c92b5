"""Each kind of damage has its finding: the file, what is wrong with it, and a way out; nothing else is said."""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from alchemy import Scope, alchemy
from alchemy.model.canonical import digest
from alchemy.model.fold import Stamp
from alchemy.model.paths import ScopePath
from alchemy.model.records import Put
from alchemy.operations.holding import hold
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.operations.shapes import Finding
from alchemy.operations.validate import rewrite_views, validate
from alchemy.settings import Options, find_project
from alchemy.store.files import Files
from alchemy.store.holders import read_holder
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.viewfile import render
from tests.model.rows import row
from tests.scenarios.world import CLOUD, Cloud, Thing, World
from tests.store.lock_peer import holder
from tests.store.stage import Stage

PROD = "my-app/prod"


async def shop(app: Scope) -> None:
    await Thing("first")
    async with alchemy.run("database"):
        await Thing("db")
    await Thing("last", size=2)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage after two runs with backups, and another one beside it."""
    root = tmp_path_factory.mktemp("made")
    world = World(root, Cloud())
    token = CLOUD.set(world.cloud)
    world.deploy(shop, state_dir=world.state)
    world.deploy(shop, state_dir=world.state, stage="dev")

    async def again(app: Scope) -> None:
        await shop(app)
        await Thing("more")

    world.deploy(again, state_dir=world.state)
    CLOUD.reset(token)
    return world.state


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(made, tmp_path / ".alchemy", symlinks=True)


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.file, finding.severity) for finding in findings]


def only(root: Path, file: str, severity: str, problem: str, way_out: str) -> None:
    """Exactly one finding, like that."""
    found = validate(root)
    assert told(found) == [(file, severity)], found
    assert re.search(problem, found[0].problem), found[0].problem
    assert re.search(way_out, found[0].way_out), found[0].way_out


def test_what_is_sound_has_no_finding(root: Path) -> None:
    assert validate(root) == []
    for scope in ("my-app", PROD, f"{PROD}/database"):
        assert validate(root, scope) == []
    assert validate(root / "nothing") == []


FIRST = f"{PROD}/resources/first/state.json"
EPOCH = f"{PROD}/journal/000001.jsonl"


def test_a_torn_view_is_named_with_its_line(root: Path) -> None:
    view = root / FIRST
    view.write_bytes(view.read_bytes()[:60])
    line = view.read_bytes().count(b"\n") + 1
    only(
        root, FIRST, "error", f"^Invalid JSON in {FIRST}:{line}: ", "scope validate my-app/prod --fix` writes it again"
    )


def test_an_edited_view_can_be_kept_or_written_again(root: Path) -> None:
    view = root / FIRST
    view.write_bytes(view.read_bytes().replace(b'"ready"', b'"deleting"'))
    only(root, FIRST, "error", "edited by hand", "--fix` writes.*--accept-edit` makes it the state instead")


def test_a_view_that_is_missing_behind_or_unknown_is_a_warning(root: Path) -> None:
    (root / FIRST).unlink()
    only(root, FIRST, "warning", "it is missing", "--fix`")
    (root / FIRST).write_bytes(render(row(f"{PROD}/first"), Stamp(1, 1, 1)))
    (root / FIRST).chmod(0o600)
    only(root, FIRST, "warning", "it is behind the journal", "--fix`")
    rewrite_views(root, PROD)
    (root / f"{PROD}/resources/gone").mkdir(mode=0o700)
    stray = root / f"{PROD}/resources/gone/state.json"
    stray.write_bytes(render(row(f"{PROD}/gone"), Stamp(1, 1, 1)))
    stray.chmod(0o600)
    only(root, f"{PROD}/resources/gone/state.json", "warning", "the journal knows no such row", "--fix`")


def test_a_view_in_another_place_is_misplaced(root: Path) -> None:
    shutil.copy(root / f"{PROD}/resources/last/state.json", root / FIRST)
    only(root, FIRST, "error", f"misplaced: it is the file of {PROD}/last", "--fix`")


@pytest.mark.parametrize("scope", ["my-app/dev", "my-app/prod/database", "my-app/prod"])
def test_a_view_of_a_newer_format_is_left_alone(root: Path, scope: str) -> None:
    view = root / scope / "state.json"
    view.write_bytes(view.read_bytes().replace(b'"format": 1', b'"format": 2'))
    only(
        root, f"{scope}/state.json", "error", "format 2 is newer than this version reads", "use the version that wrote"
    )


def test_every_bad_line_of_a_journal_is_named(root: Path) -> None:
    lines = (root / EPOCH).read_bytes().splitlines(keepends=True)
    assert len(lines) > 5
    for number in (1, 3):
        lines[number] = lines[number].replace(b'"kind"', b'"kInd"', 1)
    (root / EPOCH).write_bytes(b"".join(lines))
    found = validate(root)
    assert {finding.file for finding in found} == {EPOCH}
    problems = " ".join(finding.problem for finding in found)
    assert f"{root / EPOCH}:2: the checksum does not match" in problems
    assert "line 4: the checksum does not match" in problems
    assert all("`alchemy scope rebuild my-app/prod`" in finding.way_out for finding in found)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def take_away(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize("harm", [cut, empty, take_away])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_journal_that_lost_something_is_named(root: Path, harm: Callable[[Path], None], epoch: int) -> None:
    harm(root / f"{PROD}/journal/{epoch:06d}.jsonl")
    found = [finding for finding in validate(root) if finding.severity == "error"]
    assert {finding.scope for finding in found} == {PROD}
    assert all(finding.file.startswith(f"{PROD}/journal/") for finding in found)
    assert all(f"`alchemy scope rebuild {PROD}`" in finding.way_out for finding in found)


def test_a_lost_run_of_which_only_the_lock_tells_is_found(root: Path) -> None:
    record = root / f"locks/{PROD}.lock.holder.json"
    Files(root).replace(record, json.dumps(holder(PROD, 7, boot_id="other", pid=1 << 30).to_json()).encode())
    assert read_holder(Layout(root), Files(root), PROD)
    found = {finding.file: finding for finding in validate(root)}
    assert found[f"{PROD}/journal"].severity == "error"
    assert "taken by run R-7, and the journal ends at R-2" in found[f"{PROD}/journal"].problem


def test_a_snapshot_backup_and_record_each_have_their_word(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    tmp_path.chmod(0o700)
    for _ in range(2):
        journal = stage.open()
        stage.write(journal, *[Put(stage.row(f"r{n}", seq=n + 1)) for n in range(210)])
        stage.end(journal)
    older, newer = sorted(stage.layout.snapshots(PROD).iterdir())
    kept = newer.read_bytes()
    newer.write_bytes(kept[:-9])
    only(
        tmp_path,
        f"{PROD}/snapshots/{newer.name}",
        "warning",
        "it is torn",
        f"rm .*{newer.name}`: the journal does not need it",
    )
    newer.write_bytes(older.read_bytes())
    only(tmp_path, f"{PROD}/snapshots/{newer.name}", "warning", "misplaced: it is of record", "rm ")
    newer.write_bytes(kept)
    shutil.copytree(tmp_path / PROD, tmp_path / "my-app/dev")
    found = {(finding.file, finding.problem) for finding in validate(tmp_path)}
    assert (f"my-app/dev/snapshots/{newer.name}", "misplaced: it is of 'my-app/prod'") in found
    shutil.rmtree(tmp_path / "my-app/dev")
    # an old line that a snapshot covers is history, not state
    lines = stage.lines(1)
    stage.epoch(1).write_bytes(b"".join([lines[0], lines[1].replace(b"r7", b"rx"), *lines[2:]]))
    only(
        tmp_path,
        f"{PROD}/journal/000001.jsonl",
        "warning",
        "line 2: .*the state can be read without it",
        "scope rebuild",
    )
    stage.epoch(1).write_bytes(b"".join([*lines[:2], lines[1], *lines[2:]]))
    only(
        tmp_path,
        f"{PROD}/journal/000001.jsonl",
        "warning",
        "line 3: .*the state can be read without it",
        "scope rebuild",
    )
    stage.epoch(1).write_bytes(b"".join(lines[:2]))
    only(
        tmp_path,
        f"{PROD}/journal/000001.jsonl",
        "warning",
        "line 3: it ends here: .* bytes are missing",
        "scope rebuild",
    )
    stage.epoch(1).unlink()
    only(tmp_path, f"{PROD}/journal", "warning", r"runs are gone \(R-1\)", "your own copy")


def backup_of(root: Path) -> Path:
    return sorted((root / PROD / "backups").glob("state-*Z.json"))[-1]


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (lambda data: data[:-20], "not whole JSON"),
        (lambda data: data.replace(b'"first"', b'"First"').replace(b"my-app/prod/first", b"my-app/prod/x"), "checksum"),
        (lambda data: data.replace(b'"format": 1', b'"format": 9', 1), "format 9 is newer"),
        (lambda data: b"[]", "no JSON object"),
        (lambda data: data.replace(b'"type": "backup",', b'"type": "backup", "type": "backup",'), "twice"),
    ],
)
def test_a_damaged_backup_is_a_warning(root: Path, harm: Callable[[bytes], bytes], why: str) -> None:
    backup = backup_of(root)
    backup.write_bytes(harm(backup.read_bytes()))
    only(
        root, str(backup.relative_to(root)), "warning", why, f"rm .*{backup.name}`; `alchemy scope backup my-app/prod`"
    )


def test_a_backup_of_another_scope_is_misplaced(root: Path) -> None:
    backup = backup_of(root)
    shutil.copy(backup, root / "my-app/dev/backups" / backup.name)
    only(root, f"my-app/dev/backups/{backup.name}", "warning", "it is of my-app/prod, not of my-app/dev", "rm ")


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "Expecting value"), (b"{", "Expecting"), (b'{"path": 5}', "path"), (b'{"pid": 1, "pid": 2}', "twice")]
    + [(b" " * 20_000, "20000 bytes")],
)
def test_a_record_that_tells_nothing_is_a_warning(root: Path, data: bytes, why: str) -> None:
    record = f"locks/{PROD}.lock.holder.json"
    Files(root).replace(root / record, data)
    only(root, record, "warning", why, "`alchemy scope unlock my-app/prod`")


def test_a_record_of_another_path_is_misplaced(root: Path) -> None:
    record = f"locks/{PROD}.lock.holder.json"
    Files(root).replace(root / record, json.dumps(holder("my-app/dev", 1).to_json()).encode())
    only(root, record, "warning", "misplaced: it is of my-app/dev", "scope unlock")


PLACES = [FIRST, EPOCH, f"{PROD}/journal", f"{PROD}/resources", f"{PROD}/resources/first", f"{PROD}/database", PROD]
PLACES += ["my-app", "locks", "locks/my-app", f"locks/{PROD}.lock", f"{PROD}/backups", f"{PROD}/state.json", "audit"]


@pytest.mark.parametrize("place", PLACES)
def test_a_link_anywhere_is_an_error_that_names_it(root: Path, tmp_path: Path, place: str) -> None:
    path = root / place
    if not path.exists():
        path.mkdir(mode=0o700)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    found = {finding.file: finding for finding in validate(root)}
    assert found[place].severity == "error"
    assert "symbolic link" in found[place].problem
    assert f"rm {path}" in found[place].way_out


@pytest.mark.parametrize("harm", ["link", "pipe"])
@pytest.mark.parametrize(
    "place", [FIRST, f"{PROD}/resources/first", f"{PROD}/resources", f"{PROD}/database", f"{PROD}/database/resources"]
)
def test_what_holds_views_alone_is_mended_by_removing_what_took_its_place(
    root: Path, tmp_path: Path, place: str, harm: str
) -> None:
    path = root / place
    path.rename(tmp_path / "elsewhere")
    if harm == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        os.mkfifo(path, 0o600)
    only(root, place, "error", "it is a", f"`rm {path}`; (then )?`alchemy scope validate {PROD} --fix` writes the view")
    path.unlink()
    assert rewrite_views(root, PROD) > 0
    assert validate(root) == []


def test_a_link_in_the_place_of_backups_asks_for_no_rebuild(root: Path, tmp_path: Path) -> None:
    (root / PROD / "backups").rename(tmp_path / "elsewhere")
    (root / PROD / "backups").symlink_to(tmp_path / "elsewhere")
    only(
        root, f"{PROD}/backups", "error", "symbolic link", "put back your own copy, if you have one: the state does not"
    )
    (root / PROD / "backups").unlink()
    assert validate(root) == []


@pytest.mark.parametrize("place", [FIRST, EPOCH, f"{PROD}/state.json", f"locks/{PROD}.lock", f"{PROD}/resources/first"])
def test_a_pipe_in_the_place_of_anything_is_an_error_and_nobody_waits(root: Path, place: str) -> None:
    path = root / place
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    os.mkfifo(path, 0o600)
    found = {finding.file: finding for finding in validate(root)}
    assert found[place].severity == "error"
    assert "it is a pipe" in found[place].problem


@pytest.mark.parametrize("place", [FIRST, EPOCH, f"locks/{PROD}.lock", f"{PROD}/resources", PROD, "locks"])
@pytest.mark.parametrize(("given", "problem"), [(0o044, "others may read it"), (0o022, "others may write it")])
def test_what_others_may_use_is_a_warning_with_its_chmod(root: Path, place: str, given: int, problem: str) -> None:
    path = root / place
    path.chmod(path.stat().st_mode | given)
    only(root, place, "warning", problem, f"^chmod {'700' if path.is_dir() else '600'} {path}$")


def test_a_root_that_a_group_may_write_is_a_warning(root: Path) -> None:
    root.chmod(0o770)
    only(root, ".", "warning", "others may write it", f"chmod 700 {root}")


STRANGERS = [
    "notes.txt",
    "my-app/notes.txt",
    f"{PROD}/x.bak",
    f"{PROD}/journal/000001.jsonl~",
    f"{PROD}/resources/README",
]
STRANGERS += [f"{PROD}/journal/1.jsonl", f"{PROD}/journal/0000001.jsonl", f"{PROD}/snapshots.old", "locks/prod.txt"]
STRANGERS += [f"{PROD}/backups/copy.json", f"{PROD}/resources/first/x", "spill/x.txt", "a[b]", "my-app/con", "con.lock"]


@pytest.mark.parametrize("name", STRANGERS)
def test_a_name_that_is_nobodys_is_a_warning(root: Path, name: str) -> None:
    path = root / name
    path.parent.mkdir(exist_ok=True, mode=0o700)
    path.write_bytes(b"")
    path.chmod(0o600)
    only(root, name, "warning", "nothing of alchemy is called so", "move it out of the state directory, or remove it")


def test_what_a_dead_process_left_is_a_warning(root: Path) -> None:
    for name in (f"{PROD}/.state.json.1a2b.tmp", "locks/my-app/.prod.lock.holder.json.1a2b0001.tmp"):
        (root / name).write_bytes(b"half")
        (root / name).chmod(0o600)
        only(root, name, "warning", "left behind by a process that died", f"^rm {root / name}$")
        (root / name).unlink()
    record = root / f"locks/{PROD}.lock.holder.json"
    gone = holder(PROD, 2, pid=1 << 30)
    Files(root).replace(record, json.dumps(gone.to_json()).encode())
    only(
        root,
        f"locks/{PROD}.lock.holder.json",
        "warning",
        "a run died with the lock",
        "`alchemy scope unlock my-app/prod`",
    )


def test_an_edit_that_was_put_aside_is_a_warning(root: Path) -> None:
    view = root / FIRST
    view.write_bytes(view.read_bytes().replace(b'"ready"', b'"deleting"'))
    assert rewrite_views(root, PROD) == 1
    only(root, f"{FIRST}.edited", "warning", "an edit by hand that was put aside", f"rm {view}.edited")


def test_a_torn_view_that_was_put_aside_is_no_edit(root: Path) -> None:
    view = root / FIRST
    view.write_bytes(view.read_bytes()[:60])
    assert rewrite_views(root, PROD) == 1
    only(
        root,
        f"{FIRST}.edited",
        "warning",
        r"could not be read was put aside \(torn, .*Invalid JSON",
        f"rm {view}.edited",
    )


def test_files_of_a_stage_that_lost_everything_else_lead_to_a_rebuild(root: Path) -> None:
    store = LocalStore(Layout(root), "5e55" * 8)
    asyncio.run(hold(store, ScopePath.parse("my-app"), reason="so that it owns a journal", seconds=0.001))
    for name in ("journal", "snapshots", "backups"):
        shutil.rmtree(root / PROD / name, ignore_errors=True)
    (root / PROD / "state.json").unlink()
    left = sorted(str(path.relative_to(root)) for path in (root / PROD).rglob("*.json"))
    found = validate(root)
    assert [finding.file for finding in found] == left
    assert all(finding.severity == "error" and finding.scope == PROD for finding in found)
    assert all(f"`alchemy scope rebuild {PROD}`" in finding.way_out for finding in found)
    rewrite_views(root, "my-app")
    plan = asyncio.run(plan_rebuild(store, ScopePath.parse(PROD), Options(), project=find_project(root)))
    asyncio.run(rebuild(store, plan, Options()))
    assert validate(root) == []
    assert len(store.read_fold(PROD).resources) == 4


def test_a_spill_waits_to_be_recovered_and_a_torn_one_says_so(root: Path) -> None:
    put = Put(row(f"{PROD}/first"), "result", "create").to_json()
    body = {
        "format": 1,
        "type": "spill",
        "scope": PROD,
        "place": str(root),
        "epoch": 2,
        "session": "5e55",
        "lineage": "f",
    }
    body |= {"seq": 3, "serial": 3, "why": "disk full", "at": "2024-01-15T10:30:00.000Z", "ops": [put]}
    spill = root / "spill/my-app-prod-2-5e55.json"
    Files(root).make_directory(spill.parent)
    Files(root).replace(spill, json.dumps(body).encode())
    only(
        root,
        "spill/my-app-prod-2-5e55.json",
        "warning",
        "could not write 1 changes",
        f"`alchemy scope recover {spill}`",
    )
    Files(root).replace(spill, json.dumps(body).encode()[:-9])
    only(root, "spill/my-app-prod-2-5e55.json", "error", "Invalid JSON in ", "keep it")


def test_a_key_ring_and_an_audit_entry_that_are_torn_are_errors(root: Path) -> None:
    for name in ("my-app/keys.json", "audit/2024-01-15-abcd.json"):
        Files(root).make_directory((root / name).parent)
        Files(root).replace(root / name, b'{"a": ')
        only(root, name, "error", "Invalid JSON in ", "own copy|rm ")
        (root / name).unlink()


def test_a_move_that_was_cut_short_is_told_with_the_command_that_finishes_it(root: Path) -> None:
    mark = root / "my-app/arriving.json"
    Files(root).replace(mark, b'{"format": 1, "type": "move"}')
    only(root, "my-app/arriving.json", "warning", "on its way", "`alchemy scope migrate --to file`")
    Files(root).replace(mark, b"{")
    only(root, "my-app/arriving.json", "error", "Invalid JSON in", "`alchemy scope migrate --to file`")


def test_the_state_of_another_tool_is_named_with_the_command_that_takes_it_over(root: Path) -> None:
    Files(root).replace(root / "state.json", b"{}")
    only(root, "state.json", "warning", "not of this tool", "`alchemy scope migrate /.*state.json --into ")


def test_rows_that_look_alike_are_a_warning_and_scopes_that_differ_in_case_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    stage = Stage(tmp_path)
    stage.run("worker", "w\u043erker", "other")
    found = validate(tmp_path)
    assert [(finding.severity, finding.problem) for finding in found] == [
        ("warning", r"'w\u043erker' and 'worker' look alike")
    ]


def test_one_damage_does_not_hide_another(root: Path) -> None:
    """All of them at once, in two stages, and each is told."""
    damage: dict[str, Callable[[Path], None]] = {
        FIRST: cut,
        f"{PROD}/database/state.json": empty,
        EPOCH: cut,
        "my-app/dev/resources/last/state.json": cut,
        "my-app/dev/journal/000001.jsonl": lambda path: path.chmod(0o640),
        f"locks/{PROD}.lock": lambda path: path.chmod(0o644),
    }
    backup = backup_of(root)
    damage[str(backup.relative_to(root))] = cut
    for name, harm in damage.items():
        harm(root / name)
    (root / "stranger").write_bytes(b"")
    found = {finding.file for finding in validate(root)}
    assert found >= {*damage, "stranger"}
    assert all(finding.problem and finding.way_out for finding in validate(root))
    one = {finding.file for finding in validate(root, "my-app/dev")}
    assert one == {"my-app/dev/resources/last/state.json", "my-app/dev/journal/000001.jsonl"}


def test_fixing_writes_every_view_of_the_journal_again(root: Path) -> None:
    views = [path for path in (root / PROD).rglob("state.json") if path.parent.name != "prod"]
    harms = [cut, empty, take_away]
    for number, view in enumerate(views):
        harms[number % 3](view)
    (root / f"{PROD}/.state.json.1a2b.tmp").write_bytes(b"half")
    rewrite_views(root, PROD)
    left = validate(root)
    assert all("put aside" in finding.problem and finding.severity == "warning" for finding in left), left


def test_a_name_that_is_hostile_cannot_be_typed_by_accident(root: Path) -> None:
    (root / "x;\x1b[31m rm -rf ~").write_bytes(b"")
    (root / "x;\x1b[31m rm -rf ~").chmod(0o600)
    (found,) = validate(root)
    assert found.file == "x;␛[31m rm -rf ~"
    assert f"'{root}/x;␛[31m rm -rf ~'" in found.way_out


def test_a_checksum_that_was_computed_again_does_not_make_a_row(root: Path) -> None:
    view = root / FIRST
    data = json.loads(view.read_bytes())
    del data["sha256"]
    data["address"] = "../../../etc/passwd"
    view.write_bytes(json.dumps({**data, "sha256": digest(data)}).encode())
    only(root, FIRST, "error", "its checksum is right, and it is no row", "--fix`")


@pytest.mark.parametrize("mask", [0o000, 0o777])
def test_a_whole_deploy_is_its_owners_alone_under_any_umask(tmp_path: Path, mask: int) -> None:
    world = World(tmp_path, Cloud())
    token = CLOUD.set(world.cloud)
    before = os.umask(mask)
    try:
        for _ in range(2):
            world.deploy(shop, state_dir=world.state)
    finally:
        os.umask(before)
        CLOUD.reset(token)
    found = {path: path.stat().st_mode & 0o777 for path in [world.state, *world.state.rglob("*")]}
    assert found == {path: 0o700 if path.is_dir() else 0o600 for path in found}
    assert validate(world.state) == []


def test_what_was_cut_off_the_journal_is_no_lag_of_its_views(root: Path) -> None:
    newest = max((root / PROD / "journal").iterdir())
    newest.unlink()
    found = validate(root)
    assert not [one for one in found if "behind the journal" in one.problem], found
    ahead = [one for one in found if "it is ahead of the journal" in one.problem]
    assert ahead, found
    assert all("scope rebuild" in one.way_out for one in ahead)


def test_a_run_whose_first_record_is_no_record_is_blamed_for_itself(root: Path) -> None:
    first = root / EPOCH
    first.write_bytes(b"garbage\n" + first.read_bytes())
    found = validate(root)
    assert {one.file for one in found if one.severity == "error"} == {EPOCH}, found

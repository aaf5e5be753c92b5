"""Every file of the store is reached without a link, is a plain one, and is its owner's alone."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alchemy.errors import AlchemyError, StateInvalid
from alchemy.store.files import TEMPORARY, Files, _number

ROOT = os.geteuid() == 0


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A state directory with one file, five levels down."""
    root = tmp_path / ".alchemy"
    files = Files(root)
    files.make_directory(root / "app/prod/resources/a")
    files.replace(root / "app/prod/resources/a/state.json", b"mine")
    return root


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


Touch = Callable[[Files, Path], object]
TOUCHES: dict[str, Touch] = {
    "read": lambda files, path: files.read(path),
    "read the head": lambda files, path: files.read_head(path, 3),
    "read on": lambda files, path: files.read_from(path, 1),
    "list": lambda files, path: files.names(path.parent),
    "replace": lambda files, path: files.replace(path, b"theirs"),
    "create": lambda files, path: os.close(files.create(path.with_name("new"), b"theirs")),
    "make a directory": lambda files, path: files.make_directory(path.parent / "below"),
    "remove": lambda files, path: files.remove(path),
    "remove a directory": lambda files, path: files.remove_empty(path.parent),
    "sync": lambda files, path: files.sync_file(path),
    "sync a directory": lambda files, path: files.sync_directory(path.parent),
}


@pytest.mark.parametrize("known", [False, True], ids=["at first", "after it was opened before"])
@pytest.mark.parametrize("level", ["app", "app/prod", "app/prod/resources", "app/prod/resources/a"])
@pytest.mark.parametrize("what", TOUCHES)
def test_nothing_below_the_root_is_reached_through_a_link(
    root: Path, tmp_path: Path, what: str, level: str, known: bool
) -> None:
    files, path = Files(root), root / "app/prod/resources/a/state.json"
    if known:
        files.read(path)
    other = Files(tmp_path / "other")
    other.make_directory((tmp_path / "other" / path.relative_to(root)).parent)
    theirs = tmp_path / "other" / path.relative_to(root)
    other.replace(theirs, b"not ours")
    (root / level).rename(tmp_path / "aside")
    (root / level).symlink_to(tmp_path / "other" / level)
    if what == "remove a directory" and level.endswith("/a"):
        files.remove_empty(path.parent)  # the link itself is what would be removed, and it is no directory
    else:
        with pytest.raises(StateInvalid) as refused:
            TOUCHES[what](files, path)
        assert f"{root / level} is a symbolic link" in refused.value.message
        assert refused.value.exit_code == 4
    assert theirs.read_bytes() == b"not ours"
    assert sorted(each.name for each in theirs.parent.iterdir()) == ["state.json"]
    assert (root / level).is_symlink()


def link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def pipe(path: Path) -> None:
    os.mkfifo(path)


def bound(path: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def directory(path: Path) -> None:
    path.mkdir()


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("put", [link, pipe, bound, directory, device])
@pytest.mark.parametrize("what", ["read", "read the head", "read on", "sync"])
def test_what_is_no_plain_file_is_named_and_nobody_waits_for_it(
    root: Path, put: Callable[[Path], None], what: str
) -> None:
    path = root / "app/prod/resources/a/state.json"
    path.with_name("elsewhere").write_bytes(b"secret")
    path.unlink()
    put(path)
    with pytest.raises(StateInvalid) as refused:
        TOUCHES[what](Files(root), path)
    word = {"pipe": "a pipe", "bound": "a socket", "directory": "a directory"}.get(put.__name__, "a symbolic link")
    assert f"{path} is {word}, where a plain file is due" in refused.value.message
    assert "alchemy scope validate" in refused.value.hint


@pytest.mark.skipif(not ROOT, reason="only root makes devices")
def test_a_device_is_not_read(root: Path) -> None:
    path = root / "app/prod/resources/a/state.json"
    path.unlink()
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))
    with pytest.raises(StateInvalid, match="is a device"):
        Files(root).read(path)


def test_a_link_or_pipe_in_the_place_of_a_file_is_replaced_not_followed(root: Path, tmp_path: Path) -> None:
    path = root / "app/prod/resources/a/state.json"
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"not ours")
    for linked in (True, False):
        path.unlink()
        if linked:
            path.symlink_to(theirs)
        else:
            os.mkfifo(path)
        Files(root).replace(path, b"new")
        assert (path.read_bytes(), path.is_symlink()) == (b"new", False)
    assert theirs.read_bytes() == b"not ours"


@pytest.mark.parametrize("plain", ["app", "app/prod", "app/prod/resources"])
def test_a_file_where_a_directory_is_due_is_named(root: Path, plain: str) -> None:
    path = root / "app/prod/resources/a/state.json"
    (root / plain).rename(root / "aside")
    (root / plain).write_bytes(b"")
    for touch in TOUCHES.values():
        with pytest.raises(StateInvalid) as refused:
            touch(Files(root), path)
        assert f"{root / plain} is a file, where a directory is due" in refused.value.message


def test_a_path_does_not_climb_out(root: Path) -> None:
    (root.parent / "secret").write_bytes(b"")
    with pytest.raises(StateInvalid):
        Files(root).read(root / "app/../../secret")


def test_a_file_of_absurd_size_is_refused_before_it_is_read(root: Path) -> None:
    path = root / "app/prod/resources/a/state.json"
    os.truncate(path, 1 << 40)
    with pytest.raises(StateInvalid, match=f"has {1 << 40} bytes: this tool writes no file above"):
        Files(root).read(path)


def test_the_root_itself_may_be_a_link_and_is_resolved_once(root: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(root)
    (tmp_path / "empty").mkdir()
    files = Files(tmp_path / "linked")
    path = tmp_path / "linked/app/prod/resources/a/state.json"
    assert files.read(path) == b"mine"
    (tmp_path / "linked").unlink()
    (tmp_path / "linked").symlink_to(tmp_path / "empty")
    assert files.read(path) == b"mine", "a run does not move house"
    with pytest.raises(FileNotFoundError):
        Files(tmp_path / "linked").read(path)


def test_a_directory_made_again_is_the_new_one(root: Path) -> None:
    files, path = Files(root), root / "app/prod/resources/a/state.json"
    for content in (b"one", b"two", b"three"):
        files.replace(path, content)
        assert files.read(path) == content
        for top in (root / "app/prod/resources/a", root / "app/prod/resources", root / "app/prod", root / "app"):
            for each in top.iterdir():
                each.unlink()
            files.remove_empty(top)
        assert files.names(root) == []
        with pytest.raises(FileNotFoundError):
            files.read(path)
        files.make_directory(path.parent)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277, 0o777])
def test_files_and_directories_are_their_owners_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    root = tmp_path / ".alchemy"
    files = Files(root)
    with umask(mask):
        files.make_directory(root / "app/prod")
        os.close(files.create(root / "app/prod/new", b"x"))
        files.replace(root / "app/prod/replaced", b"x")
    found = {path: mode(path) for path in [root, *root.rglob("*")]}
    assert found == {path: 0o700 if path.is_dir() else 0o600 for path in found}
    assert len(found) == 5


def test_a_file_that_others_could_read_is_theirs_no_more_after_it_is_written(root: Path) -> None:
    path = root / "app/prod/resources/a/state.json"
    path.chmod(0o666)
    Files(root).replace(path, b"new")
    assert mode(path) == 0o600


def test_a_root_that_everybody_can_write_is_refused_with_the_way_out(root: Path) -> None:
    root.chmod(0o777)
    for touch in (lambda: Files(root).names(root), lambda: Files(root).make_directory(root / "app/dev")):
        with pytest.raises(StateInvalid, match="can be written by everybody") as refused:
            touch()
        assert f"chmod 700 {root}" in refused.value.hint
    root.chmod(0o755)
    assert Files(root).names(root) == ["app"]


STRANGER = """
import os, pwd, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from alchemy.errors import AlchemyError
from alchemy.store.files import Files
os.setgid(65534)
os.setuid(int(sys.argv[2]))
root = Path(sys.argv[1])
files = Files(root)
try:
    files.make_directory(root / "app")
    files.replace(root / "app/x", b"x")
    print("ok", files.read(root / "app/x"), files.warning)
except AlchemyError as error:
    print(error.exit_code, error.message, "|", error.hint)
"""


@pytest.mark.skipif(not ROOT, reason="only root becomes somebody else")
def test_a_root_of_somebody_else_is_refused_and_root_is_warned(tmp_path: Path) -> None:
    place = Path("/tmp") / f"alchemy-test-{os.getpid()}"  # where others can go: tmp_path is ours alone
    place.mkdir(mode=0o755)
    root = place / ".alchemy"
    core = str(Path(__file__).parents[2] / "core")
    try:
        root.mkdir(mode=0o755)
        os.chown(root, 12345, -1)

        def as_user(number: int) -> str:
            asked = [sys.executable, "-c", STRANGER, str(root), str(number), core]
            done = subprocess.run(asked, capture_output=True, text=True, env={"PATH": os.environ["PATH"]}, check=False)
            return done.stdout + done.stderr

        said = as_user(23456)
        assert said.startswith(
            f"4 the state directory {root} belongs to user 12345, and this process runs as user 23456"
        )
        assert f"sudo chown -R 23456 {root}" in said
        assert as_user(12345).startswith("ok b'x' \n")
        files = Files(root)
        assert files.names(root) == ["app"]
        assert "belongs to user 12345, and this process runs as root" in files.warning
    finally:
        subprocess.run(["rm", "-r", str(place)], check=True)


def test_a_name_left_by_a_process_of_the_same_number_is_nobodys(root: Path) -> None:
    files, path = Files(root), root / "app/prod/resources/a/state.json"
    files.replace(path, b"1")
    taken = next(_number)
    for number in range(taken, taken + 5):
        left = path.with_name(f".state.json.{os.getpid():x}{number:04x}.tmp")
        left.symlink_to("/dev/full")
        assert TEMPORARY.fullmatch(left.name)
    files.replace(path, b"2")
    assert path.read_bytes() == b"2"


def test_a_failed_replacement_leaves_nothing_behind(root: Path) -> None:
    path = root / "app/prod/resources/a/state.json"
    path.unlink()
    path.mkdir()
    with pytest.raises(StateInvalid, match=r"state\.json is a directory, where a plain file is due"):
        Files(root).replace(path, b"new")
    assert [each.name for each in path.parent.iterdir()] == ["state.json"]


def test_a_root_that_is_no_directory_names_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for root in (tmp_path / "file", tmp_path / "file/below", tmp_path / "dangling"):
        with pytest.raises(AlchemyError) as refused:
            Files(root).make_directory(root / "app")
        assert "--state-dir" in refused.value.hint


def test_what_lies_outside_the_root_is_guarded_in_its_last_component(root: Path, tmp_path: Path) -> None:
    (tmp_path / "spill").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "spill")
    files = Files(root)
    files.replace(tmp_path / "linked/x", b"x")
    assert files.read(tmp_path / "linked/x") == b"x"
    (tmp_path / "linked/y").symlink_to(tmp_path / "spill/x")
    with pytest.raises(StateInvalid):
        files.read(tmp_path / "linked/y")


def test_reading_a_file_that_grows_ends_where_it_ends(root: Path) -> None:
    path = root / "app/prod/journal.jsonl"
    path.write_bytes(b"0123456789")
    files = Files(root)
    assert files.read_from(path, 4) == b"456789"
    assert files.read_from(path, 40) == b""
    assert files.read_head(path, 4) == b"0123"
    assert files.read_head(path, 40) == b"0123456789"
    path.write_bytes(b"x" * 5_000_000)
    assert len(files.read(path)) == 5_000_000

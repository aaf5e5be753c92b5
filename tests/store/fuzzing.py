"""A stored world, ways to damage its files, and what must hold of every command afterwards.

Damage is either blind (bytes, names, kinds of file) or skilled: a file changed in its structure, with every checksum,
chain and seal computed again, as somebody would who can write there and knows the format.
"""

# mypy: disable-error-code="unused-awaitable"

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

from alchemy import Scope, alchemy
from alchemy.cli.commands import run
from alchemy.errors import AlchemyError
from alchemy.model.canonical import digest
from alchemy.model.records import Put
from alchemy.store.backups import write_backup
from alchemy.store.copies import write_snapshot
from alchemy.store.files import Files
from alchemy.store.keyfiles import open_or_create_ring
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.opening import load
from tests.model.rows import row
from tests.scenarios.world import CLOUD, Cloud, Thing, World
from tests.store.lock_peer import holder

PROD = "my-app/prod"
PATIENCE = 20  # seconds for one command: a pipe that somebody waits for would take for ever
SEED = os.environ.get("ALCHEMY_SEED", "")  # read when the module is: a fixture takes settings away later


def dice_for(what: str) -> random.Random:
    """Seeded; a failing test shows the seed, ALCHEMY_SEED repeats it."""
    seed = SEED or str(random.SystemRandom().randrange(1_000_000))
    print(f"ALCHEMY_SEED={seed} for {what}")
    return random.Random(f"{seed}:{what}")


async def shop(app: Scope) -> None:
    await Thing("first", size=3)
    async with alchemy.run("database"):
        await Thing("größe")
    await Thing("last", uses={"a": [1, None, "x"]})


ADDRESSES = {f"{PROD}/first", f"{PROD}/database/größe", f"{PROD}/last"}


def build(root: Path) -> World:
    """Two stages with two runs each, and one file of every kind that is ever stored."""
    world = World(root, Cloud())
    token = CLOUD.set(world.cloud)
    for stage in ("prod", "dev"):
        for size in (1, 2):

            async def body(app: Scope, size: int = size) -> None:
                await shop(app)
                await Thing("changing", size=size)

            world.deploy(body, stage=stage, state_dir=world.state)
        world.deploy(shop, stage=stage, state_dir=world.state)
    CLOUD.reset(token)
    store = LocalStore(world.layout, "5e55")
    for stage in ("my-app/prod", "my-app/dev"):
        fold = load(store.files, store.layout, stage).fold
        write_snapshot(store.files, store.layout, fold)
        write_backup(store, fold, "on demand")
    record = json.dumps(holder(PROD, 3, pid=1 << 30).to_json()).encode()
    store.files.replace(world.layout.holder(PROD), record)
    spilled: dict[str, Any] = {"format": 1, "type": "spill", "scope": PROD, "place": str(world.state), "epoch": 2}
    spilled |= {"session": "5e55", "lineage": "f", "seq": 3, "serial": 3, "why": "disk full"}
    spilled |= {"at": "2024-01-15T10:30:00.000Z"}
    spilled["ops"] = [Put(row(f"{PROD}/first"), "result", "create").to_json()]
    store.files.make_directory(world.layout.spill)
    store.files.replace(world.layout.spill / "my-app-prod-2-5e55.json", json.dumps(spilled).encode())
    store.audit({"act": "unlock", "scope": PROD, "outcome": "done", "by": "ana@laptop", "reason": "", "detail": {}})
    open_or_create_ring(store, "my-app", "secret")
    (root / "pyproject.toml").write_text('[tool.alchemy]\napp = "my-app"\n')
    return world


# -- the files of each kind -------------------------------------------------------------------------------------------


def files_of(root: Path, kind: str) -> list[Path]:
    state = root / ".alchemy"
    patterns = {
        "journal": "my-app/prod/journal/*.jsonl",
        "snapshot": "my-app/prod/snapshots/*.json",
        "view": "my-app/prod/**/state.json",
        "application": "my-app/state.json",
        "backup": "my-app/prod/backups/state-*Z.json",
        "holder": "locks/my-app/prod.lock.holder.json",
        "lock": "locks/my-app/*.lock*",
        "spill": "spill/*.json",
        "audit": "audit/*.json",
        "keys": "my-app/keys.json",
        "directory": "my-app/prod/**/",
    }
    if kind == "project":
        return [root / "pyproject.toml"]
    found = sorted(path for path in state.glob(patterns[kind]) if path.is_dir() == (kind == "directory"))
    assert found, kind
    return found


KINDS = ["journal", "snapshot", "view", "application", "backup", "holder", "lock", "spill", "audit", "keys", "project"]


def flip(dice: random.Random, file: Path) -> None:
    data = bytearray(file.read_bytes() or b"x")
    for _ in range(dice.choice([1, 1, 1, 5])):
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    file.write_bytes(data)


def cut(dice: random.Random, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: dice.randrange(len(data) + 1)])


def cut_head(dice: random.Random, file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[dice.randrange(len(data) + 1) :])


def zero(dice: random.Random, file: Path) -> None:
    data = bytearray(file.read_bytes())
    start = dice.randrange(len(data) + 1)
    end = dice.choice([len(data), min(len(data), start + 100)])
    data[start:end] = bytes(end - start)
    file.write_bytes(data)


def repeat(dice: random.Random, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True) or [b"\n"]
    place = dice.randrange(len(lines))
    lines[place:place] = lines[dice.randrange(len(lines)) :][: dice.randint(1, 3)]
    file.write_bytes(b"".join(lines))


def drop_line(dice: random.Random, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True) or [b"\n"]
    del lines[dice.randrange(len(lines))]
    file.write_bytes(b"".join(lines))


def shuffle(dice: random.Random, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    dice.shuffle(lines)
    file.write_bytes(b"".join(lines))


def noise(dice: random.Random, file: Path) -> None:
    file.write_bytes(
        dice.choice([dice.randbytes(200), b"\xff\xfe" + b"{}", b"[" * 100_000, b"\xef\xbb\xbf{}", b"null", b"{}"])
    )


def empty(dice: random.Random, file: Path) -> None:
    file.write_bytes(b"")


def remove(dice: random.Random, file: Path) -> None:
    shutil.rmtree(file) if file.is_dir() else file.unlink()


def to_directory(dice: random.Random, file: Path) -> None:
    remove(dice, file)
    file.mkdir(mode=0o700)
    if dice.random() < 0.5:
        (file / "inside").write_bytes(b"x")


def to_link(dice: random.Random, file: Path) -> None:
    aside = file.with_name(f"{file.name}.real") if dice.random() < 0.5 else file.parents[1] / "real"
    file.rename(aside)
    file.symlink_to(dice.choice([aside, Path("/dev/zero"), Path("/nowhere"), Path("/etc"), file]))


def to_pipe(dice: random.Random, file: Path) -> None:
    remove(dice, file)
    os.mkfifo(file, 0o600)


def to_plain(dice: random.Random, file: Path) -> None:
    remove(dice, file)
    file.write_bytes(b"{}")


def huge(dice: random.Random, file: Path) -> None:
    os.truncate(file, 1 << 40)


def swap(dice: random.Random, file: Path) -> None:
    """With the same file of another scope, or another one of this."""
    other = Path(str(file).replace("/prod", "/dev"))
    others = [other] if other != file and other.exists() and dice.random() < 0.6 else sorted(file.parent.iterdir())
    chosen = dice.choice([each for each in others if each.is_file()])
    mine, theirs = file.read_bytes(), chosen.read_bytes()
    file.write_bytes(theirs)
    chosen.write_bytes(mine)


def rename(dice: random.Random, file: Path) -> None:
    file.rename(
        file.with_name(dice.choice([f"{file.name}~", f".{file.name}", "000009.jsonl", "x[1]", "con", "\x1b[31m"]))
    )


def lock_away(dice: random.Random, file: Path) -> None:
    file.chmod(dice.choice([0o000, 0o777]))


Harm = Callable[[random.Random, Path], None]
BLIND: list[Harm] = [flip, flip, cut, cut, cut_head, zero, repeat, drop_line, shuffle, noise, empty, remove]
BLIND += [to_directory, to_link, to_link, to_pipe, huge, swap, rename, lock_away]
OF_DIRECTORIES: list[Harm] = [remove, to_link, to_link, to_pipe, to_plain, rename, lock_away]


# -- skilled damage ---------------------------------------------------------------------------------------------------

WRONG: list[Any] = [
    None,
    True,
    7,
    -1,
    1 << 60,
    1.5,
    1e300,
    "",
    "x",
    "../../etc/passwd",
    "\x1b[31m",
    [],
    ["x"],
    [[]],
    {},
]
WRONG += [{"a": 1}, "x" * 300, f"{PROD}/../dev/a", "my-app/dev/a", "deleting", "creating", "stage", {"$resource": 5}]


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(tree) if isinstance(tree, dict) else range(len(tree)):
        yield tree, key
        if isinstance(tree[key], dict | list):
            yield from places(tree[key])


def change(dice: random.Random, tree: Any) -> None:
    """Something in it is another thing now."""
    for _ in range(dice.choice([1, 1, 2])):
        found = list(places(tree))
        if not found:
            return
        container, key = dice.choice(found)
        turn = dice.randrange(4)
        if turn == 0 and isinstance(container, dict):
            del container[key]
        elif turn == 1 and isinstance(container, dict):
            container[dice.choice(["later", "op", "type", "scope", "address", "format"])] = container.pop(key)
        elif turn == 2:
            container[key] = copy.deepcopy(dice.choice(found)[0])
        else:
            container[key] = dice.choice(WRONG)


def framed(raw: bytes, digits: int) -> bytes:
    check = hashlib.sha256(raw).hexdigest()
    return b'{"r":' + raw + b',"c":"' + check[:digits].encode() + b'"}\n'


def forge_journal(dice: random.Random, file: Path) -> None:
    """One record changed; chain and seals of the whole journal made to fit."""
    epochs = sorted(file.parent.glob("*.jsonl"))
    records = {each: [orjson.loads(line)["r"] for line in each.read_bytes().splitlines()] for each in epochs}
    change(dice, dice.choice(records[file]))
    before = ""
    sizes: dict[str, int] = {}
    for each in epochs:
        lines = []
        for record in records[each]:
            if isinstance(record, dict):
                if "prev" in record:
                    record["prev"] = before
                if isinstance(record.get("seals"), dict):
                    record["seals"] = {name: sizes.get(name, size) for name, size in record["seals"].items()}
            raw = orjson.dumps(record)
            before = hashlib.sha256(raw).hexdigest()
            lines.append(framed(raw, 16))
        each.write_bytes(b"".join(lines))
        sizes[str(int(each.stem))] = each.stat().st_size


def forge_snapshot(dice: random.Random, file: Path) -> None:
    body = orjson.loads(file.read_bytes())["r"]
    change(dice, body)
    file.write_bytes(framed(orjson.dumps(body), 64))


def forge_view(dice: random.Random, file: Path) -> None:
    body = orjson.loads(file.read_bytes())
    del body["sha256"]
    change(dice, body)
    file.write_bytes(
        orjson.dumps({**body, "sha256": digest(body)}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )


def forge_backup(dice: random.Random, file: Path) -> None:
    body = orjson.loads(file.read_bytes())
    change(dice, body)
    if "state" in body:
        body["sha256"] = digest(body["state"])
    file.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def forge_plain(dice: random.Random, file: Path) -> None:
    body = orjson.loads(file.read_bytes())
    change(dice, body)
    file.write_bytes(orjson.dumps(body))


FORGERS: dict[str, Harm] = {"journal": forge_journal, "snapshot": forge_snapshot, "view": forge_view}
FORGERS |= {"application": forge_view, "backup": forge_backup, "holder": forge_plain, "spill": forge_plain}
FORGERS |= {"audit": forge_plain, "keys": forge_plain}


# -- what must hold ---------------------------------------------------------------------------------------------------


class Hung(Exception):
    """A command that did not come back."""


@contextlib.contextmanager
def patience(seconds: int) -> Iterator[None]:
    def give_up(number: int, frame: FrameType | None) -> None:
        raise Hung(f"still at work after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Said:
    code: int
    out: str
    err: str


def command(root: Path, *arguments: str) -> Said:
    """The command line, in this process."""
    raw = io.BytesIO(), io.BytesIO()
    out, err = (io.TextIOWrapper(each, encoding="utf-8", write_through=True) for each in raw)
    with patience(PATIENCE), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run([*arguments, "--state-dir", str(root / ".alchemy")])
    return Said(code, raw[0].getvalue().decode(), raw[1].getvalue().decode())


COMMANDS = [
    ["scope", "list"],
    ["scope", "inspect", PROD],
    ["scope", "inspect", f"{PROD}/first"],
    ["scope", "state", PROD],
]
COMMANDS += [["scope", "logs", PROD], ["scope", "backups", PROD], ["scope", "locks"], ["scope", "validate"]]
COMMANDS += [["scope", "list", "--json"], ["scope", "logs", PROD, "--json"], ["scope", "state", PROD, "--json"]]
SAYS_NOTHING = ("unexpected ", "Traceback", "defect of alchemy", "Error:", "TypeError", "KeyError")


@dataclass
class Bench:
    """`made` is never touched; `harmed` is a copy that was damaged, of which `forged` says how skilfully."""

    made: World
    place: Path
    number: int = 0
    seen: dict[str, int] = field(default_factory=dict)

    def copy(self, *, snapshots: bool = True) -> Path:
        """Without snapshots, the journal alone holds the state."""
        self.number += 1
        root = self.place / str(self.number)
        shutil.copytree(self.made.root, root, symlinks=True)
        if not snapshots:
            shutil.rmtree(root / ".alchemy/my-app/prod/snapshots")
        return root

    def check(self, root: Path, kind: str, *, forged: bool) -> None:
        """Every command tells the right state, or names what is wrong; none of them changes anything."""
        before = self.tree(root)
        for arguments in COMMANDS:
            said = command(root, *arguments)
            self._sound(arguments, said, root)
            if said.code == 0 and kind != "project" and not (forged and kind == "journal"):
                self._right(arguments, said, whole=kind != "journal")
        assert self.tree(root) == before, "looking changed something"
        self._program(root, kind, forged=forged)

    def tree(self, root: Path) -> dict[str, tuple[int, int]]:
        """Names, sizes and modes of everything."""
        found = [Path(top) / name for top, inner, names in os.walk(root) for name in [*inner, *names]]
        return {str(path.relative_to(root)): (path.lstat().st_size, path.lstat().st_mode) for path in found}

    def _sound(self, arguments: list[str], said: Said, root: Path) -> None:
        told = f"{arguments}: {said}"
        assert said.code in (0, 1, 2, 4), told
        assert not any(word in said.err for word in SAYS_NOTHING), told
        assert "\x1b[31m" not in said.out + said.err, told
        if said.code:
            assert said.err or arguments[1] in ("validate", "inspect"), told
        self.seen[f"{arguments[1]} {said.code}"] = self.seen.get(f"{arguments[1]} {said.code}", 0) + 1

    def _right(self, arguments: list[str], said: Said, *, whole: bool) -> None:
        """Nothing of what is stored is missing. Not `whole`: the log may be, where a snapshot holds the state."""
        if arguments == ["scope", "list", "--json"]:
            shown = {found["address"] for found in json.loads(said.out)["resources"]}
            assert shown >= ADDRESSES, said
        elif arguments == ["scope", "state", PROD, "--json"]:
            shown = {found["address"] for found in json.loads(said.out)["resources"]}
            assert shown == ADDRESSES, said
        elif arguments == ["scope", "logs", PROD, "--json"]:
            runs = [found["run"] for found in json.loads(said.out)["runs"]]
            assert runs == ["R-3", "R-2", "R-1"] if whole else runs, said

    def _program(self, root: Path, kind: str, *, forged: bool) -> None:
        """Planning and deploying the same program again: nothing happens, or an error says why."""
        cloud = copy.deepcopy(self.made.cloud)
        world = World(root, cloud)
        token = CLOUD.set(cloud)
        try:
            for phase in ("plan", "up"):
                cloud.log.clear()
                failed: AlchemyError | None = None
                try:
                    with patience(PATIENCE):
                        world.deploy(shop, phase=phase, state_dir=world.state, lock_timeout=1)
                except AlchemyError as error:
                    failed = error
                outcome = type(failed).__name__ if failed else "done"
                if failed:
                    assert failed.hint or str(root) in failed.message or PROD in failed.message, failed.message
                    assert failed.exit_code in ((1, 2, 3, 4, 5) if forged else (1, 2, 4)), failed.message
                self.seen[f"{phase} {outcome}"] = self.seen.get(f"{phase} {outcome}", 0) + 1
                if not forged:
                    assert cloud.calls() == [], f"{phase} did {cloud.calls()}"
                    assert cloud.objects == self.made.cloud.objects
                if outcome == "done" and phase == "up" and not forged:
                    fold = load(Files(world.state), Layout(world.state), PROD).fold
                    assert set(fold.resources) == ADDRESSES
        finally:
            CLOUD.reset(token)
            sys.stdout.flush()

"""An opinion on each name below the state directory: what is wrong with it, and the command that puts it right.

Neighbours: `validate` asks for all of them, `store.inventory` says what each one is. Reads only.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from alchemy.errors import AlchemyError
from alchemy.model import strict
from alchemy.model.backup import read_whole
from alchemy.model.records import BadLine, Newer, decode
from alchemy.model.text import safe_text
from alchemy.operations.shapes import Finding
from alchemy.operations.spills import parse_spill
from alchemy.store.copies import read_snapshot
from alchemy.store.descent import kind_of
from alchemy.store.files import Files
from alchemy.store.holders import check_record
from alchemy.store.inventory import Item, What
from alchemy.store.layout import RESOURCES, Layout
from alchemy.store.moving import MOVED
from alchemy.store.opening import sealed_sizes
from alchemy.store.viewfile import ViewFile, examine

LINES = 20  # bad ones of one journal file that are told
CUT = "it ends here"
_LATER = "use the version that wrote it, or a later one"


class Soundness:
    """Of one state directory. `owner_of` says whose journal a scope belongs to."""

    def __init__(self, files: Files, layout: Layout, owner_of: Callable[[str], str]) -> None:
        self._files = files
        self._layout = layout
        self._owner_of = owner_of
        self._user = _owner(layout.root)
        self._sizes: dict[str, dict[int, int]] = {}  # of epochs that were sealed, by the journal's owner

    def finding(self, path: Path, scope: str, problem: str, way_out: str, *, error: bool = True) -> Finding:
        file = safe_text(path.relative_to(self._layout.root))
        return Finding(file, scope, "error" if error else "warning", problem, way_out)

    def look_at(self, item: Item) -> list[Finding]:
        """Nothing for what is sound; of several problems each."""
        path, scope = item.path, self._owner_of(item.scope)
        wrong = self._misfit(item)
        if wrong:
            advice = f"see who put it there, then remove it: `rm {_shell(path)}`; {self._after(item, scope)}"
            return [self.finding(path, scope, wrong, advice)]
        found = self._exposed(item, scope)
        try:
            return [*self._content(item, scope), *found]
        except AlchemyError as error:
            return [self.finding(path, scope, error.message, error.hint), *found]
        except FileNotFoundError:  # gone meanwhile
            return []

    def _misfit(self, item: Item) -> str:
        """A link, a pipe, a directory in the place of a file."""
        mode = item.found.st_mode
        if stat.S_ISLNK(mode):
            return "it is a symbolic link: nothing below the state directory may lead elsewhere"
        if item.what is What.STRANGE:
            return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else f"it is {kind_of(mode)}"
        due = stat.S_ISDIR if item.what is What.DIRECTORY else stat.S_ISREG
        article = "a directory" if item.what is What.DIRECTORY else "a plain file"
        return "" if due(mode) else f"it is {kind_of(mode)}, where {article} is due"

    def _after(self, item: Item, owner: str) -> str:
        if item.what is What.VIEW:
            return f"`alchemy scope validate {owner} --fix` writes the view again"
        if item.what is What.DIRECTORY and self._holds_views(item, owner):
            return f"then `alchemy scope validate {owner} --fix` writes the views again that belong there"
        if item.what is What.DIRECTORY and item.path == self._layout.backups(owner):
            return "then put back your own copy, if you have one: the state does not need it, going back does"
        if owner and item.what in (What.EPOCH, What.DIRECTORY):
            return f"then put back your own copy, or run `alchemy scope rebuild {owner}`"
        return "the state does not need it"

    def _holds_views(self, item: Item, owner: str) -> bool:
        """And nothing but views, all of which the journal has: resources, or a nested scope of a stage."""
        if RESOURCES in (item.path.name, item.path.parent.name):
            return True
        nested = item.scope != owner and "/" in owner  # below an application it may be a stage
        return nested and item.path == self._layout.scope(item.scope)

    def _exposed(self, item: Item, scope: str) -> list[Finding]:
        """Modes and owners that give it to others, or keep it from us."""
        found, path = [], item.path
        mode = item.found.st_mode
        right = "700" if stat.S_ISDIR(mode) else "600"
        if mode & 0o022:
            found.append(self.finding(path, scope, "others may write it", f"chmod {right} {_shell(path)}", error=False))
        elif mode & 0o077:
            found.append(self.finding(path, scope, "others may read it", f"chmod {right} {_shell(path)}", error=False))
        if mode & int(right, 8) != int(right, 8):
            problem = "its owner may not use it"
            found.append(self.finding(path, scope, problem, f"chmod {right} {_shell(path)}", error=False))
        if self._user >= 0 and item.found.st_uid != self._user:
            problem = f"it belongs to user {item.found.st_uid}, the state directory to user {self._user}"
            found.append(self.finding(path, scope, problem, f"chown {self._user} {_shell(path)}", error=False))
        return found

    def _content(self, item: Item, scope: str) -> list[Finding]:
        path = item.path
        if item.what is What.STRANGE:
            advice = f"move it out of the state directory, or remove it: `rm -r {_shell(path)}`"
            return [self.finding(path, scope, "nothing of alchemy is called so", advice, error=False)]
        if item.what is What.FLAT:
            problem = "it is not of this tool: perhaps the state of Alchemy for TypeScript, or of an earlier version"
            advice = f"`alchemy scope migrate {_shell(path)} --into APPLICATION/STAGE` takes it over"
            return [self.finding(path, "", problem, advice, error=False)]
        if item.what is What.MOVING:
            problem = "state is on its way to or from another place, and was not all there"
            advice = f"{_again(path)} finishes it"
            return [*self._json(item, scope), self.finding(path, scope, problem, advice, error=False)]
        if item.what is What.EDITED:
            advice = f"compare it with the view beside it, then remove it: `rm {_shell(path)}`"
            return [self.finding(path, scope, _aside(examine(self._files.read(path))), advice, error=False)]
        check = _CHECKS.get(item.what)
        if check is None:
            return []
        return check(self, item, scope)

    def _epoch(self, item: Item, scope: str) -> list[Finding]:
        """Every bad line that counts; a last one may only be torn, which the journal as a whole tells."""
        if item.path.parent.name != "journal":  # set aside
            return []
        raw = self._files.read(item.path)
        epoch = int(item.path.stem)
        limit = self._sealed(scope).get(epoch)
        problems = dict(_bad_lines(raw[:limit], epoch, sealed=limit is not None))
        if limit is not None and limit > len(raw):
            problems[raw.count(b"\n") + 1] = f"{CUT}: {limit - len(raw)} of {limit} sealed bytes are missing"
        advice = f"put back your own copy, or run `alchemy scope rebuild {scope}`"
        return [
            self.finding(item.path, scope, f"line {number}: {why}", _LATER if "newer than" in why else advice)
            for number, why in sorted(problems.items())[:LINES]
        ]

    def _sealed(self, owner: str) -> dict[int, int]:
        if owner not in self._sizes:
            self._sizes[owner] = sealed_sizes(self._files, self._layout, owner)
        return self._sizes[owner]

    def _snapshot(self, item: Item, scope: str) -> list[Finding]:
        advice = f"`rm {_shell(item.path)}`: the journal does not need it, and another comes when enough has changed"
        try:
            body = read_snapshot(self._files.read(item.path), scope)
        except Newer as error:
            return [self.finding(item.path, scope, str(error), _LATER)]
        except ValueError as error:
            return [self.finding(item.path, scope, str(error), advice, error=False)]
        if int(item.path.stem) != body["seq"]:
            problem = f"misplaced: it is of record {body['seq']}, as its name is not"
            return [self.finding(item.path, scope, problem, advice, error=False)]
        return []

    def _backup(self, item: Item, scope: str) -> list[Finding]:
        try:
            read_whole(item.path.name, self._files.read(item.path), scope)
        except ValueError as error:
            advice = f"nobody can go back to it: `rm {_shell(item.path)}`; `alchemy scope backup {scope}` makes another"
            return [self.finding(item.path, scope, str(error), advice, error=False)]
        return []

    def _holder(self, item: Item, scope: str) -> list[Finding]:
        try:
            check_record(self._layout, self._files, item.scope)
        except FileNotFoundError:
            return []
        except ValueError as error:
            problem = f"who holds the lock cannot be told: {error}"
            advice = f"`alchemy scope unlock {item.scope}` clears it away when nobody holds it"
            return [self.finding(item.path, scope, problem, advice, error=False)]
        return []

    def _lock(self, item: Item, scope: str) -> list[Finding]:
        if not item.found.st_size:
            return []
        advice = f"see who wrote into it, then `truncate -s 0 {_shell(item.path)}`"
        return [self.finding(item.path, scope, "something is in it: locks are empty", advice, error=False)]

    def _json(self, item: Item, scope: str) -> list[Finding]:
        way_out = {
            What.KEYS: "put back your own copy: without it, sealed values cannot be opened",
            What.MOVING: f"{_again(item.path)} writes it anew",
            What.AUDIT: f"it tells nothing any more: `rm {_shell(item.path)}`",
        }[item.what]
        data = self._files.read(item.path)
        if not isinstance(strict.read(data, item.path, way_out), dict):
            return [self.finding(item.path, scope, "it holds no object", way_out)]
        return []

    def _spill(self, item: Item, scope: str) -> list[Finding]:
        spilled = parse_spill(item.path, self._files.read(item.path))
        problem = f"a run of {spilled.scope} could not write {len(spilled.ops)} changes to its journal"
        advice = f"`alchemy scope recover {_shell(item.path)}` writes them"
        return [self.finding(item.path, str(spilled.scope), problem, advice, error=False)]


_CHECKS: dict[What, Callable[[Soundness, Item, str], list[Finding]]] = {
    What.EPOCH: Soundness._epoch,
    What.SNAPSHOT: Soundness._snapshot,
    What.BACKUP: Soundness._backup,
    What.HOLDER: Soundness._holder,
    What.LOCK: Soundness._lock,
    What.KEYS: Soundness._json,
    What.AUDIT: Soundness._json,
    What.SPILL: Soundness._spill,
}


def _bad_lines(raw: bytes, epoch: int, *, sealed: bool) -> Iterator[tuple[int, str]]:
    """(number, what is wrong) of lines that are no records, or do not follow each other.

    A torn end is left out, unless `sealed`: then every byte was promised.
    """
    offset = number = 0
    before: tuple[int, str] | None = None  # number and SHA-256 of the record before
    while offset < len(raw):
        number += 1
        end = raw.find(b"\n", offset) + 1 or len(raw)
        try:
            record, check = decode(raw[offset:end])
        except BadLine as error:
            if end < len(raw) or sealed or isinstance(error, Newer):
                yield number, str(error)
            before = None
        else:
            if record.epoch != epoch:
                yield number, f"misplaced: it is of run {record.run}"
            elif before and (record.seq, record.prev) != (before[0] + 1, before[1]):
                yield number, "it does not follow the record before it"
            before = record.seq, check
        offset = end


def _aside(found: ViewFile) -> str:
    """What lay in the place of a view when that was written again."""
    if found.problem.startswith("edited"):
        return "an edit by hand that was put aside"
    if found.problem:
        return f"a view that could not be read was put aside (torn, or a slip of an edit by hand): {found.problem}"
    return "a whole view that was put aside"


def _again(mark: Path) -> str:
    """The move that left a mark in the files of this machine."""
    return f"`alchemy scope migrate --to {'r2' if mark.name == MOVED else 'file'}`"


def _owner(root: Path) -> int:
    try:
        return root.stat().st_uid
    except OSError:
        return -1


def _shell(path: Path) -> str:
    """As it can be typed; what cannot be typed safely is shown escaped."""
    import shlex

    return shlex.quote(safe_text(path))

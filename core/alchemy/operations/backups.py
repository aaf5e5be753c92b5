"""The backups of a scope: their timeline, one more, pins, what no rule keeps, and how each differs from now.

Synchronous; nothing here takes a lock or writes to a journal. Neighbour: `restoring` goes back to one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from alchemy.errors import Refused, StateInvalid, StorageFailed, UsageError
from alchemy.model import comparison
from alchemy.model.backup import LONGEST_NOTE, Backup, BadBackup, Header
from alchemy.model.comparison import Comparison
from alchemy.model.consequences import consequences
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.records import Newer
from alchemy.model.retention import Pruning
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.operations.shapes import BackupInfo
from alchemy.store import backups as files
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.ledger import Ledger

_LATEST = re.compile(r"latest(?:~([0-9]{1,4}))?")
_SMALL = 4_000_000  # bytes of all backups together: below that it costs little to hold each against the one before


@dataclass(frozen=True, slots=True)
class Subject:
    """What was named: a scope or a resource in the journal of `owner`."""

    owner: ScopePath
    path: str

    @property
    def whole(self) -> bool:
        return self.path == str(self.owner)

    @property
    def kind(self) -> ScopeKind:
        """Of the owner, where no row says it."""
        parts = self.owner.parts
        if len(parts) == 1:
            return ScopeKind.APPLICATION
        return ScopeKind.TEST if len(parts) > 2 and parts[1] == "test" else ScopeKind.STAGE


def find_subject(store: Store, text: str) -> Subject:
    """Also of what is in a backup only. UsageError when no journal can hold it."""
    parts = text.split("/")
    owners = set(store.owners())
    prefixes = ["/".join(parts[:count]) for count in range(len(parts), 0, -1)]
    owner = next((prefix for prefix in prefixes if prefix in owners), "")
    stages = [path for path in sorted(owners) if path.startswith(f"{owner}/")]
    if owner and (store.has_journal(owner) or store.backups(owner) or (owner == text and not stages)):
        return Subject(ScopePath.parse(owner), text)
    if owner == text and owner:
        raise UsageError(
            f"{safe_text(text, 200)} holds no state of its own: its stages do",
            hint=f"name one of them: {', '.join(stages[:5])}",
        )
    raise UsageError(f"{safe_text(text, 200)} is not in the state", hint="`alchemy scope list` shows what is")


# -- looking ----------------------------------------------------------------------------------------------------


def listing(store: Store, owner: str) -> tuple[BackupInfo, ...]:
    """Newest first, from their headers only."""
    pinned = files.pins(store, owner)
    return tuple(_info(owner, header, pinned) for header in files.headers(store, owner))


def timeline(store: Store, scope: str, *, verify: bool = False) -> tuple[BackupInfo, ...]:
    """Newest first. `verify` reads each whole; steps are told where that costs little, or with `verify`."""
    owner = find_subject(store, scope).owner
    found = listing(store, str(owner))
    if not verify and (store.remote or sum(info.size for info in found) > _SMALL):
        return found
    return tuple(_with_steps(store, owner, found))


def _info(owner: str, header: Header, pinned: dict[str, str]) -> BackupInfo:
    return BackupInfo(
        scope=owner,
        file=header.file,
        taken=header.taken,
        reason=header.reason,
        serial=header.serial,
        resources=header.resources,
        size=header.size,
        problem=header.problem,
        note=header.note,
        pinned=header.file in pinned,
        pin=pinned.get(header.file, ""),
        by=header.by,
        seq=header.seq,
        epoch=header.epoch,
    )


def _with_steps(store: Store, owner: ScopePath, newest_first: Sequence[BackupInfo]) -> list[BackupInfo]:
    """Reads each once, newest first; two are in memory at a time."""
    found = list(newest_first)
    later: tuple[int, Fold] | None = None
    for number, info in enumerate(found):
        try:
            if info.problem:
                raise BadBackup(info.problem)
            fold = files.read_valid(store, owner, info.file).fold
        except (BadBackup, FileNotFoundError) as error:
            found[number] = replace(info, problem=str(error))
            continue
        if later is not None:
            found[later[0]] = _stepped(found[later[0]], later[1], fold)
        later = number, fold
    return found


def _stepped(info: BackupInfo, fold: Fold, before: Fold) -> BackupInfo:
    if fold.lineage != before.lineage:
        return info
    keys = {key for key, row in fold.resources.items() if not row.former}
    were = {key for key, row in before.resources.items() if not row.former}
    changed = sum(not comparison.same_row(before.resources[key], fold.resources[key]) for key in keys & were)
    return replace(info, steps=(len(keys - were), len(were - keys), changed))


def find(found: Sequence[BackupInfo], name: str, scope: str) -> BackupInfo:
    """By its name, a beginning of it that only one has (`state-` may be left out), `latest` or `latest~2`."""
    if not found:
        raise UsageError(f"there is no backup of {safe_text(scope, 200)}", hint="a run takes one before it changes")
    latest = _LATEST.fullmatch(name)
    if latest:
        whole = [info for info in found if not info.problem]
        back = int(latest[1] or 0)
        if back >= len(whole):
            bad = f" and {len(found) - len(whole)} damaged" if len(whole) < len(found) else ""
            said = f"there are {len(whole)} backups of {scope}{bad}, so there is no {name}"
            raise UsageError(said, hint=_way_out(scope))
        return whole[back]
    fitting = [
        info for info in found if name and info.file.removeprefix("state-").startswith(name.removeprefix("state-"))
    ]
    exact = [info for info in fitting if info.file == name]
    if exact or len(fitting) == 1:
        return (exact or fitting)[0]
    shown = safe_text(name, 100)
    if not fitting:
        raise UsageError(f"{scope} has no backup {shown!r}", hint=_way_out(scope))
    several = ", ".join(info.file for info in fitting[:3])
    raise UsageError(f"{shown!r} begins {len(fitting)} backups of {scope}: {several}", hint="type more of its name")


def passed_over(store: Store, owner: str, file: str) -> list[BackupInfo]:
    """Damaged ones that are newer than `file`: `latest` means the newest that is whole."""
    return [info for info in listing(store, owner) if info.problem and info.file > file]


def _way_out(scope: str) -> str:
    return f"`alchemy scope backups {safe_text(scope, 200)}` lists them"


def load(store: Store, subject: Subject, name: str) -> Backup:
    """The backup of that name, whole. StateInvalid proposes another when it is not."""
    found = listing(store, str(subject.owner))
    info = find(found, name, str(subject.owner))
    try:
        if info.problem:
            raise BadBackup(info.problem)
        return files.read_valid(store, subject.owner, info.file)
    except FileNotFoundError as error:
        raise UsageError(
            f"the backup {info.file} was removed in this moment", hint=_way_out(str(subject.owner))
        ) from error
    except BadBackup as error:
        others = [other.file for other in found if other.file != info.file and not other.problem]
        whole = next((file for file in others if not files.problem_of(store, subject.owner, file)), "")
        raise StateInvalid(
            f"the backup {info.file} is damaged: {error}",
            hint=f"the newest one that is whole is {whole}" if whole else "none of the others is whole either",
        ) from error


def compare(store: Store, scope: str, file: str = "latest") -> Comparison:
    """What restoring `file` would do now: what appears, vanishes, changes, and what that leads to."""
    subject = find_subject(store, scope)
    backup = load(store, subject, file)
    now, damage = state_of(store, subject)
    return hold_against(now, backup, subject, damage)


def state_of(store: Store, subject: Subject) -> tuple[Fold, str]:
    """(the state of the owner as stored now, why its journal cannot be read). Then it is the best that is known."""
    try:
        return store.read_fold(subject.owner), ""
    except StateInvalid as error:
        if isinstance(error.__cause__, Newer):  # what a later version wrote is no damage
            raise
        return store.salvage(subject.owner).fold, error.message


def hold_against(now: Fold, backup: Backup, subject: Subject, damage: str = "") -> Comparison:
    """Refused when they are not two states of one history, or when the subject is in neither."""
    then, header = backup.fold, backup.header
    if now.lineage and now.lineage != then.lineage:
        raise Refused(
            f"{header.file} is of another life of {subject.owner}: the two have no resource in common",
            hint=f"`alchemy scope backups {subject.owner}` lists the others; one of this life can be gone back to",
        )
    known = {*now.scopes, *now.resources, *then.scopes, *then.resources}
    if not subject.whole and subject.path not in known:
        raise UsageError(
            f"{safe_text(subject.path, 200)} is neither in the state nor in {header.file}", hint=_way_out(subject.path)
        )
    if damage and not subject.whole:
        raise StateInvalid(
            f"the journal of {subject.owner} cannot be read, so a part of it cannot be restored: {damage}",
            hint=f"restore the whole of it: `alchemy scope restore {subject.owner} --backup {header.file}`",
        )
    found = comparison.compare(now, then, subject.path, header.file, header.taken)
    found = replace(found, damage=damage)
    return replace(found, consequences=consequences(found, now, then))


# -- keeping ----------------------------------------------------------------------------------------------------


def take(store: Store, scope: str, *, note: str = "", pin: bool = False) -> BackupInfo:
    """One now, also while a run goes on: what it has recorded so far. StateInvalid when the journal is damaged."""
    owner = find_subject(store, scope).owner
    if len(note) > LONGEST_NOTE:
        raise UsageError(f"a note has at most {LONGEST_NOTE} characters, not {len(note)}", hint="shorten it")
    try:
        fold = store.read_fold(owner)
    except StateInvalid as error:
        raise StateInvalid(
            f"there is nothing whole to back up: {error.message}",
            hint=f"`alchemy scope restore {owner} --backup latest` goes back to the newest backup; {error.hint}",
        ) from error
    name = files.write_backup(store, fold, "on demand", note=note)
    if pin:
        store.mark_backup(owner, name, files.PIN, note)
    problem = files.problem_of(store, owner, name)
    if problem:
        raise StateInvalid(
            f"the backup {name} was written and does not read back: {problem}",
            hint="see to the disk, and take another one",
        )
    return find(listing(store, str(owner)), name, str(owner))


def assure(ledger: Ledger, reason: str) -> str:
    """A backup of what is stored, read back, that undoes what follows; "" when nothing is stored.

    The newest one when it is of the same serial: a glance at it is not enough to give everything up for it.
    """
    store, fold = ledger.store, ledger.fold
    if not fold.resources:
        return ""
    name = ledger.backup(reason) or _of_serial(store, fold) or ledger.backup(reason, always=True)
    problem = files.problem_of(store, fold.path, name)
    if problem:
        raise StorageFailed(
            f"nothing is changed: the backup of what is there now does not read back: {problem}",
            hint="see to the disk, and run the same command again",
        )
    return name


def _of_serial(store: Store, fold: Fold) -> str:
    for header in files.headers(store, fold.path):
        if (header.lineage, header.serial, header.problem) == (fold.lineage, fold.serial, ""):
            return "" if files.problem_of(store, fold.path, header.file) else header.file
    return ""


def set_pin(store: Store, scope: str, file: str, why: str | None) -> BackupInfo:
    """`why` may be empty; None takes the pin away."""
    owner = find_subject(store, scope).owner
    info = find(listing(store, str(owner)), file, str(owner))
    store.mark_backup(owner, info.file, files.PIN, why)
    if why is not None and info.file not in store.backups(owner):
        store.mark_backup(owner, info.file, files.PIN, None)
        raise UsageError(f"the backup {info.file} was removed before it was pinned", hint=_way_out(str(owner)))
    return replace(info, pinned=why is not None, pin=why or "")


def prune(store: Store, scope: str, *, dry_run: bool = False) -> Pruning:
    """Removes what no rule keeps; each is read whole before, so that a damaged one never counts for a good one."""
    owner = find_subject(store, scope).owner
    plan = files.plan_prune(store, owner, thorough=True)
    return plan if dry_run else replace(plan, remove=files.remove_backups(store, owner, plan.remove))

"""Moving all state from one store to another: `scope migrate --to r2`, `--to file`.

One write decides, everything before it can be done again; design: docs/decisions/0008-migration.md. Neighbours:
`store.moving` has the copies and the marks, `migrating` brings in what other tools wrote.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from alchemy.errors import Refused, StateInvalid
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.settings import Options
from alchemy.store import moving as copies
from alchemy.store.elsewhere import forget_bucket
from alchemy.store.files import Files
from alchemy.store.keyring import KEYS
from alchemy.store.ledger import Ledger, make_holder
from alchemy.store.moving import ARRIVING, MOVED, Mark, make_mark, means, place_of, read_mark
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store

_AUDIT = "audit"
_SPILL = "spill"


@dataclass(slots=True)
class Move:
    """What is to be moved. `begun`: an earlier try left marks; `decided`: it was moved, and only the end is missing."""

    source: Store
    target: Store
    apps: tuple[str, ...]
    owners: tuple[str, ...]
    resources: int = 0
    backups: int = 0
    begun: bool = False
    decided: bool = False
    notes: list[str] = field(default_factory=list)


def prepare_move(source: Store, target: Store) -> Move:
    """Looks at both sides and refuses what cannot be; writes nothing."""
    if means(place_of(source), target):
        raise Refused(f"{safe_text(source.place)} is the place already", hint="nothing has to be moved")
    moved = read_mark(source, MOVED)
    if moved is not None:
        if not means(moved.place, target):
            raise Refused(
                f"the state of {safe_text(source.place)} was moved to {safe_text(moved.place, 300)} already",
                hint="move it from there",
            )
        _refuse_gone(source, target)
        owners = _owners_of(target, moved.apps)
        missing = [app for app in moved.apps if app not in owners]
        if missing:
            raise Refused(
                f"{safe_text(source.place)} was moved to {safe_text(moved.place, 300)}, and {missing[0]} is not there",
                hint=f"somebody removed it: bring it back there, or remove {MOVED} in {safe_text(source.place)}, "
                "whose copy is as old as that file",
            )
        return Move(source, target, moved.apps, owners, begun=True, decided=True)
    all_owners = tuple(source.owners())
    apps = tuple(dict.fromkeys(owner.split("/")[0] for owner in all_owners))
    if not apps:
        raise Refused(f"{safe_text(source.place)} holds no state", hint="nothing has to be moved")
    move = Move(source, target, apps, all_owners)
    _look_at_source(move)
    _look_at_target(move)
    return move


def _look_at_source(move: Move) -> None:
    spilled = [name for name in Files().names(move.source.root / _SPILL) if name.endswith(".json")]  # not `done/`
    if spilled:
        raise Refused(
            f"{safe_text(move.source.root / _SPILL)} holds what a run could not commit: {safe_text(spilled[0], 200)}",
            hint="`alchemy scope recover` pushes it first, or remove it when it is of no use",
        )
    for owner in move.owners:
        fold = move.source.read_fold(owner)  # StateInvalid names what is damaged, and the way out
        move.resources += len(fold.resources)
        move.backups += len(move.source.backups(owner))
        if move.target.remote and fold.target is not None and fold.target.name == "local cloud":
            raise Refused(
                f"{owner} is deployed to the local cloud of this machine, which nobody else can reach",
                hint=f"`alchemy destroy {owner}` first, and deploy it to a Cloudflare account",
            )


def _refuse_gone(source: Store, target: Store) -> Mark | None:
    """The mark of a move from the target to here; Refused when its state went elsewhere."""
    gone = read_mark(target, MOVED)
    if gone is not None and not means(gone.place, source):
        raise Refused(
            f"{safe_text(target.place)} was moved to {safe_text(gone.place, 300)}",
            hint="its state is there now: use that place, or move it on from there",
        )
    return gone


def _look_at_target(move: Move) -> None:
    gone = _refuse_gone(move.source, move.target)
    there = {owner.split("/")[0] for owner in move.target.owners()}
    for app in move.apps:
        mark = read_mark(move.target, f"{app}/{ARRIVING}")
        move.begun = move.begun or mark is not None
        if mark is not None and not means(mark.place, move.source):
            raise Refused(
                f"{app} is on its way into {safe_text(move.target.place)} from {safe_text(mark.place, 300)}",
                hint=f"finish that move first, or remove {safe_text(move.target.place)}/{app}",
            )
        if mark is None and app in there and not gone:
            raise Refused(
                f"{safe_text(move.target.place)} holds an application {app} already",
                hint="move to another bucket, prefix or directory; two states of one application cannot be joined",
            )


def _owners_of(store: Store, apps: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(owner for owner in store.owners() if owner.split("/")[0] in apps)


async def move_state(
    move: Move, options: Options, *, waiting: Callable[[str], None] | None = None, told: Callable[[str], None]
) -> None:
    """Does it, or what is left of it. `told` hears each scope that was copied."""
    move.source.meant = move.target.meant = True  # that both have something is what is being changed
    move.source.prepare()
    move.target.prepare()
    if not move.decided:
        for app in move.apps:
            _announce(move, app)
        async with AsyncExitStack() as held:
            for store in (move.source, move.target):
                for app in move.apps:
                    await _hold(held, store, ScopePath.parse(app), options, waiting)
            if not _decided_meanwhile(move):
                await _copy(move, options, told)
    await _finish(move, options)


def _decided_meanwhile(move: Move) -> bool:
    """While we waited for the locks somebody else may have moved it, and others gone on with it there."""
    moved = read_mark(move.source, MOVED)
    if moved is not None and means(moved.place, move.target):
        return True
    marks = [read_mark(move.target, f"{app}/{ARRIVING}") for app in move.apps]
    if moved is None and all(mark is not None and means(mark.place, move.source) for mark in marks):
        return False
    raise Refused(
        f"somebody else moved the state of {safe_text(move.source.place)} meanwhile",
        hint="`alchemy scope list` on both places shows where it is; nothing more was moved",
    )


async def _copy(move: Move, options: Options, told: Callable[[str], None]) -> None:
    """With every lock held: all of it, read back, and then the one write that decides."""
    folds = {owner: await _closed(move.source, owner, options) for owner in move.owners}
    _refuse_others(move)
    move.owners = tuple(move.source.owners())
    for owner in move.owners:
        if owner not in folds:  # made by a run that we waited for
            folds[owner] = await _closed(move.source, owner, options)
    for fold in folds.values():
        _copy_owner(move, fold)
        told(fold.path)
    _copy_rest(move)
    _verify(move, list(folds.values()))
    _refuse_others(move)
    mark = make_mark(move.target, move.apps, move.target.clock.now())
    shelf_of(move.source).replace(MOVED, mark.to_bytes())  # from here on the other place counts


def _refuse_others(move: Move) -> None:
    """An application that appeared meanwhile: nobody holds its lock."""
    others = {owner.split("/")[0] for owner in move.source.owners()} - {*move.apps}
    if others:
        raise Refused(
            f"{min(others)} appeared in {safe_text(move.source.place)} meanwhile: nothing was moved",
            hint="run the command again, which moves it too",
        )


def _announce(move: Move, app: str) -> None:
    mark = make_mark(move.source, (app,), move.source.clock.now())
    path = f"{app}/{ARRIVING}"
    if read_mark(move.target, path) is None and not shelf_of(move.target).create(path, mark.to_bytes()):
        raise Refused(
            f"somebody else moves {app} into {safe_text(move.target.place)} at this moment",
            hint="find out who, then run the command again",
        )


async def _hold(
    held: AsyncExitStack, store: Store, path: ScopePath, options: Options, waiting: Callable[[str], None] | None
) -> None:
    lease = await store.acquire(path, timeout=options.lock_timeout, waiting=waiting)
    held.callback(lease.release)
    lease.publish(make_holder(store, path, 0, "migrate"))


async def _closed(store: Store, owner: str, options: Options) -> Fold:
    """The journal after a run of ours: whoever had it open before can write no longer."""
    path, fold = ScopePath.parse(owner), store.read_fold(owner)
    kind = fold.kind
    if kind is None:
        return fold  # an application that only has stages
    ledger = await Ledger.open(
        store, path, kind, purpose="migrate", timeout=options.lock_timeout, locking=False, held_by_person=True
    )
    ledger.close(outcome="done", counts={}, failures=[])
    return store.read_fold(owner)


def _copy_owner(move: Move, fold: Fold) -> None:
    source, target = shelf_of(move.source), shelf_of(move.target)
    copies.clear(move.target, fold.path)
    copies.carry(source, target, f"{fold.path}/backups")
    if fold.seq:
        copies.seed(move.target, fold, copies.history(move.source, fold))
    else:
        move.target.ensure_application(ScopePath.parse(fold.path))


def _copy_rest(move: Move) -> None:
    source, target = shelf_of(move.source), shelf_of(move.target)
    for app in move.apps:
        copies.carry(source, target, app, (KEYS,))
    copies.carry(source, target, _AUDIT, extra=True)
    for owner in _owners_of(move.target, move.apps):
        if owner not in move.owners:  # of an earlier try: it was destroyed there meanwhile
            copies.clear(move.target, owner)
            copies.carry(source, target, f"{owner}/backups")


def _verify(move: Move, folds: list[Fold]) -> None:
    """Everything is read back; StateInvalid names what is not the same, and then nothing was moved."""
    source, target = shelf_of(move.source), shelf_of(move.target)
    for fold in folds:
        if move.source.read_fold(fold.path).seq != fold.seq:
            raise Refused(
                f"a run without a lock wrote to {fold.path} meanwhile: nothing was moved",
                hint="let it end, then run the command again",
            )
        if not copies.same_fold(fold, move.target.read_fold(fold.path)):
            raise _different(move, fold.path)
        folder = f"{fold.path}/backups"
        wrong = copies.differing(source, target, folder, source.names(folder))
        if wrong:
            raise _different(move, f"{folder}/{wrong}")
    for app in move.apps:
        if source.read(f"{app}/{KEYS}") != target.read(f"{app}/{KEYS}"):
            raise _different(move, f"{app}/{KEYS}")


def _different(move: Move, what: str) -> StateInvalid:
    return StateInvalid(
        f"{safe_text(what)} in {safe_text(move.target.place)} is not what was copied there: nothing was moved",
        hint=f"{safe_text(move.source.place)} still counts; run the command again, `alchemy doctor` tries the store",
    )


async def _finish(move: Move, options: Options) -> None:
    """The new place opens; a run in each journal writes its views and tells its log."""
    target = shelf_of(move.target)
    target.remove(MOVED)  # it was moved away from here once
    for app in move.apps:
        if target.read(f"{app}/{ARRIVING}") is None:
            continue
        forget_bucket(move.target, app)
        target.remove(f"{app}/{ARRIVING}")
        for owner in (owner for owner in move.owners if owner.split("/")[0] == app):
            path, kind = ScopePath.parse(owner), move.target.read_fold(owner).kind
            if kind in (ScopeKind.STAGE, ScopeKind.TEST):
                move.target.ensure_application(path)
            if kind is not None:
                timeout = options.lock_timeout
                ledger = await Ledger.open(
                    move.target, path, kind, purpose="migrate", timeout=timeout, held_by_person=True
                )
                ledger.close(outcome="done", counts={}, failures=[])

"""The proposals the dashboard can make: unlock, reserve, back up, go back, undo. Each in words, none of them done here.

Neighbours: `proposal` is their shape, `store.deeds` does them, `screens.confirm` asks.
"""

from __future__ import annotations

from collections.abc import Callable

from alchemy.operations.shapes import BackupInfo, Comparison, LockView, Verdict
from alchemy_tui.action import Danger, command_line
from alchemy_tui.present import lock as lock_words
from alchemy_tui.present import times
from alchemy_tui.present.comparison import comparison, consequences, headline
from alchemy_tui.present.line import BLANK, Line, Tone, line, wrap
from alchemy_tui.present.scene import Scene
from alchemy_tui.proposal import Answers, Proposal, Said
from alchemy_tui.session import Situation
from alchemy_tui.store.deeds import Deeds

_DANGER = {
    Verdict.HELD: Danger.HARD,
    Verdict.STALE: Danger.HARD,
    Verdict.UNKNOWN: Danger.IRREVERSIBLE,
    Verdict.LIVE: Danger.FORBIDDEN,
}
_MEANS = {
    Verdict.HELD: "A person keeps runs out. Unlocking lets them in again.",
    Verdict.STALE: "Its run is dead. Unlocking tidies up; the next deploy looks up what the run had announced.",
    Verdict.UNKNOWN: "Nothing proves that its run is dead. Should it live, it stops at its next write, and what it "
    "knew goes into a file that can be written later: no state is lost. Its calls in flight may still take effect.",
    Verdict.LIVE: "Its run is at work. It stops at its next write, and what it knew goes into a file. Better: ask "
    "whoever runs it to press Ctrl-C, which ends it in seconds and leaves nothing open.",
}


def danger_of(lock: LockView) -> Danger:
    return _DANGER.get(lock.verdict, Danger.LOOK)


def unlock(situation: Situation, deeds: Deeds, lock: LockView) -> Proposal:
    """`lock` as the core explained it a moment ago; its token names exactly this holder."""

    forced = lock.verdict in (Verdict.LIVE, Verdict.UNKNOWN)

    async def act(answers: Answers) -> Said:
        report = await deeds.unlock(lock.path, token=lock.token, reason=answers.reason, force=forced)
        if report.outcome == "free":
            return Said(f"{lock.path} was free already")
        count = len(report.interrupted)
        left = f"{count} call{'s' * (count != 1)} without a known end; " if count else ""
        then = f"next: {report.next[0]}" if report.next else ""
        return Said(f"Unlocked {lock.path}", left + then, "warning" if count else "information")

    def cli(answers: Answers) -> str:
        words = ["scope", "unlock", lock.path, "--token", lock.token]
        words += ["--force"] if forced else []
        return command_line(situation, *words, *(["--reason", answers.reason] if answers.reason else []))

    def mark(scene: Scene) -> object:
        now = scene.locks.get(lock.path)
        return (now.verdict, now.token) if now else None

    return Proposal(
        label="unlock",
        title=f"Unlock {lock.path}",
        verb="Unlock",
        subject=lock.path,
        danger=danger_of(lock),
        lines=lambda scene, width: lock_words.details(scene, lock, width),
        warnings=lambda scene, width: wrap(_MEANS.get(lock.verdict, ""), width),
        act=act,
        cli=cli,
        mark=mark,
        reason="why, for the log and the holder (may be left out)",
    )


def hold(situation: Situation, deeds: Deeds, scope: str, seen: LockView | None = None) -> Proposal:
    """`seen`: the lock of the scope a moment ago. A reservation that is there already is named, and replaced."""
    before = seen.hold if seen else None
    means = (
        f"Keeps deploy, destroy and cleanup out of {scope}, for that time or until somebody unlocks it. They are told "
        "your reason and stop with exit code 3. Looking and planning go on as before."
    )

    def warnings(scene: Scene, width: int) -> list[Line]:
        if before is None:
            return wrap(means, width)
        until = f"until {times.exact(before.until)}" if before.until else "until somebody unlocks it"
        out = wrap(f"{scene.glyphs.lock_held} {scope} is reserved already by {before.by}, {until}:", width, Tone.WARN)
        out += [*wrap(before.reason, width, Tone.STRONG, 2), BLANK]
        return out + wrap(f"Yours takes the place of that one. {means}", width)

    async def act(answers: Answers) -> Said:
        held = await deeds.hold(scope, reason=answers.reason, seconds=times.lasting(answers.lasting))
        until = f" until {times.exact(held.hold.until)}" if held.hold and held.hold.until else ""
        return Said(f"Reserved {held.path}{until}", answers.reason)

    def cli(answers: Answers) -> str:
        lasting = ["--for", answers.lasting] if answers.lasting else []
        return command_line(situation, "scope", "lock", scope, "--reason", answers.reason or "…", *lasting)

    def mark(scene: Scene) -> object:
        now = scene.locks.get(scope)
        return now.hold if now else None

    return Proposal(
        label="reserve",
        title=f"Reserve {scope}" + (" anew" if before else ""),
        verb="Reserve",
        subject=scope,
        danger=Danger.HARD,
        warnings=warnings,
        act=act,
        cli=cli,
        mark=mark,
        reason="why runs have to stay out",
        reason_needed=True,
        lasting="30m, 2h, 1d; empty: until somebody unlocks",
    )


def back_up(situation: Situation, deeds: Deeds, scope: str) -> Proposal:
    def warnings(scene: Scene, width: int) -> list[Line]:
        return wrap(f"Writes a backup of {scope} as it is now. A note makes it easier to find again.", width)

    def cli(answers: Answers) -> str:
        note = ["--note", answers.reason] if answers.reason else []
        return command_line(situation, "scope", "backup", scope, *note)

    async def act(answers: Answers) -> Said:
        made = await deeds.back_up(scope, answers.reason)
        return Said(f"Backed up {made.scope}", f"{made.resources} resources in {made.file}")

    return Proposal(
        label="backup",
        title=f"Back up {scope}",
        verb="Back up",
        subject=scope,
        danger=Danger.REVERSIBLE,
        warnings=warnings,
        act=act,
        cli=cli,
        reason="a note (may be left out)",
    )


def pin(situation: Situation, deeds: Deeds, backup: BackupInfo) -> Proposal:
    flag, verb = ("--unpin", "Unpin") if backup.pinned else ("--pin", "Pin")
    said = "From now on the rules may remove it." if backup.pinned else "From now on no rule removes it."

    async def act(answers: Answers) -> Said:
        deeds.pin(backup.scope, backup.file, None if backup.pinned else answers.reason)
        return Said(f"{verb}ned {backup.file}")

    return Proposal(
        label=verb.lower(),
        title=f"{verb} a backup",
        verb=verb,
        subject=backup.scope,
        danger=Danger.REVERSIBLE,
        warnings=lambda scene, width: [*wrap(backup.file, width, Tone.STRONG), *wrap(said, width)],
        act=act,
        cli=lambda _: command_line(situation, "scope", "backups", backup.scope, flag, backup.file),
    )


def restore(
    situation: Situation, deeds: Deeds, found: Comparison, backup: BackupInfo, *, protected: bool, undoing: bool = False
) -> Proposal:
    """`found` is what is on screen: the serial it was compared at is the only one the restore takes."""

    def warnings(scene: Scene, width: int) -> list[Line]:
        when = f"{times.ago(backup.taken, scene.now)}, {backup.reason}" if backup.taken else backup.file
        out = wrap(f"{found.scope} as it was {when}", width, Tone.STRONG)
        out.append(line(("now serial ", Tone.DIM), str(found.serial_now), "   ", *headline(scene, found)))
        return [*out, *consequences(scene, found, width)]

    async def act(_: Answers) -> Said:
        report = await deeds.restore(found.scope, found.file, expect_serial=found.serial_now)
        if report.unchanged:
            return Said(f"{found.scope} is as in the backup already")
        text = f"{report.restored} rows set, {report.forgotten} left the state; U takes it back"
        return Said(f"{'Undone' if undoing else 'Restored'}: {found.scope}", text)

    words = ["scope", "restore", found.scope, "--backup", found.file, "--expect-serial", str(found.serial_now)]
    return Proposal(
        label="undo" if undoing else "restore",
        title=f"Undo the restore of {found.scope}" if undoing else f"Restore {found.scope}",
        verb="Undo" if undoing else "Restore",
        subject=found.scope,
        danger=Danger.HARD if protected else Danger.REVERSIBLE,
        lines=lambda scene, width: comparison(scene, found, width),
        warnings=warnings,
        act=act,
        cli=lambda _: command_line(situation, *words),
        mark=_serial_of(found.owner),
    )


def _serial_of(owner: str) -> Callable[[Scene], object]:
    """Runs tell that the state moved: each opens an epoch."""

    def mark(scene: Scene) -> object:
        last = scene.last_run(owner)
        return (last.run, last.outcome) if last else None

    return mark

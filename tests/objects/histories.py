"""Runs of one stage over a bad network, and what must be true of them at every moment (invariants I1 to I7).

`Truth` sees every record at the moment it is first written; runs tell it what they were told. A Violation names the
invariant. Take-over is allowed at any moment, which is worse than any clock: nobody here ever waits for a lease.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from alchemy.errors import Fenced
from alchemy.model.fold import Fold
from alchemy.model.records import Drop, Put, Record, decode, encode
from alchemy.model.values import ResourceState, ScopeKind, Status
from alchemy.store.objects.epochs import Writer
from alchemy.store.objects.keys import Keys, number
from alchemy.store.objects.limits import Limits
from alchemy.store.objects.log import Log
from alchemy.store.objects.requests import Pause, Steps
from tests.model import rows
from tests.objects.explorer import CALM, DROWSY, SILENCE, Act, Network, Violation, World

KEYS = Keys()
STAGE = "a/p"
LIMITS = Limits(patience=1e9, history=0, sweep=3)
ADDRESSES = [f"{STAGE}/r{n}" for n in range(4)]


def _row(address: str, status: Status) -> ResourceState:
    return rows.row(address, status=status, outputs={} if status is Status.CREATING else {"id": "1"})


INTENT = {a: Put(_row(a, Status.CREATING), phase="intent", action="create").to_json() for a in ADDRESSES}
RESULT = {a: Put(_row(a, Status.READY), phase="result", action="create").to_json() for a in ADDRESSES}
OWN_ROW = Put(rows.scope(STAGE, ScopeKind.STAGE)).to_json()


def picture(fold: Fold) -> tuple[Any, ...]:
    """Everything a later run could see; rows are immutable, so this stays as it is."""
    known = (fold.seq, fold.epoch, fold.serial, fold.prev, fold.next_seq, fold.holder, fold.released, fold.last_release)
    return (*known, dict(fold.resources), dict(fold.scopes), dict(fold.stamps))


class Truth:
    """The records as they were first written, their fold after each, and the cloud."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.records: list[Record] = []
        self.fold = Fold(STAGE)
        self.pictures = [picture(self.fold)]
        self.acked = 0  # the highest number somebody was told of
        self.cloud: set[str] = set()
        self.sent: dict[bytes, tuple[Record, str]] = {}  # what runs write, and what it means
        self.fenced = 0
        world.on_create = self.created

    def created(self, key: str, body: bytes) -> None:
        seq = number(key, KEYS.journal(STAGE))
        if not seq:
            return
        record, check = self.sent.get(body) or decode(body)
        if seq <= len(self.records):
            snapshots = [number(other, KEYS.snapshots(STAGE)) for other in self.world.objects if "/snapshots/" in other]
            if max(snapshots, default=0) < seq:
                raise Violation(f"I1: record {seq} was written twice")
            return  # where a record was that a snapshot stands for: nobody reads it
        if seq != len(self.records) + 1:
            raise Violation(f"I1: record {seq} was written before {len(self.records) + 1}")
        if record.epoch < self.fold.epoch or (record.kind == "open") != (record.epoch > self.fold.epoch):
            raise Violation(f"I3: record {seq} is of epoch {record.epoch}, and epoch {self.fold.epoch} was open")
        self.records.append(record)
        self.fold.apply(record, check)
        self.pictures.append(picture(self.fold))

    def told(self, record: Record) -> None:
        """Somebody was told that it counts."""
        if len(self.records) < record.seq or self.records[record.seq - 1].wid != record.wid:
            raise Violation(f"I2: record {record.seq} of epoch {record.epoch} was acknowledged and does not count")
        self.acked = max(self.acked, record.seq)

    def loaded(self, log: Log, acked: int) -> None:
        """Somebody read it all; `acked` was acknowledged before he began."""
        if log.fold.seq < acked:
            raise Violation(f"I2: record {acked} was acknowledged, and a later load ends at {log.fold.seq}")
        if picture(log.fold) != self.pictures[log.fold.seq]:
            raise Violation(f"I4: what was loaded is not the fold of the records up to {log.fold.seq}")

    def refused(self, epoch: int) -> None:
        """Somebody who had `epoch` open was told that a later one is."""
        self.fenced += 1
        if self.fold.epoch <= epoch:
            raise Violation(f"L2: a run was fenced, and epoch {epoch} is still the newest")

    def make(self, address: str) -> None:
        """The call arrives at the cloud."""
        if address not in self.fold.resources:
            raise Violation(f"I6: {address} is made, and no reader can know of it")
        self.cloud.add(address)


class Run:
    """One process run: opens the stage, makes things, releases."""

    def __init__(
        self, truth: Truth, name: str, writer: type[Writer] = Writer, *, intents: bool = True, patient: bool = False
    ) -> None:
        self.truth = truth
        self.dice = truth.world.dice
        self.name = name
        self.intents = intents
        self.patient = patient  # waits for a release as long as there is hope
        self.writer = writer(KEYS, STAGE, LIMITS)
        self.epoch = 0
        self.count = 0

    def record(
        self, kind: str, ops: Sequence[dict[str, Any]], body: dict[str, Any] | None = None
    ) -> tuple[Record, bytes, str]:
        """(the record, its line, its checksum)."""
        fold, self.count = self.writer.fold, self.count + 1
        record = Record(
            seq=fold.seq + 1,
            epoch=self.epoch,
            session=self.name,
            wid=f"{self.name}-{self.count}",
            kind=kind,
            at="2024-01-15T10:30:00.000Z",
            prev=fold.prev,
            serial=fold.serial + (1 if ops else 0),
            ops=tuple(ops),
            body=body or {},
        )
        line, check = encode(record)
        self.truth.sent[line] = record, check
        return record, line, check

    def open(self, seen: int | None = None) -> Steps[bool]:
        """False when `seen` is not the newest epoch any more."""
        writer, waits = self.writer, 40 if self.patient else self.dice.randrange(3)
        while True:
            yield from self.load()
            if seen is not None and writer.fold.epoch != seen:
                return False
            if not writer.fold.released and waits and seen is None:
                waits -= 1
                yield Pause(5.0)
                continue
            self.epoch = writer.fold.epoch + 1
            holder = {"path": STAGE, "epoch": self.epoch, "session": self.name, "pid": 1, "process_start": ""}
            holder |= dict.fromkeys(("boot_id", "host", "user", "command", "since", "purpose"), "")
            ops = [] if STAGE in writer.fold.scopes else [OWN_ROW]
            record, line, check = self.record("open", ops, {"holder": holder})
            if (yield from writer.open(record, line)):
                self.truth.told(record)
                writer.fold.apply(record, check)
                return True

    def load(self) -> Steps[None]:
        acked = self.truth.acked
        yield from self.writer.load()
        self.truth.loaded(self.writer, acked)

    def commit(self, kind: str, ops: Sequence[dict[str, Any]], body: dict[str, Any] | None = None) -> Steps[None]:
        record, line, check = self.record(kind, ops, body)
        try:
            yield from self.writer.append(record, line)
        except Fenced:
            self.truth.refused(self.epoch)
            raise
        self.truth.told(record)
        self.writer.fold.apply(record, check)

    def deploy(self) -> Steps[None]:
        """Resumes what was begun, makes some things, compacts now and then, releases."""
        yield from self.open()
        keen = self.dice.choice((0.1, 0.9))
        begun = [row.address for row in self.writer.fold.resources.values() if row.status is Status.CREATING]
        done: list[dict[str, Any]] = []
        for address in begun + [self.dice.choice(ADDRESSES) for _ in range(self.dice.randint(1, 3))]:
            if self.intents:
                yield from self.commit("commit", [*done, INTENT[address]])
                done = []
            yield Act(lambda address=address: self.truth.make(address))  # type: ignore[misc]
            done.append(RESULT[address])
            if self.dice.random() < 0.3:
                yield from self.commit("commit", done)
                done = []
            if self.dice.random() < keen:
                yield from self.writer.compact()
        yield from self.commit("commit", done)
        if self.dice.random() < keen:
            yield from self.writer.compact()
        yield from self.commit("release", [], {"outcome": "done"})
        if self.dice.random() < 0.5:
            yield from self.writer.compact()

    def unlock(self) -> Steps[None]:
        """By force: the epoch that was seen, and no other one."""
        yield from self.load()
        seen = self.writer.fold.epoch
        yield Pause(self.dice.random() * 10)
        if (yield from self.open(seen)):
            yield from self.commit("release", [], {"outcome": "unlocked"})

    def finish(self) -> Steps[None]:
        """The last one: looks up what was begun, then destroys everything."""
        yield from self.open()
        folded = self.writer.fold.resources
        for address in list(folded):
            if folded[address].status is Status.CREATING and address not in self.truth.cloud:
                yield from self.commit("commit", [Drop(address).to_json()])
        if left := self.truth.cloud - set(folded):
            raise Violation(f"I7: {sorted(left)} are in the cloud, and no row knows of them")
        yield from self.commit("release", [], {"outcome": "done"})


def follow(truth: Truth, times: int) -> Steps[None]:
    """A reader, say the dashboard."""
    log = Log(KEYS, STAGE)
    for _ in range(times):
        acked = truth.acked
        yield from log.poll()
        truth.loaded(log, acked)
        yield Pause(3.0)


def explore(
    seed: int,
    writer: type[Writer] = Writer,
    *,
    network: Network | None = None,
    intents: bool = True,
    patient: bool = False,
) -> Truth:
    """One schedule. Raises Violation when an invariant does not hold."""
    dice = random.Random(seed)
    random.seed(seed)  # the protocol's own jitter
    world = World(dice, network or (DROWSY if seed % 2 else Network()))
    truth = Truth(world)
    crashes = []
    for n in range(dice.randint(2, 6)):
        run = Run(truth, f"run{n}", writer, intents=intents, patient=patient)
        client = world.start(run.name, run.deploy(), at=dice.random() * dice.choice((1.0, 60.0)))
        if not patient and dice.random() < 0.3:
            crashes.append(client)
    if dice.random() < 0.3:
        world.start("unlock", Run(truth, "unlock", writer).unlock(), at=dice.random() * 30)
    if dice.random() < 0.4:
        world.start("reader", follow(truth, 5), at=dice.random() * 20)
    for client in crashes:
        world.after(dice.random() * 60, lambda client=client: world.crash(client))  # type: ignore[misc]
    world.run()
    for client in world.clients:
        if client.error and not isinstance(client.error, Fenced) and client.error.message != SILENCE:
            raise Violation(f"L2: {client.name} could not go on, and nobody stood in its way: {client.error}")
    world.network = CALM
    last = Run(truth, "last", writer)
    client = world.start("last", last.finish())
    world.run(world.now + 10_000)
    if not client.done or client.error:
        raise Violation(f"L1: when everything was quiet, nobody could open the stage: {client.error}")
    return truth

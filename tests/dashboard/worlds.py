"""Worlds to look at: Views made by hand, and a source that hands them out.

Hand-made, because a view of a dead holder, a torn file and a run half-way is one line here and a page of processes
elsewhere; that real state looks the same is shown by `test_real_state`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alchemy.model.events import (
    BackupTaken,
    ChangeEnded,
    ChangeRetried,
    ChangeStarted,
    Entry,
    Event,
    LockTaken,
    Noted,
    RunEnded,
    RunStarted,
)
from alchemy.model.runview import RunView
from alchemy.model.values import Holder, ResourceState, ScopeKind, ScopeState, Status, Target
from alchemy.operations.shapes import (
    BackupInfo,
    Finding,
    Health,
    LockView,
    ResourceNode,
    RunSummary,
    ScopeNode,
    Verdict,
    View,
)

NOW = datetime(2026, 9, 20, 8, 56, 7, tzinfo=UTC)
TARGET = Target(account="a1b2c3d4e5f60718293a4b5c6d7e8f90", name="local cloud")
HOSTILE = (
    "aws[prod]",
    "x[/",
    "x[$primary]y",
    "a\\[b]",
    "esc\x1b[2Jape",
    "\x9b31mc1",
    "title\x1b]0;pwned\x07",
    "rtl\u202egnp.exe",
    "zero\u200bwidth",
    "tab\tand\nnewline",
    "[@click=app.quit]click me[/]",
    "naïve-日本語-🧪",
    "n" * 200,
)


def ago(**passed: float) -> str:
    return (NOW - timedelta(**passed)).isoformat()


class World:
    """Builds a View row by row."""

    def __init__(self, root: str = "/site/shop/.alchemy") -> None:
        self.root = root
        self.scopes: dict[str, ScopeNode] = {}
        self.resources: dict[str, ResourceNode] = {}
        self.locks: list[LockView] = []
        self.runs: dict[str, tuple[RunSummary, ...]] = {}
        self.active: dict[str, RunView] = {}
        self.findings: list[Finding] = []
        self.logs: dict[tuple[str, str], list[Entry]] = {}
        self.saved: dict[str, tuple[BackupInfo, ...]] = {}
        self.torn: dict[str, str] = {}

    def scope(self, path: str, health: Health = Health.OK, problem: str = "", **values: Any) -> World:
        depth = path.count("/")
        kind = values.pop("kind", (ScopeKind.APPLICATION, ScopeKind.STAGE)[depth] if depth < 2 else ScopeKind.NESTED)
        owner = path if kind != ScopeKind.NESTED else self.scopes[path.rpartition("/")[0]].owner
        row = ScopeState(
            path=path, kind=kind, created_at=ago(days=12), updated_at=ago(minutes=16), last_run="R-16", target=TARGET
        )
        self.scopes[path] = ScopeNode(path, kind, owner, None if problem else row, health=health, problem=problem)
        parent = self.scopes.get(path.rpartition("/")[0])
        if parent:
            self.scopes[parent.path] = replace(parent, children=(*parent.children, path))
        return self

    def resource(self, address: str, kind: str, health: Health = Health.OK, **values: Any) -> World:
        scope, _, id = address.rpartition("/")
        made: dict[str, Any] = {
            "kind": kind,
            "status": Status.READY,
            "physical_name": f"shop-prod-{id}"[:63].lower(),
            "token": "t",
            "props": {},
            "props_hash": "h",
            "outputs": {"id": f"{zlib.crc32(address.encode()):08x}"},
            "created_at": ago(days=12, minutes=3),
            "updated_at": ago(hours=2, minutes=4),
            "run": "R-16",
            "account": TARGET.account,
        }
        view, problem = values.pop("view", f"{scope}/resources/{id}/state.json"), values.pop("problem", "")
        state = ResourceState(address=address, **{**made, **values})
        owner = self.scopes[scope].owner
        self.resources[state.key] = ResourceNode(state, owner, health, problem=problem, view=view)
        node = self.scopes[scope]
        self.scopes[scope] = replace(node, resources=(*node.resources, state.key))
        return self

    def lock(self, path: str, verdict: Verdict, age: float, *evidence: str, you: bool = False, **holder: Any) -> World:
        made: dict[str, Any] = {
            "path": path,
            "epoch": 17,
            "session": "5c1e77aa",
            "pid": 991,
            "process_start": "1",
            "boot_id": "b",
            "host": "runner-9",
            "user": "ci",
            "command": "alchemy deploy --stage prod",
            "since": ago(seconds=age),
            "purpose": "deploy",
        }
        self.locks.append(LockView(path, verdict, Holder(**{**made, **holder}), evidence, age, you))
        return self

    def run(self, scope: str, number: int, outcome: str, counts: dict[str, int], **values: Any) -> World:
        made: dict[str, Any] = {
            "purpose": "deploy",
            "who": "ana@laptop",
            "pid": 4120 + number,
            "command": "alchemy deploy",
            "started_at": ago(hours=2 * (20 - number), minutes=3),
            "ended_at": ago(hours=2 * (20 - number)),
            "took": 41.2,
        }
        made |= values
        summary = RunSummary(scope, f"R-{number}", number, outcome=outcome, counts=counts, **made)
        self.runs[scope] = (summary, *self.runs.get(scope, ()))
        return self

    def log(self, scope: str, run: str, *events: tuple[float, Event]) -> World:
        """Pairs of (seconds before NOW, event)."""
        self.logs[(scope, run)] = [
            Entry(run, number, ago(seconds=seconds), event) for number, (seconds, event) in enumerate(events, 1)
        ]
        return self

    def going(self, scope: str, run: str) -> World:
        """The run of that log is not over."""
        view = RunView(scope)
        for entry in self.logs[(scope, run)]:
            view.apply(entry)
        self.active[scope] = view
        summary = RunSummary(
            scope,
            run,
            int(run[2:]),
            view.purpose,
            view.who,
            view.pid,
            view.command,
            view.started_at,
            "",
            "running",
            26.0,
            dict(view.counts),
        )
        self.runs[scope] = (summary, *self.runs.get(scope, ()))
        return self

    def view(self, version: int = 1) -> View:
        used: dict[str, list[str]] = {}
        for node in self.resources.values():
            for to in node.state.depends_on:
                used.setdefault(to, []).append(node.state.address)
        resources = {key: replace(node, used_by=tuple(used.get(key, ()))) for key, node in self.resources.items()}
        scopes = {}
        for path, scope in self.scopes.items():
            total = sum(1 for key in resources if key.startswith(f"{path}/"))
            scopes[path] = replace(scope, total=total)
        return View(
            version=version,
            root=self.root,
            applications=tuple(path for path in scopes if "/" not in path),
            scopes=scopes,
            resources=resources,
            locks=tuple(self.locks),
            runs=dict(self.runs),
            active=dict(self.active),
            findings=tuple(self.findings),
        )


@dataclass
class HandMade:
    """A source that gives whatever `world` says. Counts its calls."""

    world: World
    root: Path = Path("/site/shop/.alchemy")
    version: int = 1
    refreshed: int = 0
    failing: Exception | None = None
    _view: View | None = None
    _made_for: tuple[int, int] = (0, 0)
    polled: dict[str, int] = field(default_factory=dict)

    pace: float = 2.0

    def changed(self) -> None:
        """The world was changed: the next look gives a new view."""
        self.version += 1

    def refresh(self, *, full: bool = False) -> View:
        self.refreshed += 1
        if self.failing:
            raise self.failing
        key = (id(self.world), self.version)
        if self._view is None or self._made_for != key:
            self._view, self._made_for = self.world.view(self.version), key
        return self._view

    def watch_paths(self) -> list[Path]:
        return [self.root]

    def entries(self, scope: str, run: str = "", limit: int = 1000) -> list[Entry]:
        runs = self.world.runs.get(scope, ())
        wanted = run or (runs[0].run if runs else "")
        return list(self.world.logs.get((scope, wanted), []))[-limit:]

    def backups(self, scope: str) -> Sequence[BackupInfo]:
        return self.world.saved.get(scope, ())

    def state_text(self, subject: str) -> str:
        import json

        if subject in self.world.torn:
            return self.world.torn[subject]
        node = self.world.resources.get(subject)
        scope = self.world.scopes.get(subject)
        state = node.state.to_json() if node else scope.row.to_json() if scope and scope.row else {}
        return json.dumps(state, ensure_ascii=False)

    def follow(self, scope: str) -> _Follow:
        return _Follow(self, scope)


@dataclass
class _Follow:
    source: HandMade
    scope: str
    seen: int = -1

    def poll(self) -> list[Entry]:
        entries = self.source.entries(self.scope, limit=10**6)
        new = [] if self.seen < 0 else entries[self.seen :]
        self.seen = len(entries)
        return new


def demo(*, live: bool = True) -> World:
    """A shop: prod with a deploy of another process going on, a stale lock, a torn file; dev; two tests."""
    world = World()
    world.scope("shop", Health.CORRUPT).scope("shop/prod", Health.CORRUPT)
    world.scope("shop/prod/database", Health.ORPHAN)
    world.scope("shop/prod/compute", Health.WORKING)
    world.scope("shop/prod/storage")
    world.scope(
        "shop/prod/edge",
        Health.CORRUPT,
        "Invalid JSON in shop/prod/edge/state.json:118; alchemy scope validate --fix",
    )
    world.scope("shop/dev", Health.FAILED).scope("shop/dev/database").scope("shop/dev/compute", Health.FAILED)
    world.resource("shop/prod/database/db-main", "cloudflare:D1Database", props={"location": "weur"})
    world.resource("shop/prod/database/sessions", "cloudflare:KVNamespace")
    world.resource("shop/prod/database/db-old", "cloudflare:D1Database", Health.ORPHAN)
    world.resource(
        "shop/prod/compute/api",
        "cloudflare:Worker",
        Health.WORKING,
        status=Status.UPDATING,
        depends_on=("shop/prod/database/db-main", "shop/prod/database/sessions", "shop/prod/storage/uploads"),
        props={"entrypoint": "src/server.js", "bindings": {"DB": "db-main", "SESSIONS": "sessions"}},
        outputs={"url": "https://api.shop.example", "script": "shop-prod-compute-api"},
    )
    world.resource(
        "shop/prod/compute/mailer",
        "cloudflare:Worker",
        Health.WORKING,
        status=Status.CREATING,
        depends_on=("shop/prod/storage/outbox",),
        outputs={},
    )
    world.resource("shop/prod/compute/cron-nightly", "cloudflare:Worker", Health.ORPHAN)
    world.resource("shop/prod/storage/uploads", "cloudflare:R2Bucket", protect=True)
    world.resource("shop/prod/storage/outbox", "cloudflare:Queue", adopted=True)
    world.resource("shop/prod/storage/reports", "cloudflare:R2Bucket", kept=True)
    world.resource("shop/dev/database/db-main", "cloudflare:D1Database")
    world.resource(
        "shop/dev/compute/api",
        "cloudflare:Worker",
        Health.FAILED,
        error="workers: 10021 Uncaught SyntaxError: Unexpected token '}' at worker.js:14",
        depends_on=("shop/dev/database/db-main",),
    )
    world.resource("shop/dev/compute/worker-new", "cloudflare:Worker", Health.UNFINISHED, status=Status.CREATING)
    world.run("shop/prod", 14, "done", {"create": 9}, took=12.4)
    world.run("shop/prod", 15, "interrupted", {"update": 1}, who="bob@mbp", took=3.1)
    world.run("shop/prod", 16, "done", {"update": 2, "delete": 1}, took=41.2)
    world.run("shop/dev", 3, "done", {"create": 3}, took=9.0)
    world.run(
        "shop/dev",
        4,
        "failed",
        {"create": 1, "failed": 1},
        took=7.7,
        failures=(("shop/dev/compute/api", "workers: 10021 Uncaught SyntaxError"),),
    )
    prod = "shop/prod"
    if live:
        world.log(
            prod,
            "R-17",
            (26, RunStarted(prod, "deploy", "local cloud", "ci@runner-9", 991, "alchemy deploy --stage prod")),
            (26, LockTaken(prod, 17)),
            (25, BackupTaken(prod, "state-2026-09-20T08-55-42-000Z.json", "before R-17")),
            (25, ChangeStarted(f"{prod}/storage/outbox", "cloudflare:Queue", "adopt", "adopt is set")),
            (24, ChangeEnded(f"{prod}/storage/outbox", "cloudflare:Queue", "adopt", "done", 0.8)),
            (
                24,
                ChangeStarted(f"{prod}/database/sessions", "cloudflare:KVNamespace", "create", "not in the state yet"),
            ),
            (23, ChangeEnded(f"{prod}/database/sessions", "cloudflare:KVNamespace", "create", "done", 1.1)),
            (22, ChangeStarted(f"{prod}/storage/uploads", "cloudflare:R2Bucket", "update", "lifecycle changed")),
            (20, ChangeEnded(f"{prod}/storage/uploads", "cloudflare:R2Bucket", "update", "done", 1.9)),
            (14, ChangeStarted(f"{prod}/compute/mailer", "cloudflare:Worker", "create", "not in the state yet")),
            (12, ChangeRetried(f"{prod}/compute/mailer", 1, 3, 4.0, "429 rate limited, retry-after 4")),
            (8, ChangeStarted(f"{prod}/compute/api", "cloudflare:Worker", "update", "entrypoint changed")),
            (5, Noted(prod, "2 resources are not declared any more; they are collected at the end")),
        ).going(prod, "R-17")
        world.lock(prod, Verdict.LIVE, 26, "its process 991 holds the lock file on this host")
    else:
        for key in ("shop/prod/compute/api", "shop/prod/compute/mailer"):
            node = world.resources[key]
            world.resources[key] = replace(node, health=Health.OK, state=replace(node.state, status=Status.READY))
        for path in ("shop/prod", "shop/prod/compute"):
            world.scopes[path] = replace(world.scopes[path], health=Health.ORPHAN)
        world.log(
            prod,
            "R-16",
            (7300, RunStarted(prod, "deploy", "local cloud", "ana@laptop", 4136, "alchemy deploy --stage prod")),
            (7290, ChangeEnded(f"{prod}/storage/uploads", "cloudflare:R2Bucket", "update", "done", 1.9)),
            (7289, ChangeEnded(f"{prod}/database/db-tmp", "cloudflare:D1Database", "delete", "done", 0.4)),
            (7259, RunEnded(prod, "done", {"update": 2, "delete": 1}, [], 41.2, 9)),
        )
    world.lock(
        "shop/dev",
        Verdict.STALE,
        840,
        "same host, and process 4121 is gone (its start time was checked)",
        "the lock file can be taken",
        user="bob",
        host="mbp",
        pid=4121,
        command="alchemy deploy --stage dev",
    )
    world.findings.append(
        Finding(
            "shop/prod/edge/state.json",
            "shop/prod/edge",
            "error",
            "Invalid JSON in shop/prod/edge/state.json:118",
            "alchemy scope validate shop/prod --fix writes it again from the journal",
        )
    )
    world.torn["shop/prod/edge"] = '{"type": "scope", "path": "shop/prod/edge", "kind": "nes'
    kept: tuple[tuple[str, str, str, int, int, tuple[int, int, int]], ...] = (
        ("2026-09-20T08-55-42", ago(seconds=25), "before R-17", 41, 9, (1, 0, 2)),
        ("2026-09-20T06-53-10", ago(hours=2), "before R-16", 40, 9, (0, 1, 1)),
        ("2026-09-20T05-10-00", ago(hours=4), "on demand", 39, 10, (0, 0, 0)),
        ("2026-09-18T06-00-00", ago(days=2), "before R-12", 31, 10, (4, 0, 0)),
        ("2026-09-11T06-00-00", ago(days=9), "after the first run", 12, 6, (6, 0, 0)),
    )
    saved = [
        BackupInfo(prod, f"state-{name}-000Z.json", taken, why, serial, count, 200 + 900 * count, steps=steps)
        for name, taken, why, serial, count, steps in kept
    ]
    saved[2] = replace(saved[2], note="before the big migration", pinned=True, by="ana@laptop")
    torn = BackupInfo(prod, "state-2026-09-19T06-00-00-000Z.json", ago(days=1), "", 37, 0, 12, "Invalid JSON, line 1")
    world.saved[prod] = (*saved[:3], torn, *saved[3:])
    return world


WHY = "the journal is damaged: shop/dev/journal/000001.jsonl:1: records 1 to 5 are missing"
WAY_OUT = (
    "nothing was changed; put back your own copy of the journal directory, or make another from what can be read with "
    "`alchemy scope rebuild shop/dev`; `alchemy scope validate` lists what else is affected"
)


def damaged() -> World:
    """Of shop/dev nothing can be read any more, and a spill of shop/prod waits; an orphan that somebody uses."""
    world = demo(live=False)
    world.locks.clear()
    for gone in [path for path in (*world.scopes, *world.resources) if path.startswith("shop/dev")]:
        world.scopes.pop(gone, None)
        world.resources.pop(gone, None)
    world.runs.pop("shop/dev")
    world.scopes["shop"] = replace(world.scopes["shop"], children=("shop/prod",))
    world.scope("shop/dev", Health.CORRUPT, f"{WHY}. {WAY_OUT}")
    world.findings[:] = [Finding("shop/dev/journal", "shop/dev", "error", WHY, WAY_OUT)]
    said = "a spill waits: R-16 could not write 3 changes to the journal (No space left on device)"
    file = "spill/shop~prod-16-5c1e77aa.json"
    world.findings.append(Finding(file, "shop/prod", "warning", said, f"alchemy scope recover {world.root}/{file}"))
    mailer = world.resources["shop/prod/compute/mailer"]
    needs = (*mailer.state.depends_on, "shop/prod/database/db-old")
    world.resources[mailer.state.key] = replace(mailer, state=replace(mailer.state, depends_on=needs))
    world.scopes["shop/prod/edge"] = replace(world.scopes["shop/prod/edge"], health=Health.OK, problem="")
    return world


def hostile() -> World:
    """Every name that ever broke a terminal, as scope, as resource, as value and in a log."""
    world = World(root="/tmp/[red]root\x1b[0m")
    world.scope("app").scope("app/dev")
    for number, name in enumerate(HOSTILE):
        scope = f"app/dev/{name}".replace("\x00", "")
        if "/" in name:
            scope = f"app/dev/slash{number}"
        world.scope(
            scope, Health.CORRUPT if number % 4 == 0 else Health.OK, f"broken {name}" if number % 4 == 0 else ""
        )
        id = name.replace("/", "∕")
        world.resource(
            f"{scope}/{id}",
            f"acme:{name}",
            list(Health)[number % len(Health)],
            props={name: name, "nested": {"a": [name]}},
            outputs={"value": name},
            physical_name=name,
            error=name if number % 3 == 0 else "",
            run=name,
        )
    world.lock(
        "app/dev", Verdict.STALE, 5, *HOSTILE, user=HOSTILE[0], host=HOSTILE[4], command=HOSTILE[6], purpose=HOSTILE[7]
    )
    world.run(
        "app/dev", 3, "failed", {"failed": 1}, who=HOSTILE[4], purpose=HOSTILE[10], failures=((HOSTILE[2], HOSTILE[6]),)
    )
    world.log(
        "app/dev",
        "R-4",
        (9, RunStarted("app/dev", HOSTILE[0], HOSTILE[4], HOSTILE[6], 1, HOSTILE[7])),
        *((8, ChangeStarted(f"app/dev/{name}", f"acme:{name}", "create", name)) for name in HOSTILE),
        *((7, ChangeEnded(f"app/dev/{name}", f"acme:{name}", "create", "failed", 0.1, name)) for name in HOSTILE[:4]),
        *((6, Noted(name, name, name)) for name in HOSTILE),
    ).going("app/dev", "R-4")
    world.findings += [Finding(name, "app/dev", "error", name, name) for name in HOSTILE]
    world.saved["app/dev"] = tuple(BackupInfo("app/dev", name, name, name, 1, 1, 1, name[:3]) for name in HOSTILE)
    return world


def large(scopes: int = 1000, each: int = 9) -> World:
    """`scopes` nested scopes in stages of 100, `each` resources in every one."""
    world = World()
    world.scope("big")
    for number in range(scopes):
        stage = f"big/stage-{number // 100:02d}"
        if stage not in world.scopes:
            world.scope(stage)
        path = f"{stage}/group-{number:04d}"
        world.scope(path)
        for index in range(each):
            health = Health.ORPHAN if (number + index) % 50 == 0 else Health.OK
            world.resource(
                f"{path}/res-{index:02d}", ("cloudflare:Worker", "cloudflare:KVNamespace")[index % 2], health
            )
    return world


def empty() -> World:
    return World()

"""The JSON shapes of the `scope` commands, as docs/cli-json.md describes them. Values stand as stored."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from alchemy.cli.scope.subject import lock_of, state_word, unread
from alchemy.model.events import Entry
from alchemy.model.locks import LockView
from alchemy.operations.shapes import (
    BackupInfo,
    Comparison,
    Finding,
    ResourceNode,
    RestoreReport,
    RowChange,
    RunSummary,
    ScopeNode,
    UnlockReport,
    View,
)

FORMAT = 1


def lock(view: LockView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    holder = view.holder
    return {
        "path": view.path,
        "verdict": str(view.verdict),
        "token": view.token,
        "holder": holder.to_json() if holder else None,
        "evidence": list(view.evidence),
        "age": round(view.age, 3),
        "you": view.you,
        "hold": view.hold.to_json() if view.hold else None,
    }


def unlocked(report: UnlockReport) -> dict[str, Any]:
    return {
        "path": report.path,
        "outcome": report.outcome,
        "before": lock(report.before),
        "fenced": [{"scope": scope, "run": run} for scope, run in report.fenced],
        "freed": list(report.freed),
        "interrupted": [
            {"address": left.address, "kind": left.kind, "status": left.status, "run": left.run}
            for left in report.interrupted
        ],
        "next": list(report.next),
    }


def scope(view: View, node: ScopeNode) -> dict[str, Any]:
    row = node.row
    return {
        "path": node.path,
        "kind": str(node.kind),
        "state": state_word(node),
        "problem": node.problem,
        "resources": None if unread(view, node.path) else node.total,
        "target": row.target.to_json() if row and row.target else None,
        "created_at": row.created_at if row else "",
        "updated_at": row.updated_at if row else "",
        "last_run": row.last_run if row else "",
        "lock": lock(lock_of(view, node.path)),
    }


def resource(node: ResourceNode) -> dict[str, Any]:
    state = node.state
    return {
        "address": state.address,
        "kind": state.kind,
        "state": state_word(node),
        "problem": node.problem,
        "status": str(state.status),
        "physical_name": state.physical_name,
        "depends_on": list(state.depends_on),
        "used_by": list(node.used_by),
        "created_at": state.created_at,
        "updated_at": state.updated_at,
        "run": state.run,
    }


def run(summary: RunSummary) -> dict[str, Any]:
    return {
        "scope": summary.scope,
        "run": summary.run,
        "purpose": summary.purpose,
        "outcome": summary.outcome,
        "who": summary.who,
        "pid": summary.pid,
        "command": summary.command,
        "started_at": summary.started_at,
        "ended_at": summary.ended_at,
        "took": round(summary.took, 3),
        "counts": dict(summary.counts),
        "failures": [list(pair) for pair in summary.failures],
        "hints": list(summary.hints),
    }


def event(entry: Entry) -> dict[str, Any]:
    return {"run": entry.run, "seq": entry.seq, "at": entry.at, **entry.event.to_json()}


def backup(info: BackupInfo) -> dict[str, Any]:
    return {
        "scope": info.scope,
        "file": info.file,
        "taken": info.taken,
        "reason": info.reason,
        "serial": info.serial,
        "resources": info.resources,
        "size": info.size,
        "problem": info.problem,
        "note": info.note,
        "pinned": info.pinned,
        "pin": info.pin,
        "by": info.by,
        "seq": info.seq,
        "epoch": info.epoch,
        "steps": list(info.steps) if info.steps is not None else None,
    }


def comparison(found: Comparison) -> dict[str, Any]:
    """Secrets are masked already."""
    return {
        "format": FORMAT,
        "scope": found.scope,
        "owner": found.owner,
        "file": found.file,
        "taken": found.taken,
        "serial": {"now": found.serial_now, "then": found.serial_then},
        "appear": [_row(row) for row in found.appear],
        "vanish": [_row(row) for row in found.vanish],
        "change": [
            {**_row(row), "remade": row.remade, "fields": [asdict(each) for each in row.fields]} for row in found.change
        ],
        "scopes": {"appear": list(found.scopes_appear), "vanish": list(found.scopes_vanish)},
        "unfinished": list(found.unfinished),
        "consequences": list(found.consequences),
        "damage": found.damage,
    }


def _row(row: RowChange) -> dict[str, Any]:
    return {"address": row.address, "kind": row.kind, "name": row.name, "status": str(row.status)}


def restored(report: RestoreReport) -> dict[str, Any]:
    return {"format": FORMAT, **asdict(report)}


def finding(found: Finding) -> dict[str, Any]:
    return {
        "severity": found.severity,
        "scope": found.scope,
        "file": found.file,
        "problem": found.problem,
        "way_out": found.way_out,
    }

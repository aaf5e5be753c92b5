"""The selected scope or resource at length (`info`) and in four lines (`peek`).

Both answer in the same order: what is it, is it well, who holds it, what changed last, what can I do.
"""

from __future__ import annotations

import re

from alchemy.model.masking import MASKED, is_sealed
from alchemy.operations.shapes import Health, ResourceNode, ScopeNode, Verdict
from alchemy_tui.present import lock as lock_words
from alchemy_tui.present import run as run_words
from alchemy_tui.present import times
from alchemy_tui.present.event import relative
from alchemy_tui.present.fate import fate
from alchemy_tui.present.line import BLANK, Line, Piece, Tone, clip, line, piece, spread, wrap
from alchemy_tui.present.scene import Scene
from alchemy_tui.present.scope import held, resource_status, scope_status, short_kind

LABEL = 11  # cells
_COMMAND = re.compile(r"`(alchemy [^`]+)`")  # the way out, where the cause names it
SHOWN = 10  # scopes below, by name


def field(label: str, value: Line) -> Line:
    return (piece(f"{label:<{LABEL}}", Tone.DIM), *value)


def info(scene: Scene, subject: str, width: int) -> list[Line]:
    node = scene.node(subject)
    if isinstance(node, ScopeNode):
        return _scope(scene, node, width)
    if isinstance(node, ResourceNode):
        return _resource(scene, node, width)
    return [line(("Nothing selected.", Tone.DIM))]


def _heading(name: str, kind: str, path: str, width: int) -> list[Line]:
    head = spread(line((clip(name, width - 2), Tone.TITLE)), line((kind, Tone.DIM)), width)
    return [head, *(wrap(path, width, Tone.DIM) if path != name else ()), BLANK]


def _scope(scene: Scene, node: ScopeNode, width: int) -> list[Line]:
    out = _heading(node.path.rpartition("/")[2], f"{node.kind} scope", node.path, width)
    out.append(field("status", scope_status(scene, node)))
    if node.problem:
        out += _problem(scene, node, width)
    children, resources = len(node.children), len(node.resources)
    here = f"  {resources} here, {children} scope{'s' * (children != 1)} below" if children else ""
    out.append(field("holds", line(held(scene, node), (here, Tone.DIM))))
    if node.row:
        if node.row.target:
            out.append(field("target", line(str(node.row.target))))
        out.append(field("created", _when(node.row.created_at, scene)))
        out.append(field("updated", (*_when(node.row.updated_at, scene), *line((_by(node.row.last_run), Tone.DIM)))))
    out += _lock(scene, node.path)
    out += _scopes(scene, node, width)
    out += _below(scene, node, width)
    out += _run(scene, node, width)
    out += _findings(scene, node.path, width)
    return out


def _resource(scene: Scene, node: ResourceNode, width: int) -> list[Line]:
    state = node.state
    out = _heading(state.id, state.kind, state.address, width)
    out.append(field("status", (*resource_status(scene, node), *line((_reason(node), Tone.DIM)))))
    told = fate(scene, node)
    if told:
        out += _indented(told[0], width, told[1])
    out += _now(scene, node, width)
    for text in (node.problem, state.error):
        if text:
            out += _indented(text, width, Tone.BAD)
    out.append(field("name", line(state.physical_name)))
    out.append(field("created", _when(state.created_at, scene)))
    out.append(field("updated", (*_when(state.updated_at, scene), *line((_by(state.run), Tone.DIM)))))
    flags = [word for word in ("adopted", "protect", "retain", "kept") if getattr(state, word)]
    if state.generation:
        flags.append(f"generation {state.generation}")
    if flags:
        out.append(field("flags", line(", ".join(flags))))
    out += _lock(scene, state.address)
    if state.depends_on or node.used_by:
        out.append(BLANK)
    out += _names("needs", state.depends_on, state.scope, width)
    out += _names("needed by", node.used_by, state.scope, width)
    keys = [*state.outputs, *state.props]
    label = min(22, max((len(str(key)) + 2 for key in keys), default=0), width // 2)
    out += _values("outputs", state.outputs, width, max(label, LABEL - 2))
    out += _values("props", state.props, width, max(label, LABEL - 2))
    if node.view:
        out += [
            BLANK,
            *(
                field("stored in", text) if not n else field("", text)
                for n, text in enumerate(wrap(node.view, width - LABEL, Tone.DIM))
            ),
        ]
    return out


def _now(scene: Scene, node: ResourceNode, width: int) -> list[Line]:
    """What the run that goes on says about this resource."""
    run = scene.run_of(node.owner)
    row = run.rows.get(node.state.address) if run else None
    if run is None or row is None or row.state not in ("running", "retrying"):
        return []
    passed = times.seconds_since(row.started_at, scene.now)
    since = f" for {times.duration(passed)}" if passed is not None else ""
    said = f"{run.run} {row.action}{since}" + (f", after try {row.attempt}" if row.attempt else "")
    out = [field("now", line((said, Tone.BUSY), (f"  {row.reason}" if row.reason else "", Tone.DIM)))]
    if row.error:
        out += _indented(row.error, width, Tone.WARN)
    return out


def _reason(node: ResourceNode) -> str:
    words = {
        Health.ORPHAN: "  stored, but the last complete deploy did not declare it",
        Health.UNFINISHED: "  a run began this and did not say how it ended; the next deploy looks it up",
        Health.EDITED: "  by hand: the file differs from the journal",
    }
    return words.get(node.health, "")


def _why(scene: Scene, node: ResourceNode) -> Line:
    """After the status, where there is one line for all of it."""
    told = fate(scene, node)
    return line((f"  {told[0]}", told[1])) if told else line((_reason(node), Tone.DIM))


def _by(run: str) -> str:
    return f"  by {run}" if run else ""


def _when(stamp: str, scene: Scene) -> Line:
    if not stamp:
        return line(("unknown", Tone.FAINT))
    return line(times.exact(stamp), (f"  {times.ago(stamp, scene.now)}", Tone.DIM))


def _lock(scene: Scene, subject: str) -> list[Line]:
    lock = lock_words.nearest(scene, subject)
    if lock is None:
        return [field("lock", line(("free", Tone.DIM)))]
    place = line((f"  on {lock.path}" if lock.path != subject else "", Tone.DIM))
    out = [field("lock", (*lock_words.summary(scene, lock), *place))]
    if lock.evidence and lock.verdict != Verdict.LIVE:
        out.append(field("", line((lock.evidence[0], Tone.DIM))))
    return out


def _below(scene: Scene, node: ScopeNode, width: int) -> list[Line]:
    """What is in it, by health: only what is worth a look."""
    prefix = f"{node.path}/"
    odd = [
        resource
        for address, resource in scene.view.resources.items()
        if resource.health != Health.OK and address.startswith(prefix)
    ][:200]
    if not odd:
        return []
    out = [BLANK, line(("Worth a look", Tone.TITLE))]
    for resource in odd[:8]:
        name = piece(f"  {clip(relative(resource.state.address, node.path), max(12, width - 22))}")
        out.append(spread((name,), _padded(resource_status(scene, resource), 18), width))
    if len(odd) > 8:
        out.append(line((f"  and {len(odd) - 8} more: / is:problem", Tone.DIM)))
    return out


def _padded(status: Line, width: int) -> Line:
    missing = width - sum(len(text) for text, _ in status)
    return (*status, Piece(" " * max(0, missing)))


def _scopes(scene: Scene, node: ScopeNode, width: int) -> list[Line]:
    """The scopes directly below, each with its status and what it holds."""
    below = [scene.view.scopes[path] for path in node.children if path in scene.view.scopes]
    if not below:
        return []
    out = [BLANK, line(("Scopes", Tone.TITLE))]
    for child in below[:SHOWN]:
        name = piece(f"  {clip(child.path.rpartition('/')[2], max(12, width - 36))}")
        inside = piece(f"{held(scene, child)}  ", Tone.DIM)
        out.append(spread((name,), (inside, *_padded(scope_status(scene, child), 18)), width))
    if len(below) > SHOWN:
        out.append(line((f"  and {len(below) - SHOWN} more", Tone.DIM)))
    return out


def _run(scene: Scene, node: ScopeNode, width: int) -> list[Line]:
    """What runs now, else the last runs: of its journal, and for an application those of its stages and tests too."""
    run = scene.run_of(node.owner)
    if run:
        return [BLANK, line(("Running now", Tone.TITLE)), *run_words.card(scene, run, width)]
    below = f"{node.path}/"
    owners = {owner for owner in scene.view.runs if owner == node.owner or owner.startswith(below)}
    found = [run for owner in owners for run in scene.view.runs[owner][:4]]
    if not found:
        return []
    found.sort(key=lambda run: run.started_at, reverse=True)
    several = owners != {node.owner}
    title = "Last runs" if several or node.owner == node.path else f"Last runs of {node.owner}"
    shown = [run_words.summary_line(scene, one, width, owner=several) for one in found[:4]]
    return [BLANK, line((title, Tone.TITLE)), *shown]


def _findings(scene: Scene, path: str, width: int) -> list[Line]:
    node = scene.view.scopes.get(path)
    said = node.problem if node else ""  # stands above already
    found = [
        one
        for one in scene.view.findings
        if (one.scope == path or one.scope.startswith(f"{path}/")) and not (one.problem in said and one.way_out in said)
    ]
    if not found:
        return []
    out = [BLANK, line(("Problems", Tone.TITLE))]
    for one in found[:6]:
        tone = Tone.BAD if one.severity == "error" else Tone.WARN
        out.append(line((f"{scene.glyphs.corrupt} ", tone), (one.file, Tone.STRONG)))
        out += wrap(one.problem, width, Tone.TEXT, 2)
        out += wrap(f"{scene.glyphs.arrow} {one.way_out}", width, Tone.DIM, 2)
    return out


def _problem(scene: Scene, node: ScopeNode, width: int) -> list[Line]:
    """The cause in red, the way out below it in plain letters."""
    known = next((one for one in scene.view.findings if one.problem and one.problem in node.problem), None)
    if known is None or known.way_out not in node.problem:
        return _indented(node.problem, width, Tone.BAD)
    way_out = _indented(f"{scene.glyphs.arrow} {known.way_out}", width, Tone.TEXT)
    return [*_indented(known.problem, width, Tone.BAD), *way_out]


def _indented(text: str, width: int, tone: Tone) -> list[Line]:
    return [field("", part) for part in wrap(text, max(12, width - LABEL), tone)]


def _names(label: str, addresses: tuple[str, ...], scope: str, width: int) -> list[Line]:
    if not addresses:
        return []
    shown = ", ".join(relative(address, scope) for address in addresses)
    return [field(label if n == 0 else "", part) for n, part in enumerate(wrap(shown, max(12, width - LABEL)))]


def _values(title: str, values: dict[str, object], width: int, label: int) -> list[Line]:
    if not values:
        return []
    out = [BLANK, line((title.capitalize(), Tone.TITLE))]
    for key, value in values.items():
        out.append(
            (piece(f"  {clip(str(key), label - 1):<{label}}", Tone.DIM), piece(_short(value), limit=width - label - 2))
        )
    return out


def _short(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if is_sealed(value):
        return MASKED
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_short(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_short(item) for item in value) + "]"
    return str(value)


def peek(scene: Scene, subject: str, width: int) -> list[Line]:
    """Four lines for small terminals."""
    node = scene.node(subject)
    if isinstance(node, ResourceNode):
        state = node.state
        return [
            spread(
                (*resource_status(scene, node), *_why(scene, node)), line((short_kind(state.kind), Tone.DIM)), width
            ),
            _second(scene, node, width),
            _edges(node),
            spread(
                line(("updated  ", Tone.DIM), times.ago(state.updated_at, scene.now), (_by(state.run), Tone.DIM)),
                (),
                width,
            ),
        ]
    if isinstance(node, ScopeNode):
        head = spread(
            (*scope_status(scene, node), *line((f"  {held(scene, node)}", Tone.TEXT))),
            line((f"{node.kind} scope", Tone.DIM)),
            width,
        )
        run = scene.run_of(node.owner)
        if run and not node.problem:
            return [head, *run_words.card(scene, run, width)[:3]]
        out = [head]
        if node.problem:
            command = _COMMAND.search(node.problem)
            out += wrap(node.problem, width, Tone.BAD)[: 2 if command else 3]
            if command:
                out.append(line((f"{scene.glyphs.arrow} ", Tone.FAINT), (command[1], Tone.KEY)))
        spill = scene.spill(node.path)
        if spill:
            out += wrap(f"{scene.glyphs.arrow} {spill}", width, Tone.KEY)[:2]
        lock = lock_words.nearest(scene, node.path)
        out.append(
            (*line(("lock     ", Tone.DIM)), *(lock_words.summary(scene, lock) if lock else line(("free", Tone.DIM))))
        )
        last = scene.last_run(node.owner)
        if last:
            out.append(run_words.summary_line(scene, last, width))
        elif node.row:
            out.append(line(("created  ", Tone.DIM), times.ago(node.row.created_at, scene.now)))
        return out[:4]
    return [line(("Nothing selected.", Tone.DIM))]


def _second(scene: Scene, node: ResourceNode, width: int) -> Line:
    """The most telling line: what is wrong, what is being done, or the name in the cloud."""
    wrong = node.problem or node.state.error
    if wrong:
        return line((wrong, Tone.BAD))
    doing = _now(scene, node, width)
    run = scene.run_of(node.owner)
    row = run.rows.get(node.state.address) if run else None
    if doing and row and row.error:
        return line(("retrying ", Tone.DIM), (row.error, Tone.WARN))
    return line(("name     ", Tone.DIM), node.state.physical_name)


def _edges(node: ResourceNode) -> Line:
    needs = ", ".join(address.rpartition("/")[2] for address in node.state.depends_on) or "nothing"
    used = ", ".join(address.rpartition("/")[2] for address in node.used_by) or "nothing"
    return line(("needs    ", Tone.DIM), f"{needs}   ", ("needed by ", Tone.DIM), used)


def kind_of(node: ScopeNode | ResourceNode | None) -> str:
    if isinstance(node, ResourceNode):
        return short_kind(node.state.kind)
    return str(node.kind) if node else ""

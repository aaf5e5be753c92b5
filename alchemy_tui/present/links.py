"""Dependencies as two small trees: what the subject needs, and what needs it. For a scope: the edges that leave it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from alchemy.operations.shapes import ResourceNode
from alchemy_tui.present.line import BLANK, Line, Tone, clip, line, piece, spread
from alchemy_tui.present.scene import Scene
from alchemy_tui.present.scope import resource_status, short_kind

DEPTH = 8
SHOWN = 400  # lines of one tree


def links(scene: Scene, subject: str, width: int) -> list[Line]:
    node = scene.view.resources.get(subject)
    if node is not None:
        return [
            line(("Needs", Tone.TITLE)),
            *_tree(scene, node.state.depends_on, lambda one: one.state.depends_on, width),
            BLANK,
            line(("Needed by", Tone.TITLE)),
            *_tree(scene, node.used_by, lambda one: one.used_by, width),
        ]
    if subject not in scene.view.scopes:
        return [line(("Nothing selected.", Tone.DIM))]
    return _border(scene, subject, width)


def _tree(
    scene: Scene, roots: Iterable[str], below: Callable[[ResourceNode], tuple[str, ...]], width: int
) -> list[Line]:
    out: list[Line] = []
    stack = [(address, 1, frozenset[str]()) for address in reversed(tuple(roots))]
    while stack and len(out) < SHOWN:
        address, depth, above = stack.pop()
        out.append(_row(scene, address, depth, width))
        node = scene.view.resources.get(address)
        if node and depth < DEPTH and address not in above:  # stored edges can form a cycle after failed runs
            stack += [(next_, depth + 1, above | {address}) for next_ in reversed(below(node))]
    return out or [line(("  nothing", Tone.DIM))]


def _row(scene: Scene, address: str, depth: int, width: int) -> Line:
    node = scene.view.resources.get(address)
    scope, _, name = address.rpartition("/")
    indent = "  " * depth
    if node is None:
        return line(indent, (name, Tone.TEXT), (f"  {scope}  not in the state", Tone.WARN))
    status = resource_status(scene, node)
    aside = f"  {short_kind(node.state.kind)}  {scope}"
    room = max(10, width - 20)
    return spread(
        line(indent, name, piece(clip(aside, max(0, room - len(indent) - len(name))), Tone.FAINT)),
        (*status, piece(" " * max(0, 18 - sum(len(text) for text, _ in status)))),
        width,
    )


def _border(scene: Scene, scope: str, width: int) -> list[Line]:
    prefix = f"{scope}/"
    inside = [node for address, node in scene.view.resources.items() if address.startswith(prefix)]
    needs = [(n.state.address, to) for n in inside for to in n.state.depends_on if not to.startswith(prefix)]
    used = [(by, n.state.address) for n in inside for by in n.used_by if not by.startswith(prefix)]
    out = [line(("Needs from outside", Tone.TITLE)), *_edges(scene, needs, width), BLANK]
    out += [line(("Needed from outside", Tone.TITLE)), *_edges(scene, used, width), BLANK]
    count = sum(len(node.state.depends_on) for node in inside) - len(needs)
    out.append(line((f"{count} edge{'s' * (count != 1)} inside, between {len(inside)} resources", Tone.DIM)))
    return out


def _edges(scene: Scene, edges: list[tuple[str, str]], width: int) -> list[Line]:
    if not edges:
        return [line(("  nothing", Tone.DIM))]
    arrow = f" {scene.glyphs.arrow} "
    out = [line("  ", one, (arrow, Tone.FAINT), other) for one, other in edges[:SHOWN]]
    if len(edges) > SHOWN:
        out.append(line((f"  and {len(edges) - SHOWN} more", Tone.DIM)))
    return out

"""`alchemy scope list`: every scope and resource, as a tree."""

from __future__ import annotations

import sys

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Branch, Page, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.spilled import mention_spills
from alchemy.cli.scope.subject import find_scope, health_cell, held, lock_cell, lock_of, look, tell_unread
from alchemy.cli.tones import line
from alchemy.cli.wording import short_kind
from alchemy.operations.shapes import ResourceNode, ScopeNode, View


@click.command(cls=Command, name="list")
@click.argument("scope", required=False)
@as_json
@shared
def tree(given: Given, scope: str | None, json_: bool) -> None:
    """Show the tree of scopes and resources, from SCOPE down, with state and locks.

    Exit code 4 when a journal in it cannot be read: what it holds is unknown then.
    """
    _, view = look(given)
    tops = (find_scope(view, scope).path,) if scope is not None else view.applications
    if json_:
        scopes, resources = below(view, tops)
        show_json(
            {
                "format": documents.FORMAT,
                "state_dir": view.root,
                "scopes": [documents.scope(view, node) for node in scopes],
                "resources": [documents.resource(node) for node in resources],
            }
        )
    else:
        if not tops and not given.quiet:
            sys.stderr.write(f"no scopes in {view.root}; `alchemy deploy` makes the first one\n")
        page = Page(plain=given.plain)
        page.tree([branch(view, view.scopes[path]) for path in tops])
        page.show()
    mention_spills(given, tops if scope is not None else ("",))
    tell_unread(view, *tops)


def branch(view: View, node: ScopeNode) -> Branch:
    name = line((node.path.rpartition("/")[2], "title"))
    cells = (
        line((str(node.kind), "dim")),
        line((held(view, node), "dim")),
        health_cell(node),
        lock_cell(lock_of(view, node.path)),
    )
    made = Branch(name, cells)
    made.below += [branch(view, view.scopes[path]) for path in node.children if path in view.scopes]
    made.below += [_leaf(view.resources[address]) for address in node.resources if address in view.resources]
    return made


def _leaf(node: ResourceNode) -> Branch:
    cells = (line((short_kind(node.state.kind), "dim")), line(""), health_cell(node))
    return Branch(line(node.state.id), cells)


def below(view: View, tops: tuple[str, ...]) -> tuple[list[ScopeNode], list[ResourceNode]]:
    """In the order of the tree."""
    scopes: list[ScopeNode] = []
    resources: list[ResourceNode] = []

    def walk(path: str) -> None:
        node = view.scopes[path]
        scopes.append(node)
        for child in node.children:
            if child in view.scopes:
                walk(child)
        resources.extend(view.resources[address] for address in node.resources if address in view.resources)

    for top in tops:
        walk(top)
    return scopes, resources

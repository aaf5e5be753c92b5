"""`alchemy scope state`: the stored JSON of a scope and its resources, or of one resource."""

from __future__ import annotations

import json
import sys

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, end_quietly_when_nobody_reads, show_json
from alchemy.cli.scope import documents
from alchemy.cli.scope.subject import find, look, problems
from alchemy.cli.scope.tree import below
from alchemy.cli.tones import line
from alchemy.cli.wording import short_kind
from alchemy.errors import UsageError
from alchemy.model.masking import masked
from alchemy.model.text import safe_block, safe_text
from alchemy.operations.shapes import ResourceNode, ScopeNode, View


@click.command(cls=Command)
@click.argument("scope")
@click.argument("resource", required=False)
@as_json
@shared
def state(given: Given, scope: str, resource: str | None, json_: bool) -> None:
    """Show what is stored of SCOPE: its own document and the resources in it; with RESOURCE, that one's document.

    RESOURCE is the id of a resource in SCOPE or below it.

    Exit code 4 when something in it is unreadable or was edited by hand.
    """
    workspace, view = look(given)
    node = _find(view, scope, resource)
    subject = node.path if isinstance(node, ScopeNode) else node.state.address
    if json_:
        show_json(_document(view, node))
    else:
        end_quietly_when_nobody_reads()
        sys.stdout.write(safe_block(_laid_out(workspace.state_text(subject))) + "\n")
        if isinstance(node, ScopeNode):
            _list(given, view, node)
    wrong = problems(view, subject)
    for where, problem in wrong:
        sys.stderr.write(f"{safe_text(where)}: {safe_text(problem)}\n")
    if wrong:
        raise Ended(4)


def _find(view: View, scope: str, resource: str | None) -> ScopeNode | ResourceNode:
    if resource is None:
        return find(view, scope)
    node = find(view, scope)
    if isinstance(node, ResourceNode):
        raise UsageError(f"{safe_text(scope, 200)} is a resource itself", hint="leave the second argument out")
    inside = [address for address in below(view, (node.path,))[1] if address.state.id == resource]
    if len(inside) > 1 and f"{scope}/{resource}" not in view.resources:
        places = ", ".join(safe_text(found.state.address) for found in inside)
        raise UsageError(f"{safe_text(resource, 80)} is in more than one scope: {places}", hint="name one of these")
    return inside[0] if len(inside) == 1 else find(view, f"{scope}/{resource}")


def _laid_out(text: str) -> str:
    """Indented where it is whole; a torn document stays as it is."""
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        return text.rstrip("\n")


def _list(given: Given, view: View, node: ScopeNode) -> None:
    """The resources by name, so that the next thing to type is on screen."""
    _, resources = below(view, (node.path,))
    if not resources:
        return
    page = Page(plain=given.plain)
    page.say()
    page.table([[line(found.state.address), line((short_kind(found.state.kind), "dim"))] for found in resources])
    page.show()


def _document(view: View, node: ScopeNode | ResourceNode) -> dict[str, object]:
    if isinstance(node, ResourceNode):
        return {"format": documents.FORMAT, "resource": masked(node.state.to_json())}
    scopes, resources = below(view, (node.path,))
    return {
        "format": documents.FORMAT,
        "scopes": [found.row.to_json() for found in scopes if found.row],
        "resources": [masked(found.state.to_json()) for found in resources],
    }

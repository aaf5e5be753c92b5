"""`alchemy doctor`: whether what a run needs is there and keeps its word, with a way out for what does not."""

from __future__ import annotations

import sys

import click

from alchemy.cli.failures import Ended
from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.cli.pages import Page, show_json
from alchemy.cli.terminal import counted
from alchemy.operations import doctor as examining
from alchemy.operations.footing import Examined

FORMAT = 1
_WIDTH = max(map(len, ("refuse to replace nothing", "read what was written last")))


@click.command(cls=Command)
@as_json
@shared
def doctor(given: Given, json_: bool) -> None:
    """Try out what a run needs: the state directory, the bucket of the R2_* variables, the Cloudflare account.

    Exit code 0 when everything passed, else 1. The bucket is probed anew: what it writes it removes again.
    """
    found: list[Examined] = []
    area = ""
    for one in examining.examine(given.project, given.state_dir):
        found.append(one)
        if not json_:
            _show(given, one, title="" if one.area == area else one.area, first=not area)
        area = one.area
    failed = sum(not one.passed for one in found)
    if json_:
        show_json({"format": FORMAT, "passed": not failed, "checks": [_document(one) for one in found]})
    elif not given.quiet:
        checks = counted(len(found), "check")
        sys.stderr.write(f"{checks} passed\n" if not failed else f"{failed} of {checks} failed\n")
    if failed:
        raise Ended(1)


def _show(given: Given, one: Examined, *, title: str, first: bool) -> None:
    """At once: a probe may take seconds."""
    page = Page(plain=given.plain)
    if title:
        if not first:
            page.say()
        page.say((title, "title"))
    glyph, tone = (page.signs.ok, "good") if one.passed else (page.signs.failed, "bad")
    detail = f"{one.name:<{_WIDTH}}  {one.detail}" if one.detail else one.name
    page.say((f"{glyph} ", tone), detail)
    if one.way_out:
        page.say((f"  {page.signs.arrow} {one.way_out}", "dim"))
    page.show()
    sys.stdout.flush()


def _document(one: Examined) -> dict[str, object]:
    return {
        "area": one.area,
        "name": one.name,
        "passed": one.passed,
        "detail": one.detail,
        "way_out": one.way_out,
    }

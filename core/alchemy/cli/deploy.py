"""`alchemy deploy`: runs the program; what it declares is made so, what it dropped is deleted."""

from __future__ import annotations

import click

from alchemy.cli.options import Command, Given, shared


@click.command(cls=Command)
@click.argument("program", required=False)
@click.option("--stage", default="", metavar="NAME", help="The stage, where the program leaves it open.")
@click.option("--adopt", is_flag=True, help="Take over objects that exist already under the wished name.")
@click.option("--yes", is_flag=True, help="Accepted for scripts: deploy asks nothing, the program is the consent.")
@shared
def deploy(given: Given, program: str | None, stage: str, adopt: bool, yes: bool) -> None:
    """Run PROGRAM (default: alchemy_run.py) and make the cloud match it.

    Creates what is new, updates what changed, and deletes what the program no longer declares. A failure skips what
    depends on it, lets the rest go on, and deletes nothing.
    """
    from alchemy.cli.running import program_of, run
    from alchemy.cli.scope.spilled import mention_spills

    path = program_of(given, program)
    ran = run(given, path, phase="up", stage=stage, options={"adopt": True} if adopt else {})
    ran.raise_error()
    mention_spills(given, [str(done.ledger.path) for done in ran.runs])

"""`alchemy deploy`: runs the program; what it declares is made so, what it dropped is deleted."""

from __future__ import annotations

from pathlib import Path

import click

from alchemy.cli.options import Command, Given, shared, stage_option


@click.command(cls=Command)
@click.argument("program", required=False)
@stage_option
@click.option("--adopt", is_flag=True, help="Take over objects that exist already under the wished name.")
@click.option(
    "--refresh", is_flag=True, help="Look at each object first: drift is brought back, what is gone made again."
)
@click.option("--plan", "file", metavar="FILE", help="Do what `alchemy plan --out FILE` saved, or refuse (exit 5).")
@click.option("--yes", is_flag=True, help="Consent to replacements that lose data; deploy asks nothing else.")
@shared
def deploy(
    given: Given, program: str | None, stage: str, adopt: bool, refresh: bool, file: str | None, yes: bool
) -> None:
    """Run PROGRAM (default: alchemy_run.py) and make the cloud match it.

    Creates what is new, updates what changed, and deletes what the program no longer declares. A failure skips what
    depends on it, lets the rest go on, and deletes nothing that was dropped; an
    `alchemy.run` block that raises takes back what it made in this run, unless it says on_error="keep".

    \b
    Example: alchemy plan --out prod.plan && alchemy deploy --plan prod.plan
    """
    from alchemy.cli.running import program_of, run
    from alchemy.cli.scope.spilled import mention_spills

    path = program_of(given, program)
    options = {name: True for name, wanted in (("adopt", adopt), ("refresh", refresh)) if wanted}
    if file is not None:
        from alchemy.cli.agreed import carry_out

        ran = carry_out(given, path, Path(file), stage=stage, options=options, yes=yes)
    else:
        ran = run(given, path, phase="up", stage=stage, options=options, yes=yes)
    ran.raise_error()
    mention_spills(given, [str(done.ledger.path) for done in ran.runs])

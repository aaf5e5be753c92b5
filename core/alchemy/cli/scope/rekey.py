"""`alchemy scope rekey`: another password for the secrets of an application, or another key for them.

A password comes from the environment or a prompt that shows nothing, never from the line that is typed.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from alchemy.cli.options import Command, Given, as_json, shared
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

if TYPE_CHECKING:
    from alchemy.operations.rekeying import RekeyReport, Sealed

PASSWORD = "ALCHEMY_PASSWORD"


@click.command(cls=Command)
@click.argument("scope")
@click.option("--new-password-env", metavar="VARIABLE", help="The environment variable with the new password.")
@click.option("--rotate", is_flag=True, help="Make another key, and seal every value again with it.")
@click.option("--dry-run", is_flag=True, help="Only show what would be sealed again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@shared
def rekey(
    given: Given, scope: str, new_password_env: str | None, rotate: bool, dry_run: bool, yes: bool, json_: bool
) -> None:
    """Change the password of the secrets of an application, or with --rotate the key that seals them.

    SCOPE is the application, or any scope in it: the secrets of all its stages are sealed with one ring of keys. The
    password of now is in ALCHEMY_PASSWORD, or is asked for. Killed anywhere, the same command finishes.

    alchemy scope rekey my-app --new-password-env NEW_PASSWORD
    """
    import asyncio

    from alchemy.cli import consent
    from alchemy.cli.pages import show_json
    from alchemy.model.paths import ScopePath
    from alchemy.operations import rekeying

    app = ScopePath.parse(scope).app
    found = rekeying.look(given.store, app)
    if not json_:
        _show(found)
    report: RekeyReport | None = None
    if not dry_run:
        password = _password()
        new_password = _new_password(new_password_env, rotate=rotate)
        consent.ask(app, f"{_what(rotate, bool(new_password))} of {app}", yes=yes)
        done = rekeying.rekey(
            given.store, app, given.options(), password=password, new_password=new_password, rotate=rotate
        )
        report = asyncio.run(done)
        if not given.quiet:
            _tell(report)
    if json_:
        show_json(document(app, found, report))


def document(app: str, found: list[Sealed], report: RekeyReport | None) -> dict[str, object]:
    """docs/cli-json.md, `alchemy scope rekey`."""
    body: dict[str, object] = {"format": 1, "application": app, "written": report is not None}
    body["scopes"] = [{"scope": str(each.scope), "rows": each.rows, "values": each.values} for each in found]
    if report is not None:
        body |= {"key": report.key, "rotated": report.rotated, "password_changed": report.password_changed}
        body["resealed"] = [{"scope": scope, "rows": rows} for scope, rows in report.resealed]
        body |= {"retired": list(report.retired), "kept": list(report.kept), "left": list(report.left)}
    return body


def _what(rotate: bool, password: bool) -> str:
    return "change password and key" if rotate and password else "change the key" if rotate else "change the password"


def _password() -> str:
    return os.environ.get(PASSWORD) or _asked("Password of now: ", hint=f"set {PASSWORD}")


def _new_password(variable: str | None, *, rotate: bool) -> str:
    """Empty when it stays."""
    if variable is not None:
        value = os.environ.get(variable, "")
        if not value:
            raise UsageError(f"{safe_text(variable, 80)} is not set, or empty", hint="it has to hold the new password")
        return value
    if rotate:
        return ""
    first = _asked(
        "New password: ", hint="--new-password-env VARIABLE names where it is; --rotate changes the key only"
    )
    if _asked("The same again: ", hint="") != first:
        raise UsageError("these are two different passwords: nothing was done", hint="run it again to try again")
    return first


def _asked(prompt: str, *, hint: str) -> str:
    from getpass import getpass

    from alchemy.cli import consent

    if not consent.can_ask():
        raise UsageError("a password has to be given, and there is no terminal to ask on: nothing was done", hint=hint)
    value = getpass(prompt, stream=sys.stderr)
    if not value:
        raise UsageError("the password is empty: nothing was done", hint="run it again to try again")
    return value


def _show(found: list[Sealed]) -> None:
    from alchemy.cli.terminal import counted

    for each in found:
        sys.stderr.write(f"  {each.scope}: {counted(each.values, 'sealed value')} in {counted(each.rows, 'row')}\n")


def _tell(report: RekeyReport) -> None:
    from alchemy.cli.terminal import counted

    said = [f"{report.application}: "]
    said.append("the password is changed" if report.password_changed else "the password stays")
    if report.rotated:
        rows = counted(sum(rows for _, rows in report.resealed), "row")
        said.append(f", {rows} sealed again with the key {report.key}")
    sys.stderr.write("".join(said) + "\n")
    if report.retired:
        sys.stderr.write(f"  gone from the ring: {', '.join(report.retired)}\n")
    if report.kept:
        sys.stderr.write(f"  still in the ring, for backups or rows that name them: {', '.join(report.kept)}\n")
    for place in report.left:
        sys.stderr.write(f"  does not open, and stays as it is: {place}\n")

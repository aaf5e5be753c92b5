"""`alchemy cloud serve` and `alchemy cloud reset`: the local cloud over HTTP, and emptied."""

from __future__ import annotations

import shutil
import sys

import click

from alchemy.cli.options import Command, Given, shared
from alchemy.errors import LockHeld, StorageFailed
from alchemy.model.locks import Verdict

PORT = 8787


@click.command(cls=Command)
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@shared
def serve(given: Given, port: int) -> None:
    """Serve the local cloud on 127.0.0.1 until Ctrl-C, for wrangler, SDKs and curl.

    Prints the variables to set, ready for `eval` or a .env file. Any token is accepted: it never listens elsewhere.
    """
    from alchemy.localcloud import account_id
    from alchemy.localcloud import serve as run
    from alchemy.store.layout import Layout

    directory = Layout(given.root).local_cloud
    account = account_id(directory)

    def announce(address: str) -> None:
        sys.stdout.write(
            f"export CLOUDFLARE_API_BASE_URL={address}\n"
            f"export CLOUDFLARE_ACCOUNT_ID={account}\n"
            "export CLOUDFLARE_API_TOKEN=local\n"
        )
        sys.stdout.flush()
        if not given.quiet:
            sys.stderr.write(f"the local cloud of {given.root} is served at {address}; Ctrl-C ends it\n")

    run(directory, port, announce)


@click.command(cls=Command)
@click.option("--yes", is_flag=True, help="Do not ask.")
@shared
def reset(given: Given, yes: bool) -> None:
    """Delete everything in the local cloud: databases, values, objects, queues, workers. The state is left alone.

    The account stays the same, so stages deployed to it can still be destroyed, and deployed again after that.
    """
    from alchemy.cli import consent
    from alchemy.localcloud import account_id
    from alchemy.localcloud.account import ACCOUNT_FILE
    from alchemy.operations.workspace import Workspace
    from alchemy.store.layout import Layout

    directory = Layout(given.root).local_cloud
    account = account_id(directory, create=False)
    if account is None:
        sys.stderr.write(f"there is no local cloud in {given.root}: nothing was done\n")
        return
    busy = [lock for lock in Workspace(given.store).refresh().locks if lock.verdict is Verdict.LIVE]
    if busy:
        raise LockHeld(
            f"{busy[0].path} is being worked on", hint="`alchemy scope locks` shows by whom; try again after"
        )
    consent.ask("local-cloud", f"delete everything in {directory}", yes=yes)
    try:
        for entry in directory.iterdir():
            if entry.name == ACCOUNT_FILE:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except OSError as error:
        raise StorageFailed(
            f"{directory} could not be emptied: {error.strerror}", hint="mend its permissions, then run it again"
        ) from error
    if not given.quiet:
        sys.stderr.write(f"{directory} is empty; its account {account} stays\n")

"""The table of commands and how a line typed becomes one: modules load when their command is called, not before.

Neighbours: `options` is what every command takes, `failures` turns what went wrong into text and an exit code.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click

from alchemy.cli import failures, version
from alchemy.errors import UsageError
from alchemy.model.text import safe_text

Table = Mapping[str, tuple[str, str]]  # name -> ("module:function", one line)

COMMANDS: Table = {
    "init": ("alchemy.cli.init:init", "Write a small working project."),
    "deploy": ("alchemy.cli.deploy:deploy", "Run the program: create, update, and delete what it dropped."),
    "plan": ("alchemy.cli.plan:plan", "Show what deploy would do; changes nothing."),
    "destroy": ("alchemy.cli.destroy:destroy", "Delete everything in a program's scopes, or in one scope."),
    "scope": ("alchemy.cli.commands:scope", "Look at scopes: tree, state, locks, runs, backups."),
    "cloud": ("alchemy.cli.commands:cloud", "The local cloud: serve it over HTTP, or empty it."),
    "doctor": ("alchemy.cli.doctor:doctor", "Try out what a run needs: directory, bucket, account."),
    "demo": ("alchemy.cli.demo:demo", "Deploy a sample project, then open the dashboard on it."),
}
SCOPE: Table = {
    "list": ("alchemy.cli.scope.tree:tree", "The tree of scopes and resources."),
    "inspect": ("alchemy.cli.scope.inspection:inspect", "One scope or resource: health, lock, runs, backups."),
    "state": ("alchemy.cli.scope.stored:state", "What is stored, as JSON."),
    "locks": ("alchemy.cli.scope.locks:locks", "Who holds what, alive or stale, with the evidence."),
    "lock": ("alchemy.cli.scope.lock:lock", "Keep runs out of a scope for a while."),
    "unlock": ("alchemy.cli.scope.unlock:unlock", "Open a lock: left behind, reserved, or by force."),
    "recover": ("alchemy.cli.scope.recover:recover", "Write what a run knew and could not write."),
    "logs": ("alchemy.cli.scope.logs:logs", "Runs, and the events of one run."),
    "validate": ("alchemy.cli.scope.integrity:validate", "Check everything that is stored."),
    "backups": ("alchemy.cli.scope.backups:backups", "The backups of a scope; verify, pin, prune."),
    "backup": ("alchemy.cli.scope.backup:backup", "Take a backup of a scope now."),
    "diff": ("alchemy.cli.scope.diff:diff", "How a scope differs from a backup."),
    "restore": ("alchemy.cli.scope.restore:restore", "Make the state what it was in a backup."),
    "rebuild": ("alchemy.cli.scope.rebuild:rebuild", "Make state anew from what is left of it, and the cloud."),
    "reset": ("alchemy.cli.scope.reset:reset", "Forget everything in a scope's state; the cloud stays as it is."),
    "drift": ("alchemy.cli.scope.drift:drift", "What the cloud has otherwise than the state says."),
    "cleanup": ("alchemy.cli.scope.cleanup:cleanup", "Destroy what runs left behind, at once or step by step."),
    "keep": ("alchemy.cli.scope.keep:keep", "Keep a resource whatever the program says, or no longer."),
    "stop": ("alchemy.cli.scope.stop:stop", "Ask the run that is at work in a scope to stop."),
    "resume": ("alchemy.cli.scope.resume:resume", "Finish what an interrupted run left, without its program."),
    "rekey": ("alchemy.cli.scope.rekey:rekey", "Another password for an application's secrets, or another key."),
    "migrate": ("alchemy.cli.scope.migrate:migrate", "Bring state of another tool into a scope."),
    "mv": ("alchemy.cli.scope.mv:mv", "Another id or place for what is stored; nothing is replaced."),
    "rm": ("alchemy.cli.scope.rm:rm", "Forget resources; the objects in the cloud stay."),
    "export": ("alchemy.cli.scope.export:export", "A scope or resource as one JSON document."),
    "import": ("alchemy.cli.scope.bring:bring", "Take in an existing object, or what was exported."),
}
ALIASES = {"list-locks": "locks", "finalize": "cleanup"}
CLOUD: Table = {
    "serve": ("alchemy.cli.cloud:serve", "Serve the local cloud on a loopback port."),
    "reset": ("alchemy.cli.cloud:reset", "Delete everything in the local cloud."),
}
PLUGINS = "alchemy.commands"  # the entry-point group
_PLUGIN_HELP = {"tui": "The dashboard."}  # asking the plugin would load all of it


class Lazy(click.Group):
    """A group whose commands are known by name and one line; the module loads when one is called."""

    def __init__(self, *, table: Table, aliases: Mapping[str, str] | None = None, **extras: Any) -> None:
        self.plugged = bool(extras.pop("plugged", False))
        super().__init__(**extras)
        self.table = table
        self.aliases = aliases or {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = self.table.get(self.aliases.get(cmd_name, cmd_name))
        if found is None:
            return plugin(cmd_name) if self.plugged else None
        module, _, name = found[0].partition(":")
        command = getattr(import_module(module), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            import difflib

            close = difflib.get_close_matches(name, [*self.table, *self.aliases, *_PLUGIN_HELP], n=1)
            close += [f"scope {name}"] if not close and name in {*SCOPE, *ALIASES} else []
            path = ctx.command_path
            raise UsageError(
                f"there is no command {safe_text(name, 60)!r}",
                hint=f"did you mean `{path} {close[0]}`?" if close else f"`{path} --help` lists the commands",
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        lines = [(name, says) for name, (_, says) in self.table.items()]
        if self.plugged:
            lines += [(name, _PLUGIN_HELP.get(name, "From another package.")) for name in plugin_names()]
        with formatter.section("Commands"):
            formatter.write_dl(lines)


def plugin_names() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({entry.name for entry in entry_points(group=PLUGINS)} - COMMANDS.keys())


def plugin(name: str) -> click.Command | None:
    """A command of an installed package, or None. UsageError when it is installed and cannot be loaded."""
    from importlib.metadata import entry_points

    for entry in entry_points(group=PLUGINS, name=name):
        try:
            command = entry.load()
        except Exception as error:
            raise UsageError(
                f"the command {safe_text(name, 60)} is installed and cannot be loaded: {safe_text(error, 300)}",
                hint=f"install {safe_text(entry.value)} again, or uninstall it",
            ) from error
        if isinstance(command, click.Command):
            return command
    return None


@click.group(
    cls=Lazy,
    table=COMMANDS,
    plugged=True,
    name="alchemy",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Every command explains itself: alchemy deploy --help",
)
@click.version_option(version(), prog_name="alchemy", message="%(prog)s %(version)s")
def root() -> None:
    """Infrastructure as code for Cloudflare, in Python: scopes, collection of orphans, and a live dashboard."""


@click.group(cls=Lazy, table=SCOPE, aliases=ALIASES, name="scope")
def scope() -> None:
    """Look at scopes. SCOPE is a path such as my-app/prod; a resource's address works too."""


@click.group(cls=Lazy, table=CLOUD, name="cloud")
def cloud() -> None:
    """The local cloud: where everything is deployed when no Cloudflare account is given."""


def run(arguments: Sequence[str]) -> int:
    """Parse and call; whatever happens becomes an exit code here, without a traceback."""
    _prepare_streams()
    try:
        with root.make_context("alchemy", list(arguments)) as ctx:
            code = root.invoke(ctx)
        sys.stdout.flush()
    except BaseException as error:
        code = failures.report(error, arguments)
        if code == failures.INTERRUPTED:
            _leave_at_once_when_asked_again()
        return code
    return code if isinstance(code, int) else 0


def _leave_at_once_when_asked_again() -> None:
    """Whoever presses Ctrl-C twice may meet an interpreter that is ending, which would answer with a traceback."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, lambda *_: os._exit(failures.INTERRUPTED))


def _prepare_streams() -> None:
    """A stream that is closed, or an encoding that lacks a character, is no reason to fail."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, os.fdopen(nowhere, "w", encoding="utf-8", closefd=False))
        getattr(sys, name).reconfigure(errors="backslashreplace")

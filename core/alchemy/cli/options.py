"""The options that every command takes, and what they come to: the project, the state directory, the options of a run.

Milliseconds on the command line, seconds from here on. Neighbours: `settings` orders them with environment and project.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from alchemy.errors import UsageError
from alchemy.model.text import safe_text
from alchemy.settings import Options, Project, base_options, find_project

if TYPE_CHECKING:
    from alchemy.store.store import Store

Function = TypeVar("Function", bound=Callable[..., Any])
_HOUR, _LONGEST_DELAY = 3_600_000, 300_000  # ms; what `settings` takes at most, in seconds there


class Whole(click.IntRange):
    """Named for people: click would say "integer range"."""

    name = "whole number"


SHARED = (
    click.option("--state-dir", metavar="DIR", help="Where the state is.  [default: .alchemy of the project]"),
    click.option("--lock-timeout", metavar="MS", type=Whole(0, _HOUR), help="Wait for a lock this long."),
    click.option("--no-lock", is_flag=True, help="Take no lock: the later run wins, the earlier one stops."),
    click.option("--max-retries", metavar="N", type=Whole(0), help="Tries after a failed destruction."),
    click.option("--retry-delay", metavar="MS", type=Whole(0, _LONGEST_DELAY), help="Before the first retry."),
    click.option("--continue-on-error/--stop-on-error", default=None, help="While deleting, after a failure."),
    click.option("--plain", is_flag=True, help="No colour, no boxes, nothing that moves."),
    click.option("-v", "--verbose", is_flag=True, help="Each call, retry and unchanged resource too."),
    click.option("-q", "--quiet", is_flag=True, help="Errors and the result only."),
)
_SHARED_NAMES = frozenset(
    ["state_dir", "lock_timeout", "no_lock", "max_retries", "retry_delay", "continue_on_error"]
    + ["plain", "verbose", "quiet"]
)


@dataclass(frozen=True)
class Given:
    """What was typed. `values` are for `settings.Options`, only those that were given."""

    state_dir: Path | None
    values: dict[str, Any]
    plain: bool
    verbose: bool
    quiet: bool

    @functools.cached_property
    def project(self) -> Project:
        return find_project()

    @functools.cached_property
    def root(self) -> Path:
        """The state directory of this machine, absolute; the state itself is where `store` says."""
        return self.project.state_dir(self.state_dir)

    @functools.cached_property
    def store(self) -> Store:
        """Where the state is: the directory that was named, the bucket of the environment, the project's directory."""
        from alchemy.operations.imports.leftover import flat_state_line
        from alchemy.store import elsewhere
        from alchemy.store.moving import refuse_moved
        from alchemy.store.place import choose_store

        leftover = "" if self.quiet else flat_state_line(self.root, str(self.project.table.get("app", "")))
        if leftover:
            sys.stderr.write(f"note: {leftover}\n")
        store = choose_store(self.project, self.state_dir)
        if not self.quiet:
            store.troubled = lambda text: _say(f"{store.place}: {text}")
        refuse_moved(store)
        for found in () if self.quiet else elsewhere.notes(store):
            sys.stderr.write(f"note: {found.said}\n  next: {found.ways}\n")
        return store

    def options(self, **more: Any) -> Options:
        """For what acts on stored scopes without a program."""
        return base_options(self.project).but("command line", **self.values, **more)


def _say(text: str) -> None:
    """From another thread, while a command waits for an answer."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{safe_text(text)}\n")
        sys.stderr.flush()


class Command(click.Command):
    """Help with the shared options in a section of their own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                (shared if param.name in _SHARED_NAMES else own).append(record)
        for title, records in (("Options", own), ("Options of every command", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


def _stage(context: click.Context, option: click.Parameter, value: str | None) -> str:
    if value == "":
        raise UsageError("--stage is empty", hint="name a stage, or leave it out for the application itself")
    return value or ""


stage_option = click.option(
    "--stage", default=None, callback=_stage, metavar="NAME", help="The stage, where the program leaves it open."
)


def shared(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of every command; the function gets them as its first argument, a `Given`."""

    @functools.wraps(function)
    def command(**arguments: Any) -> Any:
        typed = {name: arguments.pop(name) for name in _SHARED_NAMES}
        return function(_given(typed), **arguments)

    for option in reversed(SHARED):
        command = option(command)
    return command


def _given(typed: dict[str, Any]) -> Given:
    if typed["verbose"] and typed["quiet"]:
        raise UsageError("-v and -q contradict each other", hint="leave one of the two out")
    values: dict[str, Any] = {}
    for name in ("lock_timeout", "retry_delay"):
        if typed[name] is not None:
            values[name] = typed[name] / 1000
    for name in ("max_retries", "continue_on_error"):
        if typed[name] is not None:
            values[name] = typed[name]
    if typed["no_lock"]:
        values["enable_locking"] = False
    for name in ("verbose", "quiet"):
        if typed[name]:
            values[name] = True
    directory = typed["state_dir"]
    if directory == "":
        raise UsageError("--state-dir is empty", hint="name a directory, or leave it out")
    # From where it is typed, as completion by the shell would have it; only the project file's is from its own folder.
    state_dir = Path(os.path.abspath(Path(directory).expanduser())) if directory is not None else None
    return Given(state_dir, values, typed["plain"], typed["verbose"], typed["quiet"])


def as_json(function: Function) -> Function:
    """`--json`, for commands that show something; shapes: docs/cli-json.md."""
    return click.option("--json", "json_", is_flag=True, help="One JSON document, documented in docs/cli-json.md.")(
        function
    )

"""Options: from the command line, then arguments, then the environment, then the project file, then the default.

Also where the project is. Durations here are seconds; only the environment variables and flags say milliseconds.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from alchemy.errors import UsageError
from alchemy.model.retention import Retention
from alchemy.model.text import safe_text

STRATEGIES = ("sequential", "parallel", "batched")
PHASES = ("up", "plan", "read", "destroy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What child scopes inherit. Seconds throughout."""

    enable_locking: bool = True
    lock_timeout: float | None = None  # as long as the place asks for: `Store.lock_timeout`
    destroy_strategy: str = "sequential"
    batch_size: int = 5
    max_concurrency: int = 10
    max_retries: int = 3
    retry_delay: float = 1.0
    timeout: float = 60.0
    continue_on_error: bool = True
    adopt: bool = False
    refresh: bool = False  # each declared resource is looked up before it is decided about
    force: bool = False
    on_error: str = ""  # "keep" or "cleanup"; "" is cleanup for run blocks, keep above them
    verbose: bool = False
    quiet: bool = False
    api_token: str = field(default="", repr=False)
    account_id: str = ""
    api_base_url: str = ""

    def but(self, where: str, **given: Any) -> Options:
        """With the arguments that are not None; UsageError names the one that is wrong."""
        values = {name: value for name, value in given.items() if value is not None}
        unknown = values.keys() - _TYPES.keys()
        if unknown:
            raise UsageError(
                f"{where} does not take {safe_text(', '.join(sorted(unknown)))}",
                hint=f"options: {', '.join(sorted(_TYPES))}",
            )
        for name, value in values.items():
            _check(name, value, where)
        return replace(self, **values)


_TYPES: dict[str, type] = {f.name: type(f.default) for f in fields(Options)} | {"api_token": str, "lock_timeout": float}
_LIMITS = {"retry_delay": 300.0, "timeout": 3600.0, "lock_timeout": 3600.0}


def _check(name: str, value: object, where: str) -> None:
    wanted = _TYPES[name]
    shown = f"{where}: {name}"
    if wanted is bool:
        if not isinstance(value, bool):
            raise UsageError(f"{shown} takes True or False, not {safe_text(repr(value), 60)}")
    elif wanted in (int, float):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or (wanted is int and not isinstance(value, int)):
            what = "a whole number" if wanted is int else "a number of seconds"
            raise UsageError(f"{shown} takes {what}, not {safe_text(repr(value), 60)}")
        assert isinstance(value, int | float)
        if value != value or value < (1 if name in ("batch_size", "max_concurrency") else 0):
            raise UsageError(f"{shown} cannot be {value}")
        if name in _LIMITS and value > _LIMITS[name]:
            raise UsageError(f"{shown}={value:g} is above {_LIMITS[name]:g}", hint="it is in seconds, not milliseconds")
    elif not isinstance(value, str):
        raise UsageError(f"{shown} takes a string, not {safe_text(repr(value), 60)}")
    if name == "destroy_strategy" and value not in STRATEGIES:
        raise UsageError(f"{shown} is one of {', '.join(STRATEGIES)}, not {safe_text(value, 40)!r}")
    if name == "on_error" and value not in ("", "keep", "cleanup"):
        raise UsageError(f"{shown} is 'keep' or 'cleanup', not {safe_text(value, 40)!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What the command line (or the test at hand) asks of the program it runs."""

    phase: str = ""
    stage: str = ""
    state_dir: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  # win over the program's arguments
    listener: Any = None  # Callable[[Entry], None]: gets every event of the run
    importing: bool = False  # the program is imported for its kinds only: alchemy() refuses
    purpose: str = ""  # what the lock says; the phase when empty
    yes: bool = False  # consent to what a replacement loses
    agreed: Any = None  # engine.agreement.Agreement: the plan that the run is held to


invocation: ContextVar[Invocation] = ContextVar("invocation", default=Invocation())  # noqa: B039 - frozen


@dataclass(frozen=True, slots=True)
class Project:
    """The nearest parent with `[tool.alchemy]`, else with `.alchemy`, else the working directory."""

    root: Path
    table: Mapping[str, Any]

    def state_dir(self, given: Path | str | None = None) -> Path:
        """On this machine, absolute; with state in a bucket, only for spills and the local cloud.

        Command line, argument, ALCHEMY_STATE_DIR, project file, `.alchemy`.
        """
        wanted = given or os.environ.get("ALCHEMY_STATE_DIR") or self.table.get("state_dir") or ".alchemy"
        return Path(os.path.abspath(self.root / Path(wanted).expanduser()))

    @property
    def program(self) -> Path:
        return self.root / str(self.table.get("program", "alchemy_run.py"))

    @property
    def retention(self) -> Retention:
        """Which backups stay."""
        return Retention(**self.table.get("backups", {}))

    def protects(self, path: str) -> bool:
        """`path` is one of the `protected` scopes or lies in one."""
        return any(path == each or path.startswith(f"{each}/") for each in map(str, self.table.get("protected", ())))


_PROJECT_KEYS = {"program": str, "state_dir": str, "app": str, "kinds": list, "protected": list, "state_store": str}
_PROJECT_KEYS |= {"state_prefix": str, "backups": dict}
_MOST_BACKUPS = 1000


def find_project(start: Path | None = None) -> Project:
    here = (start or Path.cwd()).absolute()
    fallback: Path | None = None
    for directory in (here, *here.parents):
        file = directory / "pyproject.toml"
        if file.is_file():
            table = _read_table(file)
            if table is not None:
                return Project(directory, table)
        if fallback is None and (directory / ".alchemy").is_dir():
            fallback = directory
    return Project(fallback or here, {})


def _read_table(file: Path) -> Mapping[str, Any] | None:
    import tomllib

    try:
        table = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {}).get("alchemy")
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"{safe_text(file)} cannot be read: {safe_text(error, 200)}", hint="mend the file") from error
    if table is None:
        return None
    for key, value in table.items():
        wanted = _PROJECT_KEYS.get(key)
        if wanted is None and key not in _TYPES:
            import difflib

            close = difflib.get_close_matches(key, [*_PROJECT_KEYS, *_TYPES], n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted({*_PROJECT_KEYS, *_TYPES}))}"
            raise UsageError(f"{safe_text(file)}: [tool.alchemy] has an unknown key {safe_text(key)!r}", hint=hint)
        if wanted is not None and not isinstance(value, wanted):
            what = "table" if wanted is dict else wanted.__name__
            raise UsageError(f"{safe_text(file)}: [tool.alchemy] {key} takes a {what}")
    _check_retention(file, table.get("backups", {}))
    return dict(table)


def _check_retention(file: Path, rules: Mapping[str, Any]) -> None:
    known = [each.name for each in fields(Retention)]
    hint = "backups = { last = 10, daily = 7, weekly = 4, monthly = 6 } is the default"
    for name, value in rules.items():
        shown = f"{safe_text(file)}: [tool.alchemy] backups.{safe_text(name, 40)}"
        if name not in known:
            raise UsageError(f"{shown} is not known; there are {', '.join(known)}", hint=hint)
        least = 1 if name == "last" else 0
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST_BACKUPS:
            what = f"a whole number from {least} to {_MOST_BACKUPS}"
            raise UsageError(f"{shown} takes {what}, not {safe_text(repr(value), 60)}", hint=hint)


def _milliseconds(name: str, text: str, option: str) -> float:
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise UsageError(f"{name}={safe_text(text, 40)!r} is not a number of milliseconds", hint=f"{name}=30000")
    most = int(_LIMITS[option] * 1000)
    if value > most:
        raise UsageError(f"{name}={value} is above {most} milliseconds", hint=f"{name}=30000 is half a minute")
    return value / 1000


def base_options(project: Project) -> Options:
    """Default, project file, environment."""
    options = Options().but(
        "[tool.alchemy]", **{key: value for key, value in project.table.items() if key not in _PROJECT_KEYS}
    )
    found: dict[str, Any] = {}
    environment = os.environ
    if environment.get("ALCHEMY_LOCK_TIMEOUT"):
        found["lock_timeout"] = _milliseconds(
            "ALCHEMY_LOCK_TIMEOUT", environment["ALCHEMY_LOCK_TIMEOUT"], "lock_timeout"
        )
    if environment.get("ALCHEMY_RETRY_DELAY"):
        found["retry_delay"] = _milliseconds("ALCHEMY_RETRY_DELAY", environment["ALCHEMY_RETRY_DELAY"], "retry_delay")
    if environment.get("ALCHEMY_MAX_RETRIES"):
        text = environment["ALCHEMY_MAX_RETRIES"]
        if not text.isdecimal():
            raise UsageError(f"ALCHEMY_MAX_RETRIES={safe_text(text, 40)!r} is not a whole number")
        found["max_retries"] = int(text)
    if environment.get("ALCHEMY_DESTROY_STRATEGY"):
        strategy = found["destroy_strategy"] = environment["ALCHEMY_DESTROY_STRATEGY"]
        if strategy not in STRATEGIES:
            raise UsageError(
                f"ALCHEMY_DESTROY_STRATEGY={safe_text(strategy, 40)!r} is not one of {', '.join(STRATEGIES)}",
                hint="ALCHEMY_DESTROY_STRATEGY=sequential is the default",
            )
    names = {"api_token": "CLOUDFLARE_API_TOKEN", "account_id": "CLOUDFLARE_ACCOUNT_ID"}
    names["api_base_url"] = "CLOUDFLARE_API_BASE_URL"
    for option, variable in names.items():
        if environment.get(variable):
            found[option] = environment[variable]
    return options.but("environment", **found)

"""Running `program.py` as its own process against the cloud of a test: start it, kill it, look at what it left."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.opening import load
from tests.crash.server import GIVE_UP, Cloud

HERE = Path(__file__).parent
CORE = HERE.parents[1] / "core"
PROD = ScopePath.parse("crash/prod")

# Read when the module is: the fixture that keeps settings out takes them away later.
MORE = int(os.environ.get("ALCHEMY_TRIALS", "0"))
SEED = os.environ.get("ALCHEMY_SEED", "")


def trials(ordinary: int) -> range:
    """How many trials: ALCHEMY_TRIALS on demand."""
    return range(MORE or ordinary)


def chance(trial: int) -> random.Random:
    """Seeded; a failing test shows the seed, ALCHEMY_SEED repeats it."""
    seed = SEED or str(random.SystemRandom().randrange(1_000_000))
    print(f"ALCHEMY_SEED={seed} trial {trial}")
    return random.Random(f"{seed}:{trial}")


@dataclass
class Ended:
    """How a process ended: `code` is negative for a signal."""

    code: int
    out: str
    err: str
    took: float


@dataclass
class Bench:
    """A cloud and a state directory, and programs that deploy the one into the other."""

    cloud: Cloud
    root: Path
    n: int = 50
    common: dict[str, str] = field(default_factory=dict)
    program: Path = HERE / "program.py"

    def start(self, **settings: str) -> Running:
        """`settings` are the program's ITEMS_ variables in lower case, and any in capitals."""
        return Running(self.program, self._environment(settings), self.root.parent)

    def run_with(self, prepare: Callable[[], None], **settings: str) -> Ended:
        """`prepare` is called in the child, for limits."""
        return Running(self.program, self._environment(settings), self.root.parent, prepare).wait()

    def alchemy(self, *arguments: str, **settings: str) -> Ended:
        """The command line, on the same program."""
        return self.start_alchemy(*arguments, **settings).wait()

    def start_alchemy(self, *arguments: str, **settings: str) -> Running:
        project = self.root.parent / "pyproject.toml"
        project.write_text(f'[tool.alchemy]\nprogram = "{self.program}"\n')
        return Running(["-m", "alchemy.cli", *arguments], self._environment(settings), self.root.parent)

    def command(self, out: Path, err: Path, **settings: str) -> str:
        """For a shell."""
        environment = self._environment(settings)
        given = " ".join(f"{name}={shlex.quote(environment[name])}" for name in environment if name not in os.environ)
        given += "".join(f" {name}={shlex.quote(value)}" for name, value in settings.items() if name.isupper())
        return f"{given} {sys.executable} -W error {self.program} >{out} 2>{err} </dev/null"

    def _environment(self, settings: dict[str, str]) -> dict[str, str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("ALCHEMY_", "CLOUDFLARE_"))}
        environment |= {"ALCHEMY_STATE_DIR": str(self.root), "ITEMS_URL": self.cloud.url, "ITEMS_N": str(self.n)}
        environment |= {"PYTHONPATH": str(CORE), "ALCHEMY_LOCK_TIMEOUT": "30000", "PYTHONUNBUFFERED": "1"}
        for name, value in {**self.common, **settings}.items():
            environment[name if name.isupper() else f"ITEMS_{name.upper()}"] = value
        return environment

    def run(self, **settings: str) -> Ended:
        return self.start(**settings).wait()

    def deploy(self, **settings: str) -> Ended:
        """One that must go well."""
        ended = self.run(**settings)
        assert ended.code == 0, f"exit {ended.code}\n{ended.err}"
        self.cloud.settle()
        return ended

    def destroy(self, **settings: str) -> Ended:
        ended = self.deploy(phase="destroy", **settings)
        assert self.cloud.items == {}, f"left on the server: {self.cloud.names}"
        return ended

    def fold(self, path: ScopePath = PROD) -> Fold:
        return load(Files(), Layout(self.root), path).fold


class Running:
    """A program under way; what it prints goes to files, so that nothing blocks."""

    def __init__(
        self,
        program: Path | list[str],
        environment: dict[str, str],
        directory: Path,
        prepare: Callable[[], None] | None = None,
    ) -> None:
        self._out = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `wait`
        self._err = tempfile.TemporaryFile()  # noqa: SIM115
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", *(program if isinstance(program, list) else [str(program)])],
            env=environment,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=self._out,
            stderr=self._err,
            preexec_fn=prepare,
        )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        """Its standard error so far."""
        return os.pread(self._err.fileno(), 1_000_000, 0).decode(errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Nothing happens when it has ended already."""
        if self.alive:
            self.process.send_signal(number)

    def wait(self) -> Ended:
        try:
            code = self.process.wait(GIVE_UP * 2)
        finally:
            if self.alive:
                self.process.kill()
                self.process.wait()
        took = time.monotonic() - self._started
        return Ended(code, _take(self._out), _take(self._err), took)

    def kill(self) -> Ended:
        """-9: nothing of it runs any more when this returns."""
        self.send(signal.SIGKILL)
        return self.wait()


def _take(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


def eventually(holds: Callable[[], object], what: str, patience: float = GIVE_UP) -> None:
    """`holds()` becomes true before patience ends."""
    until = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.005)

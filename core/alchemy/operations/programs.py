"""Finding, importing and running a user's program.

The command line runs it here, in process; the same functions import it only for the kinds it defines.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from alchemy.errors import AlchemyError, ProgramFailed, ProgramImported, UsageError
from alchemy.model.text import safe_text
from alchemy.settings import Invocation, Project, invocation

if TYPE_CHECKING:
    from alchemy.engine.session import Run


@dataclass(slots=True)
class RunResult:
    """What a program did: one Run for each application, stage and test it opened, in order."""

    runs: list[Run] = field(default_factory=list)
    value: Any = None  # what main() returned


def find_program(argument: str | None, project: Project) -> Path:
    """The file named, else `[tool.alchemy] program`, else `alchemy_run.py` of the project."""
    path = Path(argument).expanduser() if argument else project.program
    if path.is_dir():
        path = path / "alchemy_run.py"
    if not path.is_file():
        named = "" if argument or "program" not in project.table else " (named by [tool.alchemy] program)"
        raise UsageError(
            f"there is no program {safe_text(path)}{named}",
            hint="`alchemy init` writes one, or name it: alchemy deploy path/to/program.py",
        )
    return path.absolute()


async def run_program(path: Path, asked: Invocation) -> RunResult:
    """Imports the file as its stem, awaits its `main()`. Raises the errors of the run, and the user's own as they are.

    ProgramFailed when it cannot be imported or has no `async def main()`.
    """
    from alchemy.engine.entering import give_back
    from alchemy.engine.session import recorded_runs

    result = RunResult()
    token = invocation.set(asked)
    recording = recorded_runs.set(result.runs)
    try:
        module = load_program(path)
        main = getattr(module, "main", None)
        if not inspect.iscoroutinefunction(main):
            raise ProgramFailed(
                f"{safe_text(path.name)} has no `async def main()`",
                hint="put the program's body into `async def main() -> None:`",
            )
        result.value = await main()
    except BaseException:
        give_back()
        raise
    else:
        errors = give_back()
        if errors:
            raise errors[0]
        return result
    finally:
        invocation.reset(token)
        recorded_runs.reset(recording)


def load_program(path: Path) -> ModuleType:
    """The module, with its folder first on the path. A second load is a new module."""
    folder = str(path.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    name = path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ProgramFailed(f"{safe_text(path)} is not a Python file", hint="name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except AlchemyError:
        raise
    except SyntaxError as error:
        raise ProgramFailed(
            f"{safe_text(path.name)}:{error.lineno}: {safe_text(error.msg)}", hint="mend the syntax, then run it again"
        ) from error
    except Exception as error:
        raise ProgramFailed(
            f"{safe_text(path.name)} cannot be loaded: {type(error).__name__}: {safe_text(error, 300)}",
            hint="its top level should only define things; the work belongs in `async def main()`",
        ) from error
    return module


def import_for_kinds(path: Path) -> None:
    """The program's classes, without running it: `alchemy()` and `asyncio.run` refuse meanwhile."""
    import asyncio

    def refuse(*_: object, **__: object) -> None:
        raise ProgramImported("the program is imported for its kinds only")

    token = invocation.set(Invocation(importing=True))
    original = asyncio.run
    asyncio.run = refuse  # type: ignore[assignment]
    try:
        load_program(path)
    except (ProgramImported, SystemExit):
        return
    finally:
        asyncio.run = original
        invocation.reset(token)

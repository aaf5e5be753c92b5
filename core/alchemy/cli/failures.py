"""What went wrong, as text on stderr and an exit code: `error:` with the cause, `next:` with what to type.

No traceback for what we foresaw; a program's own exception shows the program's frames only; `-v` shows all.
Exit codes: 0 done, 1 failed, 2 usage, 3 lock held, 4 state invalid, 5 refused, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.cli.tones import Line, coloured, joined, line
from alchemy.cli.wording import LONGEST, failure
from alchemy.errors import AlchemyError, ProgramFailed, ResourceFailed, RunFailed, UsageError
from alchemy.model.text import safe_block, safe_text
from alchemy.store.descent import closed_at

if TYPE_CHECKING:
    from traceback import FrameSummary

INTERRUPTED = 130
_UNWRITABLE = (errno.ENOSPC, errno.EPIPE, errno.EBADF, errno.EIO)
_CORE = str(Path(__file__).parents[1])


class CommandFailed(Exception):
    """Carries what a command's narration already told to whoever reports the error; the cause is chained."""

    def __init__(self, told: Collection[str]) -> None:
        super().__init__()
        self.told = told


class Ended(Exception):
    """A command leaves with this exit code after it has said why itself."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def report(error: BaseException, arguments: Sequence[str]) -> int:
    """Say it on stderr; return the exit code."""
    told: Collection[str] = ()
    if isinstance(error, CommandFailed):
        assert error.__cause__ is not None
        told, error = error.told, error.__cause__
    code = _leaving(error)
    if code is not None:
        return code
    verbose = any(a == "--verbose" or (a.startswith("-") and a[1:2] != "-" and "v" in a) for a in arguments)
    usage = 1 if "--detailed-exitcode" in arguments else 2  # there, 2 means that there are changes
    if isinstance(error, AlchemyError):
        _print(lines_of(error, told))
        if isinstance(error, UsageError):
            return usage
        if verbose:
            _print_trace(error)
        return error.exit_code
    from alchemy.cli import typed

    said = typed.explain(error)
    if said is not None:
        _print(said)
        return usage
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        _print([line(("error: ", "bad"), f"the output cannot be written: {error.strerror}")])
        _drop_output()
    elif _users_frames(error) and not _ours(error):
        _print(_of_user(error))
    elif isinstance(error, PermissionError) and error.filename is not None:
        _print(_closed(Path(os.fsdecode(error.filename)), error))
    else:
        _print(_unforeseen(error))
    if verbose:
        _print_trace(error)
    return 1


def of_program(error: BaseException, told: Collection[str]) -> int | None:
    """For programs run with python: the exit code when it was ours to say, None for what keeps its traceback."""
    from alchemy.engine.signals import interrupts

    if isinstance(error, AlchemyError):
        _print(lines_of(error, told))
        return error.exit_code
    if interrupts.count and type(error).__name__ in ("CancelledError", "KeyboardInterrupt"):
        return INTERRUPTED
    return None


def _leaving(error: BaseException) -> int | None:
    """What is no failure to tell about: an exit, an interruption, output that nobody reads any more."""
    if isinstance(error, Ended):
        return error.code
    if isinstance(error, SystemExit):
        if error.code is None or isinstance(error.code, int):
            return error.code or 0
        _print([line(str(error.code))])
        return 1
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    module, name = type(error).__module__, type(error).__name__
    if module.startswith("click.") and name == "Exit":
        return int(getattr(error, "exit_code", 0))
    if module.startswith("click.") and name == "Abort":
        return INTERRUPTED
    if module.startswith("asyncio.") and name == "CancelledError":
        return INTERRUPTED
    return None


def explained(error: BaseException | None) -> dict[str, str] | None:
    """For a JSON document: what is said on stderr about what the program raised, without its frames."""
    from alchemy.model.scrubbing import scrub

    if error is None:
        return None
    if isinstance(error, AlchemyError):
        return {"message": scrub(error.message), "hint": scrub(error.hint)}
    return {"message": scrub(f"the program raised {_named(error)}"), "hint": ""}


def lines_of(error: AlchemyError, told: Collection[str] = ()) -> Iterator[Line]:
    """`told` are addresses whose failure stands above already."""
    message = error.message
    if isinstance(error, ResourceFailed) and error.address in told:
        message = f"the program stopped at {error.address}, which failed"
    yield line(("error: ", "bad"), safe_text(message, 4 * LONGEST))
    if isinstance(error, RunFailed):
        for address, why in error.failures:
            if address not in told:
                yield line("  ", failure(address, why))
    cause = error.__cause__
    if isinstance(error, ProgramFailed) and cause is not None:
        yield from _frames(cause)
    for step in error.steps if isinstance(error, RunFailed) else filter(None, [error.hint]):
        yield line(("  next: ", "title"), step)


def _of_user(error: BaseException) -> Iterator[Line]:
    yield line(("error: ", "bad"), f"the program raised {_named(error)}")
    yield from _frames(error)


def _closed(path: Path, error: OSError) -> Iterator[Line]:
    yield line(("error: ", "bad"), f"{safe_text(path)}: {error.strerror}")
    shown = safe_text(closed_at(path))
    said = f"see whose it is (`ls -ld {shown}`); its owner opens it with `chmod u+rwX {shown}`"
    yield line(("  next: ", "title"), said)


def _unforeseen(error: BaseException) -> Iterator[Line]:
    yield line(("error: ", "bad"), f"unexpected {_named(error)}")
    yield from _frames(error)
    yield line(
        ("  next: ", "title"), "this is a defect of alchemy: report it with the output of the same command and -v"
    )


def _named(error: BaseException) -> str:
    first = safe_text(str(error), LONGEST)
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _frames(error: BaseException) -> Iterator[Line]:
    """As Python writes them, with the frames of the program and its own modules only."""
    for frame in _users_frames(error):
        yield line((f'  File "{_short(frame.filename)}", line {frame.lineno}, in {frame.name}', "dim"))
        if frame.line:
            yield line(f"    {frame.line}")
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield line("  ", _named(inner))
            yield from _frames(inner)


def _ours(error: BaseException) -> bool:
    """Raised by a line of alchemy itself, not by the program or a library that it called."""
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.startswith(_CORE)


def _users_frames(error: BaseException) -> list[FrameSummary]:
    import sysconfig
    import traceback

    paths = sysconfig.get_paths()
    foreign = (_CORE, paths["stdlib"], paths["purelib"], paths["platlib"], "<")
    found = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(foreign)]
    return [frame for frame in found if Path(frame.filename).name != "alchemy"]  # the launcher


def _short(file: str) -> str:
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (ValueError, OSError):
        return file


def _print_trace(error: BaseException) -> None:
    import traceback

    text = "".join(traceback.format_exception(error))
    _print(line((part, "dim")) for part in safe_block(text).splitlines())


def _print(said: Iterator[Line] | list[Line]) -> None:
    colour = coloured(sys.stderr)
    try:
        for pieces in said:
            sys.stderr.write(joined(pieces, colour=colour) + "\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads stderr; the exit code still says it
        return


def _drop_output() -> None:
    """Else the interpreter tries the same bytes again when it leaves, and says so in its own words."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

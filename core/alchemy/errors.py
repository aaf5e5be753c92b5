"""Every error a user can meet, as one tree: a message (subject and cause), a hint (what to type next), an exit code.

Neighbours: the command line turns these into one line on stderr and an exit code; everything below it only raises.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

MOST_HINTS = 5  # of one run: a kind may word its own for each resource


class AlchemyError(Exception):
    """Root of the tree. `str(error)` names subject and cause, `error.hint` the next step."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AlchemyError):
    """The program or the command line asks for something that has no meaning."""

    exit_code = 2


class InvalidName(UsageError):
    """A scope name, path or resource id outside the grammar."""


class UnknownKind(UsageError):
    """A kind of resource that nothing loaded defines."""


class NotYetKnown(AlchemyError):
    """An output was used in Python before the resource that produces it was awaited (or while planning)."""


class ProgramFailed(AlchemyError):
    """The user's program could not be loaded or raised; the cause is chained."""


class ProgramImported(AlchemyError):
    """Raised inside a program that is imported only for the kinds it defines; caught by the importer."""


class LockHeld(AlchemyError):
    """Somebody else holds the scope, or one above or below it."""

    exit_code = 3


class Fenced(AlchemyError):
    """A later run opened a higher epoch: this run may not write state any more."""

    exit_code = 3


class StateInvalid(AlchemyError):
    """Stored state is torn, edited, missing or of an unknown format; names the file."""

    exit_code = 4


class StorageFailed(AlchemyError):
    """The disk refused a write or a sync (full, read-only, failing)."""


class Refused(AlchemyError):
    """What was asked differs from what was agreed: another target, another plan, a protected resource."""

    exit_code = 5


class NoCloudYet(AlchemyError):
    """A plan would look into a local cloud that nothing was deployed to: there is nothing in it."""


class Ambiguous(AlchemyError):
    """Several objects in the cloud could be one resource, and nothing tells which. Raised by a kind's `read`.

    Stops that resource only; nothing is done to any of the `candidates` (names or ids).
    """

    def __init__(self, candidates: Sequence[str], *, decide: str = "delete those that are not it by hand") -> None:
        self.candidates = tuple(candidates)
        shown = ", ".join(repr(candidate) for candidate in self.candidates[:8])
        more = f" and {len(self.candidates) - 8} more" if len(self.candidates) > 8 else ""
        super().__init__(
            f"{len(self.candidates)} objects in the cloud could be it: {shown}{more}; nothing was done to any: "
            f"{decide}, then run the same command again"
        )


class CloudError(AlchemyError):
    """The cloud answered with an error.

    `service` is the product (d1, kv, r2, queues, workers), `status` the HTTP status (0: no answer), `code` the
    product's own error number (0: none), `retry_after` the wait it asked for in seconds.
    """

    def __init__(
        self,
        message: str,
        *,
        service: str = "",
        status: int = 0,
        code: int = 0,
        retry_after: float | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message, hint=hint)
        self.service = service
        self.status = status
        self.code = code
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Worth another try: throttled, a fault on their side, or no answer at all."""
        return self.status in (0, 408, 425, 429) or self.status >= 500


class ResourceFailed(AlchemyError):
    """One resource could not be brought to its wished state; raised by awaiting it. The cause is chained."""

    def __init__(self, address: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.address = address


class Failure(NamedTuple):
    """Of one resource in a run. `hint` is what its cause says to do next, empty where that says nothing."""

    address: str
    why: str
    hint: str = ""


def hints_of(failures: Iterable[Failure]) -> tuple[str, ...]:
    """Each once, that of the most failures first."""
    counted = Counter(each.hint for each in failures if each.hint)
    return tuple(hint for hint, _ in counted.most_common(MOST_HINTS))


class RunFailed(AlchemyError):
    """A run ended with failures; each is listed once, root causes only.

    `failures` are pairs of address and cause, `steps` what to do next, one each: what the causes say, the most common
    first, then what goes for the run. `hint` is all of them in one line, `each` what other failures are made from.
    """

    def __init__(self, message: str, failures: Iterable[Failure] = (), *, hint: str = "") -> None:
        self.each = tuple(dict.fromkeys(failures))
        self.failures = tuple((each.address, each.why) for each in self.each)
        self.hints = hints_of(self.each)
        self.steps = tuple(filter(None, (*self.hints, hint)))
        super().__init__(message, hint="; ".join(self.steps))


class Interrupted(SystemExit):
    """Ctrl-C or SIGTERM: leaves the program with 130 and no traceback, after user `finally` blocks ran."""

    def __init__(self) -> None:
        super().__init__(130)

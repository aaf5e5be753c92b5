"""What an act of surgery is about: the journal that holds an address, whether another one can be there, and the keys.

Reading only, and light. Neighbour: `record` writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemy.errors import InvalidName, Refused, StateInvalid, UsageError
from alchemy.model.fold import Fold
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeKind
from alchemy.operations.backups import Subject
from alchemy.operations.shapes import View
from alchemy.operations.workspace import Workspace
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.store.keyring import KeyRing


def look(store: Store) -> tuple[Workspace, View]:
    workspace = Workspace(store)
    return workspace, workspace.refresh()


def owner_of(store: Store, workspace: Workspace, subject: str) -> tuple[ScopePath, ScopeKind, Fold]:
    """The journal that holds `subject`. StateInvalid when it cannot be read."""
    owner = ScopePath.parse(workspace.owner_of(subject))
    fold = store.read_fold(owner)
    return owner, fold.kind or Subject(owner, str(owner)).kind, fold


def not_stored(subject: str, view: View) -> UsageError:
    import difflib

    close = difflib.get_close_matches(subject, [*view.scopes, *view.resources], n=1)
    hint = f"did you mean {safe_text(close[0], 200)}?" if close else "`alchemy scope list` shows what is"
    return UsageError(f"{safe_text(subject, 200)} is not in the state", hint=hint)


def missing_scopes(fold: Fold, paths: Sequence[str]) -> list[str]:
    """Nested scopes that `paths` need and nobody stored yet, outermost first."""
    found: dict[str, None] = {}
    for path in paths:
        parts = path.split("/")
        for count in range(len(fold.path.split("/")) + 1, len(parts) + 1):
            above = "/".join(parts[:count])
            if above not in fold.scopes:
                found[above] = None
    return list(found)


def refuse_place(store: Store, fold: Fold, owner: ScopePath, path: str) -> None:
    """`path` can be a nested scope of the journal of `owner`, or the owner itself. Names are checked already."""
    parsed = ScopePath.parse(path)
    for above in (*parsed.ancestors, parsed):
        name = str(above)
        if not owner.holds(above) or above == owner:
            continue
        if name in fold.resources:
            raise Refused(f"{safe_text(name, 200)} is a resource: nothing can be in it", hint="choose another scope")
        parent = str(above.parent)
        names = {other.rpartition("/")[2] for other in fold.scopes if other.rpartition("/")[0] == parent}
        for other in {*names, *(store.siblings(above) if above.parent == owner else ())}:
            if other != above.name and other.lower() == above.name.lower():
                said = f"{safe_text(name, 200)} and {safe_text(other, 80)} differ only in case"
                raise Refused(said, hint="choose another name")
        if owner.parent is None and len(above.parts) == 2 and above.name.lower() == "test":
            raise Refused(f"{name} is where test scopes are", hint="choose another name")


def place_of(store: Store, into: ScopePath) -> tuple[ScopePath, ScopeKind]:
    """The journal that `into` is in, or would be, and its kind. The scope itself need not be there yet."""
    parts = into.parts
    if len(parts) > 1 and parts[1].lower() == "test":
        raise UsageError(f"{into} would be in a test scope: it is destroyed when its test ends", hint="name a stage")
    if len(parts) == 1 or (len(parts) > 1 and store.stored_kind(ScopePath(parts[:2])) is ScopeKind.NESTED):
        return ScopePath(parts[:1]), ScopeKind.APPLICATION
    owner = ScopePath(parts[:2])
    for name in store.siblings(owner):
        if name != owner.name and name.lower() == owner.name.lower():
            raise InvalidName(f"{owner} and {name} differ only in case", hint=f"did you mean {name}?")
    return owner, ScopeKind.STAGE


def known_already(there: ResourceState) -> Refused:
    """One object, one row: else one stage deletes what another one uses."""
    return Refused(
        f"{safe_text(there.physical_name, 200)} is the object of {safe_text(there.address, 200)} already",
        hint=f"`alchemy scope rm {safe_text(there.address, 200)}` first, or `alchemy scope mv` it",
    )


def same_object(store: Store, kind: str, name: str, account: str = "") -> ResourceState | None:
    """A row of any journal of this state that stands for the object: one object, one row."""
    for path in store.owners():
        for row in store.read_fold(path).resources.values():
            if (row.kind, row.physical_name) == (kind, name) and account in ("", row.account or account):
                return row
    return None


def opened_ring(store: Store, application: str, password: str | None, why: str) -> KeyRing:
    """MissingPassword, WrongPassword, or StateInvalid when there is no ring."""
    from alchemy.store.keyfiles import open_ring
    from alchemy.store.keyring import MissingPassword

    if not password:
        raise MissingPassword(
            f"{why}, and no password is given: nothing was done",
            hint="set ALCHEMY_PASSWORD to the password that they were sealed with",
        )
    ring = open_ring(store, application, password)
    if ring is None:
        raise StateInvalid(
            f"{application} has sealed values and no keys.json",
            hint="copy keys.json back; or set the secrets again in the program and deploy",
        )
    return ring

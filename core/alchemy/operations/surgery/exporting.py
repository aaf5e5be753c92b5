"""Taking a part of the state out as one document: the rows stay where they are, secrets stay sealed. Reading only.

Neighbours: `model.exports` is the document, `importing` brings one in.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alchemy.errors import StorageFailed, UsageError
from alchemy.model import strict
from alchemy.model.exports import Export, read_export
from alchemy.model.paths import ScopePath
from alchemy.model.renaming import holds_sealed
from alchemy.model.text import safe_text
from alchemy.model.values import ResourceState, ScopeState
from alchemy.operations.outfiles import write_out
from alchemy.operations.surgery.subject import look, not_stored, owner_of
from alchemy.store import identity
from alchemy.store.backups import TOOL
from alchemy.store.shelf import shelf_of
from alchemy.store.store import Store


def export(store: Store, named: str) -> Export:
    """`named` is a scope, with everything in it that is in its journal, or one resource."""
    workspace, view = look(store)
    owner, _, fold = owner_of(store, workspace, named)
    rows: list[ResourceState] = []
    scopes: list[ScopeState] = []
    if named in fold.scopes:
        rows = fold.below(named)
        scopes = [row for path, row in sorted(fold.scopes.items()) if path == named or path.startswith(f"{named}/")]
    else:
        rows = [row for row in fold.resources.values() if row.address == named]
    if not rows and not scopes:
        stages = [path for path in store.owners() if path.startswith(f"{named}/")]
        if not stages:
            raise not_stored(named, view)
        raise UsageError(
            f"{safe_text(named, 200)} holds no state of its own: its stages do",
            hint=f"export one of them: {', '.join(stages[:5])}",
        )
    return Export(
        scope=named,
        owner=str(owner),
        lineage=fold.lineage,
        taken=store.clock.now(),
        by=f"{identity.user()}@{identity.host()}",
        tool=TOOL,
        target=fold.target,
        scopes=tuple(scopes),
        rows=tuple(sorted(rows, key=lambda row: row.key)),
        keys=_keys(store, owner) if any(map(holds_sealed, rows)) else None,
    )


def _keys(store: Store, owner: ScopePath) -> dict[str, Any] | None:
    """As they are stored: they open with the password only."""
    from alchemy.store.keyfiles import ring_path

    path = ring_path(owner.app)
    data = shelf_of(store).read(path)
    if data is None:
        return None
    found = strict.read(data, f"{store.place}/{path}", "copy keys.json back from a backup of the state")
    return found if isinstance(found, dict) else None


def save(document: bytes, file: Path) -> None:
    """Whole or not at all, readable by its owner alone. A file that is there already is never written over."""
    write_out(file, document, "the export", over=False)


def load(file: Path) -> Export:
    """A document that `save` wrote, or somebody else. StateInvalid when it cannot be believed."""
    try:
        if not file.is_file():
            raise UsageError(f"there is no file {safe_text(file)}", hint="`alchemy scope export SCOPE --out FILE`")
        if file.stat().st_size > strict.MAX_COPY:
            raise UsageError(f"{safe_text(file)} is too large for an export", hint="export a part of it")
        data = file.read_bytes()
    except OSError as error:
        raise StorageFailed(f"{safe_text(file)} cannot be read: {error.strerror}", hint="see to the file") from error
    return read_export(data, str(file))

"""Which store a project's state is in: the bucket that the environment names, or a directory.

The only place that decides. Neighbours: `settings` knows project and environment, `local` and `objects` are the stores.
"""

from __future__ import annotations

import os
from pathlib import Path

from alchemy.errors import UsageError
from alchemy.settings import Project
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.store import Store

_NAMES = ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME")


def find_store(project: Project, given: Path | str | None = None) -> Store:
    """`given`: a directory that an argument or `--state-dir` names; it wins, and so does `state_store = "file"`.

    Every call is another session. UsageError when the variables of a bucket are there in part: never silently files.
    """
    session = os.urandom(16).hex()
    directory = project.state_dir(given)
    wanted = project.table.get("state_store")
    if not given and wanted != "file" and (wanted or any(os.environ.get(name) for name in _NAMES)):
        names = ", ".join(name for name in _NAMES if os.environ.get(name)) or "state_store"
        raise UsageError(
            f"{names} asks for state in object storage, which this version does not have yet",
            hint='unset it, or say that local files are meant: state_store = "file" in [tool.alchemy]',
        )
    store = LocalStore(Layout(directory), session)
    store.retention = project.retention
    return store

"""Which store a project's state is in: the bucket that the environment names, or a directory.

The only place that decides. Neighbours: `settings` knows project and environment, `local` and `objects` are the stores.
"""

from __future__ import annotations

import os
from pathlib import Path

from alchemy.settings import Project
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from alchemy.store.moving import refuse_moved
from alchemy.store.store import Store

VARIABLES = ("R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_BUCKET_NAME")


def find_store(project: Project, given: Path | str | None = None) -> Store:
    """As `choose_store`; Refused when the state of that place has moved to another one: in a bucket, a request."""
    store = choose_store(project, given)
    refuse_moved(store)
    return store


def choose_store(project: Project, given: Path | str | None = None) -> Store:
    """`given`: a directory that an argument or `--state-dir` names; it wins, and so does `state_store = "file"`.

    Every call is another session. UsageError when the variables of a bucket are there in part: never silently files.
    """
    store = _store(project, given, os.urandom(16).hex())
    store.retention = project.retention
    return store


def _store(project: Project, given: Path | str | None, session: str) -> Store:
    directory = project.state_dir(given)
    named = project.table.get("state_store")
    if not given and named != "file" and (named or any(os.environ.get(name) for name in VARIABLES)):
        from alchemy.store.objects.settings import bucket_settings

        settings = bucket_settings(os.environ, project.table)
        if settings is not None:
            from alchemy.store.objects.store import bucket_store

            return bucket_store(settings, directory, session)
    files = LocalStore(Layout(directory), session)
    files.meant = bool(given) or named == "file"
    return files

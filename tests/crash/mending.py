"""What else than a deploy can die at any step: rebuild, reset, cleanup, accepting an edit. `stepping` runs these."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from alchemy.operations.accepting import accept_edits, plan_edits
from alchemy.operations.cleaning import cleanup
from alchemy.operations.rebuilding import plan_rebuild, rebuild
from alchemy.operations.resetting import plan_reset, reset
from alchemy.settings import Options, Project
from alchemy.store.files import Files
from alchemy.store.layout import Layout
from alchemy.store.local import LocalStore
from tests.crash import program
from tests.crash.runs import PROD

OPTIONS = Options(retry_delay=0.02, lock_timeout=5.0)


def _store(files: Files) -> LocalStore:
    return LocalStore(Layout(Path(os.environ["ALCHEMY_STATE_DIR"])), os.urandom(16).hex(), files)


def _project() -> Project:
    return Project(Path(os.environ["ALCHEMY_STATE_DIR"]).parent, {})


async def _rebuild(files: Files) -> None:
    store = _store(files)
    await rebuild(store, await plan_rebuild(store, PROD, OPTIONS, project=_project()), OPTIONS)


async def _reset(files: Files) -> None:
    store = _store(files)
    await reset(store, plan_reset(store, PROD), OPTIONS)


async def _accept(files: Files) -> None:
    store = _store(files)
    await accept_edits(store, plan_edits(store, str(PROD)), OPTIONS)


async def _cleanup(files: Files) -> None:
    store = _store(files)
    try:
        await cleanup(store, PROD, OPTIONS, project=_project())
    finally:
        for each in program._clients:
            await each.aclose()


ACTS: dict[str, Callable[[Files], Coroutine[Any, Any, None]]] = {
    "rebuild": _rebuild,
    "reset": _reset,
    "accept": _accept,
    "cleanup": _cleanup,
}

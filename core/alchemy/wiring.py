"""Putting the parts together: which cloud a run talks to, and where kinds come from.

The only module that knows both the engine and the clouds. Everything here is imported late.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from alchemy.errors import AlchemyError, NoCloudYet, UsageError
from alchemy.model.text import safe_text
from alchemy.model.values import Target
from alchemy.settings import Options, Project
from alchemy.store.layout import Layout
from alchemy.store.store import Store

if TYPE_CHECKING:
    from alchemy.engine.context import Connection

CLOUDFLARE = "https://api.cloudflare.com/client/v4"
_REQUEST_TIMEOUT = 25.0  # seconds for one HTTP request, below the 60 s of a whole call
_IN_FLIGHT = 8  # per client: more makes httpx slower, measured


def is_local(options: Options) -> bool:
    """True without credentials. UsageError when only one of the two is there."""
    if bool(options.api_token) != bool(options.account_id):
        missing, given = "CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN"
        if options.account_id:
            missing, given = given, missing
        raise UsageError(
            f"{given} is set, {missing} is not",
            hint=f"set {missing} too to deploy to Cloudflare, or unset {given} to use the local cloud",
        )
    return not options.api_token


def describe_target(store: Store, options: Options) -> tuple[str, Target | None]:
    """(in words, the target). None when the local cloud was never used: then any stage may go there."""
    if not is_local(options):
        target = Target(account=options.account_id, name="Cloudflare", base_url=options.api_base_url or CLOUDFLARE)
        return str(target), target
    if store.remote:
        return "no cloud", None
    from alchemy.localcloud import account_id

    account = account_id(Layout(store.root).local_cloud, create=False)
    return "local cloud", Target(account=account, name="local cloud") if account else None


def connect(store: Store, options: Options) -> Connection:
    """An httpx client for the target; the kinds do not know which one it is."""
    import httpx

    from alchemy.engine.context import Connection

    if not is_local(options):
        from alchemy.cloudflare.pace import pace_of

        target = Target(account=options.account_id, name="Cloudflare", base_url=options.api_base_url or CLOUDFLARE)
        host = httpx.URL(target.base_url).host
        here = host in ("localhost", "127.0.0.1", "::1")  # `alchemy cloud serve`: nobody counts there
        pace = pace_of(target.base_url, options.api_token, limited=not here)
        client = httpx.AsyncClient(
            event_hooks={"request": [pace.before], "response": [pace.after]},
            base_url=target.base_url,
            headers={"Authorization": f"Bearer {options.api_token}"},
            timeout=_REQUEST_TIMEOUT,
            limits=httpx.Limits(max_connections=_IN_FLIGHT),
        )
        return Connection(client, target)
    if store.remote:
        raise UsageError(
            f"the state is in {safe_text(store.place)} for a team, the local cloud on this machine alone",
            hint="set CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID, or keep the state in files: --state-dir .alchemy",
        )
    from alchemy.localcloud import account_id, create_app

    directory = Layout(store.root).local_cloud
    app = create_app(directory)
    account = account_id(directory)
    assert account is not None
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app),
        base_url="http://local-cloud/client/v4",
        headers={"Authorization": "Bearer local"},
        timeout=_REQUEST_TIMEOUT,
    )
    return Connection(client, Target(account=account, name="local cloud"))


def connect_to_look(store: Store, options: Options) -> Connection:
    """For a plan: never makes a local cloud. NoCloudYet where there is none."""
    if is_local(options) and not store.remote and describe_target(store, options)[1] is None:
        raise NoCloudYet(f"there is no local cloud under {safe_text(store.root)} yet", hint="`alchemy deploy` makes it")
    return connect(store, options)


def load_kind(kind: str) -> None:
    """For `engine.kinds`: our own kinds, then the project's modules, then installed packages."""
    if kind.startswith("cloudflare:"):
        from alchemy import cloudflare  # defining a class registers its kind

        assert cloudflare.__all__
        return
    from alchemy.settings import find_project

    project = find_project()
    for module in project.table.get("kinds", ()):
        import_from_project(project, str(module))
    from importlib.metadata import entry_points

    for entry in entry_points(group="alchemy.kinds"):
        try:
            entry.load()
        except Exception as error:
            raise UsageError(
                f"the installed kinds {safe_text(entry.name)} cannot be loaded: {safe_text(error, 200)}",
                hint=f"mend or uninstall {safe_text(entry.value)}",
            ) from error


def import_from_project(project: Project, module: str) -> None:
    """A module named in `[tool.alchemy] kinds`, from the project's folder first."""
    import importlib
    import sys

    root = str(project.root)
    if root not in sys.path:
        sys.path.insert(0, root)
    try:
        importlib.import_module(module)
    except AlchemyError:
        raise
    except Exception as error:
        raise UsageError(
            f"[tool.alchemy] kinds: {safe_text(module)} cannot be imported: {safe_text(error, 200)}",
            hint="name a module of the project that defines Resource classes",
        ) from error


def refuse_other_platforms() -> None:
    """Locks and state need POSIX."""
    if os.name == "nt":
        raise UsageError("Alchemy Scope runs on Linux and macOS", hint="on Windows, use it inside WSL")

"""What a run needs from its surroundings, tried out one by one: state directory, bucket, Cloudflare account.

Changes nothing that lasts, but for what the bucket's probe remembers. Neighbours: `footing` tries the directory,
`store.objects.probe` the bucket.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from alchemy.errors import AlchemyError, CloudError
from alchemy.model.text import safe_text
from alchemy.operations.footing import AREA, Examined, examine_directory
from alchemy.settings import Options, Project, base_options
from alchemy.store import elsewhere
from alchemy.store.objects.settings import KEY_ID, SECRET, bucket_settings
from alchemy.store.place import choose_store

if TYPE_CHECKING:
    from alchemy.cloudflare.client import Api

BUCKET, CLOUD = "object storage", "cloud"
SETTINGS = "settings"
PRODUCTS: dict[str, tuple[str, dict[str, int]]] = {  # what the token may read, and how to ask for as little as possible
    "Workers": ("workers/scripts", {}),
    "KV": ("storage/kv/namespaces", {"per_page": 10}),
    "D1": ("d1/database", {"per_page": 10}),
    "R2": ("r2/buckets", {"per_page": 10}),
    "Queues": ("queues", {"per_page": 10}),
}
_TOKEN = (
    "make a token for CLOUDFLARE_API_TOKEN in this account, with the permissions of the products in use: "
    "Workers Scripts, Workers KV Storage, D1, Workers R2 Storage, Queues"
)
_UNSUPPORTED = 'use R2 or another S3 that keeps If-None-Match and If-Match, or local files (state_store = "file")'


def examine(project: Project, given: Path | None = None) -> Iterator[Examined]:
    """Line by line, as each is known. `given`: the directory that the command line names; then no bucket is used."""
    yield from examine_directory(project.state_dir(given))
    yield from _one_place(project, given)
    remote = False
    for one in _bucket(project, given):
        remote |= one.name != SETTINGS
        yield one
    yield from _cloud(project, remote=remote)


def _one_place(project: Project, given: Path | None) -> Iterator[Examined]:
    """A line for each application whose state is not where a run would look."""
    try:
        for found in elsewhere.notes(choose_store(project, given)):
            yield Examined(AREA, "one place", False, found.said, found.ways)
    except AlchemyError:  # the settings of a bucket are wrong: told among them
        return


def _bucket(project: Project, given: Path | None) -> Iterator[Examined]:
    try:
        settings = None if given else bucket_settings(os.environ, project.table)
    except AlchemyError as error:
        yield Examined(BUCKET, SETTINGS, False, error.message, error.hint)
        return
    if settings is None:
        yield Examined(BUCKET, SETTINGS, True, "not used: state is in local files")
        return
    from alchemy.store.objects.bucket import Bucket
    from alchemy.store.objects.probe import examine_anew

    yield Examined(BUCKET, SETTINGS, True, f"{settings.place} at {settings.endpoint}")
    try:
        checks = examine_anew(Bucket(settings))
    except AlchemyError as error:
        yield Examined(BUCKET, "reach it", False, error.message, error.hint)
        return
    for check in checks:
        yield Examined(BUCKET, check.name, check.passed, check.detail, "" if check.passed else _advise(check.name))


def _advise(line: str) -> str:
    if line == "delete it":
        return f"give the token of {KEY_ID} the right to delete objects, and check {SECRET}"
    return _UNSUPPORTED


def _cloud(project: Project, *, remote: bool) -> Iterator[Examined]:
    from alchemy.wiring import is_local

    try:
        options = base_options(project)
        local = is_local(options)
    except AlchemyError as error:
        yield Examined(CLOUD, "credentials", False, error.message, error.hint)
        return
    if local:
        needs = "to look at this state nothing is needed, to deploy CLOUDFLARE_API_TOKEN and CLOUDFLARE_ACCOUNT_ID"
        where = "resources go to the local cloud"
        yield Examined(CLOUD, "credentials", True, f"none: {needs if remote else where}")
        return
    yield Examined(CLOUD, "credentials", True, f"account {safe_text(options.account_id, 80)}")
    yield from _account(project, options)


def _account(project: Project, options: Options) -> list[Examined]:
    import asyncio

    return asyncio.run(_ask(project, options))


async def _ask(project: Project, options: Options) -> list[Examined]:
    """The token, then what it may read: it needs the products that the programs use, and no others."""
    from alchemy.cloudflare.client import Api
    from alchemy.store.layout import Layout
    from alchemy.store.local import LocalStore
    from alchemy.wiring import connect

    connection = connect(LocalStore(Layout(project.state_dir())), options)
    async with connection.client as client:
        try:
            await _verify(Api(client, options.account_id, "token"))
        except AlchemyError as error:
            return [Examined(CLOUD, "token", False, error.message, error.hint or _TOKEN)]
        allowed, denied = [], []
        for product, (path, parameters) in PRODUCTS.items():
            try:
                await Api(client, options.account_id, product.lower()).call("GET", path, params=parameters)
            except AlchemyError:
                denied.append(product)
            else:
                allowed.append(product)
    detail = f"reads {', '.join(allowed)}" if allowed else "it may read nothing that programs make"
    detail += f"; not {', '.join(denied)}" if allowed and denied else ""
    return [
        Examined(CLOUD, "token", True, "active"),
        Examined(CLOUD, "permissions", bool(allowed), detail, "" if allowed else _TOKEN),
    ]


async def _verify(api: Api) -> None:
    """A token of a user or, where that is denied, of an account. CloudError says why not."""
    import httpx

    from alchemy.cloudflare.failures import lost_answer, read_envelope

    try:
        response = await api.http.get("/user/tokens/verify")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise lost_answer(error, api.http, api.service) from error
    try:
        result = read_envelope(response, api.service, api.http).get("result")
    except CloudError as error:
        if error.status not in (400, 401, 403):
            raise
        result = await api.call("GET", "tokens", "verify")
    status = api.checked(result).get("status")
    if status != "active":
        raise CloudError(f"the token is {safe_text(status, 40)}", service=api.service, hint=_TOKEN)

"""`alchemy init`: a small working project. Adds to files that are there, never overwrites one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from alchemy.cli.options import Command, Given, shared
from alchemy.errors import InvalidName, StorageFailed
from alchemy.model.paths import ScopePath
from alchemy.model.text import safe_text

PROGRAM = '''\
"""What {app} consists of. `alchemy deploy` makes it so; what you take out of here is deleted by the next deploy."""

from __future__ import annotations

import asyncio

from alchemy import D1Database, KVNamespace, Worker, alchemy


async def main() -> None:
    async with alchemy("{app}"):  # alchemy deploy --stage prod: everything once more, apart from the rest
        async with alchemy.run("data"):
            db = D1Database("main")  # starts now; db.database_id is known once something awaits it
            cache = KVNamespace("cache")
        async with alchemy.run("compute"):
            api = await Worker(
                "api",
                entrypoint="src/worker.js",
                bindings={{"DB": db, "CACHE": cache}},  # waits for both, and is deleted before them
            )
        print(api.url)


if __name__ == "__main__":
    asyncio.run(main())
'''
WORKER = """\
export default {
  async fetch(request, env) {
    const hits = Number((await env.CACHE.get("hits")) ?? 0) + 1;
    await env.CACHE.put("hits", String(hits));
    const { results } = await env.DB.prepare("SELECT sqlite_version() AS version").all();
    return Response.json({ hits, database: results[0].version });
  },
};
"""
PYPROJECT = """\
[project]
name = "{app}"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["alchemy-scope"]

"""
TABLE = """\
[tool.alchemy]
app = "{app}"
program = "alchemy_run.py"
# state_store = "r2"  # the bucket of the R2_* variables, nowhere else; "file": .alchemy, whatever is set
"""


@click.command(cls=Command)
@click.argument("directory", metavar="[DIR]", default=".")
@shared
def init(given: Given, directory: str) -> None:
    """Write a small working project into DIR (default: here): a database, a key-value store and a worker on both."""
    root = Path(directory).expanduser().absolute()
    app = app_name(root.name)
    try:
        said = write_project(root, app)
    except OSError as error:
        raise StorageFailed(
            f"cannot write {safe_text(error.filename or root)}: {error.strerror}", hint="name a directory of yours"
        ) from error
    if given.quiet:
        return
    for name, what in said:
        sys.stderr.write(f"  {what:<8}  {name}\n")
    go = [] if root == Path.cwd() else [f"cd {safe_text(directory)}"]
    sys.stderr.write("\nNext:\n")
    for command in [*go, "alchemy plan", "alchemy deploy", "alchemy scope list"]:
        sys.stderr.write(f"  {command}\n")


def app_name(folder: str) -> str:
    """The folder's name inside the grammar of scope names; `my-app` when nothing is left of it."""
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._-]+", "-", folder)).strip("-._")[:63].rstrip("-._")
    try:
        return str(ScopePath.parse(name.lower()))
    except InvalidName:
        return "my-app"


def write_project(root: Path, app: str) -> list[tuple[str, str]]:
    """(file, what was done): written, added to, or kept as it was."""
    root.mkdir(parents=True, exist_ok=True)
    files = {"alchemy_run.py": PROGRAM.format(app=app), "src/worker.js": WORKER}
    said = [("pyproject.toml", _project_file(root / "pyproject.toml", app))]
    for name, text in files.items():
        said.append((name, _write(root / name, text)))
    said.append((".gitignore", _ignore(root / ".gitignore")))
    return said


def _write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return "kept"
    return "written"


def _project_file(path: Path, app: str) -> str:
    table = TABLE.format(app=app)
    if not path.exists():
        return _write(path, PYPROJECT.format(app=app) + table)
    text = path.read_text(encoding="utf-8")
    if re.search(r"^\s*\[\s*tool\s*\.\s*alchemy\b", text, re.MULTILINE):
        return "kept"
    _append(path, text, table)
    return "added to"


def _ignore(path: Path) -> str:
    """The state holds names and outputs of one deployment: it belongs to a machine or a bucket, not to git."""
    if not path.exists():
        return _write(path, ".alchemy/\n")
    text = path.read_text(encoding="utf-8")
    if any(entry.strip().strip("/") == ".alchemy" for entry in text.splitlines()):
        return "kept"
    _append(path, text, ".alchemy/\n", gap="")
    return "added to"


def _append(path: Path, text: str, more: str, *, gap: str = "\n") -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(("" if text.endswith("\n") or not text else "\n") + (gap if text else "") + more)

"""What may be in the repository at all: no address of a registry, no path of a machine, no test that cannot fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]

# Spelled in two halves, so that this file may be checked too.
REGISTRIES = ["pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js.org", "deb." + "debian.org"]
MACHINES = ["/" + "work/", "/" + "root/", "/opt/" + "pypi", "/opt/" + "wheels", "file:" + "///"]
VERIFIES = re.compile(r"^(assert|check|expect|verify|fail)|raises|warns|match")


def tracked() -> list[Path]:
    """Every text file that is in the repository or would be with `git add`."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, capture_output=True, check=True).stdout.decode().split("\0")
    return [path for name in names if name and (path := REPOSITORY / name).is_file()]


def test_no_file_names_a_registry_or_a_place_on_a_machine() -> None:
    here = {f"{path}/" for path in (REPOSITORY, Path.home(), Path(sys.base_prefix)) if len(path.parts) > 2}
    places = [rf"(?<![\w.~-]){re.escape(place)}" for place in sorted({*MACHINES, *here})]
    banned = re.compile("|".join([*map(re.escape, REGISTRIES), *places]))
    found = [
        f"{path.relative_to(REPOSITORY)}:{number}: {match.group()}"
        for path in tracked()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if (match := banned.search(line))
    ]
    assert found == []


def test_the_pins_carry_hashes_and_no_address() -> None:
    for name in ("constraints.txt", "constraints-dev.txt"):
        lines = (REPOSITORY / name).read_text().splitlines()
        pins = [number for number, line in enumerate(lines) if re.match(r"[\w.-]+==", line)]
        assert len(pins) > 20
        assert [lines[number] for number in pins if "--hash=sha256:" not in lines[number + 1]] == []
        shape = re.compile(r"[\w.-]+==[\w.]+( ; [^/]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?|#.*")
        assert [line for line in lines if not shape.fullmatch(line) or "/" in line] == []


def test_the_development_pins_are_the_runtime_pins_and_more() -> None:
    runtime, development = (
        set(re.findall(r"^[\w.-]+==[\w.]+", (REPOSITORY / name).read_text(), re.MULTILINE))
        for name in ("constraints.txt", "constraints-dev.txt")
    )
    assert runtime < development


def test_every_test_verifies_something() -> None:
    trees = {path: ast.parse(path.read_text()) for path in sorted((REPOSITORY / "tests").rglob("*.py"))}
    helpers = verifying_helpers(list(trees.values()))
    idle = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}: {node.name}"
        for path, tree in trees.items()
        for node in functions(tree)
        if path.name.startswith("test_") and node.name.startswith("test_")
        if not any(verifies(inner, helpers) for inner in ast.walk(node))
    ]
    assert idle == []


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def verifying_helpers(trees: list[ast.Module]) -> frozenset[str]:
    """Names of functions of the tests that verify themselves, or through one that does."""
    known: frozenset[str] = frozenset()
    while True:
        found = {
            node.name
            for tree in trees
            for node in functions(tree)
            if not node.name.startswith("test_") and any(verifies(inner, known) for inner in ast.walk(node))
        }
        if found == known:
            return known
        known = frozenset(found)


def verifies(node: ast.AST, helpers: frozenset[str] = frozenset()) -> bool:
    """An assert that is not a constant, or a call that may fail the test: its name says so, or its body does."""
    if isinstance(node, ast.Assert):
        return not isinstance(node.test, ast.Constant)
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        return name in helpers or bool(VERIFIES.search(name))
    return False


def test_an_idle_test_is_seen() -> None:
    idle, busy = ast.parse("def test_a():\n    assert True\n    run()\n\ndef test_b():\n    assert run() == 1\n").body
    assert not any(map(verifies, ast.walk(idle)))
    assert any(map(verifies, ast.walk(busy)))


def test_a_helper_that_asserts_makes_its_callers_busy() -> None:
    tree = ast.parse("def look():\n    assert run() == 1\n\ndef again():\n    look()\n\ndef idle():\n    run()\n")
    assert verifying_helpers([tree]) == {"look", "again"}

"""The structure that `docs/architecture.md` describes, held in place: layers, sizes, names, who may print."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
CORE = REPOSITORY / "core" / "alchemy"
DASHBOARD = REPOSITORY / "alchemy_tui"
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())

BUDGET = {CORE: 300, DASHBOARD: 350}  # lines a file
BANNED_NAMES = {"base", "common", "helper", "helpers", "manager", "managers", "misc", "shared", "util", "utils"}
DASHBOARD_MAY_USE = {"errors", "model", "operations"}


def sources(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.py") if "__pycache__" not in path.parts)


def shipped() -> list[Path]:
    return sources(CORE) + sources(DASHBOARD)


def short(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, also inside functions: `from a.b import c` gives `a.b.c`."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def is_module(dotted: str) -> bool:
    """Whether `alchemy.x.y` is a file or folder of core, not a name inside one."""
    place = CORE.joinpath(*dotted.split(".")[1:])
    return place.with_suffix(".py").is_file() or place.is_dir()


def test_there_is_something_to_check() -> None:
    assert len(sources(CORE)) > 10
    assert any(DASHBOARD.iterdir())


def test_imports_point_down_only() -> None:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    path = [str(REPOSITORY / "core"), str(REPOSITORY)]
    run = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {path!r}; {command}", "--no-cache"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    contracts = len(PROJECT["tool"]["importlinter"]["contracts"])
    assert f"Contracts: {contracts} kept, 0 broken." in run.stdout


def test_core_imports_modules_of_its_own_never_the_public_names() -> None:
    """`from alchemy import deploy` inside core would reach any layer through the top of the package."""
    wrong = [
        f"{short(path)}:{line}: {name}"
        for path in shipped()
        if path != CORE / "__init__.py"
        for line, name in imports(path)
        if name == "alchemy" or (name.startswith("alchemy.") and not is_module(".".join(name.split(".")[:2])))
    ]
    assert wrong == []


def test_the_dashboard_uses_operations_model_and_errors_only() -> None:
    wrong = [
        f"{short(path)}:{line}: {name}"
        for path in sources(DASHBOARD)
        for line, name in imports(path)
        if name.split(".")[0] == "alchemy" and name.split(".")[1:2] not in [[layer] for layer in DASHBOARD_MAY_USE]
    ]
    assert wrong == []


def test_every_layer_has_a_rule_for_the_dashboard() -> None:
    layers = {path.stem for path in CORE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    layers -= {"__init__", "__main__", "py"}
    contracts = {contract["id"]: contract for contract in PROJECT["tool"]["importlinter"]["contracts"]}
    forbidden = {name.removeprefix("alchemy.") for name in contracts["dashboard"]["forbidden_modules"]}
    assert layers <= forbidden | DASHBOARD_MAY_USE


def test_files_stay_within_their_budget() -> None:
    long = {
        short(path): lines
        for root, budget in BUDGET.items()
        for path in sources(root)
        if (lines := len(path.read_text().splitlines())) > budget
    }
    assert long == {}


def test_no_module_is_named_after_nothing() -> None:
    wrong = [short(path) for path in shipped() if BANNED_NAMES & {path.stem, path.parent.name}]
    assert wrong == []


def test_every_module_says_its_job() -> None:
    silent = [short(path) for path in shipped() if path.read_text().strip() and not ast.get_docstring(parsed(path))]
    assert silent == []


def test_nobody_prints_outside_the_command_line() -> None:
    def prints(node: ast.AST) -> bool:
        if not isinstance(node, ast.Call):
            return False
        called = ast.unparse(node.func)
        return called in {"print", "pprint", "pprint.pprint", "click.echo", "click.secho"} or called.startswith(
            ("sys.stdout.write", "sys.stderr.write")
        )

    printing = [
        f"{short(path)}:{getattr(node, 'lineno', 0)}"
        for path in shipped()
        if not path.is_relative_to(CORE / "cli")
        for node in ast.walk(parsed(path))
        if prints(node)
    ]
    assert printing == []


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    project = PROJECT["project"]
    wanted = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    declared = {requirement.split(">")[0].split("=")[0] for requirement in wanted}
    tops = {name.split(".")[0] for path in shipped() for _, name in imports(path)}
    distributions = packages_distributions()
    foreign = tops - set(sys.stdlib_module_names) - {"alchemy", "alchemy_tui", "opentelemetry"}
    used = {distribution.lower().replace("_", "-") for top in foreign for distribution in distributions.get(top, [top])}
    used |= {each for each in declared if each.startswith("opentelemetry-")}  # one package of many distributions
    assert used - declared == set()
    assert declared - used == set()


def test_what_is_optional_is_imported_in_one_place_each() -> None:
    homes = {"pytest": "core/alchemy/testing/pytest_plugin.py", "opentelemetry": "core/alchemy/telemetry.py"}
    where = {
        (top, short(path)) for path in shipped() for _, name in imports(path) if (top := name.split(".")[0]) in homes
    }
    assert where == set(homes.items())

"""What loads what: the two lower layers of the dashboard know no terminal toolkit, and its command costs nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOWER = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for folder in ("store", "present")
    for path in (ROOT / "alchemy_tui" / folder).glob("*.py")
)


def loaded_by(modules: list[str]) -> set[str]:
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint(' '.join(sys.modules))"
    path = os.pathsep.join([str(ROOT / "core"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_store_and_present_load_no_textual_no_watcher_and_no_cloud() -> None:
    assert len(LOWER) > 15
    loaded = loaded_by(LOWER)
    assert not loaded & {"textual", "watchfiles", "httpx", "starlette", "pydantic", "portalocker"}


def test_the_command_and_the_registry_load_no_textual() -> None:
    assert "textual" not in loaded_by(["alchemy_tui.command", "alchemy_tui.registry"])


def test_the_first_screen_does_not_load_the_dialogs() -> None:
    loaded = loaded_by(["alchemy_tui.app", "alchemy_tui.screens.browse.screen"])
    assert "textual" in loaded
    assert not loaded & {"alchemy_tui.screens.help", "alchemy_tui.screens.palette", "watchfiles", "httpx"}


@pytest.mark.parametrize("path", sorted((ROOT / "alchemy_tui").rglob("*.py")), ids=lambda path: str(path.name))
def test_names_from_state_never_pass_through_markup(path: Path) -> None:
    """`Static`, `Label` and the like read strings as markup; lines and strips do not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("Static", "Label", "notify"):
                given = {word.arg: word.value for word in node.keywords}
                assert isinstance(given.get("markup"), ast.Constant), f"line {node.lineno}: {name} without markup"
            assert name not in ("from_markup", "RichLog", "Log", "DataTable", "Tree", "Markdown")

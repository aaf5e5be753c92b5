"""What a user installs: the wheel works in an environment of its own, and holds what it should and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]

pytestmark = pytest.mark.slow


def succeed(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(
        command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, f"{command}\n{run.stdout}\n{run.stderr}"
    return run.stdout


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel built straight from the checkout, with the build backend that is already here."""
    out = tmp_path_factory.mktemp("wheel")
    succeed(sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", out, REPOSITORY, cwd=out)
    (built,) = out.glob("*.whl")
    return built


def test_the_wheel_ships_both_packages_and_nothing_beside_them(wheel: Path) -> None:
    inside = names(wheel)
    assert {name.split("/")[0] for name in inside} == {
        "alchemy",
        "alchemy_tui",
        f"alchemy_scope-{PROJECT['version']}.dist-info",
    }
    assert {"alchemy/py.typed", "alchemy_tui/py.typed"} <= inside
    assert any(name.endswith("/licenses/LICENSE") for name in inside)
    assert not any("__pycache__" in name for name in inside)


def test_the_wheel_ships_every_file_of_the_packages(wheel: Path) -> None:
    roots = {"alchemy": REPOSITORY / "core", "alchemy_tui": REPOSITORY}
    kept = {
        path.relative_to(root).as_posix()
        for package, root in roots.items()
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert kept - names(wheel) == set()


def test_a_wheel_made_from_the_source_archive_is_the_same(wheel: Path, tmp_path: Path) -> None:
    succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path, REPOSITORY, cwd=tmp_path)
    (again,) = tmp_path.glob("*.whl")
    assert names(again) == names(wheel)


def test_the_metadata_says_what_a_user_needs_to_know(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert (metadata["Name"], metadata["Requires-Python"]) == ("alchemy-scope", ">=3.11")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert "textual==8.2.8" in metadata.get_all("Requires-Dist", [])
    assert "Alchemy Scope" in str(metadata.get_payload())


def test_the_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "venv", tmp_path / "elsewhere"
    elsewhere.mkdir()
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", str(wheel)]
    succeed(sys.executable, "-m", "pip", "--python", python, *install, cwd=elsewhere)
    # The dependencies come from the environment that runs the tests, so that no network is needed: directories added by
    # a .pth file are searched last and their own .pth files (our editable install is one) are not read.
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}))

    where = succeed(
        python, "-c", "import alchemy, alchemy_tui; print(alchemy.__file__, alchemy_tui.__file__)", cwd=elsewhere
    )
    assert [Path(place).parent.parent for place in where.split()] == [site, site]
    assert PROJECT["version"] in succeed(home / "bin" / "alchemy", "--version", cwd=elsewhere)
    assert "tui" in succeed(home / "bin" / "alchemy", "--help", cwd=elsewhere)

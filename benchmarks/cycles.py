"""The four steps for us and for each peer: deploy N, deploy again, deploy without every tenth, destroy."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Row, Usage, run

HERE = Path(__file__).parent
STEPS = ("deploy", "again", "10% removed", "destroy")
Cycle = Callable[[int, Path], Iterator[tuple[str, Usage]]]


def ours(mode: str) -> Cycle:
    """`mode`: sequential awaits each resource, parallel declares them all."""

    def cycle(n: int, directory: Path) -> Iterator[tuple[str, Usage]]:
        given = {"BENCH_N": str(n), "BENCH_MODE": mode, "ALCHEMY_STATE_DIR": str(directory / ".alchemy")}
        given["PYTHONPATH"] = str(HERE.parent / "core")
        more = {"10% removed": {"BENCH_DROP": "1"}, "destroy": {"BENCH_DROP": "1", "BENCH_PHASE": "destroy"}}
        for step in STEPS:
            yield (
                step,
                run(
                    [sys.executable, HERE / "program.py"], directory, {**given, **more.get(step, {})}, directory / "log"
                ),
            )

    return cycle


def terraform(program: str) -> Cycle:
    """N built-in `terraform_data` resources with the same props, as blocks, on the local backend."""

    def cycle(n: int, directory: Path) -> Iterator[tuple[str, Usage]]:
        settings = directory / "empty.tfrc"
        settings.write_text("")
        given = {"TF_CLI_CONFIG_FILE": str(settings)}

        def write(drop: bool) -> None:
            kept = [number for number in range(n) if not (drop and number % 10 == 9)]
            (directory / "main.tf").write_text("\n".join(_block(number) for number in kept))

        def call(*arguments: str) -> Usage:
            return run([program, *arguments], directory, given, directory / "log")

        write(drop=False)
        begun = call("init", "-no-color")
        if begun.code:
            yield STEPS[0], begun
            return
        for step in STEPS:
            if step == "10% removed":
                write(drop=True)
            yield step, call("destroy" if step == "destroy" else "apply", "-auto-approve", "-no-color")

    return cycle


def _block(number: int) -> str:
    values = {
        "title": f"item-{number}",
        "region": "eu-west",
        "size": 3 + number % 7,
        "enabled": number % 2 == 0,
        "tags": "a,b,c",
        "note": "x" * 40,
    }
    body = "\n".join(f"    {name} = {json.dumps(value)}" for name, value in values.items())
    return f'resource "terraform_data" "r{number}" {{\n  input = {{\n{body}\n  }}\n}}\n'


def npm(runtime: str, modules: Path, mode: str) -> Cycle:
    """The npm package of the same name, with its own default store; `modules` holds `alchemy`."""

    def cycle(n: int, directory: Path) -> Iterator[tuple[str, Usage]]:
        (directory / "node_modules").symlink_to(modules)
        program = directory / "program.mjs"
        shutil.copy(HERE / "npm_program.mjs", program)
        given = {"BENCH_N": str(n), "BENCH_MODE": mode, "ALCHEMY_ROOT": str(directory), "HOME": str(directory)}
        for step in STEPS:
            more = {"BENCH_DROP": "1"} if step in STEPS[2:] else {}
            end = ["--destroy"] if step == "destroy" else []
            yield step, run([runtime, program, *end], directory, {**given, **more}, directory / "log")

    return cycle


def rows(who: str, cycle: Cycle, n: int, runs: int) -> Iterator[Row]:
    """Each step `runs` times, each time from nothing."""
    found: dict[str, list[Usage]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="bench-") as place:
            for step, usage in cycle(n, Path(place)):
                found.setdefault(step, []).append(usage)
                if usage.code:
                    sys.stderr.write((Path(place) / "log").read_text(errors="replace")[-2000:])
                    break
    for step, usages in found.items():
        yield Row(who, n, step, tuple(usages))

"""What `--json` prints is what docs/cli-json.md promises; it parses, and holds nothing that a terminal would act on."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import REPOSITORY, Call, Done, alchemy, forked, lamps

PAGE = (REPOSITORY / "docs" / "cli-json.md").read_text()
SHAPE = re.compile(r"<!-- shape: alchemy (.+?) --json -->\n```json\n(.*?)```", re.DOTALL)
SHAPES: dict[str, Any] = {command: json.loads(text) for command, text in SHAPE.findall(PAGE)}


def differences(promised: Any, found: Any, where: str = "") -> list[str]:
    """Keys that are missing and types that differ. An example may leave keys out; what it shows must be there."""
    if promised is None or found is None:  # either side may be absent: the page says when
        return []
    if isinstance(promised, dict):
        if not isinstance(found, dict):
            return [f"{where}: not an object"]
        missing = [] if where.endswith("counts") else sorted(promised.keys() - found.keys())
        both = sorted(promised.keys() & found.keys())
        inside = [text for key in both for text in differences(promised[key], found[key], f"{where}.{key}")]
        return [*(f"{where}.{key}: missing" for key in missing), *inside]
    if isinstance(promised, list):
        if not isinstance(found, list):
            return [f"{where}: not a list"]
        return [text for item in found[:3] if promised for text in differences(promised[0], item, f"{where}[]")]
    if where.endswith((".before", ".after")):
        return []
    if isinstance(promised, bool) or isinstance(found, bool):
        return [] if isinstance(promised, bool) and isinstance(found, bool) else [f"{where}: {found!r}"]
    same = isinstance(found, int | float) if isinstance(promised, int | float) else isinstance(found, type(promised))
    return [] if same else [f"{where}: {found!r} is not like {promised!r}"]


@pytest.fixture(scope="module")
def answers(house: Path) -> dict[str, Done]:
    commands = list(SHAPES)
    calls = [Call((*command.split(), "--json")) for command in commands]
    return dict(zip(commands, forked(calls, house), strict=True))


@pytest.mark.parametrize("command", SHAPES)
def test_a_document_has_the_shape_that_the_page_promises(command: str, answers: dict[str, Done]) -> None:
    done = answers[command]
    assert done.code == 0, done
    document = json.loads(done.out)
    assert document["format"] == 1
    assert differences(SHAPES[command], document) == []


def test_every_command_with_json_is_on_the_page() -> None:
    from alchemy.cli.commands import root

    def walk(command: Any, path: str) -> list[str]:
        if hasattr(command, "table"):
            return [
                found for name in command.table for found in walk(command.get_command(None, name), f"{path} {name}")
            ]
        return [path.strip()] if any("--json" in param.opts for param in command.params) else []

    commands = set(walk(root, ""))
    assert {"plan", "scope list", "scope logs"} <= commands
    assert commands == {command for command in commands if any(shape.startswith(command) for shape in SHAPES)}


def test_the_comparison_sees_what_is_missing_or_of_another_type() -> None:
    assert differences({"a": 1, "b": [{"c": ""}]}, {"a": 2.5, "b": [{"c": "x", "d": 1}]}) == []
    assert differences({"a": 1}, {}) == [".a: missing"]
    assert differences({"a": 1}, {"a": True}) == [".a: True"]
    assert differences({"a": ""}, {"a": 1}) == [".a: 1 is not like ''"]
    assert differences({"a": [{"b": 1}]}, {"a": [{}]}) == [".a[].b: missing"]


def test_the_facts_are_right(answers: dict[str, Done]) -> None:
    listed = json.loads(answers["scope list"].out)
    assert [scope["path"] for scope in listed["scopes"]] == ["house", "house/prod", "house/prod/up"]
    assert [scope["resources"] for scope in listed["scopes"]] == [2, 2, 1]
    assert {found["address"] for found in listed["resources"]} == {"house/prod/hall", "house/prod/up/bed"}
    logs = json.loads(answers["scope logs house/prod"].out)
    assert [(run["run"], run["outcome"]) for run in logs["runs"]] == [("R-2", "done"), ("R-1", "done")]
    assert logs["runs"][0]["counts"] == {"update": 1, "keep": 1, "delete": 1}
    ended = [event for event in logs["events"] if event["type"] == "ChangeEnded"]
    assert {(event["subject"], event["action"]) for event in ended} >= {("house/prod/attic", "delete")}
    assert json.loads(answers["plan"].out)["changes"] is False


def test_hostile_text_from_state_reaches_neither_a_terminal_nor_a_pipe_raw(tmp_path: Path) -> None:
    """Escape sequences, C1 codes, bidirectional overrides and markup, in an id and in a value."""
    nasty = "\\x9b31m\\u202e[bold red]x[/] \\x1b]0;owned\\x07 \\u200b"
    lamps(tmp_path, f'Lamp("[b]lamp \\u202e", light="{nasty}")')
    assert alchemy("deploy", cwd=tmp_path).code == 0
    commands = ["scope list", "scope inspect house/prod", "scope state house/prod", "scope logs house/prod", "plan -v"]
    commands += [f"{command} --json" for command in commands]
    calls = [Call(tuple(command.split())) for command in commands]
    address = "house/prod/[b]lamp \u202e"
    calls += [Call(("scope", "inspect", address)), Call(("scope", "state", address))]
    for call, done in zip(calls, forked(calls, tmp_path), strict=True):
        assert done.code == 0, (call, done)
        raw = {char for char in done.out + done.err if ord(char) < 32 and char != "\n"}
        raw |= {char for char in done.out + done.err if 0x7F <= ord(char) < 0xA0 or char in "\u202e\u200b"}
        assert raw == set(), call
        assert "[b]lamp" in done.out or "plan" in call.typed, (call, done)
    (state,) = forked([Call(("scope", "state", "house/prod", "--json"))], tmp_path)
    assert json.loads(state.out)["resources"][0]["props"]["light"].startswith("\x9b31m\u202e[bold red]x[/]")

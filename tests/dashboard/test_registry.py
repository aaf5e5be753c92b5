"""One list of actions: nothing without words, no key that means two things, nothing that destroys."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alchemy_tui import registry
from alchemy_tui.action import ANYWHERE, TIMELINE, Action, Danger
from alchemy_tui.present.glyphs import UNICODE
from alchemy_tui.present.line import plain
from alchemy_tui.screens.browse.actions import Actions
from alchemy_tui.screens.browse.screen import Browse
from alchemy_tui.screens.help import help_lines
from alchemy_tui.screens.restore.actions import RestoreActions
from alchemy_tui.screens.restore.screen import Restore
from alchemy_tui.session import Session, Situation

PANES = ("tree", "detail", "log")
LOOKING_ONLY = {*"hjklgGnN", "slash", "escape", "enter", "space", "tab", "up", "down", "left", "right"}
HERE = Situation(session=Session(), subject="shop/prod", owner="shop/prod")
ids = [action.id for action in registry.ACTIONS]


@pytest.mark.parametrize("action", registry.ACTIONS, ids=ids)
def test_every_action_has_words_a_way_to_it_and_a_handler(action: Action) -> None:
    assert action.label
    assert action.title
    assert action.group in registry.GROUPS
    assert action.panes <= {*PANES, "timeline"}
    assert action.keys or action.palette, "no key and not in the palette: nobody can reach it"
    kind, _, rest = action.id.partition(".")
    if kind == "move" or (kind == "tab" and rest not in ("next", "previous")):
        return
    if kind == "line":
        assert action.cli is not None, "there is nothing to copy"
        return
    name = action.id.replace(".", "_")
    if action.panes & ANYWHERE:
        assert callable(getattr(Actions, name))
    if action.panes & TIMELINE:
        assert callable(getattr(RestoreActions, name))


def test_ids_are_unique() -> None:
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("pane", [*PANES, "timeline"])
def test_in_one_pane_a_key_means_one_thing(pane: str) -> None:
    keys = [key for action in registry.actions_in(pane) for key in action.keys]
    assert len(keys) == len(set(keys))
    alone = {key for key in keys if " " not in key}
    assert not alone & {key.split(" ")[0] for key in keys if " " in key}, "a first key of two has no meaning alone"


@pytest.mark.parametrize("action", registry.ACTIONS, ids=ids)
def test_no_key_belongs_to_a_multiplexer_or_to_flow_control(action: Action) -> None:
    for keys in action.keys:
        for key in keys.split(" "):
            assert key not in {f"ctrl+{letter}" for letter in "abcdhijkmqsz"} | {"ctrl+space", "alt+x"}
            assert not key.startswith(("shift+up", "shift+down", "f1"))


@pytest.mark.parametrize("action", registry.ACTIONS, ids=ids)
def test_nothing_that_changes_something_is_one_lower_case_key_away(action: Action) -> None:
    if action.danger == Danger.LOOK:
        return
    for key in action.keys:
        assert key not in LOOKING_ONLY
        assert not key.startswith("ctrl+")
        assert key.isupper()


DESTROYING = replace(registry.BY_ID["rescan"], id="x", danger=Danger.HARD)
FORCING = replace(DESTROYING, danger=Danger.FORBIDDEN)


def test_read_only_refuses_everything_that_changes_something_and_says_why() -> None:
    guarded = replace(HERE, session=Session(read_only=True))
    assert registry.why_not(DESTROYING, guarded) == "read-only: started with --read-only"
    unwritable = replace(HERE, session=Session(read_only=True, why_read_only="the state directory is not writable"))
    assert "not writable" in registry.why_not(DESTROYING, unwritable)
    assert registry.why_not(DESTROYING, HERE) == ""
    assert registry.why_not(registry.BY_ID["rescan"], guarded) == ""


def test_what_should_not_be_done_needs_allow_force() -> None:
    assert "--allow-force" in registry.why_not(FORCING, HERE)
    assert registry.why_not(FORCING, replace(HERE, session=Session(allow_force=True))) == ""


@pytest.mark.parametrize("pane", PANES)
def test_help_names_every_key_of_the_pane(pane: str) -> None:
    said = "\n".join(plain(one) for one in help_lines(replace(HERE, pane=pane), UNICODE, 78))
    for action in registry.actions_in(pane):
        assert action.title.split()[0].lower() in said.lower()
        for key in action.keys:
            assert registry.key_name(key) in said


def test_every_key_is_bound() -> None:
    for screen, panes in ((Browse, ANYWHERE), (Restore, TIMELINE)):
        bound = {binding.key for binding in screen.BINDINGS if not isinstance(binding, tuple)}
        assert bound == {
            key.split(" ")[0] for action in registry.ACTIONS if action.panes & panes for key in action.keys
        }


@pytest.mark.parametrize(
    ("situation", "expected"),
    [
        (HERE, "alchemy scope inspect shop/prod"),
        (replace(HERE, tab="state"), "alchemy scope state shop/prod"),
        (replace(HERE, tab="runs"), "alchemy scope logs shop/prod"),
        (replace(HERE, tab="events", run="R-3"), "alchemy scope logs shop/prod --run R-3"),
        (replace(HERE, tab="locks"), "alchemy scope locks"),
        (replace(HERE, tab="backups"), "alchemy scope backups shop/prod"),
        (replace(HERE, subject=""), "alchemy scope list"),
        (
            replace(HERE, session=Session(state_dir="my state", named_state_dir=True)),
            "alchemy scope inspect shop/prod --state-dir 'my state'",
        ),
        (replace(HERE, subject="shop/prod/a b;rm -rf ~"), "alchemy scope inspect 'shop/prod/a b;rm -rf ~'"),
        (replace(HERE, subject="shop/prod/x\x1b[2J"), "alchemy scope inspect 'shop/prod/x␛[2J'"),
    ],
)
def test_the_command_line_of_a_view_can_be_pasted_into_a_shell(situation: Situation, expected: str) -> None:
    assert registry.BY_ID["copy.cli"].cli is not None
    assert registry.BY_ID["copy.cli"].cli(situation) == expected

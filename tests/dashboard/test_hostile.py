"""Names that break terminals, markup and memory, wherever a text can stand: shown, never obeyed."""

from __future__ import annotations

import asyncio
import unicodedata

import pytest
from textual.strip import Strip

from alchemy_tui.present import empty, glyphs
from alchemy_tui.present.document import document
from alchemy_tui.present.event import entry_line
from alchemy_tui.present.glyphs import UNICODE
from alchemy_tui.present.header import header
from alchemy_tui.present.info import info, peek
from alchemy_tui.present.line import Line, cells, plain
from alchemy_tui.present.links import links
from alchemy_tui.present.lock import section
from alchemy_tui.present.notice import Trouble, message_lines, trouble_lines
from alchemy_tui.present.run import card, summary_line
from alchemy_tui.present.scene import Scene, scene_of
from alchemy_tui.present.scope import tree_row
from alchemy_tui.present.timeline import below, timeline
from alchemy_tui.store.filter import parse
from alchemy_tui.store.tree_model import TreeModel
from alchemy_tui.widgets.detail import TABS
from tests.dashboard import worlds
from tests.dashboard.driving import LARGE, MEDIUM, SMALL, Driver, dashboard
from tests.dashboard.worlds import HOSTILE, NOW

MARKUP = ("aws[prod]", "x[/", "x[$primary]y", "a\\[b]", "[@click=app.quit]click me[/]")
WIDTHS = (20, 40, 78, 118, 198)


def tame(text: str) -> bool:
    """Nothing a terminal would act on or hide."""
    return not any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") for char in text)


def everything(scene: Scene, width: int) -> list[Line]:
    """Each drawing function on each subject."""
    world = worlds.hostile()
    model = TreeModel()
    model.load(scene.view, now=scene.now)
    out = [tree_row(scene, row, model.node(row), width, marked=True) for row in model.rows]
    for subject in (*scene.view.scopes, *scene.view.resources, "app/gone\x1b[2J"):
        out += info(scene, subject, width) + peek(scene, subject, width) + links(scene, subject, width)
        out.append(header(scene, subject, width, mode="live", read_only=True))
    out += section(scene, width)
    for run in scene.view.active.values():
        out += card(scene, run, width)
    out += [summary_line(scene, run, width, owner=True) for runs in scene.view.runs.values() for run in runs]
    out += [entry_line(scene, entry, "app/dev", width) for entry in world.logs[("app/dev", "R-4")]]
    out += timeline(scene, world.saved["app/dev"], width) + below(scene, [(HOSTILE[0], world.saved["app/dev"])], width)
    for name in HOSTILE:
        out += trouble_lines(UNICODE, Trouble(name, name, 40), width) + message_lines(name, name, "error", width)
        out += document(name) + document('{"a": "' + name)
        out += empty.no_match(parse(name), width) + empty.no_state(name, width, missing=True)
    return out


@pytest.mark.parametrize("width", WIDTHS)
def test_no_drawing_function_lets_a_control_character_through(width: int) -> None:
    scene = scene_of(worlds.hostile().view(), NOW.timestamp())
    for content in everything(scene, width):
        assert tame(plain(content)), repr(plain(content))


@pytest.mark.parametrize("width", WIDTHS)
def test_tree_rows_and_bars_are_exactly_as_wide_as_asked(width: int) -> None:
    scene = scene_of(worlds.hostile().view(), NOW.timestamp(), glyphs=glyphs.ASCII)
    model = TreeModel()
    model.load(scene.view, now=scene.now)
    for row in model.rows:
        assert cells(tree_row(scene, row, model.node(row), width)) == width
        assert cells(header(scene, row.identity, width, mode="live", read_only=True)) == width


def raw(driver: Driver) -> str:
    """Every piece of text that goes to the terminal, before escape sequences of our own are added."""
    strips: list[Strip] = driver.app.screen._compositor.render_strips()
    return "".join(segment.text for strip in strips for segment in strip if not segment.control)


@pytest.mark.slow
@pytest.mark.parametrize("size", [SMALL, MEDIUM, LARGE], ids=str)
def test_every_row_and_every_tab_of_a_hostile_state_is_shown_and_not_obeyed(size: tuple[int, int]) -> None:
    async def flow() -> None:
        async with dashboard(worlds.hostile(), size) as driver:
            for index in range(0, len(driver.browse.scopes.model.rows), 3):
                driver.browse.scopes.model.move_to(index)
                driver.browse.draw()
                await driver.settle()
                assert tame(raw(driver)), repr(raw(driver))
            await driver.press("home", "down", "enter")
            for _ in TABS:
                assert tame(raw(driver)), repr(raw(driver))
                await driver.press("right_square_bracket")
            for keys in (("question_mark",), ("colon",), ("f",), ("escape", "slash", *"[/"), ("escape", "at")):
                await driver.press(*keys)
                assert tame(raw(driver)), repr(raw(driver))
                await driver.press("escape")
            assert driver.app.is_running

    asyncio.run(flow())


def test_names_that_look_like_markup_are_shown_letter_for_letter() -> None:
    async def flow() -> None:
        async with dashboard(worlds.hostile(), LARGE) as driver:
            for name in MARKUP:
                address = next(key for key in driver.app.store.view.resources if key.endswith(name.replace("/", "∕")))
                driver.browse.scopes.go_to(address)
                await driver.sees(name.replace("/", "∕"))
            await driver.press("f", *"primary")
            await driver.sees("x[$primary]y")

    asyncio.run(flow())


def test_titles_toasts_and_the_clipboard_take_names_as_they_are() -> None:
    async def flow() -> None:
        async with dashboard(worlds.hostile(), SMALL) as driver:
            for name in ("aws[prod]", "x[$primary]y"):
                driver.app.say(name, title=f"title {name}", severity="error")
                await driver.sees(f"title {name}")
            driver.browse.scopes.go_to("app/dev/aws[prod]")
            await driver.sees("─ aws[prod] ─")
            await driver.press("y", "p")
            assert driver.app.clipboard == "app/dev/aws[prod]"
            driver.browse.scopes.go_to("app/dev/[@click=app.quit]click me[/]")
            await driver.press("slash", *"[@click=app.quit]", "enter")
            assert driver.app.is_running

    asyncio.run(flow())


def test_a_name_of_200_letters_keeps_its_row_in_line() -> None:
    async def flow() -> None:
        async with dashboard(worlds.hostile(), SMALL) as driver:
            driver.browse.scopes.go_to("app/dev/" + "n" * 200)
            await driver.settle()
            row = next(one for one in driver.lines if "nnnn…" in one)
            assert "corrupt" in row
            assert all(len(one) == 80 for one in driver.lines if one.isascii())

    asyncio.run(flow())

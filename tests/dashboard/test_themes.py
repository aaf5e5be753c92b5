"""Both themes can be read: every text colour on every ground it can stand on."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.theme import BUILTIN_THEMES, Theme

from alchemy_tui import theme

GROUNDS = ("background", "surface", "panel", "selected", "selected-blurred")
TEXTS = ("tone-text", "tone-dim", "tone-title", "accent", "success", "warning", "error", "secondary")


def colour(of: Theme, name: str) -> Color:
    return Color.parse(of.variables.get(name) or getattr(of, name))


def contrast(one: Color, other: Color) -> float:
    """WCAG 2: 1 to 21."""

    def luminance(of: Color) -> float:
        parts = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in of.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("ours", theme.OURS, ids=lambda one: str(one.name))
@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("text", TEXTS)
def test_words_can_be_read(ours: Theme, ground: str, text: str) -> None:
    assert contrast(colour(ours, text), colour(ours, ground)) >= 4.5


@pytest.mark.parametrize("ours", theme.OURS, ids=lambda one: str(one.name))
@pytest.mark.parametrize("ground", GROUNDS)
def test_quiet_words_can_still_be_read(ours: Theme, ground: str) -> None:
    assert contrast(colour(ours, "tone-faint"), colour(ours, ground)) >= 3.0


@pytest.mark.parametrize("ours", theme.OURS, ids=lambda one: str(one.name))
def test_the_badge_can_be_read(ours: Theme) -> None:
    assert contrast(colour(ours, "badge-ink"), colour(ours, "warning")) >= 4.5


@pytest.mark.parametrize("name", sorted(BUILTIN_THEMES))
def test_every_theme_of_textual_gets_the_variables_we_use(name: str) -> None:
    assert set(theme.defaults(BUILTIN_THEMES[name])) == set(theme.DUSK.variables)

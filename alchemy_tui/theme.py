"""Our two themes, dusk (dark) and dawn (light), and the variables that give tones their colours.

One accent; the other colours mean something: green is well, amber wants a look, red is broken, blue is at work.
Every text colour keeps a contrast of 4.5 to the background, the selected row and the panels (tests measure it).
"""

from __future__ import annotations

from textual.color import Color
from textual.theme import Theme


def _variables(
    *,
    text: str,
    dim: str,
    faint: str,
    title: str,
    accent: str,
    selected: str,
    selected_blurred: str,
    line: str,
    ink: str,
) -> dict[str, str]:
    return {
        "tone-text": text,
        "tone-dim": dim,
        "tone-faint": faint,
        "tone-title": title,
        "line": line,
        "line-focus": accent,
        "selected": selected,
        "selected-blurred": selected_blurred,
        "badge-ink": ink,
        "block-cursor-background": selected,
        "block-cursor-foreground": title,
        "block-cursor-text-style": "none",
        "input-selection-background": selected,
        "scrollbar": line,
        "scrollbar-hover": faint,
        "scrollbar-active": accent,
        "scrollbar-background": "transparent",
        "scrollbar-background-hover": "transparent",
        "scrollbar-background-active": "transparent",
        "scrollbar-corner-color": "transparent",
    }


DUSK = Theme(
    name="dusk",
    dark=True,
    primary="#b4a3f5",
    secondary="#8fb8ea",
    accent="#b4a3f5",
    success="#86c99a",
    warning="#e6b566",
    error="#f2858c",
    foreground="#d9d6e3",
    background="#16151d",
    surface="#1c1b25",
    panel="#23212e",
    variables=_variables(
        text="#d9d6e3",
        dim="#9c97ae",
        faint="#7d7890",
        title="#f3f0fb",
        accent="#b4a3f5",
        selected="#2f2b42",
        selected_blurred="#24222f",
        line="#3a3749",
        ink="#16151d",
    ),
)
DAWN = Theme(
    name="dawn",
    dark=False,
    primary="#6444c4",
    secondary="#1f66a8",
    accent="#6444c4",
    success="#28703f",
    warning="#8a5600",
    error="#b3261e",
    foreground="#2f2b38",
    background="#fbf8f3",
    surface="#f4f0e9",
    panel="#ece6dc",
    variables=_variables(
        text="#2f2b38",
        dim="#645d70",
        faint="#857d90",
        title="#16131d",
        accent="#6444c4",
        selected="#e6dff5",
        selected_blurred="#efebe4",
        line="#cfc7ba",
        ink="#fbf8f3",
    ),
)
OURS = (DUSK, DAWN)
NO_COLOUR = "ansi-dark"  # with NO_COLOR: only themes of the terminal's own colours let Textual drop colour for good


def defaults(theme: Theme) -> dict[str, str]:
    """Our variables for a theme that is not ours."""
    if theme.ansi:
        return _variables(
            text="ansi_default",
            dim="ansi_default",
            faint="ansi_default",
            title="ansi_default",
            accent="ansi_magenta",
            selected="ansi_bright_black",
            selected_blurred="ansi_default",
            line="ansi_default",
            ink="ansi_default",
        )
    colours = theme.to_color_system().generate()
    text, back = Color.parse(colours["foreground"]), Color.parse(colours["background"])
    accent = Color.parse(colours["accent"])
    return _variables(
        text=text.hex,
        dim=text.blend(back, 0.3).hex,
        faint=text.blend(back, 0.45).hex,
        title=text.hex,
        accent=accent.hex,
        selected=back.blend(accent, 0.25).hex,
        selected_blurred=back.blend(text, 0.08).hex,
        line=back.blend(text, 0.22).hex,
        ink=back.hex,
    )

"""Draws the pictures in this folder from the real dashboard: `make screenshots`. Nothing here is made by hand.

The state on them is the one the tests use (`tests/dashboard/worlds.py`), with a clock that stands still, so the same
code gives the same bytes; a test compares. Real state would put names and times of the machine on each picture.
PNG is written where `rsvg-convert` is installed.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from alchemy_tui.present.glyphs import ASCII, UNICODE, Glyphs  # noqa: E402
from tests.dashboard import worlds  # noqa: E402
from tests.dashboard.driving import LARGE, MEDIUM, SMALL, dashboard  # noqa: E402

FONTS = "Fira Code, DejaVu Sans Mono, Menlo, Consolas, monospace"
CELL = 12.2  # pixels; Textual's pictures are drawn for a font this wide
DEJAVU = CELL / 0.602  # the size at which DejaVu Sans Mono is that wide, for PNG


@dataclass(frozen=True)
class Shot:
    """`keys` are pressed after the cursor went to `subject`."""

    name: str
    size: tuple[int, int]
    subject: str = "shop/prod"
    keys: Sequence[str] = ()
    theme: str = "dusk"
    world: str = "demo"
    glyphs: Glyphs = UNICODE


SHOTS = (
    Shot("scopes-80x24", SMALL, "shop/prod/compute/mailer"),
    Shot("scopes-120x40", MEDIUM, "shop/prod"),
    Shot("scopes-120x40-dawn", MEDIUM, "shop/dev/compute/api", theme="dawn"),
    Shot("scopes-200x60", LARGE, "shop/prod/compute/api", ["right_square_bracket"]),
    Shot("events-120x40", MEDIUM, "shop/prod", ["tab", *["right_square_bracket"] * 3]),
    Shot("locks-120x40", MEDIUM, "shop/dev", [*["right_square_bracket"] * 5, "at"]),
    Shot("unlock-80x24", SMALL, "shop/dev", ["U"]),
    Shot("restore-80x24", SMALL, "shop/prod", ["R", "down"]),
    Shot("restore-dialog-80x24", SMALL, "shop/prod", ["R", "down", "R"]),
    Shot("reserve-80x24", SMALL, "shop/dev", ["H"]),
    Shot("damaged-120x40", MEDIUM, "shop/dev", world="damaged"),
    Shot("restore-120x40", MEDIUM, "shop/prod", ["R", "down"]),
    Shot("health-120x40", MEDIUM, "shop/prod", ["left_square_bracket"]),
    Shot("filter-80x24", SMALL, "shop", ["slash", *"is:orphan|is:failed"]),
    Shot("corrupt-120x40", MEDIUM, "shop/prod/edge"),
    Shot("palette-120x40", MEDIUM, "shop/prod", ["colon", *"copy"]),
    Shot("help-80x24", SMALL, "shop/prod", ["question_mark"]),
    Shot("empty-80x24", SMALL, "", world="empty"),
    Shot("ascii-80x24", SMALL, "shop/prod/compute/mailer", glyphs=ASCII),
)


async def drawn(shot: Shot) -> str:
    """The picture as SVG."""
    world = getattr(worlds, shot.world)()
    with TemporaryDirectory() as folder:  # it exists, so the watcher is live
        async with dashboard(world, shot.size, root=Path(folder), notifications=False, glyphs=shot.glyphs) as driver:
            driver.app.theme = shot.theme
            if shot.subject:
                driver.browse.scopes.go_to(shot.subject)
            await driver.until(lambda: driver.app.mode == "live", "live")
            await driver.press(*shot.keys)
            for field in driver.app.screen.query("Input"):
                field.cursor_blink = False  # type: ignore[attr-defined]
            before, picture = "", "not drawn"
            while before != picture:  # until nothing moves any more, however slow the machine is
                before = picture
                await driver.pilot.pause(0.3)
                await driver.settle()
                picture = driver.app.export_screenshot(simplify=True)
            return without_web_fonts(picture)


def without_web_fonts(svg: str) -> str:
    """No picture of ours loads anything from anywhere."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return svg.replace("font-family: Fira Code, monospace", f"font-family: {FONTS}")


def as_png(svg: str, target: Path, converter: str) -> None:
    """rsvg knows no `textLength` and drops leading blanks, so both are said to it in other words."""

    def moved(match: re.Match[str]) -> str:
        before, x, between, blanks, text = match.groups()
        return f'<text{before}x="{float(x) + CELL * blanks.count("&#160;"):g}"{between}>{text}<'

    svg = re.sub(r'<text([^>]*?)x="([\d.]+)"([^>]*)>((?:&#160;)*)([^<]*)<', moved, svg)
    svg = svg.replace(FONTS, "DejaVu Sans Mono").replace("font-size: 20px", f"font-size: {DEJAVU:.2f}px")
    subprocess.run([converter, "--output", str(target)], input=svg.encode(), check=True)


def main(folder: Path) -> None:
    os.environ["TZ"] = "UTC"
    os.environ.pop("NO_COLOR", None)
    time.tzset()
    converter = shutil.which("rsvg-convert")
    for shot in SHOTS:
        svg = asyncio.run(drawn(shot))
        (folder / f"{shot.name}.svg").write_text(svg)
        if converter:
            as_png(svg, folder / f"{shot.name}.png", converter)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE)

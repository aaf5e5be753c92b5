"""The command line: parses, calls `operations`, prints. Data goes to stdout, narration to stderr.

The only layer that prints. Importing this loads nothing; each command brings its own module.
"""

from __future__ import annotations


def main() -> int:
    """The `alchemy` command; returns its exit code."""
    import sys

    if sys.argv[1:] == ["--version"]:  # before click: asked for by scripts, and by people who wonder if it is there
        return _say_version()
    from alchemy.cli.commands import run

    return run(sys.argv[1:])


def _say_version() -> int:
    import sys

    sys.stdout.write(f"alchemy {version()}\n")
    return 0


def version() -> str:
    import sys

    return str(sys.modules["alchemy"].__version__)

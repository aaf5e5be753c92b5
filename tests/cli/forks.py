"""Run command lines from standard input, each in a fork of this process; `driver.forked` calls it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from importlib import import_module
from typing import Any

from alchemy.cli import main
from alchemy.cli.commands import CLOUD, COMMANDS, SCOPE

LOADED = [
    import_module(place.partition(":")[0])
    for table in (COMMANDS, SCOPE, CLOUD)
    for place, _ in table.values()  # before the forks
] + [import_module("alchemy.cli.running"), import_module("alchemy.operations.destroying")]


def call(typed: list[str], environment: dict[str, str]) -> dict[str, Any]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os.environ.update(environment)
            sys.argv = ["alchemy", *typed]
            code = main()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        out.seek(0)
        err.seek(0)
        return {"code": code, "out": out.read().decode(), "err": err.read().decode()}


if __name__ == "__main__":
    answers = [call(asked["typed"], asked["environment"]) for asked in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)

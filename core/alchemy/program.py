"""What a user's program calls: `alchemy(...)`, `alchemy.run`, `alchemy.test`, `alchemy.destroy`, `alchemy.secret`.

Each returns something that can be awaited and entered. The command line sets phase, stage and options through
`settings.invocation`; running a program with python does the same with the defaults.
"""

from __future__ import annotations

import os
import pkgutil
import uuid
from pathlib import Path
from typing import Any

from alchemy import telemetry, wiring
from alchemy.engine import kinds
from alchemy.engine.agreement import Terms
from alchemy.engine.blocks import Function, Opening, nested
from alchemy.engine.dead_tests import clear_dead
from alchemy.engine.entering import open_owner
from alchemy.engine.finalize import Report
from alchemy.engine.scope import Scope, current_scope, open_scope
from alchemy.engine.session import Listener, Session
from alchemy.errors import ProgramImported, UsageError
from alchemy.model.paths import ScopePath, check_name
from alchemy.model.secrets import Secret
from alchemy.model.text import safe_text
from alchemy.model.values import ScopeKind
from alchemy.settings import PHASES, Invocation, Options, base_options, find_project, invocation
from alchemy.store.afar import apart
from alchemy.store.moving import refuse_moved
from alchemy.store.place import choose_store


class SecretMaker:
    """`alchemy.secret`."""

    def __call__(self, value: Any) -> Secret:
        """A text, or anything with a JSON form, that is sealed in the state and shown nowhere."""
        return Secret(value)

    def env(self, name: str) -> Secret:
        """From an environment variable; UsageError when it is not set."""
        value = os.environ.get(name)
        if not value:
            why = "is not set" if value is None else "is empty"
            raise UsageError(f"alchemy.secret.env: {safe_text(name, 80)} {why}", hint=f"set it: export {name}=…")
        return Secret(value)


class Alchemy:
    """The one public object, `alchemy`."""

    secret = SecretMaker()

    def __call__(
        self,
        name: str,
        *,
        stage: str | None = None,
        phase: str | None = None,
        password: str | None = None,
        state_dir: str | Path | None = None,
        **options: Any,
    ) -> Opening:
        """Opens an application, or with `stage` one of its stages. Options: docs/architecture.md, `Options`.

        `password` seals secrets; without it ALCHEMY_PASSWORD does. It is stored nowhere.
        """

        async def opened() -> Scope:
            asked = _asked()
            chosen = phase or "up"
            if chosen not in PHASES:
                raise UsageError(f"phase is one of {', '.join(PHASES)}, not {safe_text(chosen, 40)!r}")
            path = ScopePath.parse(check_name(name, "application"))
            if asked.stage and stage and asked.stage != stage:
                raise UsageError(
                    f"the program opens stage {safe_text(stage, 80)!r}, the command line says {asked.stage!r}",
                    hint="leave one of the two out",
                )
            wanted = stage or asked.stage or os.environ.get("ALCHEMY_STAGE") or ""
            kind = ScopeKind.APPLICATION
            if wanted:
                if wanted.lower() == "test":
                    raise UsageError("a stage cannot be called 'test'", hint="alchemy.test opens test scopes")
                path, kind = path.child(wanted), ScopeKind.STAGE
            # A program that only reads something else never comes to deploy or destroy it.
            session, given = _session(state_dir, chosen if chosen == "read" else asked.phase or chosen, options)
            session.secrets.give(path.app, password)
            return await _open(session, path, kind, given)

        return Opening(opened)

    def run(self, name: str, fn: Function | None = None, **options: Any) -> Opening:
        """A nested scope in the current one; with `fn`, runs it there and returns what it returns."""
        return nested(current_scope(), name, fn, options)

    def test(
        self,
        file: str,
        fn: Function | None = None,
        *,
        prefix: str = "test",
        app: str | None = None,
        auto_cleanup: bool = True,
        password: str | None = None,
        state_dir: str | Path | None = None,
        **options: Any,
    ) -> Opening:
        """A test scope of its own, destroyed whatever happens in it; `auto_cleanup=False` keeps it."""

        async def opened() -> Scope:
            _asked()
            outer = open_scope()
            name = app or (outer.path.app if outer else None) or find_project().table.get("app")
            if not name:
                raise UsageError(
                    "alchemy.test needs an application", hint='pass app="my-app", or set [tool.alchemy] app'
                )
            path = ScopePath(("x",)).parse(name)
            ending = f"-{uuid.uuid4().hex[:6]}"
            stem = f"{prefix}-{Path(file).stem}".replace("_", "-")[: 63 - len(ending)].rstrip("-.")
            check_name(stem, "test prefix")
            full = ScopePath((*path.parts, "test", stem + ending))
            session, given = _session(state_dir, invocation.get().phase or "up", options)
            session.secrets.give(full.app, password)
            if session.phase == "up":
                await clear_dead(session, full, given, wiring.describe_target(session.store, given)[1])
            scope = await _open(session, full, ScopeKind.TEST, given, purpose="test")
            scope.test_cleanup = auto_cleanup
            return scope

        return Opening(opened, fn)

    async def destroy(self, scope: Scope) -> Report:
        """Everything stored in the scope, in dependency order; the scope is finalized by it."""
        return await scope.destroy()


def _asked() -> Invocation:
    """What the command line asks. Run with python, errors are said its way from here on, without a traceback."""
    asked = invocation.get()
    if asked.listener is None and not asked.importing:
        pkgutil.resolve_name("alchemy.cli.narration:report_errors")()
    return asked


def _session(state_dir: str | Path | None, phase: str, options: dict[str, Any]) -> tuple[Session, Options]:
    """The session of the current scope when it has the same state directory, phase and cloud, else a new one."""
    asked = invocation.get()
    if asked.importing:
        raise ProgramImported("the program is imported for its kinds only")
    wiring.refuse_other_platforms()
    project = find_project()
    store = choose_store(project, asked.state_dir or state_dir)
    outer = open_scope()
    same = outer is not None and outer.session.store.place == store.place
    inherited = outer.options if outer is not None and same else base_options(project)
    given = inherited.but("alchemy()", **options).but("command line", **asked.options)
    if outer is not None and same and outer.session.phase == phase and outer.session.same_cloud(given):
        return outer.session, given
    kinds.add_loader(wiring.load_kind)
    words, _ = wiring.describe_target(store, given)
    listener: Listener | None = asked.listener
    if listener is None:
        # The command line's printer, by name: it lies above this layer, and only a program run with python needs it.
        listener = pkgutil.resolve_name("alchemy.cli.narration:attach_to_program")(given)
    connect = wiring.connect_to_look if phase == "plan" else wiring.connect
    session = Session(store, phase, given, connect, listener, words)
    session.listeners += telemetry.listeners()
    session.terms = Terms(consent=asked.yes, agreed=asked.agreed)
    return session, given


async def _open(session: Session, path: ScopePath, kind: ScopeKind, given: Options, purpose: str = "") -> Scope:
    await apart(session.store, lambda: refuse_moved(session.store))
    _, target = wiring.describe_target(session.store, given)
    asked = invocation.get()
    return await open_owner(session, path, kind, given, target=target, purpose=purpose or asked.purpose)


alchemy = Alchemy()

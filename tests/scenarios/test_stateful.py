"""Deploys, failing calls, keeping, cleanups and destroys in any sequence: order, ownership and nothing unknown."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from alchemy import AlchemyError, RunFailed
from alchemy.model.paths import ScopePath
from alchemy.model.values import Status
from alchemy.operations.cleaning import cleanup
from alchemy.operations.keeping import keep
from alchemy.settings import Options, Project
from alchemy.store.local import LocalStore
from tests.scenarios.order import MODEL, Model, Wish, deploy
from tests.scenarios.world import PROD, Cloud, World, nothing

IDS = "abcdef"
ENDING = {"delete", "used"}  # causes that come up only after everything was made
OPTIONS = Options(retry_delay=0.0, max_retries=0)


@st.composite
def programs(draw: st.DrawFn) -> list[Wish]:
    ids = draw(st.lists(st.sampled_from(IDS), unique=True))
    program: list[Wish] = []
    for place, id in enumerate(ids):
        used = draw(st.sets(st.sampled_from(ids[:place]), max_size=2)) if place else set()
        after = {each for each in used if draw(st.booleans())}
        size, region = draw(st.integers(1, 2)), draw(st.sampled_from(["eu", "eu", "us"]))
        program.append(Wish(id, size, region, tuple(sorted(used - after)), tuple(sorted(after))))
    return program


calls = st.builds(
    lambda verb, id: f"{verb} {id}", st.sampled_from(["create", "update", "delete", "delete"]), st.sampled_from(IDS)
)
faults = st.just(set[str]()) | st.sets(calls, max_size=3)


def cause_of(why: str) -> str:
    """The verb whose call failed, "kept" where that forbade a replacement, "" for what should not fail.

    "used": it is blocked, and said, as long as something that is kept or could not go uses it.
    """
    told = re.search(r"(create|update|delete) [a-f]: (no room|the answer was lost)$", why)
    if told:
        return told[1]
    if re.fullmatch(rf"still used by {PROD}/[a-f]", why):
        return "used"
    return "kept" if re.search(r"would be replaced .*, but it is kept$", why) else ""


def failing(run: Callable[[], None]) -> set[str]:
    """Why `run` failed: verbs, and "kept". Nothing else may fail."""
    try:
        run()
    except RunFailed as error:
        causes = {cause_of(why) for _, why in error.failures}
        if "" not in causes:
            return causes
        raise
    return set()


class Histories(RuleBasedStateMachine):
    """One stage. `model` is the cloud, and the witness of the order; the machine knows what is spoken for."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory())
        self.stack.callback(os.chdir, os.getcwd())
        os.chdir(folder)
        self.model = Model(Random(0))
        self.stack.callback(MODEL.reset, MODEL.set(self.model))
        self.world = World(Path(folder), Cloud())
        self.kept: set[str] = set()
        self.complete: set[str] = set()  # what the last complete deploy declared
        self.since: set[str] = set()  # what the last one after it declared, which was incomplete
        self.program: list[Wish] = []  # of the last deploy, however it ended
        self.destroyed = False  # at least in part, and not deployed since

    def teardown(self) -> None:
        self.stack.close()

    @property
    def ids(self) -> set[str]:
        return {each.id for each in self.model.objects.values()}

    def held(self, roots: set[str]) -> set[str]:
        """`roots`, and what they use by the edges that are stored."""
        rows, found, open = self.world.rows(), set[str](), [*roots]
        while open:
            id = open.pop()
            if id in rows and id not in found:
                found.add(id)
                open.extend(address.rpartition("/")[2] for address in rows[id].depends_on)
        return found

    # -- what people do -----------------------------------------------------------------------------------------

    @rule(program=programs(), hopeless=faults, lossy=faults)
    def a_program_is_deployed(self, program: list[Wish], hopeless: set[str], lossy: set[str]) -> None:
        self.run_program(program, hopeless, lossy)

    @rule(hopeless=faults, lossy=faults)
    def the_same_program_is_deployed_again(self, hopeless: set[str], lossy: set[str]) -> None:
        self.run_program(self.program, hopeless, lossy)

    def run_program(self, program: list[Wish], hopeless: set[str], lossy: set[str]) -> None:
        ids = {wish.id for wish in program}
        self.program, self.destroyed = program, False
        self.model.begin(hopeless=set(hopeless), lossy=set(lossy))
        causes = failing(lambda: deploy(self.world, program, max_retries=0))
        assert self.model.calls["delete"] == 0 or causes <= ENDING, "nothing goes next to a failure"
        if causes - ENDING:
            self.since = ids  # what an earlier incomplete one declared may be offered (plan_cleanup)
        else:
            self.complete, self.since = ids, set()
        assert "used" not in causes or self.kept or "delete" in causes
        if causes <= {"used"}:
            assert self.ids == ids | self.held(self.kept), "what is declared, what is kept, and what that uses"
            by_id = {each.id: each for each in self.model.objects.values()}
            for wish in program:
                assert by_id[wish.id].uses == {by_id[id].uid for id in wish.uses}

    @rule(id=st.sampled_from(IDS), kept=st.booleans())
    def one_is_kept_or_not_any_more(self, id: str, kept: bool) -> None:
        if id not in self.world_rows() or self.world.rows()[id].status is not Status.READY:
            return
        store = LocalStore(self.world.layout, "c" * 32)
        project = Project(self.world.root, {})
        asyncio.run(keep(store, f"{PROD}/{id}", OPTIONS, kept=kept, project=project))
        self.kept = self.kept | {id} if kept else self.kept - {id}

    @precondition(lambda self: self.world_rows())
    @rule(hopeless=faults, lossy=faults)
    def what_was_left_is_cleaned_up(self, hopeless: set[str], lossy: set[str]) -> None:
        before = self.ids
        self.model.begin(hopeless=set(hopeless), lossy=set(lossy))
        store = LocalStore(self.world.layout, "c" * 32)
        project = Project(self.world.root, {})
        with contextlib.suppress(RunFailed):
            asyncio.run(cleanup(store, ScopePath.parse(PROD), OPTIONS, project=project))
        assert (self.model.calls["create"], self.model.calls["update"]) == (0, 0)
        gone = before - self.ids
        assert gone & self.kept == set()
        if not self.destroyed:
            assert gone & (self.complete | self.since) == set(), "nothing that a deploy declared is offered"

    @rule(hopeless=faults, lossy=faults)
    def everything_is_destroyed(self, hopeless: set[str], lossy: set[str]) -> None:
        self.destroyed = True
        spared = self.held(self.kept)
        self.model.begin(hopeless=set(hopeless), lossy=set(lossy))
        causes = failing(
            lambda: self.world.deploy(nothing, phase="destroy", destroy_strategy="parallel", max_retries=0)
        )
        assert causes <= ENDING
        if causes <= {"used"}:
            assert self.ids == spared & self.ids, "what is kept, and what that uses"
        self.complete, self.since = set(), set()

    # -- what is always so --------------------------------------------------------------------------------------

    def world_rows(self) -> set[str]:
        with contextlib.suppress(AlchemyError, FileNotFoundError):  # nothing was ever deployed
            return set(self.world.rows())
        return set()

    @invariant()
    def the_order_was_right(self) -> None:
        assert self.model.wrong == []

    @invariant()
    def what_exists_is_known_and_what_is_known_exists(self) -> None:
        if not self.world_rows():
            assert self.ids == set()
            return
        rows = self.world.fold().resources.values()
        assert set(self.model.objects) <= {row.physical_name for row in rows}
        ready = {row.physical_name for row in rows if row.status is Status.READY}
        assert ready <= set(self.model.objects)

    @invariant()
    def what_is_kept_stays(self) -> None:
        assert self.kept <= self.world_rows()


@pytest.mark.slow
def test_in_any_sequence_the_order_is_right_and_nothing_is_lost() -> None:
    from hypothesis.stateful import run_state_machine_as_test

    # The same ten every day; EXPLORE=1000 looks for others, and takes minutes.
    asked = int(os.environ.get("EXPLORE", "0"))
    chosen = settings(derandomize=not asked, max_examples=asked or 10, stateful_step_count=8)
    run_state_machine_as_test(Histories, settings=settings(chosen, suppress_health_check=[HealthCheck.too_slow]))

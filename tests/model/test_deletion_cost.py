"""What planning a deletion costs, counted in comparisons: no clock, so it says the same on every machine."""

from __future__ import annotations

import pytest

from alchemy.model.deletions import plan_deletions
from alchemy.model.values import ResourceState, Status

_compared = 0


class Address(str):
    """A string that counts how often it is compared with another one."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        global _compared
        _compared += 1
        return str.__eq__(self, other) is True

    __hash__ = str.__hash__


def row(address: str, seq: int, uses: tuple[str, ...] = ()) -> ResourceState:
    return ResourceState(
        address=address,
        kind="world:Thing",
        status=Status.READY,
        physical_name=f"n{seq}",
        token="t",
        props={},
        props_hash="",
        outputs={},
        depends_on=uses,
        seq=seq,
    )


def comparisons(pairs: int) -> int:
    """For `pairs` resources of which each is used by one other."""
    global _compared
    rows: list[ResourceState] = []
    for n in range(pairs):
        used = Address(f"app/used-{n}")
        rows += [row(used, 2 * n), row(Address(f"app/user-{n}"), 2 * n + 1, (used,))]
    _compared = 0
    plan = plan_deletions("app", rows, (), alive=frozenset(), alive_scopes=frozenset())
    assert [len(wave) for wave in plan.waves] == [pairs, pairs]
    return _compared


@pytest.mark.parametrize("pairs", [50, 400])
def test_a_plan_compares_each_row_with_a_few_others_however_many_there_are(pairs: int) -> None:
    assert comparisons(pairs) <= 10 * pairs

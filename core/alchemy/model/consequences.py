"""What going back leads to, in sentences: what leaves our sight, what comes back, what the next deploy will do. Pure.

Texts hold names as stored: front ends pass them through `safe_text`. Neighbour: `comparison` found the differences.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alchemy.model.comparison import Comparison, inside
from alchemy.model.fold import Fold
from alchemy.model.records import Put
from alchemy.model.values import ResourceState

_NAMED = 5  # addresses in one sentence


def consequences(found: Comparison, now: Fold, then: Fold) -> tuple[str, ...]:
    return tuple(_sentences(found, now, then))


def _sentences(found: Comparison, now: Fold, then: Fold) -> Iterator[str]:
    def names(addresses: Sequence[str]) -> str:
        return _names([address.removeprefix(f"{found.owner}/") for address in addresses])

    def one(addresses: Sequence[object], singular: str, plural: str) -> str:
        return singular if len(addresses) == 1 else plural

    if found.damage:
        yield (
            "the journal cannot be read, and is set aside: what it knew after the backup may be in the cloud and in no "
            "state afterwards"
        )
    gone = [row.address for row in found.vanish]
    if gone:
        verbs = one(gone, "leaves the state and stays in the cloud", "leave the state and stay in the cloud")
        it, there = one(gone, "it", "them"), one(gone, "it is", "they are")
        yield (
            f"{names(gone)} {verbs}, if {there} there still: nobody tracks or deletes {it} any more "
            f"(adopt=True takes {it} over again)"
        )
    remade = [row for row in found.change if row.remade]
    if remade:
        was = one(remade, "was", "were")
        objects = _names([row.name for row in remade])
        yield (
            f"{names([row.address for row in remade])} {was} made anew since then: the state names the "
            f"{one(remade, 'object', 'objects')} of then; of now, {objects} {one(remade, 'stays', 'stay')} in the cloud"
        )
    back = [row.address for row in found.appear]
    if back:
        yield (
            f"{names(back)} {one(back, 'returns', 'return')}: the next deploy looks in the cloud, makes again what is "
            "missing, and deletes what its program does not declare"
        )
    changed = [row.address for row in found.change if not row.remade]
    if changed:
        verb = one(changed, "goes back in the state only", "go back in the state only")
        yield f"{names(changed)} {verb}: the next deploy looks in the cloud and updates what differs from the program"
    if found.unfinished:
        verb = one(found.unfinished, "stays as it is", "stay as they are")
        yield f"{names(found.unfinished)} {verb}: its last call has no known end, the next run looks first"
    yield from _edges(found, now)
    before, after = now.target, then.target
    if found.scope == found.owner and after is not None and before is not None and before != after:
        yield f"its target becomes {after} again: a deploy needs the credentials of that account"


def _edges(found: Comparison, now: Fold) -> Iterator[str]:
    """What is used and goes, what is needed and does not come."""
    gone = {row.address for row in found.vanish}
    for row in sorted(now.resources.values(), key=lambda row: row.key):
        lost = [address for address in row.depends_on if address in gone]
        if lost and not inside(row.address, found.scope):
            yield f"{row.address} uses {_names(lost)}, which leaves the state"
    rows = [op.row for op in found.ops if isinstance(op, Put) and isinstance(op.row, ResourceState)]
    there = {*now.resources, *(row.key for row in rows)} - gone
    for row in rows:
        missing = [address for address in row.depends_on if address not in there]
        if missing:
            yield f"{row.address} needs {_names(missing)}, which is not in the state"


def _names(names: Sequence[str]) -> str:
    shown = list(names[:_NAMED])
    if len(names) > _NAMED:
        return f"{', '.join(shown)} and {len(names) - _NAMED} more"
    return " and ".join([*([", ".join(shown[:-1])] if len(shown) > 1 else []), *shown[-1:]])

"""Where everything lies below the state directory. Only validated names become paths, only here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from alchemy.model.paths import ScopePath, encode_id, split_address

VIEW = "state.json"
RESOURCES = "resources"


@dataclass(frozen=True, slots=True)
class Layout:
    """`root` is the state directory (`.alchemy`)."""

    root: Path

    def scope(self, path: ScopePath | str) -> Path:
        return self.root / str(path)

    def journal(self, path: ScopePath | str) -> Path:
        return self.root / str(path) / "journal"

    def epoch(self, path: ScopePath | str, epoch: int) -> Path:
        return self.root / str(path) / "journal" / f"{epoch:06d}.jsonl"

    def snapshots(self, path: ScopePath | str) -> Path:
        return self.root / str(path) / "snapshots"

    def backups(self, path: ScopePath | str) -> Path:
        return self.root / str(path) / "backups"

    def scope_view(self, path: ScopePath | str) -> Path:
        return self.root / str(path) / VIEW

    def resource_view(self, address: str, generation: int | None = None) -> Path:
        """A former incarnation (`generation` given) lies beside the current one."""
        scope, id = split_address(address)
        name = VIEW if generation is None else f"former-{generation}.json"
        return self.root / scope / RESOURCES / encode_id(id) / name

    def lock(self, path: ScopePath | str) -> Path:
        return self.root / "locks" / f"{path}.lock"

    def gate(self, path: ScopePath | str) -> Path:
        return self.root / "locks" / f"{path}.lock.gate"

    def holder(self, path: ScopePath | str) -> Path:
        return self.root / "locks" / f"{path}.lock.holder.json"

    @property
    def unlocking(self) -> Path:
        """Held by whoever opens a lock by force."""
        return self.root / "locks" / ".unlocking"

    @property
    def local_cloud(self) -> Path:
        return self.root / "local-cloud"

    @property
    def spill(self) -> Path:
        return self.root / "spill"

    @property
    def audit(self) -> Path:
        return self.root / "audit"

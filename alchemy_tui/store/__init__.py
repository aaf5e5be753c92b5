"""What the dashboard knows, without a terminal: the source it reads, the store, the tree's rows, the watcher."""

from __future__ import annotations

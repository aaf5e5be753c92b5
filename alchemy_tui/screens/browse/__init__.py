"""The first screen: the tree of scopes and resources, and the details of one."""

from __future__ import annotations

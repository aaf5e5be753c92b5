"""The dashboard: a front end on `alchemy.operations`, `alchemy.model` and `alchemy.errors`, nothing else of the core.

Layers, upper ones import lower ones: `app` and `command`, `screens`, `widgets`, then `present` (values to lines of
text with a tone) and `store` (what is on screen, and when to look again). The two lowest never import textual.
"""

from __future__ import annotations

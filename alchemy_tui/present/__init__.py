"""Values as lines of text with tones: pure functions, no terminal toolkit. Every text passes `safe_text` here, once."""

from __future__ import annotations

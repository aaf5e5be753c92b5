"""`python -m alchemy.cli` is `alchemy`."""

from __future__ import annotations

import sys

from alchemy.cli import main

sys.exit(main())

"""``python -m simlib``: the terminal's verbs."""

from __future__ import annotations

import sys

from simlib.cli import main

sys.exit(main())

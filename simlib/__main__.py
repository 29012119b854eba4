"""``python -m simlib``: the terminal's verbs."""

import sys

from simlib.cli import main

sys.exit(main())

"""``python -m flambeau``: the same as the command ``flambeau``."""

import sys

from .cli import main

sys.exit(main())

"""Prints what the launcher has told this process."""

import os
import sys

NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
sys.stdout.write(" ".join([*(os.environ[n] for n in NAMES), *sys.argv[1:]]) + "\n")

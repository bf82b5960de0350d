"""Programs that trace, read and rewrite graphs; see `tests/sides.py`."""

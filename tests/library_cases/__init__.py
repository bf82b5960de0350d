"""Operators of a program's own, and modes that see every function; see `tests/sides.py`."""

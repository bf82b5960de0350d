"""Reverse-mode differentiation: the tape, grad modes, hooks, user-defined functions and checks."""

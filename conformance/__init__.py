"""flambeau against PyTorch's own databases of operators, modules and optimizers; `make conformance` runs it.

`scope` tells what is compared, `translate` turns PyTorch's values and functions into flambeau's, `compare` says what
counts as equal. `operators`, `modules` and `optimizers` break an entry of a database into steps, `pool` runs entries on
all cores and survives what they do to it, `report` writes `docs/conformance.md` and `docs/conformance.json`.
"""

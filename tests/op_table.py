"""The table of operations: one row per op, in `tests/op_rows/<family>.py`.

Two tests read it: `tests/test_op_table.py` checks derivatives by finite differences, without PyTorch;
`tests/conformance/test_op_table.py` compares values, dtypes, shapes and gradients with PyTorch's.
"""

import importlib
import pkgutil
from pathlib import Path

from tests.op_rows import tools

for _module in sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent / "op_rows")])):
    importlib.import_module(f"tests.op_rows.{_module}")

ROWS = tools.ROWS
#: The names of all registered ops that some row exercises.
COVERED = {name for row in ROWS for name in row.ops}

"""Taking models out: a module as a recorded program, in a file of flambeau's, or as StableHLO for JAX.

`export` is `torch.export.export`. `to_stablehlo` makes of a module or an exported program what JAX loads and runs
without flambeau. `torch.onnx.export` and `torch.jit.trace` stand on the same programs.
"""

from __future__ import annotations

from typing import Any

from flambeau.export.exported import Dim, ExportedProgram, ShapesCollection, dims, export, load, save
from flambeau.export.program import Program
from flambeau.export.sizes import Different

__all__ = [
    "Different",
    "Dim",
    "ExportedProgram",
    "Program",
    "ShapesCollection",
    "dims",
    "export",
    "load",
    "save",
    "save_stablehlo",
    "to_stablehlo",
]


def __getattr__(name: str) -> Any:
    if name in ("to_stablehlo", "save_stablehlo", "StableHLO"):  # the engine of JAX, which may not be there
        from flambeau.export import stablehlo

        return getattr(stablehlo, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

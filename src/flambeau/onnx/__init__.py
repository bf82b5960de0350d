"""`torch.onnx`: modules as ONNX models, which onnxruntime and others run. Needs the extra `onnx`.

What is recorded is a program of flambeau's operations (`flambeau.export`); `elementwise`, `shapes`, `reductions`,
`layers` and `recurrent` are the table of what each of them is in nodes.
"""

from __future__ import annotations

from flambeau.onnx import errors
from flambeau.onnx.errors import OnnxExporterError, UnsupportedOperatorError
from flambeau.onnx.exporting import ONNXProgram, TrainingMode, export, is_in_onnx_export

__all__ = [
    "ONNXProgram",
    "OnnxExporterError",
    "TrainingMode",
    "UnsupportedOperatorError",
    "errors",
    "export",
    "is_in_onnx_export",
]

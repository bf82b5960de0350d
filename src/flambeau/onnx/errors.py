"""What `torch.onnx` raises."""

from __future__ import annotations

__all__ = ["OnnxExporterError", "UnsupportedOperatorError"]


class OnnxExporterError(RuntimeError):
    """A model that ONNX can't hold."""


class UnsupportedOperatorError(OnnxExporterError):
    """An operation, or a way to call it, for which there are no nodes."""

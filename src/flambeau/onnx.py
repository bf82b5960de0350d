"""``torch.onnx``: exporting is not there yet; asking for it says so instead of writing a wrong file."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["export", "is_in_onnx_export"]


def is_in_onnx_export() -> bool:
    """Whether a model is being exported right now: no."""
    return False


def export(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises RuntimeError: flambeau writes no ONNX yet."""
    raise RuntimeError(
        "torch.onnx.export is not in flambeau yet. Save the weights with torch.save(model.state_dict(), path), which "
        "PyTorch can load, and export from there"
    )

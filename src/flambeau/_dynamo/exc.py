"""``torch._dynamo.exc``: the errors that programs catch around compiled code. Here compiling raises `CaptureError`."""

from __future__ import annotations

from flambeau.errors import CaptureError

__all__ = ["BackendCompilerFailed", "InternalTorchDynamoError", "TorchDynamoException", "Unsupported",
           "UserError"]  # fmt: skip

TorchDynamoException = Unsupported = CaptureError


class InternalTorchDynamoError(CaptureError):
    """PyTorch's compiler failed itself. Nothing here raises it."""


class BackendCompilerFailed(CaptureError):
    """A backend failed. Nothing here raises it."""


class UserError(CaptureError):
    """A program asked for what can't be compiled. Nothing here raises it."""

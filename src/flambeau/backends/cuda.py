"""``torch.backends.cuda``: the flags of matrix products and attention on GPUs; they change nothing here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flambeau import settings

_attention = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


class _Matmul:
    """Flags of matrix products on GPUs."""

    allow_fp16_reduced_precision_reduction = True
    allow_bf16_reduced_precision_reduction = True
    allow_fp16_accumulation = False
    fp32_precision = "none"

    @property
    def allow_tf32(self) -> bool:
        """Whether products of float32 may be rounded, which `torch.set_float32_matmul_precision` decides as well."""
        return settings.get_float32_matmul_precision() != "highest"

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        settings.set_float32_matmul_precision("high" if allowed else "highest")


matmul = _Matmul()


def is_built() -> bool:
    """Whether CUDA kernels were built in: no."""
    return False


def flash_sdp_enabled() -> bool:
    """Whether attention may use flash kernels."""
    return _attention["flash"]


def mem_efficient_sdp_enabled() -> bool:
    """Whether attention may use memory-saving kernels."""
    return _attention["mem_efficient"]


def math_sdp_enabled() -> bool:
    """Whether attention may be computed step by step."""
    return _attention["math"]


def cudnn_sdp_enabled() -> bool:
    """Whether attention may use cuDNN."""
    return _attention["cudnn"]


def enable_flash_sdp(enabled: bool) -> None:
    """Allow or forbid flash kernels for attention."""
    _attention["flash"] = bool(enabled)


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Allow or forbid memory-saving kernels for attention."""
    _attention["mem_efficient"] = bool(enabled)


def enable_math_sdp(enabled: bool) -> None:
    """Allow or forbid attention computed step by step."""
    _attention["math"] = bool(enabled)


def enable_cudnn_sdp(enabled: bool) -> None:
    """Allow or forbid cuDNN for attention."""
    _attention["cudnn"] = bool(enabled)


@contextmanager
def sdp_kernel(
    enable_flash: bool = True, enable_math: bool = True, enable_mem_efficient: bool = True, enable_cudnn: bool = True
) -> Iterator[None]:
    """A context in which attention may use these kernels."""
    before = dict(_attention)
    _attention.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield
    finally:
        _attention.update(before)

"""Hooks that average gradients, some of them in fewer bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dtypes
from flambeau.distributed.collectives import all_reduce
from flambeau.distributed.kinds import ReduceOp, Work

__all__ = ["allreduce_hook", "bf16_compress_hook", "bf16_compress_wrapper", "fp16_compress_hook",
           "fp16_compress_wrapper"]  # fmt: skip


def allreduce_hook(process_group: Any, bucket: Any) -> Work:
    """Averages as without a hook. The state is the process group, or None for that of all."""
    work = all_reduce(bucket.buffer(), ReduceOp.AVG, process_group, async_op=True)
    assert work is not None
    return work.then(lambda done: done.value()[0])


def _compressed(dtype: Any) -> Callable:
    def hook(process_group: Any, bucket: Any) -> Work:
        full = bucket.buffer()
        work = all_reduce(full.to(dtype), ReduceOp.AVG, process_group, async_op=True)
        assert work is not None
        return work.then(lambda done: full.copy_(done.value()[0]))

    return hook


def fp16_compress_hook(process_group: Any, bucket: Any) -> Work:
    """Averages in float16, which halves what is sent."""
    return _compressed(dtypes.float16)(process_group, bucket)


def bf16_compress_hook(process_group: Any, bucket: Any) -> Work:
    """Averages in bfloat16, which halves what is sent."""
    return _compressed(dtypes.bfloat16)(process_group, bucket)


def _around(dtype: Any, hook: Callable) -> Callable:
    def wrapped(state: Any, bucket: Any) -> Work:
        full = bucket.buffer()
        bucket.set_buffer(full.to(dtype))
        work = hook(state, bucket)

        def widened(done: Any) -> Any:
            value = done.value()
            return full.copy_(value[0] if isinstance(value, (list, tuple)) else value)

        return work.then(widened)

    return wrapped


def fp16_compress_wrapper(hook: Callable) -> Callable:
    """The hook, on gradients in float16."""
    return _around(dtypes.float16, hook)


def bf16_compress_wrapper(hook: Callable) -> Callable:
    """The hook, on gradients in bfloat16."""
    return _around(dtypes.bfloat16, hook)

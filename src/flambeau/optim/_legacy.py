"""What optimizers outside of PyTorch take from ``torch.optim.optimizer`` beside the class."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flambeau.autograd.runtime import is_grad_enabled, set_grad_enabled
from flambeau.dtypes import float32, float64, get_default_dtype
from flambeau.ops.matrices import view_as_real
from flambeau.tensor.tensor import Tensor

#: Paragraphs that such optimizers put into their documentation.
_params_doc = """params (iterable): parameters, or dicts that define groups of them"""
_foreach_doc = """foreach (bool, optional): update all parameters of a kind at once (default: None, which chooses)"""
_fused_doc = """fused (bool, optional): update with one kernel (default: None)"""
_maximize_doc = """maximize (bool, optional): ascend instead of descend (default: False)"""
_capturable_doc = """capturable (bool, optional): whether steps can be captured as graphs (default: False)"""
_differentiable_doc = """differentiable (bool, optional): whether autograd goes through the step (default: False)"""


def _use_grad_for_differentiable(func: Callable) -> Callable:
    """Decorates `step`: its updates are recorded where the optimizer's `differentiable` says so, and not otherwise."""

    @functools.wraps(func)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = is_grad_enabled()
        try:
            set_grad_enabled(bool(self.defaults.get("differentiable")))
            return func(self, *args, **kwargs)
        finally:
            set_grad_enabled(before)

    return step


def _disable_dynamo_if_unsupported(single_tensor_fn: Callable | None = None) -> Callable:
    """A decorator that returns the function as it is."""
    return lambda function: function


def _default_to_fused_or_foreach(params: list, differentiable: bool, use_fused: bool = False) -> tuple[bool, bool]:
    """Whether (fused, foreach) are chosen where nothing is asked for: on the CPU neither."""
    if differentiable:
        return False, False
    given = [p for p in params if p is not None]
    foreach = bool(given) and all(type(p) is Tensor and p.device.type in ("cuda", "xpu") for p in given)
    fused = use_fused and bool(given) and all(p.is_floating_point() for p in given)
    return fused, foreach and not fused


def _get_value(x: Any) -> Any:
    """A tensor of one element as a Python number; anything else as it is."""
    return x.item() if isinstance(x, Tensor) else x


def _to_scalar(x: Any) -> Any:
    """A tensor of one element without dimensions; anything else as it is."""
    return x.squeeze() if isinstance(x, Tensor) and x.dim() else x


def _stack_if_compiling(x: Any) -> Any:
    """The list as it is: it would be stacked only inside PyTorch's compiler."""
    return x


def _dispatch_sqrt(x: Any) -> Any:
    """The square root of a tensor or a number."""
    return x.sqrt() if isinstance(x, Tensor) else x**0.5


def _get_scalar_dtype(is_fused: bool | None = None) -> Any:
    """The dtype in which steps are counted."""
    return float32 if is_fused or get_default_dtype() != float64 else float64


def _get_capturable_supported_devices(supports_xla: bool = True) -> list[str]:
    """Devices on which `capturable=True` is accepted."""
    return ["cuda", "xpu", "hpu", *(["xla"] if supports_xla else [])]


def _view_as_real(params: list, *state_and_grads: list) -> None:
    """Puts real views in the place of complex tensors, in all lists."""
    for at, param in enumerate(params):
        if param.is_complex():
            for each in (params, *state_and_grads):
                each[at] = view_as_real(each[at])


def _group_tensors_by_device_and_dtype(tensorlistlist: Any, with_indices: bool = False) -> dict:
    """Lists that belong together, item by item, parted by the device and dtype of the first list's tensors.

    The result maps (device, dtype) to the lists with the items of that kind, and where they stood (empty unless
    `with_indices`). Items of later lists may be None.
    """
    groups: dict[Any, tuple[list[list[Any]], list[int]]] = {}
    for at, row in enumerate(zip(*tensorlistlist, strict=True)):
        key = (row[0].device, row[0].dtype)
        lists, places = groups.setdefault(key, ([[] for _ in row], []))
        for column, item in zip(lists, row, strict=True):
            column.append(item)
        if with_indices:
            places.append(at)
    return groups

"""Pruning: parameters some of whose elements are held at 0 by a mask.

A pruned parameter becomes `<name>_orig`, its mask the buffer `<name>_mask`, and `<name>` their product, computed before
every forward. Pruning again masks more; `remove` makes the product the parameter.
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

from flambeau.nn.modules.module import Module
from flambeau.nn.utils.convert_parameters import parameters_to_vector
from flambeau.ops.random_ops import rand, rand_like
from flambeau.tensor.creation import ones_like, zeros_like

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def _same_shape(scores: Any, t: Any) -> None:
    if scores.shape != t.shape:
        raise AssertionError(
            f"importance_scores must have the shape of what is pruned, {tuple(t.shape)}, got {tuple(scores.shape)}"
        )


class BasePruningMethod(ABC):
    """A rule for masks, and the forward pre-hook that applies one. Subclasses write `compute_mask`, and say in
    `PRUNING_TYPE` what they see when something was pruned before: only the elements left ('unstructured'), the
    channels left along `dim` ('structured'), or everything ('global').
    """

    _tensor_name: str | None = None
    PRUNING_TYPE: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._name(), self.apply_mask(module))

    def _name(self) -> str:
        if self._tensor_name is None:
            raise AssertionError("this pruning method was not applied to a module yet")
        return self._tensor_name

    @abstractmethod
    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        """The mask for importance scores `t`, as a change of `default_mask`."""

    def apply_mask(self, module: Module) -> Any:
        """The pruned tensor: mask times original."""
        name = self._name()
        original = getattr(module, name + "_orig")
        return getattr(module, name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Any = None, **kwargs: Any) -> Any:
        """Prune the parameter `name` of `module` by `cls(*args, **kwargs)`, further if it is pruned already.

        `importance_scores`, of the parameter's shape, stand for its elements. Returns the method that is the module's
        hook from now on. A failed call leaves the module as it was.
        """
        found = [
            (key, hook)
            for key, hook in module._forward_pre_hooks.items()
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
        ]
        if len(found) > 1:
            raise AssertionError(f"'{name}' of {type(module).__name__} has several pruning hooks: use one container")
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        if found:
            container = PruningContainer(*(found[0][1] if isinstance(found[0][1], PruningContainer) else [found[0][1]]))
            container.add_pruning_method(method)
            method = container
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        _same_shape(scores, original)
        default = getattr(module, name + "_mask").detach().clone() if found else ones_like(original)
        mask = method.compute_mask(scores, default_mask=default)
        if found:
            del module._forward_pre_hooks[found[0][0]]
        else:
            module.register_parameter(name + "_orig", original)
            del module._parameters[name]
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Any, default_mask: Any = None, importance_scores: Any = None) -> Any:
        """`t` times the mask, without any module."""
        scores = t if importance_scores is None else importance_scores
        _same_shape(scores, t)
        return t * self.compute_mask(scores, default_mask=ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Make the pruned tensor the parameter; the mask is forgotten."""
        name = self._name()
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = weight.data  # type: ignore[union-attr]
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several methods that pruned one parameter in turn; the last one computes the mask, on what the others left."""

    def __init__(self, *args: Any) -> None:
        self._pruning_methods: tuple[Any, ...] = ()
        for method in args:
            if self._tensor_name is None:
                self._tensor_name = method._tensor_name
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Append a method. TypeError if it is none, ValueError if it is for another parameter."""
        if not isinstance(method, BasePruningMethod) and method is not None:
            raise TypeError(f"a BasePruningMethod is needed, got {type(method).__name__}")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(f"this container is for '{self._tensor_name}', the method for '{method._tensor_name}'")
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> Any:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        method = self._pruning_methods[-1]
        place = _left(method, t, default_mask)
        mask = default_mask.to(dtype=t.dtype, copy=True)
        mask[place] = method.compute_mask(t[place], default_mask=default_mask[place]).to(dtype=mask.dtype)
        return mask


def _left(method: Any, t: Any, mask: Any) -> Any:
    """The index of what a further method sees."""
    if method.PRUNING_TYPE == "unstructured":
        return mask == 1
    if method.PRUNING_TYPE == "global":
        return (slice(None),) * t.dim()
    if method.PRUNING_TYPE != "structured":
        raise ValueError(f"PRUNING_TYPE is 'unstructured', 'structured' or 'global', not {method.PRUNING_TYPE!r}")
    if not hasattr(method, "dim"):
        raise AttributeError("a pruning method of type 'structured' needs the attribute `dim`")
    dim = method.dim + t.dim() if method.dim < 0 else method.dim
    if dim < 0:
        raise IndexError(f"dim {method.dim} is out of range for {t.dim()} dimensions")
    kept = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
    return tuple(kept if d == dim else slice(None) for d in range(t.dim()))


# --- the methods ----------------------------------------------------------------------------------------------------


class Identity(BasePruningMethod):
    """Prunes nothing: the mask is all ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        return default_mask


class _ByAmount(BasePruningMethod):
    """Prunes `amount` elements or channels: a number of them, or a fraction."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"amount must be an int or a float, got {type(amount).__name__}")
        whole = isinstance(amount, numbers.Integral)
        if float(amount) < 0 or (not whole and float(amount) > 1):
            raise ValueError(f"amount must be a fraction in [0, 1] or an int of at least 0, got {amount}")
        self.amount: Any = amount

    def _count(self, size: int) -> int:
        if not isinstance(self.amount, numbers.Integral):
            return round(self.amount * size)
        if int(self.amount) > size:
            raise ValueError(f"{self.amount} can't be pruned of {size}")
        return int(self.amount)


class _Unstructured(_ByAmount):
    PRUNING_TYPE = "unstructured"

    def _ranked(self, t: Any, count: int) -> Any:
        """The places of the elements that go."""
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        count = self._count(t.nelement())
        mask = default_mask.clone()
        if count:
            mask.view(-1)[self._ranked(t, count)] = 0
        return mask


class RandomUnstructured(_Unstructured):
    """Prunes elements at random."""

    def _ranked(self, t: Any, count: int) -> Any:
        return rand_like(t).view(-1).topk(count).indices


class L1Unstructured(_Unstructured):
    """Prunes the elements of least absolute value."""

    def _ranked(self, t: Any, count: int) -> Any:
        return t.abs().reshape(-1).topk(count, largest=False).indices


class _Structured(_ByAmount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _kept(self, t: Any, size: int, count: int) -> Any:
        """The index, along `dim`, of the channels that stay."""
        raise NotImplementedError

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if t.dim() < 2:
            raise ValueError(f"channels are pruned of tensors of two dimensions or more, got shape {tuple(t.shape)}")
        if self.dim >= t.dim():
            raise IndexError(f"dim {self.dim} is out of range for shape {tuple(t.shape)}")
        size = t.shape[self.dim]
        count = self._count(size)
        if not count:
            return default_mask
        mask = zeros_like(t)
        place: list[Any] = [slice(None)] * t.dim()
        place[self.dim] = self._kept(t, size, count)
        mask[tuple(place)] = 1
        return mask * default_mask.to(dtype=mask.dtype)


class RandomStructured(_Structured):
    """Prunes channels along `dim` at random."""

    def _kept(self, t: Any, size: int, count: int) -> Any:
        drawn = rand(size)
        return drawn > drawn.kthvalue(count).values


class LnStructured(_Structured):
    """Prunes the channels along `dim` of least `n`-norm."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def _kept(self, t: Any, size: int, count: int) -> Any:
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        return t.norm(p=self.n, dim=others).topk(size - count).indices


class CustomFromMask(BasePruningMethod):
    """Prunes by a given mask."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Any) -> None:
        self.mask = mask

    def compute_mask(self, t: Any, default_mask: Any) -> Any:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"the mask has shape {tuple(self.mask.shape)}, what it is for {tuple(default_mask.shape)}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)


# --- by one call ----------------------------------------------------------------------------------------------------


def identity(module: Module, name: str) -> Module:
    """Give `name` a mask of ones. Returns the module, as the functions below do."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prune `amount` elements (a number or a fraction) of `name` at random."""
    RandomUnstructured.apply(module, name, amount=amount)
    return module


def l1_unstructured(module: Module, name: str, amount: Any, importance_scores: Any = None) -> Module:
    """Prune the `amount` elements of `name` of least absolute value, or of least `importance_scores`.

    >>> import flambeau as torch
    >>> layer = torch.nn.Linear(2, 3)
    >>> int(torch.nn.utils.prune.l1_unstructured(layer, "weight", amount=0.5).weight_mask.sum())
    3
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prune `amount` channels of `name` along `dim` at random."""
    RandomStructured.apply(module, name, amount=amount, dim=dim)
    return module


def ln_structured(module: Module, name: str, amount: Any, n: Any, dim: int, importance_scores: Any = None) -> Module:
    """Prune the `amount` channels of `name` along `dim` of least `n`-norm."""
    LnStructured.apply(module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: Any) -> Module:
    """Prune `name` by a mask of its shape."""
    CustomFromMask.apply(module, name, mask=mask)
    return module


def global_unstructured(parameters: Any, pruning_method: Any, importance_scores: Any = None, **kwargs: Any) -> None:
    """Prune several parameters, pairs of a module and a name, as if they were one vector.

    `pruning_method(**kwargs)` must be 'unstructured'. `importance_scores`: a dict from such pairs to tensors. TypeError
    for anything else.
    """
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters must be an iterable of (module, name), got {type(parameters).__name__}")
    if importance_scores is not None and not isinstance(importance_scores, dict):
        raise TypeError(f"importance_scores must be a dict, got {type(importance_scores).__name__}")
    given = importance_scores or {}
    pairs = list(parameters)
    tensors = [getattr(module, name) for module, name in pairs]
    scores = parameters_to_vector([given.get(pair, t) for pair, t in zip(pairs, tensors, strict=True)])
    masks = [getattr(m, name + "_mask", None) for m, name in pairs]
    default = parameters_to_vector([ones_like(t) if m is None else m for m, t in zip(masks, tensors, strict=True)])
    method = pruning_method(**kwargs)
    method._tensor_name = "temp"
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            f"global pruning takes 'unstructured' methods, {type(method).__name__} is {method.PRUNING_TYPE!r}"
        )
    final = PruningContainer(method).compute_mask(scores, default)
    start = 0
    for (module, name), t in zip(pairs, tensors, strict=True):
        custom_from_mask(module, name, final[start : start + t.numel()].view_as(t))
        start += t.numel()


def remove(module: Module, name: str) -> Module:
    """Make the pruned `name` an ordinary parameter, zeros included. ValueError if it is not pruned."""
    for key, hook in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(f"'{name}' of {type(module).__name__} is not pruned")


def is_pruned(module: Module) -> bool:
    """Whether some parameter of the module, or of one inside it, is pruned."""
    return any(isinstance(hook, BasePruningMethod) for m in module.modules() for hook in m._forward_pre_hooks.values())

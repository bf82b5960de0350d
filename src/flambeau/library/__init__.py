"""`torch.library`: operators of one's own.

`custom_op` makes one of a function with type annotations; `define`, `impl` and `Library` make one of a schema in text
and kernels given later. Either is called by the name `torch.ops.<namespace>.<name>`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.library import schema as _schemas
from flambeau.library.operators import OPERATORS, Operator, Overload
from flambeau.library.operators import define as _define
from flambeau.library.operators import find as _find

__all__ = [
    "CustomOpDef",
    "Library",
    "custom_op",
    "define",
    "fallthrough_kernel",
    "get_ctx",
    "impl",
    "impl_abstract",
    "infer_schema",
    "opcheck",
    "register_autograd",
    "register_fake",
    "register_kernel",
    "register_torch_dispatch",
    "register_vmap",
    "triton_op",
    "wrap_triton",
]


def _devices(types: Any) -> list[str]:
    if types is None or types == "default":
        return [""]
    return [types] if isinstance(types, str) else list(types)


def _key(dispatch_key: str) -> str:
    """A device's name, or a key for all devices, from one of PyTorch's dispatch keys."""
    known = {"CPU": "cpu", "CUDA": "cuda", "Meta": "meta", "XLA": "xla", "": ""}
    return known.get(dispatch_key, dispatch_key)


class CustomOpDef:
    """An operator made by `custom_op`, to be called and to be given more: kernels, a derivative, a rule for batches."""

    def __init__(self, operator: Operator, function: Callable) -> None:
        self._operator = operator
        self._init_fn = function
        self._qualname = operator.schema.name
        self._namespace, _, self._name = self._qualname.partition("::")
        self._opoverload = Overload(operator, ".default")
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._opoverload(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<CustomOpDef({self._qualname})>"

    def register_kernel(self, device_types: Any, fn: Callable | None = None, /) -> Callable:
        """Registers what computes the operator on these devices; works as a decorator."""
        return register_kernel(self, device_types, fn)

    def register_fake(self, fn: Callable, /) -> Callable:
        """Registers what makes an output of the right shape and dtype; works as a decorator."""
        return register_fake(self, fn)

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None) -> None:
        """Registers the derivative: `backward(ctx, *grads)` gives one gradient for each argument,
        `setup_context(ctx, inputs, output)` keeps what it needs.
        """
        register_autograd(self, backward, setup_context=setup_context)

    def register_vmap(self, func: Callable | None = None) -> Callable:
        """Registers `func(info, in_dims, *args)`, which gives the outputs of a batch and their dimensions."""
        return register_vmap(self, func)

    def register_torch_dispatch(self, torch_dispatch_class: Any, fn: Callable | None = None, /) -> Callable:
        """Accepted; classes are asked by `__torch_function__` here."""
        return register_torch_dispatch(self, torch_dispatch_class, fn)

    @contextmanager
    def set_kernel_enabled(self, device_type: str, enabled: bool = True) -> Iterator[None]:
        """Inside, the kernel for a device is used or not."""
        before = set(self._operator.off)
        (self._operator.off.discard if enabled else self._operator.off.add)(device_type)
        try:
            yield
        finally:
            self._operator.off = before


def custom_op(
    name: str,
    fn: Callable | None = None,
    /,
    *,
    mutates_args: str | Iterable[str],
    device_types: Any = None,
    schema: str | None = None,
    tags: Any = None,
) -> Any:
    """Makes an operator of a function. What it does is not recorded: give a derivative by `register_autograd`.

    Args:
        name: with a namespace, as in 'mine::scale'.
        mutates_args: names of the arguments that it writes into; 'unknown' for all.
        device_types: the devices that the function works for; all by default.
        schema: the operator's parameters and results in text; by default taken from the annotations.

    >>> import flambeau as torch
    >>> @torch.library.custom_op('doc::scale', mutates_args=())
    ... def scale(x: torch.Tensor, factor: float) -> torch.Tensor:
    ...     return x * factor
    >>> scale.register_autograd(lambda ctx, g: (g * ctx.factor, None),
    ...                         setup_context=lambda ctx, inputs, output: setattr(ctx, 'factor', inputs[1]))
    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.ops.doc.scale(x, 3.0).sum().backward()
    >>> x.grad
    tensor([3., 3.])
    """

    def make(function: Callable) -> CustomOpDef:
        own = schema or _schemas.infer(function, mutates_args)
        operator = _define(_schemas.parse(name + own))
        operator.opaque = True
        for device in _devices(device_types):
            operator.kernels[device] = function
        return CustomOpDef(operator, function)

    return make if fn is None else make(fn)


triton_op = custom_op


def wrap_triton(triton_kernel: Callable, /) -> Callable:
    """Gives the kernel back: nothing is captured."""
    return triton_kernel


def infer_schema(prototype_function: Callable, /, *, mutates_args: Any, op_name: str | None = None) -> str:
    """The schema of a function with type annotations, in text.

    >>> import flambeau as torch
    >>> def scale(x: torch.Tensor, factor: float = 2.0) -> torch.Tensor: ...
    >>> torch.library.infer_schema(scale, mutates_args=())
    '(Tensor x, float factor=2.0) -> Tensor'
    """
    return _schemas.infer(prototype_function, mutates_args, op_name)


def define(qualname: str, schema: str, *, lib: Any = None, tags: Any = ()) -> Any:
    """Declares an operator: its name with a namespace, and its schema. Without one of the two, a decorator as in older
    programs.
    """
    if not isinstance(qualname, str):
        raise ValueError(f"define(qualname, schema): the name must be a str, got {type(qualname).__name__}")
    return _define(_schemas.parse(qualname + schema)) and None


def _registering(fn: Callable | None, put: Callable[[Callable], None]) -> Any:
    """Registers `fn` now, or as a decorator."""

    def register(function: Callable) -> Callable:
        put(function)
        return function

    return register if fn is None else register(fn)


def impl(qualname: Any, types: Any, func: Callable | None = None, *, lib: Any = None) -> Any:
    """Registers a kernel of an operator for devices ('cpu', 'cuda', several, or 'default' for all); a decorator without
    `func`.
    """
    operator = _find(qualname)

    def put(function: Callable) -> None:
        for device in _devices(types):
            operator.kernels[_key(device)] = function

    return _registering(func, put)


def register_kernel(op: Any, device_types: Any, func: Callable | None = None, /, *, lib: Any = None) -> Any:
    """The same for an operator made by `custom_op`: the kernel is not recorded."""
    return impl(op, device_types, func)


def register_fake(
    op: Any, func: Callable | None = None, /, *, lib: Any = None, _stacklevel: int = 1, **options: Any
) -> Any:
    """Registers what makes an output of the right shape and dtype without computing it; a decorator without `func`."""
    return _registering(func, lambda function: setattr(_find(op), "fake", function))


impl_abstract = register_fake


def register_autograd(
    op: Any, backward: Callable, /, *, setup_context: Callable | None = None, lib: Any = None
) -> None:
    """Registers an operator's derivative; see `CustomOpDef.register_autograd`."""
    operator = _find(op)
    operator.backward, operator.setup_context = backward, setup_context
    operator._function = None


def register_vmap(op: Any, func: Callable | None = None, /, *, lib: Any = None) -> Any:
    """Registers an operator's rule for batches; see `CustomOpDef.register_vmap`."""
    return _registering(func, lambda function: setattr(_find(op), "vmap", function))


def register_torch_dispatch(op: Any, torch_dispatch_class: Any, func: Callable | None = None, /, **how: Any) -> Any:
    """Accepted; classes are asked by `__torch_function__` here."""
    return _registering(func, lambda function: None)


def fallthrough_kernel() -> None:
    """Stands for 'no kernel here'. Not to be called."""
    raise NotImplementedError("fallthrough_kernel() is a mark, not to be called")


class _Context:
    """What a fake kernel is given to ask for sizes that depend on values."""

    def new_dynamic_size(self, *, min: int = 0, max: int | None = None) -> int:
        """A size; values are always known here, so it is the smallest one."""
        return min

    create_unbacked_symint = new_dynamic_size


def get_ctx() -> _Context:
    """For use in fake kernels."""
    return _Context()


def opcheck(op: Any, args: tuple, kwargs: dict[str, Any] | None = None, *, test_utils: Any = None,
            raise_exception: bool = True, atol: Any = None, rtol: Any = None) -> dict[str, str]:  # fmt: skip
    """Checks that an operator does what its schema says: inputs that it does not declare to write stay as they are, and
    its fake kernel, if it has one, makes outputs of the right shapes and dtypes. 'SUCCESS' for each test, or raises.
    """
    from flambeau import pytree
    from flambeau.tensor.tensor import Tensor

    operator = _find(op)
    values = operator.schema.bind(args, kwargs or {})
    before = [v.detach().clone() if isinstance(v, Tensor) else v for v in values]
    result = Overload(operator)(*args, **(kwargs or {}))
    tests = test_utils or ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    found = dict.fromkeys((tests,) if isinstance(tests, str) else tests, "SUCCESS")
    for p, old, new in zip(operator.schema.parameters, before, values, strict=True):
        if isinstance(new, Tensor) and not p.written and not old.equal(new.detach()):
            found["test_schema"] = f"{operator.name} writes into '{p.name}', which its schema does not say"
    if operator.fake is not None:
        made = pytree.tree_leaves(operator.fake(*args, **(kwargs or {})))
        for a, b in zip(made, pytree.tree_leaves(result), strict=True):
            if isinstance(b, Tensor) and (a.shape != b.shape or a.dtype != b.dtype):
                found["test_faketensor"] = (
                    f"the fake kernel makes {a.dtype} {a.shape}, the real one {b.dtype} {b.shape}"
                )
    found = {name: text for name, text in found.items() if name in tests}
    wrong = [text for text in found.values() if text != "SUCCESS"]
    if wrong and raise_exception:
        raise AssertionError("; ".join(wrong))
    return found


class Library:
    """A set of operators of one namespace.

    Args:
        ns: the namespace.
        kind: 'DEF' to define operators, 'IMPL' to give kernels to those of others, 'FRAGMENT' for more of a namespace.
        dispatch_key: the device whose kernels `impl` registers, such as 'CPU'.

    >>> import flambeau as torch
    >>> lib = torch.library.Library('doclib', 'DEF')
    >>> lib.define('twice(Tensor x) -> Tensor')
    'twice'
    >>> lib.impl('twice', lambda x: x * 2, 'CPU')
    >>> torch.ops.doclib.twice(torch.ones(2))
    tensor([2., 2.])
    """

    def __init__(self, ns: str, kind: str, dispatch_key: str = "") -> None:
        if kind not in ("DEF", "IMPL", "FRAGMENT"):
            raise ValueError(f"Unsupported kind: {kind}; there are DEF, IMPL and FRAGMENT")
        if ns == "prim":
            raise ValueError("prim is a reserved namespace")
        self.ns = ns
        self.kind = kind
        self.dispatch_key = dispatch_key
        self._defined: list[str] = []

    def __repr__(self) -> str:
        return f"Library(kind={self.kind}, ns={self.ns}, dispatch_key={self.dispatch_key})>"

    def define(self, schema: str, alias_analysis: str = "", *, tags: Any = ()) -> str:
        """Declares an operator of this namespace, and gives its name."""
        parsed = _schemas.parse(f"{self.ns}::{schema.strip()}")
        _define(parsed)
        self._defined.append(parsed.name)
        return parsed.name.partition("::")[2]

    def _operator(self, op_name: Any) -> Operator:
        if isinstance(op_name, str) and "::" not in op_name:
            op_name = f"{self.ns}::{op_name}"
        return _find(op_name)

    def impl(
        self, op_name: Any, fn: Callable, dispatch_key: str = "", *, with_keyset: bool = False,
        allow_override: bool = False,
    ) -> None:  # fmt: skip
        """Registers a kernel for a device, or for all."""
        if not callable(fn):
            raise TypeError(f"impl(): the kernel must be callable, got {type(fn).__name__}")
        key = _key(dispatch_key or self.dispatch_key or "CompositeImplicitAutograd")
        operator = self._operator(op_name)
        if key == "meta":
            operator.fake = fn
        elif not key.startswith("Autograd"):
            operator.kernels[key] = fn
        elif fn is not fallthrough_kernel:
            operator.kernels["CompositeImplicitAutograd"] = fn

    def _register_fake(self, op_name: Any, fn: Callable, **options: Any) -> None:
        self._operator(op_name).fake = fn

    def fallback(self, fn: Callable, dispatch_key: str = "", *, with_keyset: bool = False) -> None:
        """Accepted: every operator has its own kernels here."""

    def _destroy(self) -> None:
        for name in self._defined:
            OPERATORS.pop(name, None)


@contextmanager
def _scoped_library(*args: Any, **kwargs: Any) -> Iterator[Library]:
    """A library whose operators are gone afterwards."""
    made = Library(*args, **kwargs)
    try:
        yield made
    finally:
        made._destroy()

"""The steps by which one entry of `module_db` is compared: constructor, repr, state, forward, gradients, both modes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import flambeau

from .compare import Differs, as_exact, relative_error, same, same_error, same_tensor, tensors
from .operators import Nothing, Step, seed
from .translate import Missing, OutOfScope, fresh, value

CHECKS = ("modules", "repr", "errors")
#: Their recorded random samples are float64, so that PyTorch itself takes no other input.
FLOAT64_ONLY = {"FractionalMaxPool2d", "FractionalMaxPool3d"}


def steps(entry: Any) -> Iterator[Step]:
    """All steps of an entry."""
    name = entry.module_cls.__name__
    for dtype in (torch.float64,) if name in FLOAT64_ONLY else (torch.float32, torch.float64):
        for training in (True, False):
            label = f"{str(dtype).removeprefix('torch.')} {'training' if training else 'evaluating'}"
            for i, one in enumerate(_inputs(entry, dtype, training)):
                yield "modules", f"{label} {i}", lambda o=one, d=dtype, t=training: same_module(entry, o, d, t)
                if training and dtype == torch.float64:
                    yield "repr", str(i), lambda o=one: same_repr(entry, o)
    if entry.module_error_inputs_func is not None:
        seed()
        bad = entry.module_error_inputs_func(
            entry, device="cpu", dtype=torch.float64, requires_grad=False, training=True
        )
        for i, one in enumerate(bad):
            yield "errors", str(i), lambda o=one: refused(entry, o)


def _inputs(entry: Any, dtype: torch.dtype, training: bool) -> list[Any]:
    seed()
    make = entry.module_inputs_func
    return list(make(entry, device="cpu", dtype=dtype, requires_grad=True, training=training))


def _build(entry: Any, one: Any) -> tuple[Any, Any]:
    """PyTorch's module and flambeau's, from the same random numbers."""
    build = one.constructor_input
    ours = getattr(flambeau.nn, entry.module_cls.__name__, None)
    if ours is None:
        raise Missing(entry.module_cls.__name__)
    seed()
    theirs = entry.module_cls(*fresh(build.args), **fresh(build.kwargs))
    args, kwargs = ours_of(build.args), ours_of(build.kwargs)
    seed()
    return theirs, ours(*args, **kwargs)


def ours_of(x: Any) -> Any:
    """Arguments of a constructor as flambeau's; a module among them with the same state."""
    if isinstance(x, torch.nn.TransformerEncoderLayer):
        return _encoder_layer(x)
    if isinstance(x, (list, tuple)):
        return type(x)(ours_of(v) for v in x)
    if isinstance(x, dict):
        return {k: ours_of(v) for k, v in x.items()}
    return value(x)


def _encoder_layer(layer: Any) -> Any:
    attention = layer.self_attn
    made = flambeau.nn.TransformerEncoderLayer(
        attention.embed_dim, attention.num_heads, layer.linear1.out_features, layer.dropout.p, value(layer.activation),
        layer.norm1.eps, attention.batch_first, layer.norm_first, layer.linear1.bias is not None,
        dtype=value(layer.linear1.weight.dtype),
    )  # fmt: skip
    made.load_state_dict({k: value(v) for k, v in layer.state_dict().items()})
    return made


def same_repr(entry: Any, one: Any) -> None:
    """The text that the module prints."""
    theirs, ours = _build(entry, one)
    if repr(ours) != repr(theirs):
        raise Differs(f"repr: {ours!r}, PyTorch's {theirs!r}")


def same_module(entry: Any, one: Any, dtype: torch.dtype, training: bool) -> None:
    """Results, gradients of inputs and parameters, and state after the step."""
    theirs, ours = _build(entry, one)
    theirs.to(dtype).train(training)
    ours.to(value(dtype)).train(training)
    call = one.forward_input
    args, kwargs, mine, named = fresh(call.args), fresh(call.kwargs), ours_of(call.args), ours_of(call.kwargs)
    seed()
    expected = theirs(*args, **kwargs)
    seed()
    got = ours(*mine, **named)
    same(expected, got, "output")
    _backward(tensors(expected))
    _backward(tensors(got))
    for e, a in zip(tensors([args, kwargs]), tensors([mine, named]), strict=True):
        try:
            _same_grad(e.grad, a.grad, "gradient of an input")
        except Differs:
            if dtype != torch.float32 or not _as_near(entry, one, training, tensors([args, kwargs]), [mine, named]):
                raise
    mine_of = dict(ours.named_parameters())
    if list(mine_of) != [name for name, _ in theirs.named_parameters()]:
        raise Differs(f"parameters {list(mine_of)}")
    for name, p in theirs.named_parameters():
        _same_grad(p.grad, mine_of[name].grad, f"gradient of {name}")
    _same_state(theirs.state_dict(), ours.state_dict())


def _as_near(entry: Any, one: Any, training: bool, theirs: list[Any], ours: Any) -> bool:
    """Whether float32 gradients of the inputs are as near to those in double precision as PyTorch's are."""
    exact, _ = _build(entry, one)
    exact.to(torch.float64).train(training)
    call = one.forward_input
    args, kwargs = (_wider(x) for x in (fresh(call.args), fresh(call.kwargs)))
    seed()
    _backward(tensors(exact(*args, **kwargs)))
    triples = zip(theirs, tensors(ours), tensors([args, kwargs]), strict=True)
    found = [(e.grad, a.grad, x.grad) for e, a, x in triples if e.grad is not None]
    near = as_exact([e for e, _, _ in found], [a for _, a, _ in found], lambda: [x for _, _, x in found])
    return near and all(relative_error(e, x) < 0.01 for e, _, x in found)


def _wider(x: Any) -> Any:
    """The same in double precision, as new leaves."""
    if isinstance(x, torch.Tensor):
        return x.detach().double().requires_grad_(x.requires_grad) if x.is_floating_point() else x
    if isinstance(x, (list, tuple)):
        return type(x)(_wider(v) for v in x)
    return {k: _wider(v) for k, v in x.items()} if isinstance(x, dict) else x


def _same_grad(theirs: Any, ours: Any, what: str) -> None:
    if (theirs is None) != (ours is None):
        raise Differs(f"{what}: {'None' if ours is None else 'not None'}")
    if theirs is not None:
        same_tensor(theirs, ours, what, 10)


def _same_state(theirs: Any, ours: Any) -> None:
    if list(ours) != list(theirs) or dict(ours._metadata) != dict(theirs._metadata):
        raise Differs(f"state: {list(ours)}, PyTorch's {list(theirs)}")
    for name, stored in theirs.items():
        same(stored, ours[name], f"state {name}", 10)


def _backward(outputs: list[Any]) -> None:
    """Backward from all outputs, weighted so that no gradient is constant."""
    total: Any = None
    for i, y in enumerate(outputs):
        if not y.requires_grad:
            continue
        lib = torch if isinstance(y, torch.Tensor) else flambeau
        y = y.reshape(-1)
        weights = np.cos(np.arange(y.numel()) + i).astype(y.detach().numpy().dtype)
        part = (y * lib.from_numpy(weights)).sum()
        total = part if total is None else total + part
    if total is not None:
        total.backward()


def refused(entry: Any, bad: Any) -> None:
    """A constructor or a call that PyTorch refuses, by the class of its exception."""
    raised = []
    for lib in (torch, flambeau):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                _provoke(lib, entry, bad.module_error_input)
        except (Missing, OutOfScope):
            raise
        except Exception as error:
            raised.append(error)
        else:
            raised.append(None)
    if raised[0] is None:
        raise Nothing
    same_error(raised[0], raised[1])


def _provoke(lib: Any, entry: Any, one: Any) -> None:
    take = fresh if lib is torch else ours_of
    build, call = one.constructor_input, one.forward_input
    made = getattr(lib.nn, entry.module_cls.__name__)(*take(build.args), **take(build.kwargs))
    if call is not None:
        made.to(take(torch.float64))
        made(*take(call.args), **take(call.kwargs))

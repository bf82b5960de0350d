"""The steps by which one entry of `op_db` is compared. A step returns, or raises what is wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, ReductionOpInfo, SampleInput, UnaryUfuncInfo

import flambeau

from . import edges, scope
from .compare import (
    Differs,
    array,
    as_exact,
    flat,
    same,
    same_each,
    same_error,
    same_form,
    same_gradients,
    same_tensor,
    tensors,
)
from .translate import Missing, OutOfScope, fresh, function, resolve, to_array, value

SEED = 2468


class Nothing(Exception):
    """PyTorch itself has nothing to compare with here."""


def seed() -> None:
    """The same state of both generators, and of the ones that the databases use."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    flambeau.manual_seed(SEED)


def ours_of(entry: Any) -> Callable:
    """flambeau's function for an entry."""
    try:
        if resolve(torch, entry.name) is entry.op:
            return resolve(flambeau, entry.name)
    except AttributeError:
        pass
    return function(entry.op)


class Case:
    """One sample, made anew for each library whenever it is asked for: operators may write to their operands."""

    def __init__(self, sample: Any) -> None:
        self.sample = sample

    def theirs(self) -> tuple[Any, ...]:
        s = self.sample
        return fresh((s.input, *s.args)), fresh(s.kwargs)

    def ours(self) -> tuple[Any, ...]:
        s = self.sample
        return value((s.input, *s.args)), value(s.kwargs)


def _their_result(call: Callable, args: Any, kwargs: Any) -> Any:
    """PyTorch's result, with its generator at the start."""
    seed()
    try:
        return call(*args, **kwargs)
    except Exception as error:
        raise Nothing(str(error)) from None


def _plain(sample: Any) -> Any:
    """The sample, none of whose tensors needs a gradient."""
    return sample.transform(lambda t: t.detach() if isinstance(t, torch.Tensor) else t)


def values(entry: Any, sample: Any) -> None:
    """Results, their shapes and dtypes."""
    case = Case(_plain(sample))
    args, kwargs = case.theirs()
    theirs = _their_result(entry.op, args, kwargs)
    mine, named = case.ours()
    seed()
    ours = ours_of(entry)(*mine, **named)
    try:
        compare_results(entry, sample, theirs, ours)
    except Differs:
        if not as_exact(theirs, ours, lambda: _exact(entry, sample)):
            raise


#: What single precision and less is computed in to see whose result is the nearer one.
WIDER = {
    torch.bfloat16: torch.float64, torch.float16: torch.float64, torch.float32: torch.float64,
    torch.complex64: torch.complex128,
}  # fmt: skip


def _exact(entry: Any, sample: Any) -> Any:
    """PyTorch's result in double precision on the same numbers."""

    def wider(x: Any) -> Any:
        if isinstance(x, torch.Tensor):
            return x.detach().to(WIDER.get(x.dtype, x.dtype))
        return WIDER.get(x, x) if isinstance(x, torch.dtype) else x

    s = sample.transform(wider)
    return _their_result(entry.op, fresh((s.input, *s.args)), fresh(s.kwargs))


def compare_results(entry: Any, sample: Any, theirs: Any, ours: Any) -> None:
    """Raises `Differs` unless they agree, as far as they are defined at all."""
    if entry.name in scope.UNWRITTEN or entry.name in scope.FREE_SIGNS:
        a, b = tensors(theirs), tensors(ours)
        if len(a) != len(b):
            raise Differs(f"{len(b)} results, PyTorch has {len(a)}")
        for x, y in zip(a, b, strict=True):
            same_form(x, y, "result")
        if entry.name in scope.FREE_SIGNS:
            fix = sample.output_process_fn_grad
            same(fix(theirs), function(fix)(ours), "result")
    elif entry.name in scope.TIES and not sample.kwargs.get("stable"):
        same_among_equals(entry.name, sample, tensors(theirs), tensors(ours))
    else:
        same(theirs, ours, "result")


def same_among_equals(name: str, sample: Any, theirs: list[Any], ours: list[Any]) -> None:
    """Values agree, and so do those at the places named: which of equal elements that is, PyTorch leaves open."""
    a = to_array(sample.input)
    places = [array(theirs[-1]), array(ours[-1])]
    same(theirs[:-1], ours[:-1], "values")
    same_form(theirs[-1], ours[-1], "places")
    if a.ndim == 0 or not a.size:
        return
    given = [x for x in sample.args if isinstance(x, int)]
    dim = sample.kwargs.get("dim", given[scope.TIES[name]] if len(given) > scope.TIES[name] else -1)
    if places[0].ndim < a.ndim:
        places = [np.expand_dims(p, dim) for p in places]
    there, here = (np.take_along_axis(a, p, dim) for p in places)
    if not np.array_equal(there, here, equal_nan=a.dtype.kind in "fc"):
        raise Differs("places: they name other elements than PyTorch's")
    if (np.diff(np.sort(places[1], dim), axis=dim) == 0).any():
        raise Differs("places: one is named twice")


def written_out(entry: Any, sample: Any) -> None:
    """The results written to `out=`, which is what comes back."""
    case = Case(_plain(sample))
    args, kwargs = case.theirs()
    like = _their_result(entry.op, args, kwargs)
    kinds = tensors(like)
    if len(kinds) != len(flat(like)):
        raise Nothing
    single = isinstance(like, torch.Tensor)
    theirs = [torch.full_like(t, 0).contiguous() for t in kinds]
    ours = [flambeau.zeros(tuple(t.shape), dtype=value(t.dtype)) for t in kinds]
    args, kwargs = case.theirs()
    back = _their_result(entry.op, args, {**kwargs, "out": theirs[0] if single else tuple(theirs)})
    for x, y in zip(theirs, kinds, strict=True):
        if entry.name not in scope.UNWRITTEN | scope.FREE_SIGNS and not torch.allclose(x, y, 1e-6, 0, equal_nan=True):
            raise Nothing("PyTorch writes something else to out=")
    mine, named = case.ours()
    seed()
    result = ours_of(entry)(*mine, **named, out=ours[0] if single else tuple(ours))
    if len(tensors(result)) != len(tensors(back)) or any(a is not b for a, b in zip(tensors(result), ours)):
        raise Differs("out=: what comes back is not what was given")
    compare_results(entry, sample, theirs[0] if single else tuple(theirs), ours[0] if single else tuple(ours))


def variant(entry: Any, call: Callable, sample: Any, in_place: bool = False) -> None:
    """Another way to call the operator: a method, in place, an operator sign, an alias."""
    case = Case(_plain(sample))
    args, kwargs = case.theirs()
    theirs = _their_result(call, args, kwargs)
    mine, named = case.ours()
    ours = function(call)
    seed()
    result = ours(*mine, **named)
    if in_place and result is not mine[0]:
        raise Differs("in place: what comes back is not the operand")
    compare_results(entry, sample, theirs, result)


def gradients(entry: Any, sample: Any, order: int, strict: bool = False) -> None:
    """Gradients of all results for all operands; with `order` 2, of those gradients for the operands again.

    `strict` holds each element against its own size, and compares the results too: where some are infinite or all but
    zero, the largest of them says nothing of the others.
    """
    case = Case(sample)
    (args, kwargs), (mine, named) = case.theirs(), case.ours()
    fix = sample.output_process_fn_grad
    wrapper = entry.gradcheck_wrapper
    theirs = tensors(fix(_their_result(wrapper, (entry.op, *args), kwargs)))
    if not any(t.requires_grad for t in theirs):
        raise Nothing("no result needs a gradient")
    seed()
    ours = tensors(function(fix)(function(wrapper)(ours_of(entry), *mine, **named)))
    if strict and len(theirs) == len(ours) and entry.name not in scope.GRADIENTS_ONLY:
        for x, y in zip(theirs, ours, strict=True):
            same_each(x, y, "result")
    _compare_gradients(theirs, ours, tensors([args, kwargs]), tensors([mine, named]), order, strict)


def at_edge(entry: Any, sample: Any) -> None:
    """Gradients, each element held against its own size; in single precision those of PyTorch in double will do."""
    try:
        gradients(entry, sample, 1, True)
    except Differs:
        if not any(t.dtype == torch.float32 for t in tensors([sample.input, sample.args, sample.kwargs])):
            raise
        try:
            _exact_gradients(entry, sample)
        except Nothing:
            pass
        else:
            return
        raise


def _exact_gradients(entry: Any, sample: Any) -> None:
    def wider(x: Any) -> Any:
        if isinstance(x, torch.Tensor) and x.dtype == torch.float32:
            return x.detach().double().requires_grad_(x.requires_grad)
        return torch.float64 if x is torch.float32 else x

    fix, wrapper = sample.output_process_fn_grad, entry.gradcheck_wrapper
    args, kwargs = Case(sample.transform(wider)).theirs()
    theirs = tensors(fix(_their_result(wrapper, (entry.op, *args), kwargs)))
    mine, named = Case(sample).ours()
    seed()
    ours = tensors(function(fix)(function(wrapper)(ours_of(entry), *mine, **named)))
    theirs, ours = [t for t in theirs if t.requires_grad], [t for t in ours if t.requires_grad]
    leaves = [[t for t in tensors(x) if t.requires_grad] for x in ([args, kwargs], [mine, named])]
    g, h = _cotangents([t.float() for t in theirs], False)
    exact = _their_gradients(theirs, leaves[0], [c.double() for c in g], False)
    have = flambeau.autograd.grad(ours, leaves[1], h, allow_unused=True)
    same_gradients([x if x is None else x.float() for x in exact], have, "gradient of operand", compare=same_each)


def _cotangents(results: list[Any], leaf: bool) -> tuple[list[Any], list[Any]]:
    """The same random numbers for both libraries, shaped like the results."""
    rng = np.random.default_rng(SEED)
    theirs, ours = [], []
    for t in results:
        a = rng.uniform(0.2, 1.0, tuple(t.shape)) * rng.choice([-1.0, 1.0], tuple(t.shape))
        if t.is_complex():
            a = a + 1j * rng.uniform(-1, 1, tuple(t.shape))
        made = torch.from_numpy(np.asarray(a)).to(t.dtype).requires_grad_(leaf)
        theirs.append(made)
        ours.append(value(made.detach()).requires_grad_(leaf))
    return theirs, ours


def _compare_gradients(
    theirs: list[Any], ours: list[Any], args: list[Any], mine: list[Any], order: int, strict: bool
) -> None:
    if len(theirs) != len(ours):
        raise Differs(f"{len(ours)} results, PyTorch has {len(theirs)}")
    pairs = [(x, y) for x, y in zip(theirs, ours, strict=True) if x.requires_grad]
    if not any(y.requires_grad for x, y in pairs if x.numel()) and any(x.numel() for x, _ in pairs):
        raise Differs("no result has a gradient")
    leaves = [(x, y) for x, y in zip(args, mine, strict=True) if x.requires_grad]
    theirs, ours = [x for x, _ in pairs], [y for _, y in pairs]
    args, mine = [x for x, _ in leaves], [y for _, y in leaves]
    g, h = _cotangents(theirs, order > 1)
    first = _their_gradients(theirs, args, g, order > 1)
    linked = [(y, c) for y, c in zip(ours, h, strict=True) if y.requires_grad]  # the others' gradients are zero
    have: Any = [None] * len(mine)
    if linked:
        given = [c for _, c in linked]
        have = flambeau.autograd.grad([y for y, _ in linked], mine, given, create_graph=order > 1, allow_unused=True)
    if order == 1:
        return same_gradients(first, have, "gradient of operand", compare=same_each if strict else same_tensor)
    both = [(x, y) for x, y in zip(first, have, strict=True) if x is not None and x.requires_grad]
    if not both:
        raise Nothing("no gradient needs a gradient")
    w, v = _cotangents([x for x, _ in both], False)
    second = _their_gradients([x for x, _ in both], args + g, w, False)
    linked = [(y, c) for (_, y), c in zip(both, v, strict=True) if y is not None and y.requires_grad]
    again: Any = [None] * len(second)
    if linked:  # a gradient that needs none has second gradients of zero
        again = flambeau.autograd.grad([y for y, _ in linked], mine + h, [c for _, c in linked], allow_unused=True)
    return same_gradients(second, again, "second gradient of operand", 100.0)


def _their_gradients(results: list[Any], leaves: list[Any], g: list[Any], record: bool) -> Any:
    try:
        return torch.autograd.grad(results, leaves, g, create_graph=record, allow_unused=True)
    except (RuntimeError, NotImplementedError) as error:
        raise Nothing(str(error)) from None


def refused(entry: Any, bad: Any) -> None:
    """Input that PyTorch refuses, by the class of its exception."""
    case = Case(bad.sample_input)
    args, kwargs = case.theirs()
    seed()
    try:
        entry.op(*args, **kwargs)
    except Exception as error:
        theirs = error
    else:
        raise Nothing
    ours = None
    mine, named = case.ours()
    call = ours_of(entry)
    try:
        seed()
        call(*mine, **named)
    except (Missing, OutOfScope):
        raise
    except Exception as error:
        ours = error
    same_error(theirs, ours)


def _samples(entry: Any, dtype: torch.dtype, grad: bool) -> list[Any]:
    seed()
    try:
        return list(entry.sample_inputs("cpu", dtype, requires_grad=grad))
    except Exception:
        return []


Step = tuple[str, str, Callable[[], None]]


def steps(entry: Any) -> Iterator[Step]:
    """All steps of an entry: which check it counts for, its name, and what to run."""
    dtypes = entry.supported_dtypes("cpu")
    wide = torch.float64 if torch.float64 in dtypes else next(iter(sorted(dtypes, key=str)), None)
    for dtype in [torch.float64, torch.float32, *scope.OTHERS]:
        if dtype not in dtypes:
            continue
        name = str(dtype).removeprefix("torch.")
        for i, sample in scope.thin(_samples(entry, dtype, False), scope.MOST.get(name, scope.MOST["others"])):
            yield "values", f"{name} {i}", lambda s=sample: values(entry, s)
    if wide is not None:
        yield from _variant_steps(entry, _samples(entry, wide, False))
        yield from _layout_steps(entry, wide)
    yield from _gradient_steps(entry)
    yield from _error_steps(entry)


def _variant_steps(entry: Any, samples: list[Any]) -> Iterator[Step]:
    chosen = scope.thin(samples, scope.MOST["variants"])
    ways: list[tuple[str, Any, bool]] = [
        ("method", entry.get_method(), False),
        ("in place", entry.get_inplace(), True),
        ("operator", entry.get_operator(), False),
        ("operator in place", entry.get_inplace_operator(), True),
    ]
    for alias in entry.aliases:
        ways += [(f"alias {alias.name}", alias.op, False), (f"alias method {alias.name}", alias.method_variant, False)]
    for name, call, in_place in ways:
        for i, sample in chosen if call is not None else ():
            if not (in_place and sample.broadcasts_input) and not (name.startswith("alias") and i):
                yield "variants", f"{name} {i}", lambda s=sample, c=call, p=in_place: variant(entry, c, s, p)
    if entry.supports_out:
        for i, sample in chosen:
            yield "variants", f"out= {i}", lambda s=sample: written_out(entry, s)


def _empty(entry: Any, dtype: torch.dtype) -> Iterator[Any]:
    """Operands without elements, for the families whose operands may have any shape."""
    shapes = ((0,), (2, 0, 3))
    for shape in shapes:
        a = torch.zeros(shape, dtype=dtype)
        if isinstance(entry, BinaryUfuncInfo):
            yield SampleInput(a, args=(a.clone(),))
            yield SampleInput(a, args=(torch.ones((), dtype=dtype),))
        elif isinstance(entry, UnaryUfuncInfo):
            yield SampleInput(a)
        elif isinstance(entry, ReductionOpInfo):
            yield SampleInput(a)
            yield SampleInput(a, kwargs={"dim": -1, "keepdim": True})


def _layout_steps(entry: Any, dtype: torch.dtype) -> Iterator[Step]:
    for i, sample in scope.thin(_samples(entry, dtype, False), scope.MOST["layouts"]):
        yield "layouts", f"strided {i}", lambda s=sample: values(entry, s.noncontiguous())
    for i, sample in enumerate(_empty(entry, dtype)):
        yield "layouts", f"empty {i}", lambda s=sample: values(entry, s)


def _gradient_steps(entry: Any) -> Iterator[Step]:
    if not entry.supports_autograd:
        return
    kinds = entry.supported_backward_dtypes("cpu")
    for dtype, most in ((torch.float64, None), (torch.complex128, scope.MOST["complex gradients"])):
        if dtype not in kinds:
            continue
        name = str(dtype).removeprefix("torch.")
        for i, sample in scope.thin(_samples(entry, dtype, True), most):
            yield "gradients", f"{name} {i}", lambda s=sample: gradients(entry, s, 1)
            if entry.supports_gradgrad:
                yield "second", f"{name} {i}", lambda s=sample: gradients(entry, s, 2)
        if dtype == torch.float64:
            for label, sample in edges.samples(entry, lambda kind: _samples(entry, kind, True)):
                yield "edges", label, lambda s=sample: at_edge(entry, s)
            for i, sample in scope.thin(_samples(entry, dtype, True), scope.MOST["layouts"]):
                yield "gradients", f"strided {i}", lambda s=sample: gradients(entry, s.noncontiguous(), 1)


def _error_steps(entry: Any) -> Iterator[Step]:
    if entry.error_inputs_func is None:
        return
    seed()
    try:
        inputs = list(entry.error_inputs("cpu"))
    except Exception:
        return
    for i, bad in enumerate(inputs):
        yield "errors", str(i), lambda b=bad: refused(entry, b)

"""User-defined `Function`s at levels: their own `vmap` and `jvp`, or a batch made of their forward and backward."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.autograd.function import BackwardFunction, Function, FunctionCtx, finish
from flambeau.autograd.runtime import NS, no_grad, thread
from flambeau.func.batched import batched, open_up, whole
from flambeau.func.dual import Dual, dual, parts, zeros_of
from flambeau.func.levels import Level, alias, belongs, below, highest
from flambeau.tensor.tensor import Tensor


class VmapInfo(NamedTuple):
    """What `Function.vmap` is told about the batch."""

    batch_size: int
    randomness: str


def _two_part(cls: Any) -> bool:
    return cls.setup_context is not Function.setup_context


def apply(cls: Any, args: tuple) -> Any:
    """`Function.apply` where some argument belongs to a level; NotImplemented where none does."""
    top = highest([a for a in args if isinstance(a, Tensor)])
    if top is None:
        return NotImplemented
    recorded = thread.grad and any(isinstance(a, Tensor) and a._node is not None and belongs(a, top) for a in args)
    plain = tuple(alias(a) if isinstance(a, Tensor) and a._level is top else a for a in args)
    if top.kind == "vmap":
        result = _batch(cls, plain, top)
    else:
        result = _forward_mode(cls, plain, top)
    if not recorded:
        return result
    return _record(cls, args, result, top)


def _record(cls: Any, args: tuple, result: Any, top: Level) -> Any:
    """Joins the outputs to the tape of level `top`."""
    ctx = cls._backward_cls()
    ctx.needs_input_grad = tuple(isinstance(a, Tensor) and a._node is not None and belongs(a, top) for a in args)
    with no_grad():
        if _two_part(cls):
            cls.setup_context(ctx, args, result)
        else:
            result = _again(result, cls.forward(ctx, *args))
    many = isinstance(result, tuple)
    outputs = [
        NS["LIFT"](t, top) if isinstance(t, Tensor) and t._level is not top else t
        for t in (result if many else (result,))
    ]
    own = tuple(a if not isinstance(a, Tensor) or belongs(a, top) else alias(a) for a in args)
    finish(ctx, own, outputs, True)
    return tuple(outputs) if many else outputs[0]


def _again(first: Any, second: Any) -> Any:
    """The outputs of a second run of forward, which kept what backward needs, with the tangents of the first."""
    pairs = zip(first, second, strict=True) if isinstance(first, tuple) else [(first, second)]
    for old, new in pairs:
        if isinstance(old, Dual) and isinstance(new, Dual):
            new._tangent = old._tangent
    return second


# --- batches ---------------------------------------------------------------------------------------------------------


def _batch(cls: Any, args: tuple, level: Level) -> Any:
    custom = cls.vmap is not Function.vmap
    if custom and cls.generate_vmap_rule:
        raise RuntimeError(f"{cls.__name__} has generate_vmap_rule=True and a vmap of its own; only one can serve")
    if not _two_part(cls):
        raise RuntimeError(
            f"{cls.__name__}: under vmap a Function's forward takes no ctx; move what needs one into the static "
            "method setup_context(ctx, inputs, output)"
        )
    if not custom and not cls.generate_vmap_rule:
        raise RuntimeError(
            f"{cls.__name__} can't be batched: give it a static method vmap(info, in_dims, *args), or set "
            "generate_vmap_rule = True to have the batch made of its forward and backward"
        )
    inner, dims = [], []
    for a in args:
        value, is_batched = open_up(a, level) if isinstance(a, Tensor) else (a, False)
        inner.append(value)
        dims.append(0 if is_batched else None)
    with below(level):
        if custom:
            outputs, out_dims = cls.vmap(VmapInfo(level.size, level.randomness), tuple(dims), *inner)
        else:
            derived = _batched_class(cls, level, tuple(dims))
            outputs = derived.apply(*inner)
            out_dims = derived.out_dims if isinstance(outputs, tuple) else derived.out_dims[0]
        many = isinstance(outputs, tuple)
        values = outputs if many else (outputs,)
        places = out_dims if isinstance(out_dims, tuple) else (out_dims,) * len(values)
        moved = [t if d in (0, None) else t.movedim(d, 0) for t, d in zip(values, places, strict=True)]
    wrapped = tuple(
        batched(level, t, d is not None) if isinstance(t, Tensor) else t for t, d in zip(moved, places, strict=True)
    )
    return wrapped if many else wrapped[0]


class _Ctx(FunctionCtx):
    """The context that a function sees inside its batch."""

    def __init__(self, needs: tuple) -> None:
        self.to_save: tuple = ()
        self.saved_for_forward: tuple = ()
        self.needs_input_grad = needs

    @property
    def saved_tensors(self) -> tuple:
        """What was saved for backward."""
        return self.to_save


def _opened(values: Any, level: Level) -> tuple[list[Any], tuple[Any, ...]]:
    """The insides of a level's tensors, and their batch dimensions."""
    pairs = [open_up(t, level) if isinstance(t, Tensor) else (t, False) for t in values]
    return [t for t, _ in pairs], tuple(0 if b else None for _, b in pairs)


def _closed(values: Any, dims: Any, level: Level) -> list[Any]:
    return [batched(level, t) if d == 0 and t is not None else t for t, d in zip(values, dims, strict=True)]


def _batched_class(cls: Any, outer: Level, in_dims: tuple) -> Any:
    """A Function over whole batches that runs `cls` under vmap, forward, backward and in forward mode."""

    def level() -> Level:
        return Level("vmap", outer.size, outer.randomness)

    class Batch(Function):
        out_dims: tuple = ()
        generate_vmap_rule = True

        @staticmethod
        def forward(*args: Any) -> Any:
            with level() as own:
                result = cls.forward(*_closed(args, in_dims, own))
                many = isinstance(result, tuple)
                found, Batch.out_dims = _opened(result if many else (result,), own)
            return tuple(found) if many else found[0]

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
            ctx.inside = _Ctx(ctx.needs_input_grad)
            many = isinstance(output, tuple)
            with level() as own:
                values = _closed(output if many else (output,), Batch.out_dims, own)
                wrapped = tuple(_closed(inputs, in_dims, own))
                cls.setup_context(ctx.inside, wrapped, tuple(values) if many else values[0])
                saved, ctx.saved_dims = _opened(ctx.inside.to_save, own)
                forward, ctx.forward_dims = _opened(ctx.inside.saved_for_forward, own)
            ctx.save_for_backward(*saved)
            ctx.save_for_forward(*forward)
            ctx.out_dims = Batch.out_dims
            ctx.inside.to_save = ctx.inside.saved_for_forward = ()
            ctx.set_materialize_grads(ctx.inside.__dict__.get("materialize_grads", True))
            ctx.mark_non_differentiable(*_marked(ctx.inside, output if many else (output,)))

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            user = cls.vjp if cls.vjp is not Function.vjp else cls.backward
            with level() as own:
                ctx.inside.to_save = tuple(_closed(ctx.saved_tensors, ctx.saved_dims, own))
                dims = [None if g is None else d for g, d in zip(grads, ctx.out_dims, strict=True)]
                result = user(ctx.inside, *_closed(grads, dims, own))
                found, got = _opened(result if isinstance(result, tuple) else (result,), own)
                ctx.inside.to_save = ()
            return tuple(_reduced(g, b, want, outer.size) for g, b, want in zip(found, got, in_dims, strict=False))

        @staticmethod
        def jvp(ctx: Any, *tangents: Any) -> Any:
            with level() as own:
                ctx.inside.to_save = tuple(_closed(ctx.saved_tensors, ctx.forward_dims, own))
                result = cls.jvp(ctx.inside, *_closed(tangents, in_dims, own))
                many = isinstance(result, tuple)
                found, got = _opened(result if many else (result,), own)
                ctx.inside.to_save = ()
            full = tuple(
                t if t is None or d is None else whole(t, b == 0, outer.size)
                for t, b, d in zip(found, got, ctx.out_dims, strict=True)
            )
            return full if many else full[0]

    Batch.__name__ = cls.__name__
    return Batch


def _marked(ctx: Any, outputs: tuple) -> list[Any]:
    """The outputs below that belong to those which the function has marked as not differentiable."""
    insides = [t.inside() for t in getattr(ctx, "non_differentiable", ())]
    return [out for out in outputs if any(out is t for t in insides)]


def _reduced(g: Any, got: Any, want: Any, n: int) -> Any:
    """A gradient for an argument: summed over the batch where the argument has none."""
    if g is None or not isinstance(g, Tensor):
        return g
    if want is None:
        return NS["OPS"].sum(g, (0,)) if got == 0 else NS["OPS"].mul(g, n)
    return whole(g, got == 0, n)


# --- forward mode ----------------------------------------------------------------------------------------------------


class _ForwardCtx:
    """A function's context as its `jvp` sees it: `saved_tensors` are those saved for forward mode."""

    def __init__(self, ctx: Any) -> None:
        self.__dict__["_ctx"] = ctx

    @property
    def saved_tensors(self) -> tuple:
        """What `save_for_forward` got, or else what `save_for_backward` got."""
        return self._ctx.saved_for_forward or self._ctx.saved_tensors

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._ctx, name, value)


def _forward_mode(cls: Any, args: tuple, level: Level) -> Any:
    primals: list[Any] = []
    tangents: list[Any] = []
    for a in args:
        p, t = parts(a, level) if isinstance(a, Tensor) else (a, None)
        primals.append(p)
        tangents.append(t)
    ctx, result = _with_ctx(cls, tuple(primals), level)
    if all(t is None for t in tangents):
        return result
    many = isinstance(result, tuple)
    outputs = result if many else (result,)
    if ctx.materialize_grads:
        tangents = [
            zeros_of(p) if t is None and isinstance(p, Tensor) and p._a.dtype.kind in "fcV" else t
            for p, t in zip(primals, tangents, strict=True)
        ]
    moved = cls.jvp(_ForwardCtx(ctx), *tangents)
    moved = moved if isinstance(moved, tuple) else (moved,)
    if len(moved) != len(outputs):
        raise RuntimeError(
            f"{cls.__name__}: jvp must return one tangent per output of forward: expected {len(outputs)}, got "
            f"{len(moved)}"
        )
    wrapped = []
    fixed = [id(t) for t in ctx.non_differentiable]
    for out, t in zip(outputs, moved, strict=True):
        if t is None or not isinstance(out, Tensor) or id(out) in fixed:
            wrapped.append(out)
            continue
        if t._a.shape != out._a.shape:
            raise RuntimeError(
                f"{cls.__name__}: jvp returned a tangent of shape {list(t._a.shape)} for an output of shape "
                f"{list(out._a.shape)}"
            )
        wrapped.append(dual(level, out, t))
    return tuple(wrapped) if many else wrapped[0]


def _with_ctx(cls: Any, primals: tuple, level: Level) -> tuple[Any, Any]:
    """A call below, and a context of it."""
    if _two_part(cls):
        result = cls.apply(*primals)
        ctx: BackwardFunction = cls._backward_cls()
        ctx.needs_input_grad = tuple(isinstance(p, Tensor) for p in primals)
        with no_grad():
            cls.setup_context(ctx, primals, result)
        return ctx, result
    if not level.one_tape or highest([p for p in primals if isinstance(p, Tensor)]) is not None:
        raise RuntimeError(
            f"{cls.__name__}: inside nested transforms a Function's forward takes no ctx; move what needs one into "
            "the static method setup_context(ctx, inputs, output)"
        )
    return cls._applied(primals)


NS["LAYERED_FUNCTION"] = apply

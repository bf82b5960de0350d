"""`torch.utils.checkpoint`: parts of a network that keep nothing for backward and are computed again there.

Without reentry (the recommended way) the forward pass hands what it would keep to hooks, which keep a place in line
instead; the first one asked for in a backward pass runs the function again and fills them all. With reentry the part is
one node that runs a backward pass of its own. Chen et al., "Training deep nets with sublinear memory cost" (2016).
"""

from __future__ import annotations

import contextlib
import enum
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from flambeau import random
from flambeau.autograd.api import backward as _backward
from flambeau.autograd.function import Function
from flambeau.autograd.graph import saved_tensors_hooks
from flambeau.autograd.runtime import NS, enable_grad, is_grad_enabled, no_grad, thread, watch
from flambeau.ops.aten import overload
from flambeau.ops.autocast import as_then, snapshot
from flambeau.ops.dispatch import general, modes
from flambeau.tensor.tensor import Tensor

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "CheckpointPolicy",
    "DefaultDeviceType",
    "SelectiveCheckpointContext",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "create_selective_checkpoint_contexts",
    "detach_variable",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
    "set_device_states",
]

_CHECKS: dict[str, Callable[[Any], Any]] = {
    "default": lambda t: {"shape": t.shape, "dtype": t.dtype, "device": t.device},
    "none": lambda t: None,
}
_early_stop: bool | None = None
_debug: bool | None = None


class CheckpointError(RuntimeError):
    """What was computed again is not what was computed first."""


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Inside, checkpoints stop computing again as soon as everything needed is there, or not."""
    global _early_stop
    before, _early_stop = _early_stop, enable
    try:
        yield
    finally:
        _early_stop = before


@contextlib.contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Inside, checkpoints name the operations of both runs in a `CheckpointError`, or not."""
    global _debug
    before, _debug = _debug, enabled
    try:
        yield
    finally:
        _debug = before


def noop_context_fn() -> tuple[Any, Any]:
    """Contexts that do nothing, for the forward pass and for the second run."""
    return contextlib.nullcontext(), contextlib.nullcontext()


class _Surroundings:
    """The random state and the autocasting of the first run, for the second one."""

    def __init__(self, preserve_rng_state: bool) -> None:
        self.state = random.get_rng_state() if preserve_rng_state else None
        self.autocast = snapshot()

    @contextlib.contextmanager
    def again(self) -> Iterator[None]:
        with random.fork_rng(enabled=self.state is not None), as_then(self.autocast), enable_grad():
            if self.state is not None:
                random.set_rng_state(self.state)
            yield


def checkpoint(
    function: Callable,
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """`function(*args, **kwargs)`, whose intermediate results are not kept for backward but computed again there.

    Args:
        use_reentrant: False is better: it supports keyword arguments, `autograd.grad`, nested structures, several
            backward passes. Pass it; None warns and stands for True.
        preserve_rng_state: draw the same random numbers again (the default).
        context_fn: two contexts, for the first and the second run; see `create_selective_checkpoint_contexts`.
        determinism_check: ``"default"`` compares shapes and dtypes of both runs, ``"none"`` does not.
        debug: name the operations of both runs in a `CheckpointError`.
        early_stop: end the second run as soon as everything needed is there.

    Raises:
        CheckpointError: the second run saves other tensors than the first. ValueError: options that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = torch.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin(), x, use_reentrant=False).sum().backward()
    >>> x.grad
    tensor([-2.4784, -2.4784])
    """
    if use_reentrant is None:
        warnings.warn("checkpoint(): pass use_reentrant; use_reentrant=False is recommended", stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if not use_reentrant:
        return _without_reentry(function, args, kwargs, preserve, context_fn, determinism_check, debug, early_stop)
    if kwargs:
        raise ValueError(f"checkpoint() with use_reentrant=True takes no keyword arguments, got {', '.join(kwargs)}")
    if context_fn is not noop_context_fn or debug:
        raise ValueError("checkpoint(): context_fn and debug need use_reentrant=False")
    return CheckpointFunction.apply(function, preserve, *args)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """A `Sequential`, or a list of functions, in `segments` parts of which all but the last are checkpoints."""
    if use_reentrant is None:
        warnings.warn("checkpoint_sequential(): pass use_reentrant; False is recommended", stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError(f"checkpoint_sequential() got unexpected keyword arguments: {', '.join(kwargs)}")
    steps = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(start: int, end: int) -> Callable:
        def forward(input: Any) -> Any:
            for step in steps[start:end]:
                input = step(input)
            return input

        return forward

    size = len(steps) // segments
    starts = range(0, size * (segments - 1), size) if size else range(0)
    for start in starts:
        input = checkpoint(run(start, start + size), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(len(starts) * size, len(steps))(input)


# --- without reentry ------------------------------------------------------------------------------------------------


class _Enough(Exception):
    """Ends a second run once all that is needed is there."""


class _Place:
    """Stands for a tensor that was not kept."""

    def __init__(self, index: int) -> None:
        self.index = index


class _Frame:
    """One checkpoint: what is needed to run it again, and what the run under way has brought."""

    def __init__(self, run: Callable[[], Any], describe: Callable[[Any], Any], early_stop: bool) -> None:
        self.run, self.describe, self.early_stop = run, describe, early_stop
        self.metas: list[Any] = []
        self.task: Any = None
        self.found: dict[int, Any] | None = None

    def keep(self, tensor: Any) -> _Place:
        self.metas.append(self.describe(tensor))
        return _Place(len(self.metas) - 1)

    def give(self, place: _Place) -> Any:
        task = thread.task
        if self.found is None or task is None or task is not self.task:
            self.fill()
            self.task = task
        found = self.found
        if found is None or place.index not in found:
            raise CheckpointError(
                "a checkpoint's saved tensor was asked for twice in one backward pass: read ctx.saved_tensors once"
            )
        value = found.pop(place.index)
        if not found:
            self.found = {}
        return value

    def fill(self) -> None:
        """Run the function again and collect what it would save."""
        brought: list[Any] = []

        def pack(tensor: Any) -> Any:
            brought.append(tensor.detach() if tensor.requires_grad else tensor)
            if len(brought) > len(self.metas):
                raise CheckpointError("the second run of a checkpoint saves more tensors than the first")
            if self.early_stop and len(brought) == len(self.metas):
                raise _Enough
            return tensor

        with contextlib.suppress(_Enough), saved_tensors_hooks(pack, lambda tensor: tensor):
            self.run()
        if len(brought) != len(self.metas):
            raise CheckpointError(
                f"the second run of a checkpoint saves {len(brought)} tensors, the first one saved {len(self.metas)}: "
                "it must do the same both times"
            )
        differ = [
            f"tensor {i}: {meta} at first, then {self.describe(tensor)}"
            for i, (meta, tensor) in enumerate(zip(self.metas, brought, strict=True))
            if meta != self.describe(tensor)
        ]
        if differ:
            raise CheckpointError("the second run of a checkpoint saves other tensors:\n" + "\n".join(differ))
        self.found = dict(enumerate(brought))


def _without_reentry(
    function: Callable,
    args: tuple,
    kwargs: dict[str, Any],
    preserve: bool,
    context_fn: Callable,
    determinism_check: str,
    debug: bool,
    early_stop: bool,
) -> Any:
    if determinism_check not in _CHECKS:
        raise ValueError(f"determinism_check must be one of {list(_CHECKS)}, got {determinism_check!r}")
    logs: list[list[str]] = []
    if debug if _debug is None else _debug:
        if context_fn is not noop_context_fn:
            raise ValueError("checkpoint(): debug=True excludes a context_fn of one's own")
        context_fn = lambda: (_Log(logs), _Log(logs))  # noqa: E731
    first, second = context_fn()
    surroundings = _Surroundings(preserve)
    if not is_grad_enabled():
        return function(*args, **kwargs)

    def run() -> None:
        with surroundings.again(), second:
            function(*args, **kwargs)

    frame = _Frame(run, _CHECKS[determinism_check], early_stop if _early_stop is None else _early_stop)
    give = frame.give if not logs and not isinstance(first, _Log) else _explained(frame, logs)
    NS["HOOKED"] = True  # backward passes must be told apart
    with saved_tensors_hooks(frame.keep, give), first:
        return function(*args, **kwargs)
    raise RuntimeError("checkpoint(): the forward context swallowed an exception, so there is no result")


class _Log:
    """A context that notes the names of operations."""

    def __init__(self, logs: list[list[str]]) -> None:
        self.logs = logs

    def __enter__(self) -> None:
        names: list[str] = []
        self.logs.append(names)

        def mode(op: Any, args: tuple) -> Any:
            names.append(op.name)
            return general(op, args)

        self.mode = mode
        modes.append(self.mode)
        watch(True)

    def __exit__(self, *exc: Any) -> None:
        modes.remove(self.mode)
        watch(False)


def _explained(frame: _Frame, logs: list[list[str]]) -> Callable:
    def give(place: _Place) -> Any:
        try:
            return frame.give(place)
        except CheckpointError as error:
            first, second = (", ".join(names) for names in (logs[0], logs[-1]))
            raise CheckpointError(f"{error}\nfirst run: {first}\nsecond run: {second}") from error

    return give


# --- with reentry ---------------------------------------------------------------------------------------------------


def detach_variable(inputs: Any) -> tuple:
    """Tensors cut from their history that need gradients as they did; other values as they are.

    RuntimeError unless they come in a tuple.
    """
    if not isinstance(inputs, tuple):
        raise RuntimeError(f"detach_variable() takes a tuple of tensors, got {type(inputs).__name__}")
    return tuple(t.detach().requires_grad_(t.requires_grad) if isinstance(t, Tensor) else t for t in inputs)


def check_backward_validity(inputs: Any) -> None:
    """Warn if no input needs a gradient: the checkpoint's parameters would then get none."""
    if not any(t.requires_grad for t in inputs if isinstance(t, Tensor)):
        warnings.warn("checkpoint(): no input requires a gradient, so there will be none", stacklevel=2)


class CheckpointFunction(Function):
    """The one node that a checkpoint with reentry is."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable, preserve_rng_state: bool, *args: Any) -> Any:  # type: ignore[override]
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state)
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*(args[i] for i in ctx.places))
        with no_grad():
            return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:  # type: ignore[override]
        task = thread.task
        if task is not None and task.inputs is not None:
            raise RuntimeError(
                "a checkpoint with use_reentrant=True works with backward() alone, not with autograd.grad() or "
                "inputs=: pass use_reentrant=False"
            )
        inputs = list(ctx.others)
        for i, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            inputs[i] = tensor
        detached = detach_variable(tuple(inputs))
        with ctx.surroundings.again():
            outputs = ctx.run_function(*detached)
        outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("no output of this checkpoint requires a gradient: it is of no use here")
        _backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *(t.grad if isinstance(t, Tensor) else None for t in detached))


# --- which operations to keep ---------------------------------------------------------------------------------------


class CheckpointPolicy(enum.Enum):
    """What becomes of an operation's result: kept, or computed again. Nothing is offloaded: MUST_CPU_OFFLOAD and
    PREFER_CPU_OFFLOAD keep."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


class SelectiveCheckpointContext:
    """What a policy is told: whether this is the second run, and the operation's result."""

    def __init__(self, *, is_recompute: bool, op_output: Any = None) -> None:
        self.is_recompute, self.op_output = is_recompute, op_output


_DROPPED, _USED = object(), object()


class _Kept:
    """What an operation computed, and how often its results had been written to."""

    def __init__(self, computed: Any, out: Any) -> None:
        self.computed = computed
        self.tensors = [t.detach() for t in (out if isinstance(out, tuple) else (out,)) if isinstance(t, Tensor)]
        self.versions = [t._version for t in self.tensors]

    def get(self, allow_mutation: bool) -> Any:
        if not allow_mutation and [t._version for t in self.tensors] != self.versions:
            raise RuntimeError("a tensor kept by selective checkpointing was modified in place since")
        return self.computed


def _recorded(op: Any, args: tuple, compute: Callable) -> Any:
    """The operation by the general way, but for its computation."""
    op.run = compute
    try:
        return general(op, args)
    finally:
        del op.run


class _Selective:
    """A context in which operations go by a policy: `first` decides and keeps, `second` gives back."""

    def __init__(self, policy: Callable | None, storage: dict[str, list[Any]], allow_mutation: bool) -> None:
        self.policy, self.storage, self.allow_mutation = policy, storage, allow_mutation

    def __enter__(self) -> _Selective:
        self.count: dict[str, int] = defaultdict(int)
        self.mode = self.first if self.policy is not None else self.second
        modes.append(self.mode)
        watch(True)
        return self

    def __exit__(self, *exc: Any) -> None:
        modes.remove(self.mode)
        watch(False)

    def first(self, op: Any, args: tuple) -> Any:
        computed: list[Any] = []

        def compute(k: Any, arrays: list[Any]) -> Any:
            computed.append(type(op).run(op, k, arrays))
            return computed[0]

        out = _recorded(op, args, compute)
        context = SelectiveCheckpointContext(is_recompute=False, op_output=out)
        policy = self.policy(context, overload(op.name.removesuffix("_op")), *args)  # type: ignore[misc]
        if isinstance(policy, bool):
            policy = CheckpointPolicy.MUST_SAVE if policy else CheckpointPolicy.PREFER_RECOMPUTE
        drop = policy in (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE)
        self.storage[op.name].append(_DROPPED if drop else _Kept(computed[0], out))
        return out

    def second(self, op: Any, args: tuple) -> Any:
        at = self.count[op.name]
        self.count[op.name] += 1
        if at >= len(self.storage[op.name]):
            raise RuntimeError(f"{op.name} runs more often in the second run of a checkpoint than in the first")
        entry = self.storage[op.name][at]
        if entry is _USED:
            raise RuntimeError("selective checkpoints can be gone through backward once only")
        if entry is _DROPPED:
            return general(op, args)
        self.storage[op.name][at] = _USED
        kept = entry.get(self.allow_mutation)
        return _recorded(op, args, lambda k, arrays: kept)


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Any, allow_cache_entry_mutation: bool = False
) -> tuple[Any, Any]:
    """Two contexts for `checkpoint(context_fn=...)` by which some operations' results are kept.

    Either a list of operations (`torch.ops.aten.mm.default`, or functions such as `torch.mm`) to keep, or a function
    `policy(ctx, op, *args, **kwargs)` that returns a `CheckpointPolicy`, or True to keep. TypeError for anything else,
    ValueError for what is no operation.
    """
    if isinstance(policy_fn_or_list, list):
        kept = {_named(op) for op in policy_fn_or_list}

        def policy(ctx: Any, op: Any, *args: Any, **kwargs: Any) -> Any:
            return CheckpointPolicy.MUST_SAVE if op in kept else CheckpointPolicy.PREFER_RECOMPUTE

    elif callable(policy_fn_or_list):
        policy = policy_fn_or_list
    else:
        raise TypeError(f"a function or a list of operations is needed, got {type(policy_fn_or_list).__name__}")
    storage: dict[str, list[Any]] = defaultdict(list)
    return _Selective(policy, storage, False), _Selective(None, storage, allow_cache_entry_mutation)


def _named(op: Any) -> Any:
    if type(op).__name__ == "Overload":
        return op
    if hasattr(op, "op"):
        return overload(op.op.name.removesuffix("_op"))
    raise ValueError(f"{op!r} is no operation such as torch.ops.aten.mm.default")


# --- devices: there is only the CPU -----------------------------------------------------------------------------------


class DefaultDeviceType:
    """The kind of device whose random state is kept besides the CPU's; there is none here."""

    _default_device_type: str | None = None

    @staticmethod
    def set_device_type(device: str = "cuda") -> None:
        """Set it."""
        DefaultDeviceType._default_device_type = device

    @staticmethod
    def get_device_type() -> str:
        """Get it."""
        return DefaultDeviceType._default_device_type or "cpu"


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """Numbers and random states of the devices of the tensors given: none."""
    return [], []


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Set the random states of devices: there are none."""

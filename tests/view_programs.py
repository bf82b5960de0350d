"""Random programs of views, writes in place and arithmetic: the same steps for any library with PyTorch's names.

A step is plain data (the name of a method, the numbers of tensors and their arguments), so that a program can run under
two libraries and what every tensor is can be compared after each step.
"""

import numpy as np

SHAPES = [(2, 3), (4,), (3, 2, 2), (1, 4), (6,), (2, 1, 3), (), (3, 3)]


# a view whose base was written has another node in each library, which leads to the same
VIEWS = {
    f"{name}Backward0": "view"
    for name in "AsStrided Select Slice View ReshapeAlias Alias Permute Transpose T "
    "Squeeze Unsqueeze Expand Unfold Diagonal Split Unbind".split()
}
VIEWS |= dict.fromkeys(("SqueezeBackward1", "SqueezeBackward2"), "view")


def _view(rng, shape):
    """A view of a tensor of this shape: (name, arguments)."""
    n = len(shape)
    dim = int(rng.integers(-n, n)) if n else 0
    count = int(np.prod(shape))
    choices = ["detach", "view_as_self", "ellipsis", "unsqueeze", "expand", "flatten", "reshape", "squeeze"]
    if n:
        choices += [
            "select",
            "slice",
            "narrow",
            "transpose",
            "permute",
            "split",
            "unbind",
            "unfold",
            "int",
            "view",
            "step",
            "none",
            "movedim",
            "chunk",
        ] * 2
    if n == 2:
        choices += ["t", "T", "diagonal"]
    name = choices[rng.integers(len(choices))]
    length = shape[dim] if n else 1
    if name == "unsqueeze":
        return "unsqueeze", (int(rng.integers(-n - 1, n + 1)),)
    if name == "expand":
        return "expand", ((2, *[-1] * n),)
    if name in ("reshape", "view"):
        target = [(-1,), (count,), (1, -1), tuple(reversed(shape)), (2, -1), (-1, 3)][rng.integers(6)]
        return name, (target,)
    if name == "squeeze":
        return "squeeze", ((dim,) if n and rng.integers(2) else ())
    if name == "select":
        return "select", (dim, int(rng.integers(-length, length)) if length else 0)
    if name == "narrow":
        start = int(rng.integers(0, length + 1))
        return "narrow", (dim, start, int(rng.integers(0, length - start + 1)))
    if name == "transpose":
        return "transpose", (dim, int(rng.integers(-n, n)))
    if name == "movedim":
        return "movedim", (dim, int(rng.integers(-n, n)))
    if name == "permute":
        return "permute", (tuple(int(i) for i in rng.permutation(n)),)
    if name == "split":
        return "split", (int(rng.integers(1, 3)), dim)
    if name == "chunk":
        return "chunk", (2, dim)
    if name == "unbind":
        return "unbind", (dim,)
    if name == "unfold":
        size = int(rng.integers(1, 3))
        return "unfold", (dim, size, int(rng.integers(size, 4)))
    if name in ("slice", "step", "int", "none"):
        start = int(rng.integers(-length, length + 1))
        step = int(rng.integers(1, 3))
        index = {
            "slice": slice(start, None),
            "step": slice(None, None, step),
            "int": int(rng.integers(0, max(length, 1))),
            "none": None,
        }[name]
        rest = (..., slice(0, 1)) if n > 1 and rng.integers(3) == 0 and name != "none" else ()
        return "getitem", ((index, *rest),)
    return name, ()


def _write(rng, shape, others):
    """A write in place: (name, arguments); ('tensor', i) stands for another tensor."""
    names = [
        "add_",
        "mul_",
        "copy_",
        "sub_",
        "set",
        "set_mask",
        "set_index",
        "zero_",
        "fill_",
        "exp_",
        "relu_",
        "neg_",
        "clamp_",
        "iadd",
        "imul",
        "div_",
        "set_tensor",
        "sigmoid_",
        "masked_fill_",
    ]
    name = names[rng.integers(len(names))]
    other = ("tensor", int(rng.integers(others)))
    number = float(rng.integers(-3, 4)) / 2 + 0.25
    if name in ("add_", "mul_", "sub_", "iadd", "imul", "copy_"):
        return name, ((other if rng.integers(2) or name == "copy_" else number),)
    if name == "div_":
        return name, (2.0,)
    if name == "fill_":
        return name, (number,)
    if name == "clamp_":
        return name, (-1.0, 1.0)
    n = len(shape)
    at = int(rng.integers(0, shape[0])) if n and shape[0] else 0
    index = (at,) if n and rng.integers(2) else (..., slice(0, 1)) if n else ()
    if name == "set":
        return name, (index, number)
    if name == "set_tensor":
        return name, (index, other)
    return name, ((number,) if name in ("masked_fill_", "set_mask", "set_index") else ())


def program(seed, length):
    """The steps of one program."""
    rng = np.random.default_rng(seed)
    steps = [("leaf", SHAPES[rng.integers(len(SHAPES))], bool(rng.integers(2)))]
    for _ in range(length):
        steps.append(("random", int(rng.integers(1 << 30))))
    return steps


def choose(step, tensors):
    """The step that a random number stands for, among tensors with known shapes."""
    rng = np.random.default_rng(step[1])
    kind = rng.integers(10)
    i = int(rng.integers(len(tensors)))
    shape = tuple(tensors[i].shape)
    if kind == 0 or len(tensors) == 1 and kind < 3:
        return ("leaf", SHAPES[rng.integers(len(SHAPES))], bool(rng.integers(2)))
    quiet = bool(rng.integers(6) == 0)
    if kind < 5:
        return ("view", i, *_view(rng, shape), False)
    if kind < 8:
        return ("write", i, *_write(rng, shape, len(tensors)), quiet)
    if kind == 8:
        name = ["exp", "clone", "contiguous", "sin", "neg"][rng.integers(5)]
        return ("op", i, name, (), quiet)
    return (
        "op",
        i,
        ["mul", "add"][rng.integers(2)],
        ((("tensor", int(rng.integers(len(tensors)))) if rng.integers(2) else 2.0),),
        quiet,
    )


def _getitem(t, index):
    return t[index]


def _memory(t):
    return t.untyped_storage().data_ptr()


def _set(t, index, value):
    t[index] = value
    return t


def _iadd(t, value):
    t += value
    return t


def _imul(t, value):
    t *= value
    return t


def run_step(torch, tensors, step):
    """Runs a step and returns the new tensor, if it makes one."""
    if step[0] == "leaf":
        _, shape, requires = step
        values = np.arange(int(np.prod(shape)), dtype=np.float64).reshape(shape) / 4 + 0.5
        return torch.tensor(values.tolist(), dtype=torch.float64).reshape(shape).clone().requires_grad_(requires)
    _, i, name, args, quiet = step
    t = tensors[i]
    args = [tensors[a[1]] if isinstance(a, tuple) and a and a[0] == "tensor" else a for a in args]
    with torch.set_grad_enabled(not quiet):
        if name == "getitem":
            return _getitem(t, *args)
        if name == "ellipsis":
            return t[...]
        if name == "view_as_self":
            return t.view_as(t)
        if name in ("set", "set_tensor"):
            return _set(t, *args)
        if name == "set_mask":
            return _set(t, t.detach() > 1, args[0])
        if name == "set_index":
            return _set(t, torch.tensor([0, 0]), args[0])
        if name == "masked_fill_":
            return t.masked_fill_(t.detach() > 1, args[0])
        if name == "iadd":
            return _iadd(t, *args)
        if name == "imul":
            return _imul(t, *args)
        if name in ("T", "data"):
            return getattr(t, name)
        result = getattr(t, name)(*args)
        return result[-1] if isinstance(result, (tuple, list)) else result


def state(torch, tensors):
    """All that a program can see of its tensors."""
    rows = []
    starts = [t.data_ptr() for t in tensors]
    for t, _ in zip(tensors, starts):
        node = t.grad_fn
        rows.append({
            "values": t.detach().reshape(-1).tolist(),
            "shape": list(t.shape),
            # (operands of different orders of strides give results of an order that NumPy chooses otherwise)
            "stride": [step for step, n in zip(t.stride(), t.shape) if n > 1] if t.numel() and t._is_view() else [],
            "offset": t.storage_offset() if t.numel() else 0,
            "contiguous": t.is_contiguous() or not t._is_view(),
            "requires_grad": t.requires_grad,
            "leaf": t.is_leaf,
            "version": t._version,
            "view": t._is_view(),
            "grad_fn": None if node is None else VIEWS.get(type(node).__name__, type(node).__name__),
            "aliases": [
                j for j, other in enumerate(tensors) if t.numel() and other.numel() and _memory(t) == _memory(other)
            ],
        })  # fmt: skip
    return rows


def finish(torch, tensors):
    """Goes backward twice from everything that has a history, and returns the leaves' gradients."""
    total = None
    for t in tensors:
        if t.grad_fn is not None and t.numel():
            part = (t * 1.5).sin().sum()
            total = part if total is None else total + part
    if total is None:
        return []
    leaves = [t for t in tensors if t.is_leaf and t.requires_grad]
    first = torch.autograd.grad(total, leaves, create_graph=True, allow_unused=True)
    again = sum(((g * g).sum() for g in first if g is not None and g.requires_grad), start=torch.zeros(()))
    total.backward(retain_graph=True)
    grads = [None if t.grad is None else t.grad.reshape(-1).tolist() for t in leaves]
    if again.requires_grad:
        for g in torch.autograd.grad(again, leaves, allow_unused=True):
            grads.append(None if g is None else g.reshape(-1).tolist())  # noqa: PERF401
    return grads

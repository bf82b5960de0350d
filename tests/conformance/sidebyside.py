"""One call run by flambeau and by PyTorch: values, dtypes, gradients and second gradients must agree."""

import warnings

import numpy as np
import torch

import flambeau

TOLERANCE = {"float64": (1e-9, 1e-9), "float32": (2e-5, 2e-6), "float16": (3e-3, 3e-3), "bfloat16": (3e-2, 3e-2)}


def to_torch(value):
    """Arrays become tensors of PyTorch; a pair of an array and a dtype's name is converted to it."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return torch.from_numpy(value[0].copy()).to(getattr(torch, value[1]))
    return value


def to_flambeau(value):
    """The same as `to_torch`, for flambeau."""
    if isinstance(value, np.ndarray):
        return flambeau.from_numpy(value.copy())
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], str):
        return flambeau.from_numpy(value[0].copy()).to(getattr(flambeau, value[1]))
    return value


def plain(t):
    """A tensor of either library as a float64, int64 or complex array."""
    if t is None:
        return None
    t = t.detach()
    wide = "complex128" if t.is_complex() else "float64" if t.is_floating_point() else "int64"
    if isinstance(t, torch.Tensor):
        return t.clone().to(getattr(torch, wide)).numpy()  # a clone of what PyTorch knows to be all zeros has memory
    return t.to(getattr(flambeau, wide)).numpy()


def same(ours, theirs, what, scale=1.0):
    """Two tensors agree in dtype, shape and, to the dtype's precision, values (NaN and infinities included)."""
    if ours is None or theirs is None:
        assert ours is None and (theirs is None or not theirs.abs().max()), f"{what}: {ours} against {theirs}"
        return
    name = str(theirs.dtype).removeprefix("torch.")
    assert str(ours.dtype).split(".")[-1] == name, f"{what}: {ours.dtype} against {theirs.dtype}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"{what}: {ours.shape} against {theirs.shape}"
    rtol, atol = TOLERANCE.get(name, (2e-5, 2e-6))
    np.testing.assert_allclose(plain(ours), plain(theirs), rtol * scale, atol * scale, err_msg=what)


def agree(name, call, *args, wrt=None, second=True, seed=0, scale=1.0, **kwargs):
    """`call(functional, *args, **kwargs)` under both; gradients with respect to the arguments at places `wrt`."""
    mine = [to_flambeau(a) for a in args]
    theirs = [to_torch(a) for a in args]
    if wrt is None:
        wrt = [i for i, a in enumerate(theirs) if isinstance(a, torch.Tensor) and a.is_floating_point()]
    for i in wrt:
        mine[i].requires_grad_()
        theirs[i].requires_grad_()
    kw_mine = {k: to_flambeau(v) for k, v in kwargs.items()}
    kw_theirs = {k: to_torch(v) for k, v in kwargs.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = call(flambeau.nn.functional, *mine, **kw_mine)
        ref = call(torch.nn.functional, *theirs, **kw_theirs)
    same(out, ref, f"{name}: value", scale)
    if not wrt or not ref.requires_grad:
        return out, ref
    noise = np.random.default_rng(seed)
    g = noise.uniform(-1, 1, tuple(ref.shape))
    g_mine, g_ref = (lib.tensor(g, dtype=getattr(lib, str(ref.dtype).split(".")[-1])) for lib in (flambeau, torch))
    if second:
        g_mine.requires_grad_()
        g_ref.requires_grad_()
    ins_mine, ins_ref = [mine[i] for i in wrt], [theirs[i] for i in wrt]
    fast = flambeau.autograd.grad(out, ins_mine, g_mine, retain_graph=True, allow_unused=True)
    first = flambeau.autograd.grad(out, ins_mine, g_mine, create_graph=second, allow_unused=True, retain_graph=True)
    wanted = torch.autograd.grad(ref, ins_ref, g_ref, create_graph=second, allow_unused=True)
    for i, quick, a, b in zip(wrt, fast, first, wanted, strict=True):
        same(quick, b, f"{name}: gradient of argument {i}", scale)
        same(a, b, f"{name}: recorded gradient of argument {i}", scale)
    if second:
        again(name, first, wanted, [*ins_mine, g_mine], [*ins_ref, g_ref], noise, scale)
    return out, ref


def again(name, first, wanted, ins_mine, ins_ref, noise, scale):
    """Compares gradients of gradients."""
    pairs = [(a, b) for a, b in zip(first, wanted, strict=True) if b is not None and b.requires_grad]
    if not pairs:
        return
    total_mine = total_ref = 0
    for a, b in pairs:
        w = noise.uniform(-1, 1, tuple(b.shape))
        total_mine = total_mine + (a * flambeau.tensor(w, dtype=a.dtype)).sum()
        total_ref = total_ref + (b * torch.tensor(w, dtype=b.dtype)).sum()
    second_mine = flambeau.autograd.grad(total_mine, ins_mine, allow_unused=True)
    second_ref = torch.autograd.grad(total_ref, ins_ref, allow_unused=True)
    for i, (a, b) in enumerate(zip(second_mine, second_ref, strict=True)):
        if a is None and b is None:
            continue
        a = flambeau.zeros(tuple(b.shape), dtype=getattr(flambeau, str(b.dtype).split(".")[-1])) if a is None else a
        b = torch.zeros(tuple(a.shape), dtype=getattr(torch, str(a.dtype).split(".")[-1])) if b is None else b
        same(a, b, f"{name}: second gradient {i}", 10 * scale)


def refused(call, *args, **kwargs):
    """Both refuse the call with the same class of exception; returns flambeau's."""
    errors = []
    for lib, convert in ((torch, to_torch), (flambeau, to_flambeau)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call(lib.nn.functional, *[convert(a) for a in args], **{k: convert(v) for k, v in kwargs.items()})
        except Exception as error:
            errors.append(error)
        else:
            errors.append(None)
    theirs, ours = errors
    assert theirs is not None, "PyTorch accepts this"
    assert type(ours) is type(theirs), f"{type(ours).__name__}: {ours}\nagainst {type(theirs).__name__}: {theirs}"
    return ours


def warned(call, *args, **kwargs):
    """The categories of the warnings that both give, which must be the same."""
    lists = []
    for lib, convert in ((torch, to_torch), (flambeau, to_flambeau)):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            call(lib.nn.functional, *[convert(a) for a in args], **{k: convert(v) for k, v in kwargs.items()})
        lists.append([w.category for w in seen])
    assert lists[0] == lists[1], f"flambeau {lists[1]} against {lists[0]}"
    return lists[1]

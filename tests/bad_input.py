"""Calls that must be refused, as programs: run under flambeau or PyTorch, they must raise the same exception class and
change nothing that they were given.

The rows stand in ``bad_input_tensors.py`` and ``bad_input_layers.py``: per group a preparation, then one call per line
after the class that PyTorch raises.
"""

import copy
import io
import textwrap
import warnings

from tests import bad_input_layers, bad_input_tensors

GROUPS = {**bad_input_tensors.GROUPS, **bad_input_layers.GROUPS}


def rows():
    """``(group, class name, call)`` of every row."""
    for group, (_, calls) in GROUPS.items():
        for line in textwrap.dedent(calls).strip().splitlines():
            expected, _, call = line.partition(": ")
            yield group, expected.lstrip("_"), call.replace("\\n", "\n")


def prepared(torch, group):
    """The names that the group's calls may use, made under ``torch``."""
    names = {"torch": torch, "copy": copy, "io": io}
    torch.manual_seed(0)
    exec(textwrap.dedent(GROUPS[group][0]), names)
    return names


def fingerprint(torch, value):
    """What must not change: contents, dtype, shape and flags of tensors; state of modules and optimizers."""
    if isinstance(value, torch.Tensor):
        grad = None if value.grad_fn is not None or value.grad is None else value.grad.tolist()
        plain = value.detach()
        return str(plain.dtype), tuple(plain.shape), plain.stride(), plain.tolist(), value.requires_grad, grad
    if isinstance(value, torch.nn.Module):
        state = {k: fingerprint(torch, v) for k, v in value.state_dict().items()}
        parts = [sorted(value._parameters), sorted(value._buffers), sorted(value._modules), sorted(value.__dict__)]
        return state, parts, value.training
    if isinstance(value, torch.optim.Optimizer):
        return repr(value), len(value.state), [len(group["params"]) for group in value.param_groups]
    return None


def attempt(torch, group, call):
    """Run one call; return the names of its exception's class and base classes, the message, and what it changed."""
    names = prepared(torch, group)
    before = {name: fingerprint(torch, value) for name, value in names.items()}
    caught = None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            exec(call, names)
        except Exception as error:  # noqa: BLE001 - the class is what is compared
            caught = error
    kept = {name: value for name, value in names.items() if name in before}
    changed = sorted(name for name, value in kept.items() if fingerprint(torch, value) != before[name])
    classes = [] if caught is None else [c.__name__.lstrip("_") for c in type(caught).__mro__]
    return classes, str(caught), changed


def single(call):
    """Whether the row is one call, so that nothing may have changed at all."""
    return "; " not in call and "\n" not in call

"""`torch._foreach_*`: each gives what the tensors' own methods give, one by one."""

import pytest

import flambeau as torch
from flambeau import foreach


def tensors(seed=0, count=3):
    torch.manual_seed(seed)
    return [torch.rand(2, 3) + 0.2 for _ in range(count)]


def check(name, operands, expected):
    """The function and its twin that writes."""
    fresh = getattr(torch, f"_foreach_{name}")(tensors(), *operands)
    assert isinstance(fresh, tuple)
    written = tensors()
    assert getattr(torch, f"_foreach_{name}_")(written, *operands) is written
    for a, b, c in zip(fresh, written, expected, strict=True):
        assert torch.equal(a.nan_to_num(9), c.nan_to_num(9)) and torch.equal(b.nan_to_num(9), c.nan_to_num(9))


@pytest.mark.parametrize("name", foreach._UNARY)
def test_of_one_list(name):
    check(name, (), [getattr(t, name)() for t in tensors()])


@pytest.mark.parametrize("name", foreach._BINARY)
def test_of_a_list_and_operands(name):
    method = foreach._BINARY[name]
    others = [2, 0.5, [1.0, 2.0, 0.3], tensors(1)]
    if name in ("add", "mul", "div"):
        others.append(torch.tensor(2.0))
    for other in others:
        each = other if isinstance(other, list) else [other] * 3
        check(name, (other,), [getattr(t, method)(o) for t, o in zip(tensors(), each, strict=True)])


def test_of_three_lists():
    a, b = tensors(1), tensors(2)
    for name in ("addcmul", "addcdiv"):
        plain = [getattr(t, name)(x, y, value=0.5) for t, x, y in zip(tensors(), a, b, strict=True)]
        check(name, (a, b, 0.5), plain)
        check(name, (a, b, [0.5, 0.5, 0.5]), plain)
        check(name, (a, b, torch.full((3,), 0.5)), plain)
        check(name, (a, b), [getattr(t, name)(x, y) for t, x, y in zip(tensors(), a, b, strict=True)])
    check("lerp", (a, 0.3), [t.lerp(x, 0.3) for t, x in zip(tensors(), a, strict=True)])
    check("lerp", (a, b), [t.lerp(x, w) for t, x, w in zip(tensors(), a, b, strict=True)])
    named = tensors()
    torch._foreach_lerp_(named, a, weight=0.3)
    assert torch.equal(named[0], tensors()[0].lerp(a[0], 0.3))


def test_what_has_a_form_of_its_own():
    a, b = tensors(), tensors(1)
    assert torch.equal(torch._foreach_add(a, b, alpha=2)[1], a[1] + 2 * b[1])
    assert torch.equal(torch._foreach_pow(2.0, a)[0], 2.0 ** a[0])
    assert torch._foreach_norm(a, 1)[2] == torch.linalg.vector_norm(a[2], 1)
    assert torch._foreach_max(a)[0] == a[0].max() and torch._foreach_powsum(a)[0] == (a[0] ** 2).sum()
    assert torch.equal(torch._foreach_mm(a, [t.T for t in b])[1], a[1] @ b[1].T)
    copies = torch._foreach_clone(a)
    torch._foreach_copy_(list(copies), b)
    assert torch.equal(copies[2], b[2]) and not torch.equal(a[2], b[2])
    torch._foreach_zero_(a)
    assert all(not t.any() for t in a)


def test_gradients_flow_and_errors_name_what_came():
    w = torch.ones(2, requires_grad=True)
    (doubled,) = torch._foreach_mul([w], 2.0)
    doubled.sum().backward()
    assert w.grad.tolist() == [2, 2]
    for error, call in (
        (RuntimeError, lambda: torch._foreach_add([], 1)),
        (RuntimeError, lambda: torch._foreach_add(tensors(), tensors(1, 2))),
        (RuntimeError, lambda: torch._foreach_mul(tensors(), [1.0, 2.0])),
        (TypeError, lambda: torch._foreach_add(torch.ones(2), 1)),
        (TypeError, lambda: torch._foreach_sqrt([1.0])),
        (TypeError, lambda: torch._foreach_add(tensors())),
        (AttributeError, lambda: torch._foreach_frobnicate(tensors())),
    ):
        with pytest.raises(error):
            call()

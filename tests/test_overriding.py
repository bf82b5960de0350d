"""Classes with a `__torch_function__` are asked by every public function, whatever it is made of; keyword forms."""

import pickle

import pytest

import flambeau as torch
from flambeau.nn import functional as F


class Asked:
    """No tensor at all, as lazy operators, symbolic values and the like are."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return func, [t.__name__ for t in types], len(args), sorted(kwargs or {})


a, t = Asked(), torch.eye(2)

CALLS = {
    "add": (torch.add, lambda: torch.add(t, a, alpha=2), 2, ["alpha"]),
    "operator": (torch.matmul, lambda: t @ a, 2, []),
    "sub": (torch.sub, lambda: t - a, 2, []),
    "method": (torch.mul, lambda: t.mul(a), 2, []),
    "op": (torch.exp, lambda: torch.exp(a), 1, []),
    "cat": (torch.cat, lambda: torch.cat([t, a]), 1, []),
    "stack": (torch.stack, lambda: torch.stack((a, t), dim=0), 1, ["dim"]),
    "einsum": (torch.einsum, lambda: torch.einsum("ij,jk", a, t), 3, []),
    "where": (torch.where, lambda: torch.where(t > 0, a, t), 3, []),
    "max": (torch.max, lambda: torch.max(a), 1, []),
    "topk": (torch.topk, lambda: torch.topk(a, 1), 2, []),
    "clone": (torch.clone, lambda: torch.clone(a), 1, []),
    "numel": (torch.numel, lambda: torch.numel(a), 1, []),
    "allclose": (torch.allclose, lambda: torch.allclose(a, a), 2, []),
    "cholesky": (torch.linalg.cholesky, lambda: torch.linalg.cholesky(a), 1, []),
    "eigh": (torch.linalg.eigh, lambda: torch.linalg.eigh(a), 1, []),
    "solve": (torch.linalg.solve, lambda: torch.linalg.solve(a, t), 2, []),
    "diagonal": (torch.linalg.diagonal, lambda: torch.linalg.diagonal(a), 1, []),
    "cross_entropy": (F.cross_entropy, lambda: F.cross_entropy(a, target=t), 1, ["target"]),
    "conv": (F.conv2d, lambda: F.conv2d(t, a), 2, []),
    "pad": (F.pad, lambda: F.pad(a, (1, 1)), 2, []),
    "normalize": (F.normalize, lambda: F.normalize(a), 1, []),
    "randn_like": (torch.randn_like, lambda: torch.randn_like(a), 1, []),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_public_function_asks(name):
    function, call, count, keywords = CALLS[name]
    func, types, args, kwargs = call()
    assert func is function and types == ["Asked"] and kwargs == keywords
    assert args >= count


def test_subclasses_come_first_and_may_decline():
    class Child(Asked):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    assert torch.add(a, Child())[1] == ["Child", "Asked"]
    with pytest.raises(TypeError, match="Child"):
        torch.cat([Child()])
    assert not torch.is_tensor(a)


def test_a_tensor_subclass_sees_whole_functions():
    seen = []

    class Watched(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            seen.append(func)
            return super().__torch_function__(func, types, args, kwargs or {})

    w = torch.randn(3, 4).as_subclass(Watched)
    out = F.cross_entropy(w, torch.tensor([0, 1, 2]))
    assert seen == [F.cross_entropy] and type(out) is Watched
    values, indices = torch.max(w, dim=1)
    assert type(values) is Watched and type(torch.split(w, 1)[0]) is Watched
    assert type(torch.add(w, 1)) is Watched
    assert type(torch.nn.Parameter(torch.ones(2)) + 1) is torch.Tensor


def test_methods_and_functions_are_one_object():
    for name in ("add", "sub", "matmul", "split", "clone", "mul"):
        assert getattr(torch.Tensor, name) is getattr(torch, name), name


def test_keyword_forms_of_sizes():
    x = torch.arange(6.0).reshape(2, 3)
    assert torch.equal(x.flip(dims=(0,)), x.flip(0)) and torch.equal(x.permute(dims=(1, 0)), x.t())
    assert x.tile(dims=(2, 1)).shape == torch.tile(x, dims=(2, 1)).shape == (4, 3)
    assert x.repeat(repeats=(2, 1)).shape == (4, 3) and x.expand(size=(4, 2, 3)).shape == (4, 2, 3)
    assert torch.equal(x.swapaxes(axis0=0, axis1=1), x.t()) and torch.tensor(1.0).expand().shape == ()


def test_expanding_to_the_same_size_can_be_written():
    x = torch.zeros(2, 3)
    y = x.expand(1, 2, 3)
    torch.add(y, 1, out=y)
    assert x.sum() == 6
    with pytest.raises(RuntimeError):
        torch.zeros(1, 3).expand(2, 3).add_(1)


def test_pickles_of_tensors_with_history_are_leaves():
    x = torch.ones(2, requires_grad=True)
    again = pickle.loads(pickle.dumps(x * 2))
    assert again.tolist() == [2, 2] and again.requires_grad and again.is_leaf


def test_cholesky_solve_is_differentiated_as_pytorch_does():
    factor = torch.tensor([[1.0, 7], [2, 3]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[1.0], [2]], dtype=torch.float64, requires_grad=True)
    out = torch.cholesky_solve(b, factor)
    gb, gl = torch.autograd.grad(out.sum(), (b, factor))
    inverse = torch.linalg.inv(factor.detach().tril() @ factor.detach().tril().T)
    left = inverse @ torch.ones(2, 1, dtype=torch.float64)
    half = left @ (inverse @ b.detach()).T
    assert torch.allclose(gb, left)
    assert torch.allclose(gl, -(half + half.T) @ factor.detach())

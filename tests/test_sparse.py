"""Sparse tensors: each function against the same one of the ordinary tensor; what they refuse; gradients."""

import copy
import pickle

import pytest

import flambeau as torch


def example(requires_grad=False):
    values = torch.tensor([3.0, 4, 5, 1], requires_grad=requires_grad)
    return torch.sparse_coo_tensor([[0, 1, 1, 0], [2, 0, 2, 2]], values, (2, 3)), values


FUNCTIONS = {
    "mm": lambda s: s @ torch.arange(6.0).reshape(3, 2),
    "sparse.mm": lambda s: torch.sparse.mm(s, torch.ones(3, 2)) if s.is_sparse else s @ torch.ones(3, 2),
    "spmm": lambda s: torch.spmm(s, torch.ones(3, 4)),
    "dense @": lambda s: torch.arange(8.0).reshape(4, 2) @ s,
    "mv": lambda s: torch.mv(s, torch.arange(3.0)),
    "addmm": lambda s: torch.addmm(torch.ones(2, 2), s, torch.ones(3, 2), beta=2, alpha=3),
    "product of both": lambda s: s @ s.t(),
    "sum": lambda s: s.sum(),
    "sum of rows": lambda s: s.sum(1),
    "transposed": lambda s: s.transpose(0, 1),
    "T": lambda s: s.T,
    "scaled": lambda s: 2 * s / 4 - s,
    "negated": lambda s: -s,
    "added": lambda s: torch.ones(2, 3) + s,
    "masked": lambda s: s * torch.arange(6.0).reshape(2, 3),
    "squared": lambda s: (s * s) + s**2,
    "root": lambda s: s.sqrt(),
    "row": lambda s: s[1],
    "rows": lambda s: s.index_select(0, torch.tensor([1, 0, 1])),
    "joined": lambda s: torch.cat([s, s], 1),
    "double": lambda s: s.double(),
    "copied": copy.deepcopy,
    "pickled": lambda s: pickle.loads(pickle.dumps(s)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_as_the_ordinary_tensor(name):
    s, _ = example()
    ours, plain = FUNCTIONS[name](s), FUNCTIONS[name](s.to_dense())
    assert ours.shape == plain.shape and ours.dtype == plain.dtype
    assert torch.allclose(ours.to_dense(), plain), (ours, plain)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in ("copied", "pickled")])
def test_gradients_reach_the_values(name):
    s, values = example(requires_grad=True)
    other = values.detach().clone().requires_grad_()
    plain = torch.zeros(2, 3).index_put((s._indices()[0], s._indices()[1]), other, accumulate=True)
    (FUNCTIONS[name](s).to_dense() ** 2).sum().backward()
    (FUNCTIONS[name](plain) ** 2).sum().backward()
    assert torch.allclose(values.grad, other.grad), (values.grad, other.grad)


def test_gradients_reach_the_dense_operand():
    s, _ = example()
    one, two = torch.ones(3, 2, requires_grad=True), torch.ones(3, 2, requires_grad=True)
    (s @ one).square().sum().backward()
    (s.to_dense() @ two).square().sum().backward()
    assert torch.equal(one.grad, two.grad)


def test_coalescing():
    s, _ = example()
    merged = s.coalesce()
    assert not s.is_coalesced() and merged.is_coalesced() and (s._nnz(), merged._nnz()) == (4, 3)
    assert merged.indices().tolist() == [[0, 1, 1], [2, 0, 2]] and merged.values().tolist() == [4, 4, 5]
    with pytest.raises(RuntimeError, match="coalesce"):
        s.indices()
    assert s.is_sparse and s.layout is torch.sparse_coo and isinstance(s, torch.Tensor) and s.sparse_dim() == 2
    assert s.equal(merged) and s.to_dense().to_sparse().equal(merged) and not s.equal(2 * s)
    empty = torch.sparse_coo_tensor((2, 3))
    assert empty._nnz() == 0 and torch.equal(empty.to_dense(), torch.zeros(2, 3)) and (empty + s).equal(s)
    rows = torch.sparse_coo_tensor([[1, 1]], torch.ones(2, 3), (2, 3))
    assert rows.to_dense().tolist() == [[0, 0, 0], [2, 2, 2]] and rows.coalesce().values().tolist() == [[2, 2, 2]]


def test_softmax_of_what_is_there():
    s, _ = example()
    dense = s.to_dense()
    for dim in (0, 1):
        wanted = torch.where(dense != 0, dense, -torch.inf).softmax(dim)
        assert torch.allclose(torch.sparse.softmax(s, dim).to_dense(), wanted.nan_to_num())
        assert torch.allclose(torch.sparse.log_softmax(s, dim).values().exp(), torch.sparse.softmax(s, dim).values())


def test_printing():
    assert str(torch.eye(2).to_sparse()) == (
        "tensor(indices=tensor([[0, 1],\n                       [0, 1]]),\n       values=tensor([1., 1.]),\n"
        "       size=(2, 2), nnz=2, layout=torch.sparse_coo)"
    )


def test_what_there_is_not_is_refused_and_never_read_as_zeros():
    s, _ = example()
    for call in (
        lambda: torch.exp(s), lambda: torch.allclose(s, s), lambda: s == s, lambda: torch.stack([s, s]),
        lambda: s.zero_(), lambda: s.view(6), lambda: s.max(), lambda: torch.full_like(s, 2), lambda: s[:, 0],
    ):  # fmt: skip
        with pytest.raises(NotImplementedError, match="to_dense"):
            call()
    with pytest.raises(TypeError, match="to_dense"):
        s.numpy()
    with pytest.raises(RuntimeError, match="dense"):
        s + torch.ones(2, 3)
    with pytest.raises(RuntimeError, match="no product"):
        s @ torch.ones(2, 2)
    with pytest.raises(RuntimeError, match="outside"):
        torch.sparse_coo_tensor([[0], [3]], [1.0], (2, 3))
    with pytest.raises(RuntimeError, match="count"):
        torch.sparse_coo_tensor([[0], [2]], [1.0, 2.0], (2, 3))


def test_constants():
    assert (torch.pi, torch.inf, torch.newaxis) == (3.141592653589793, float("inf"), None)
    assert torch.nan != torch.nan and round(torch.e, 4) == 2.7183


class TestCompressed:
    """Rows or columns compressed, single elements or blocks."""

    dense = torch.tensor([[0.0, 1.0, 0.0, 0.0], [2.0, 0.0, 3.0, 0.0]])

    @pytest.mark.parametrize("layout", ["csr", "csc", "bsr", "bsc"])
    def test_there_and_back(self, layout):
        blocks = ((2, 2),) if layout.startswith("b") else ()
        s = getattr(self.dense, f"to_sparse_{layout}")(*blocks)
        assert (
            s.layout is getattr(torch, f"sparse_{layout}") and not s.is_sparse and s.is_sparse_csr == (layout == "csr")
        )
        assert torch.equal(s.to_dense(), self.dense) and torch.equal(s.to_sparse().to_dense(), self.dense)
        assert torch.equal(s.t().to_dense(), self.dense.t()) and torch.equal((s * 2).to_dense(), self.dense * 2)
        assert torch.equal(s @ torch.ones(4, 2), self.dense @ torch.ones(4, 2))
        assert torch.equal((s + s).to_dense(), 2 * self.dense) and torch.equal(s.sum(), self.dense.sum())
        first, second = ("crow", "col") if layout.endswith("sr") else ("ccol", "row")
        parts = getattr(s, f"{first}_indices")(), getattr(s, f"{second}_indices")(), s.values()
        again = getattr(torch, f"sparse_{layout}_tensor")(*parts, size=s.shape)
        assert torch.equal(again.to_dense(), self.dense)
        with pytest.raises(RuntimeError):
            getattr(s, f"{'ccol' if first == 'crow' else 'crow'}_indices")()

    def test_printing(self):
        assert repr(self.dense.to_sparse_csr()) == (
            "tensor(crow_indices=tensor([0, 1, 3]),\n       col_indices=tensor([1, 0, 2]),\n"
            "       values=tensor([1., 2., 3.]), size=(2, 4), nnz=3,\n       layout=torch.sparse_csr)"
        )
        assert "nnz=1, dtype=torch.float64, layout=torch.sparse_coo" in repr(torch.ones(1, 1).double().to_sparse())

    def test_gradients_reach_values_and_dense_operands(self):
        values = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
        s = torch.sparse_csr_tensor([0, 1, 3], [1, 0, 2], values, size=(2, 4))
        b = torch.ones(4, 2, requires_grad=True)
        torch.sparse.mm(s, b).sum().backward()
        assert torch.equal(b.grad, self.dense.t() @ torch.ones(2, 2))
        assert torch.equal(values.grad, torch.full((3,), 2.0))

    def test_what_does_not_belong_together_is_refused(self):
        for c, p, v, size in (([0, 1], [5], [1.0], (1, 3)), ([0, 2], [0], [1.0], (1, 3)), ([0, 1], [0], [1.0], (2, 3))):
            with pytest.raises(RuntimeError):
                torch.sparse_csr_tensor(c, p, v, size=size)
        with pytest.raises(RuntimeError, match="blocksize"):
            torch.ones(3, 3).to_sparse_bsr((2, 2))
        with pytest.raises(RuntimeError, match="layout"):
            torch.ones(2).crow_indices()

    def test_masks_and_products_at_places(self):
        s = self.dense.to_sparse_csr()
        found = torch.sparse.sampled_addmm(s, torch.ones(2, 3), torch.ones(3, 4))
        assert torch.equal(found.to_dense(), (self.dense + 3) * (self.dense != 0))
        full = torch.arange(8.0).view(2, 4)
        assert torch.equal(full.sparse_mask(s).to_dense(), full * (self.dense != 0))

"""Bad calls on tensors and autograd, with the class PyTorch 2.13 raises (``bad_input.py``)."""

GROUPS = {
    "creation": (
        """
        """,
        r"""
        RuntimeError: torch.zeros(-1)
        RuntimeError: torch.ones(2, -3)
        TypeError: torch.zeros("a")
        TypeError: torch.zeros(2.5)
        TypeError: torch.empty(2, dtype="float32")
        RuntimeError: torch.zeros(2, dtype=int, device="nowhere")
        ValueError: torch.tensor([[1, 2], [3]])
        TypeError: torch.tensor("text")
        RuntimeError: torch.tensor(object())
        TypeError: torch.tensor([1, "a"])
        RuntimeError: torch.tensor([1, 2], requires_grad=True)
        RuntimeError: torch.ones(2, dtype=torch.int32, requires_grad=True)
        TypeError: torch.full((2, 2), "a")
        RuntimeError: torch.full((-2,), 1.0)
        RuntimeError: torch.arange(0, 10, 0)
        RuntimeError: torch.arange(0, 10, -1)
        RuntimeError: torch.arange(5, 1)
        RuntimeError: torch.linspace(0, 1, -1)
        RuntimeError: torch.eye(-1)
        RuntimeError: torch.eye(2, -1)
        TypeError: torch.from_numpy([1, 2])
        TypeError: torch.from_numpy(5)
        ValueError: torch.tensor(1 << 70)
        RuntimeError: torch.rand(-2)
        RuntimeError: torch.randint(5, 5, (2,))
        RuntimeError: torch.randint(5, 2, (2,))
        RuntimeError: torch.randperm(-1)
        ValueError: torch.manual_seed("a")
        RuntimeError: torch.device("toaster")
        RuntimeError: torch.device("cpu:x")
        AssertionError: torch.zeros(2, device="cuda")
        AssertionError: torch.zeros(2, device="cuda:1")
        NotImplementedError: torch.zeros(2, device="mps")
        AssertionError: torch.tensor([1.0], device="cuda")
        TypeError: torch.set_default_dtype(torch.int32)
        TypeError: torch.zeros(2, foo=1)
        TypeError: torch.zeros()
        TypeError: torch.Tensor(2, 3, dtype=torch.int8)
        TypeError: torch.ones_like([1, 2])
        """,
    ),
    "devices": (
        """
        a = torch.ones(3)
        """,
        r"""
        AssertionError: a.to("cuda")
        AssertionError: a.cuda()
        RuntimeError: a.to("nowhere")
        RuntimeError: a.to("mps")
        AssertionError: a.to(device="cuda:0", dtype=torch.float64)
        AssertionError: torch.nn.Linear(2, 2, device="cuda")
        AssertionError: torch.nn.Linear(2, 2).to("cuda")
        AssertionError: torch.nn.Linear(2, 2).cuda()
        AssertionError: torch.cuda.current_device()
        AssertionError: torch.cuda.synchronize()
        RuntimeError: torch.Generator(device="cuda")
        """,
    ),
    "arithmetic": (
        """
        a = torch.ones(2, 3)
        b = torch.ones(4)
        i = torch.ones(2, 3, dtype=torch.int64)
        t = torch.tensor([True, False])
        """,
        r"""
        RuntimeError: a + b
        RuntimeError: a * b
        RuntimeError: a / torch.ones(2)
        TypeError: torch.add(a, "x")
        TypeError: torch.add(a)
        TypeError: torch.add(a, b, c=1)
        TypeError: a + "x"
        TypeError: a + None
        TypeError: a - [1, 2, 3]
        TypeError: "x" * a
        RuntimeError: t - t
        RuntimeError: -t
        RuntimeError: t - torch.tensor(True)
        RuntimeError: torch.add(i, i, alpha=0.5)
        RuntimeError: torch.add(t, t, alpha=1.5)
        RuntimeError: a.add_(b)
        RuntimeError: b.add_(a)
        RuntimeError: i.add_(1.5)
        RuntimeError: i.mul_(0.5)
        RuntimeError: i.div_(2)
        RuntimeError: i.sub_(a)
        RuntimeError: t.add_(1)
        RuntimeError: t.mul_(2.0)
        RuntimeError: a.mul_(torch.ones(2, 2, 3))
        RuntimeError: torch.add(a, a, out=i)
        RuntimeError: torch.mul(a, a, out=t)
        RuntimeError: torch.exp(i, out=i)
        RuntimeError: i.exp_()
        RuntimeError: i.sqrt_()
        NotImplementedError: a & a
        NotImplementedError: a | 1
        NotImplementedError: a ^ a
        TypeError: ~a
        NotImplementedError: a << 1.5
        NotImplementedError: torch.bitwise_and(a, a)
        NotImplementedError: torch.bitwise_not(a)
        RuntimeError: i ** -1
        TypeError: torch.pow(2, "x")
        TypeError: torch.sqrt("x")
        TypeError: torch.sqrt()
        TypeError: torch.sqrt(a, a)
        RuntimeError: torch.lerp(a, b, 0.5)
        RuntimeError: torch.addcmul(a, b, b)
        RuntimeError: torch.clamp(a)
        TypeError: torch.clamp(a, "x", 1)
        RuntimeError: torch.where(a, a, a)
        RuntimeError: torch.where(a > 0, a, b)
        RuntimeError: torch.maximum(a, b)
        NotImplementedError: torch.fmod(t, t)
        TypeError: torch.real("x")
        RuntimeError: torch.imag(a)
        RuntimeError: torch.complex(a, i)
        RuntimeError: torch.floor_divide(i, torch.zeros_like(i))
        RuntimeError: i % torch.zeros_like(i)
        RuntimeError: i // 0
        NotImplementedError: abs(t)
        TypeError: torch.sign("a")
        TypeError: torch.logical_and(a, "x")
        RuntimeError: torch.atan2(a, b)
        """,
    ),
    "reductions": (
        """
        a = torch.rand(2, 3)
        i = torch.ones(2, 3, dtype=torch.int64)
        e = torch.empty(0)
        e2 = torch.empty(2, 0)
        z = torch.ones(2, dtype=torch.complex64)
        """,
        r"""
        IndexError: a.sum(2)
        IndexError: a.sum(-3)
        RuntimeError: a.sum((0, 0))
        TypeError: a.sum(dim="x")
        TypeError: a.sum(dim=1.5)
        IndexError: a.mean(5)
        RuntimeError: i.mean()
        RuntimeError: i.std()
        RuntimeError: i.var()
        RuntimeError: e.max()
        RuntimeError: e.min()
        IndexError: e2.max(1)
        IndexError: e2.argmax(1)
        IndexError: e.argmax()
        IndexError: a.max(3)
        IndexError: a.argmax(2)
        IndexError: a.amax(4)
        NotImplementedError: z.max()
        RuntimeError: z.sort()
        IndexError: a.prod(2)
        TypeError: a.prod((0, 1))
        IndexError: a.cumsum(2)
        TypeError: a.cumsum()
        IndexError: a.logsumexp(3)
        IndexError: a.norm(dim=3)
        IndexError: a.all(4)
        IndexError: a.any(4)
        IndexError: a.median(3)
        RuntimeError: a.kthvalue(5)
        RuntimeError: a.kthvalue(0)
        RuntimeError: a.topk(4)
        RuntimeError: a.topk(-1)
        IndexError: a.sort(3)
        IndexError: a.argsort(2)
        IndexError: a.unique(dim=3)
        RuntimeError: a.quantile(1.5)
        RuntimeError: i.quantile(0.5)
        IndexError: a.std(dim=7)
        IndexError: torch.cumprod(a, 2)
        TypeError: torch.sum([1, 2])
        """,
    ),
    "shapes": (
        """
        a = torch.rand(2, 3)
        b = torch.rand(4, 5)
        s = torch.tensor(1.0)
        """,
        r"""
        RuntimeError: a.view(4)
        RuntimeError: a.view(-1, -1)
        RuntimeError: a.view(-1, 4)
        RuntimeError: a.view(2, -3)
        RuntimeError: a.t().view(6)
        TypeError: a.view("x")
        RuntimeError: a.reshape(5)
        RuntimeError: a.reshape(-1, 4)
        RuntimeError: a.reshape(-1, -1)
        RuntimeError: a.expand(3, 3)
        RuntimeError: a.expand(2)
        RuntimeError: a.expand(-1, 2, 3)
        RuntimeError: a.permute(0)
        RuntimeError: a.permute(0, 0)
        IndexError: a.permute(0, 2)
        RuntimeError: a.permute(0, 1, 2)
        IndexError: a.transpose(0, 2)
        IndexError: a.transpose(-3, 0)
        IndexError: a.unsqueeze(3)
        IndexError: a.unsqueeze(-4)
        IndexError: a.squeeze(2)
        RuntimeError: a.flatten(1, 0)
        IndexError: a.flatten(3)
        RuntimeError: a.unflatten(0, (3, 3))
        RuntimeError: torch.rand(2, 2, 2).t()
        RuntimeError: a.narrow(0, 1, 2)
        IndexError: a.narrow(1, -5, 1)
        IndexError: a.narrow(3, 0, 1)
        IndexError: a.select(0, 2)
        IndexError: a.select(2, 0)
        RuntimeError: a.split(-1)
        RuntimeError: a.split([1, 2])
        RuntimeError: a.split([1, 3], dim=1)
        RuntimeError: a.chunk(0)
        IndexError: a.chunk(2, 2)
        IndexError: a.unbind(2)
        RuntimeError: a.unfold(0, 3, 1)
        RuntimeError: a.unfold(0, 1, 0)
        IndexError: a.movedim(0, 2)
        RuntimeError: a.movedim((0, 1), (0, 0))
        IndexError: a.roll(1, 2)
        RuntimeError: a.roll((1, 2), 0)
        IndexError: a.flip(2)
        RuntimeError: a.flip(0, 0)
        RuntimeError: a.repeat(2)
        RuntimeError: a.repeat(-1, 2)
        TypeError: a.tile("x")
        RuntimeError: a.diagonal(0, 0, 0)
        IndexError: a.diagonal(0, 0, 2)
        RuntimeError: torch.diag(torch.ones(2, 2, 2))
        RuntimeError: torch.tril(torch.ones(3))
        RuntimeError: torch.rand(2, 2, 2).trace()
        ValueError: torch.cat([])
        RuntimeError: torch.cat([a, b])
        IndexError: torch.cat([a, a], dim=2)
        TypeError: torch.cat([a, 1])
        TypeError: torch.cat(a)
        RuntimeError: torch.stack([])
        RuntimeError: torch.stack([a, b])
        IndexError: torch.stack([a, a], dim=3)
        RuntimeError: torch.hstack([a, b])
        RuntimeError: torch.vstack([a, b])
        RuntimeError: torch.broadcast_to(a, (3, 3))
        RuntimeError: torch.broadcast_tensors(a, b)
        RuntimeError: torch.meshgrid(a, a)
        RuntimeError: torch.as_strided(a, (5, 5), (1, 1))
        RuntimeError: a.as_strided((2, 2), (-1, 1))
        TypeError: torch.block_diag("x")
        TypeError: torch.squeeze(a, "x")
        IndexError: a.swapaxes(0, 5)
        TypeError: len(s)
        TypeError: iter(s)
        RuntimeError: a.item()
        TypeError: a.tolist(1)
        ValueError: float(a)
        ValueError: int(b)
        RuntimeError: bool(a)
        RuntimeError: bool(torch.empty(0))
        TypeError: range(s)
        IndexError: a.size(2)
        IndexError: a.stride(2)
        """,
    ),
    "indexing": (
        """
        a = torch.arange(12.0).reshape(3, 4)
        i = torch.tensor([0, 5])
        m = torch.tensor([True, False])
        f = torch.tensor([0.0, 1.0])
        """,
        r"""
        IndexError: a[3]
        IndexError: a[-4]
        IndexError: a[0, 4]
        IndexError: a[0, 0, 0]
        TypeError: a["x"]
        IndexError: a[1.5]
        IndexError: a[f]
        IndexError: a[i]
        IndexError: a[torch.tensor([-4])]
        IndexError: a[m]
        IndexError: a[:, m]
        ValueError: a[::-1]
        ValueError: a[::0]
        IndexError: a[[0, 1], [0, 1, 2]]
        TypeError: a[0, "x"]
        IndexError: a[None, None, 3]
        IndexError: torch.tensor(1.0)[0]
        IndexError: a[3] = 1
        RuntimeError: a[0] = torch.ones(5)
        RuntimeError: a[0, 0] = torch.ones(2)
        RuntimeError: a[:, :2] = torch.ones(3, 3)
        IndexError: a[i] = 0
        IndexError: a[m] = 0
        RuntimeError: a[a > 0] = torch.ones(3)
        TypeError: a[0] = "x"
        IndexError: a[f] = 1
        ValueError: a[::-1] = 0
        IndexError: torch.gather(a, 2, torch.zeros(1, 1, dtype=torch.int64))
        RuntimeError: torch.gather(a, 1, torch.zeros(1, 1))
        RuntimeError: torch.gather(a, 1, torch.full((1, 1), 4))
        RuntimeError: torch.gather(a, 1, torch.zeros(1, dtype=torch.int64))
        RuntimeError: torch.gather(a, 0, torch.zeros(4, 5, dtype=torch.int64))
        RuntimeError: a.scatter_(1, torch.full((1, 1), 9), 1.0)
        RuntimeError: a.scatter_(1, torch.zeros(1, 1), 1.0)
        IndexError: a.scatter_(2, torch.zeros(1, 1, dtype=torch.int64), 1.0)
        RuntimeError: a.scatter_(1, torch.zeros(2, 2, dtype=torch.int64), torch.ones(1, 1))
        RuntimeError: a.scatter_add_(1, torch.zeros(2, 2, dtype=torch.int64), torch.ones(2, 2, dtype=torch.float64))
        IndexError: a.index_select(0, torch.tensor([3]))
        RuntimeError: a.index_select(0, torch.tensor([0.5]))
        IndexError: a.index_select(2, torch.tensor([0]))
        IndexError: a.index_select(0, torch.zeros(1, 1, dtype=torch.int64))
        RuntimeError: a.index_add_(0, torch.tensor([0]), torch.ones(2, 4))
        RuntimeError: a.index_add_(0, torch.tensor([7]), torch.ones(1, 4))
        IndexError: a.index_fill_(0, torch.tensor([9]), 1.0)
        RuntimeError: a.index_copy_(0, torch.tensor([0]), torch.ones(1, 3))
        RuntimeError: a.masked_fill(f > 0, 1.0)
        RuntimeError: a.masked_fill(a, 1.0)
        TypeError: a.masked_fill_(a > 0, "x")
        RuntimeError: a.masked_select(f > 0)
        RuntimeError: a.masked_scatter_(a > 0, torch.ones(2))
        IndexError: torch.take(a, torch.tensor([12]))
        RuntimeError: torch.take(a, torch.tensor([0.5]))
        TypeError: torch.nonzero("x")
        RuntimeError: torch.bincount(torch.tensor([-1, 2]))
        NotImplementedError: torch.bincount(f)
        RuntimeError: torch.nn.functional.one_hot(torch.tensor([3]), 2)
        RuntimeError: torch.nn.functional.one_hot(f)
        TypeError: torch.searchsorted(a, "x")
        IndexError: a.put_(torch.tensor([40]), torch.tensor([1.0]))
        RuntimeError: a.fill_(torch.ones(2))
        RuntimeError: a.copy_(torch.ones(5))
        TypeError: a.fill_diagonal_("x")
        RuntimeError: torch.tensor([1]).fill_(2 + 3j)
        """,
    ),
    "products": (
        """
        a = torch.rand(2, 3)
        b = torch.rand(4, 5)
        v = torch.rand(3)
        i = torch.ones(3, 2, dtype=torch.int64)
        d = torch.rand(3, 2, dtype=torch.float64)
        """,
        r"""
        RuntimeError: a @ b
        RuntimeError: a @ i
        RuntimeError: a @ d
        RuntimeError: torch.mm(a, v)
        RuntimeError: torch.mm(a, b)
        RuntimeError: torch.mm(a, torch.rand(3, 2, 2))
        RuntimeError: torch.bmm(a, b)
        RuntimeError: torch.bmm(torch.rand(2, 3, 4), torch.rand(3, 4, 5))
        RuntimeError: torch.bmm(torch.rand(2, 3, 4), torch.rand(2, 5, 5))
        RuntimeError: torch.mv(a, torch.rand(4))
        RuntimeError: torch.dot(v, torch.rand(4))
        RuntimeError: torch.dot(a, a)
        RuntimeError: torch.outer(a, v)
        RuntimeError: torch.matmul(torch.tensor(1.0), v)
        TypeError: torch.matmul(a, 2)
        TypeError: a @ 3
        RuntimeError: torch.addmm(a, a, b)
        RuntimeError: torch.addmm(v, torch.rand(2, 3), torch.rand(4, 3))
        RuntimeError: torch.einsum("ij,jk->ik", a, b)
        RuntimeError: torch.einsum("ij,jk", a)
        RuntimeError: torch.einsum("ijk->ik", a)
        RuntimeError: torch.einsum("i1->i", a)
        RuntimeError: torch.einsum("ij->ijz", a)
        RuntimeError: torch.einsum("ij->ii", a)
        RuntimeError: torch.tensordot(a, b, dims=1)
        RuntimeError: torch.tensordot(a, b, dims=([0], [0, 1]))
        RuntimeError: torch.linalg.inv(a)
        _LinAlgError: torch.linalg.inv(torch.zeros(2, 2))
        _LinAlgError: torch.linalg.cholesky(-torch.eye(2))
        RuntimeError: torch.linalg.det(a)
        RuntimeError: torch.linalg.solve(a, v)
        RuntimeError: torch.linalg.matrix_power(a, 2)
        RuntimeError: torch.cross(a, b)
        TypeError: torch.kron(a, "x")
        RuntimeError: torch.linalg.norm(a, dim=(0, 1, 2))
        RuntimeError: torch.linalg.vector_norm(i)
        RuntimeError: torch.cdist(a, b)
        """,
    ),
    "autograd": (
        """
        x = torch.ones(3, requires_grad=True)
        y = x * 2
        c = torch.ones(3)
        i = torch.ones(3, dtype=torch.int64)
        s = (x * x).sum()
        """,
        r"""
        RuntimeError: x.add_(1)
        RuntimeError: x.mul_(c)
        RuntimeError: x[0] = 1
        RuntimeError: x.zero_()
        RuntimeError: x.copy_(c)
        RuntimeError: c.backward()
        RuntimeError: y.backward()
        RuntimeError: s.backward(torch.ones(2))
        RuntimeError: y.backward(torch.ones(2))
        TypeError: y.backward("x")
        RuntimeError: s.backward(); s.backward()
        RuntimeError: torch.autograd.grad(s, c)
        RuntimeError: torch.autograd.grad(c, x)
        RuntimeError: torch.autograd.grad(y, x)
        RuntimeError: torch.autograd.grad(s, [x, torch.ones(2, requires_grad=True)])
        RuntimeError: torch.autograd.grad(s, [])
        RuntimeError: torch.autograd.grad(s, x, grad_outputs=torch.ones(2))
        RuntimeError: torch.autograd.backward([s, y])
        RuntimeError: torch.autograd.backward([s], [c])
        RuntimeError: x.grad = torch.ones(2)
        RuntimeError: x.grad = torch.ones(3, dtype=torch.float64)
        TypeError: x.grad = "x"
        TypeError: x.grad = 1.0
        RuntimeError: y.requires_grad = False
        RuntimeError: y.requires_grad_(False)
        RuntimeError: i.requires_grad = True
        RuntimeError: i.requires_grad_()
        RuntimeError: x.numpy()
        RuntimeError: y.numpy()
        TypeError: torch.from_numpy(y)
        TypeError: y.retain_grad(1)
        RuntimeError: c.retain_grad()
        RuntimeError: c.register_hook(lambda g: g)
        RuntimeError: y.register_hook(lambda g: torch.ones(5)); y.sum().backward()
        RuntimeError: z = x.exp(); z.add_(1); z.sum().backward()
        RuntimeError: z = y * y; y.add_(1); z.sum().backward()
        RuntimeError: z = y.view(3); y.detach().add_(1); (z * y).sum().backward(torch.ones(4))
        RuntimeError: x.expand(2, 3).add_(1)
        RuntimeError: c.expand(2, 3).add_(1)
        RuntimeError: torch.autograd.Function()(c)
        NotImplementedError: torch.autograd.Function.apply(c)
        RuntimeError: copy.deepcopy(y)
        RuntimeError: x.view(-1).add_(1)
        RuntimeError: x.unbind()[0].add_(1)
        TypeError: x.data = "x"
        TypeError: x.set_(5)
        RuntimeError: x.resize_(5)
        TypeError: torch.autograd.functional.jacobian(lambda v: "x", x)
        GradcheckError: torch.autograd.gradcheck(lambda v: v.detach() * v, torch.ones(2).double().requires_grad_())
        ValueError: torch.autograd.gradcheck(lambda v: v * 2, c.double())
        """,
    ),
}

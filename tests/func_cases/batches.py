"""vmap: dimensions, trees, nesting, writes, randomness, and what it refuses."""

from tests.func_cases import numbers, plain


def case_dimensions(torch, see):
    a, b = numbers(torch, 2, 3), numbers(torch, 3, 2, start=1.0)
    vmap = torch.func.vmap
    see(plain(vmap(torch.sin)(a)), plain(vmap(torch.sum, in_dims=1)(a)), plain(vmap(lambda x: x * 2, 1, 1)(a)))
    see(plain(vmap(torch.mul, in_dims=(0, 1))(a, b)), plain(vmap(torch.mul, in_dims=(0, None))(a, a[0])))
    see(plain(vmap(torch.dot, (0, None))(a, a[1])), plain(vmap(lambda x: x, -1, -1)(a)), plain(vmap(lambda x: x)(b)))
    see(plain(vmap(lambda x: (x, x.sum()), out_dims=(1, 0))(a)), plain(vmap(lambda x: [x, x + 1])(a)))
    see(plain(vmap(lambda x, y: x + y["k"][0], in_dims=(0, {"k": [1]}))(a, {"k": [b]})))
    see(plain(vmap(lambda x, y: x + y["k"][0], in_dims=(0, {"k": [None]}))(a, {"k": [a[0]]})))
    see(plain(vmap(lambda x: {"a": x, "b": (x, x)})(a)), plain(vmap(lambda x, k: x * k, (0, None))(a, 3)))
    see(
        plain(vmap(lambda x: torch.ones(2))(a)),
        plain(vmap(lambda x, y=1: x * y)(a, y=2)),
        plain(vmap(torch.relu)(a[:0])),
    )
    see(
        plain(vmap(lambda x: a[0] * 2, out_dims=None)(a)),
        plain(torch.vmap(lambda x: x.t(), in_dims=2)(a[None] * b[:2, :1])),
    )
    see(
        plain(vmap(lambda x: x.sum(-1))(numbers(torch, 2, 3, 4))),
        plain(vmap(lambda x: x.mT)(a[:, None] * b.mT[:, :, None])),
    )
    shapes = []
    vmap(lambda x: (shapes.append((tuple(x.shape), x.dim(), x.size(0), x.numel(), x.stride())), x)[1], in_dims=1)(a)
    see(shapes)


def case_nesting(torch, see):
    a, b = numbers(torch, 2, 3), numbers(torch, 4, start=1.0)
    vmap, grad = torch.func.vmap, torch.func.grad
    see(plain(vmap(vmap(torch.sin))(a)), plain(vmap(vmap(torch.mul, (None, 0)), (0, None))(b, b)))
    see(
        plain(vmap(lambda x: vmap(lambda y: x * y)(b))(a)),
        plain(vmap(lambda x: vmap(lambda y: x[0] * y.sum(), 1)(a))(a)),
    )
    see(plain(vmap(vmap(lambda x, y: x @ y, (None, 1)), (0, None))(a, a.mT)))
    see(plain(vmap(vmap(grad(lambda x: x**3)))(a)), plain(vmap(grad(lambda x: vmap(torch.sin)(x).sum()))(a)))
    see(plain(grad(lambda x: vmap(lambda r: vmap(torch.exp)(r).sum())(x).prod())(a)))
    see(
        plain(vmap(lambda x: torch.func.jacrev(torch.sin)(x))(a)),
        plain(vmap(torch.func.hessian(lambda x: x.prod()))(a)),
    )
    see(plain(vmap(lambda x: torch.func.jvp(lambda v: v * x, (x,), (a[0],)))(a)))
    see(plain(torch.func.jacfwd(lambda x: vmap(lambda y: (x * y).sum())(a))(a[0])))


def case_chunks(torch, see):
    a = numbers(torch, 5, 2)
    vmap = torch.func.vmap
    for n in (1, 2, 5, 7):
        see(plain(vmap(lambda x: (x.sin(), x.sum()), chunk_size=n)(a)))
    see(
        plain(vmap(lambda x: x * 2, 1, 1, chunk_size=1)(a)),
        plain(vmap(lambda x, y: {"a": x + y}, (0, None), chunk_size=3)(a, a[0])),
    )
    see.error(lambda: vmap(torch.sin, chunk_size=0)(a))


def case_structure_errors(torch, see):
    a = numbers(torch, 2, 3)
    vmap = torch.func.vmap
    see.error(lambda: vmap(torch.sin, in_dims="a")(a))
    see.error(lambda: vmap(torch.sin, in_dims=None)(a))
    see.error(lambda: vmap(torch.sin)())
    see.error(lambda: vmap(torch.mul, in_dims=(0,))(a, a))
    see.error(lambda: vmap(torch.mul, in_dims=(None, None))(a, a))
    see.error(lambda: vmap(torch.mul)(a, 3.0))
    see.error(lambda: vmap(torch.sin, in_dims=2)(a))
    see.error(lambda: vmap(torch.sin, in_dims=(0.5,))(a))
    see.error(lambda: vmap(torch.mul)(a, a[:1]))
    see.error(lambda: vmap(lambda x: 3)(a))
    see.error(lambda: vmap(lambda x: (x, "a"))(a))
    see.error(lambda: vmap(torch.sin, out_dims=(0, 1))(a))
    see.error(lambda: vmap(torch.sin, out_dims="a")(a))
    see.error(lambda: vmap(torch.sin, out_dims=3)(a))
    see.error(lambda: vmap(torch.sin, out_dims=None)(a))
    see.error(lambda: vmap(torch.sin, randomness="sometimes")(a))
    see.error(lambda: vmap(torch.sin)(torch.tensor(1.0)))


def case_values_are_refused(torch, see):
    a = numbers(torch, 2, 3)
    vmap = torch.func.vmap
    see.error(lambda: vmap(lambda x: x.sum().item())(a), "vmap")
    see.error(lambda: vmap(lambda x: x if x.sum() > 0 else -x)(a), "vmap")
    see.error(lambda: vmap(lambda x: float(x.sum()))(a))
    see.error(lambda: vmap(lambda x: x[x > 0])(a))
    see.error(lambda: vmap(lambda x: x.nonzero())(a))
    see.error(lambda: vmap(lambda x: torch.zeros(3, dtype=torch.float64).add_(x))(a), "vmap")
    see.error(lambda: vmap(lambda x: torch.zeros(3, dtype=torch.float64).copy_(x))(a), "vmap")
    see.error(lambda: vmap(lambda x, y: x.add_(y), (None, 0))(a[0].clone(), a), "vmap")
    see.error(lambda: vmap(lambda x: torch.add(x, x, out=torch.zeros(3)))(a))

    def assigns(x):
        out = torch.zeros(3, dtype=torch.float64)
        out[0] = x[0]
        return out

    see.error(lambda: vmap(assigns)(a), "vmap")
    see(plain(vmap(lambda x: a.sum().item() + x)(a)), plain(vmap(lambda x: x if a.sum() > 0 else -x)(a)))


def case_writes(torch, see):
    vmap = torch.func.vmap
    a = numbers(torch, 2, 3)
    b = a.clone()
    see(plain(vmap(lambda x: x.add_(1))(b)), plain(b))
    see(plain(vmap(lambda x: x[1:].mul_(2), 1)(b)), plain(b))

    def diagonal(v):
        out = v.new_zeros(3, 3)
        out.diagonal().copy_(v)
        out[0] += v
        out[:, 2] = 5.0
        return out

    see(plain(vmap(diagonal)(a)), plain(vmap(torch.func.grad(lambda v: (diagonal(v) ** 2).sum()))(a)))
    see(plain(vmap(lambda x: torch.zeros_like(x).copy_(x) + torch.ones_like(x).fill_(2).zero_())(a)))
    see(plain(vmap(lambda x, y: x.clone().sub_(y).clamp_(min=0).sqrt_(), (0, None))(a, a[0])))
    see(plain(vmap(lambda x: x.new_full((2,), 3.0).index_put_((torch.tensor([0]),), x[0]))(a)))
    see(plain(vmap(lambda x, i: x.clone().index_fill_(0, i, 7.0), (0, None))(a, torch.tensor([1]))))
    see(plain(vmap(lambda x: x.clone().scatter_(0, torch.tensor([2, 0]), x[:2]))(a)))


def case_indices(torch, see):
    vmap = torch.func.vmap
    a = numbers(torch, 2, 3, 4)
    one, two = torch.tensor([[0, 1], [2, 0]]), torch.tensor([[3, 1], [0, 0]])
    see(plain(vmap(lambda x: x[0])(a)), plain(vmap(lambda x: x[..., 1:])(a)), plain(vmap(lambda x: x[None, :, ::2])(a)))
    see(plain(vmap(lambda x: x[[0, 2]])(a)), plain(vmap(lambda x: x[:, torch.tensor([1, 1, 0])])(a)))
    see(plain(vmap(lambda x: x[torch.tensor([0, 2]), torch.tensor([1, 3])])(a)))
    see(plain(vmap(lambda x, i: x[i])(a, one)), plain(vmap(lambda x, i: x[:, i])(a, two)))
    see(plain(vmap(lambda x, i, j: x[i, j])(a, one, two)), plain(vmap(lambda i: a[0][i])(one)))
    see(plain(vmap(lambda x, i: x[i, 1:])(a, one)), plain(vmap(lambda x, i: x[1, i])(a, two)))
    see(plain(vmap(lambda x, i: x.gather(0, i), (0, None))(a, torch.tensor([[0, 2, 1, 1]]))))
    see(plain(vmap(lambda x, i: x.gather(1, i[:, None].expand(2, 1)))(a[:, :2], two)))
    see(plain(vmap(lambda x, i: x.index_select(1, i))(a, two)), plain(vmap(lambda x, i: x.take(i))(a, one)))
    see(plain(vmap(torch.func.grad(lambda x, i: (x[i] ** 2).sum()))(a, one)))
    see(
        plain(vmap(lambda x, m: torch.where(m, x, -x))(a, a > 0)),
        plain(vmap(lambda x, m: x.masked_fill(m, 0))(a, a > 0)),
    )
    see(plain(vmap(lambda i: torch.nn.functional.one_hot(i, 4))(one)), plain(vmap(lambda x: x.sort(0).values)(a)))

    def assigns(x, i):
        y = x.clone()
        y[i] = 9.0
        return y

    see(plain(vmap(assigns)(a, one)))


def case_randomness(torch, see):
    vmap = torch.func.vmap
    a = numbers(torch, 3, 4)
    for draw in (
        lambda x: torch.randn(4),
        lambda x: torch.rand_like(x),
        lambda x: torch.nn.functional.dropout(x + 2, 0.5),
        lambda x: torch.randint(0, 9, (4,)),
        lambda x: torch.bernoulli(x * 0 + 0.5),
        lambda x: torch.randperm(4),
        lambda x: x.clone().uniform_(),
        lambda x: torch.normal(x, 1.0),
    ):
        see.error(lambda draw=draw: vmap(draw)(a), "vmap")
        other = vmap(draw, randomness="different")(a)
        see(list(other.shape), str(other.dtype), bool((other[0] == other[1]).all()))
    fresh = vmap(lambda x: torch.rand(4), randomness="same")(a)
    see(bool((fresh[0] == fresh[1]).all()), bool((fresh[0] == fresh[2]).all()))
    fresh = vmap(lambda x: torch.rand(4), randomness="different")(a)
    see(bool((fresh[0] == fresh[1]).any()))
    torch.manual_seed(3)
    see(plain(vmap(lambda x: torch.rand(4), randomness="different")(a)))
    see.error(lambda: vmap(lambda x: torch.zeros(3).normal_(), randomness="different")(a))


def case_layers(torch, see):
    F, vmap = torch.nn.functional, torch.func.vmap
    x, w = numbers(torch, 2, 3, 2, 5, 5), numbers(torch, 2, 4, 2, 3, 3, start=0.5)
    b = numbers(torch, 2, 4)
    see(
        plain(vmap(lambda x: F.conv2d(x, w[0], b[0], padding=1))(x)),
        plain(vmap(lambda w, b: F.conv2d(x[0], w, b))(w, b)),
    )
    see(plain(vmap(F.conv2d)(x, w, b)), plain(vmap(lambda x, w: F.conv2d(x[0], w, stride=2))(x, w)))
    see(plain(vmap(lambda x, w: F.conv2d(x, w, groups=2))(x, w[:, :, :1])))
    see(plain(vmap(lambda x, w: F.conv_transpose2d(x, w.transpose(0, 1)))(x, w)))
    see(plain(vmap(lambda x: F.max_pool2d(x, 2))(x)), plain(vmap(lambda x: F.avg_pool2d(x[0], 2))(x)))
    see(plain(vmap(lambda x: F.layer_norm(x, (5, 5)))(x)), plain(vmap(lambda x: F.group_norm(x, 2))(x)))
    see(plain(vmap(lambda x: F.batch_norm(x, None, None, training=True))(x)))
    see(plain(vmap(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"))(x)))
    see(plain(vmap(lambda x: F.softmax(x, -1))(x)), plain(vmap(lambda q: F.scaled_dot_product_attention(q, q, q))(x)))
    t = torch.tensor([[0, 1, 1], [1, 0, 1]])
    for reduction in ("mean", "sum", "none"):
        see(plain(vmap(lambda x, t, r=reduction: F.cross_entropy(x[:, :, 0, 0], t, reduction=r))(x, t)))
        see(plain(vmap(lambda x, r=reduction: F.mse_loss(x, x * 2, reduction=r))(x)))
    see(plain(vmap(lambda x, t: F.cross_entropy(x[0, :, 0, 0], t[0], label_smoothing=0.1))(x, t)))
    see(plain(vmap(lambda x, t: F.nll_loss(x[:, :, 0, 0], t, ignore_index=1, weight=x.new_ones(2)))(x, t)))
    see(
        plain(vmap(lambda a: torch.einsum("chw,cij->hj", a, a))(x[0])),
        plain(vmap(F.linear)(x[:, 0, 0], numbers(torch, 2, 4, 5), b)),
    )
    see(
        plain(vmap(lambda i, w: F.embedding(i, w))(t, numbers(torch, 2, 4, 3))),
        plain(vmap(lambda m: torch.linalg.inv(m + 3 * torch.eye(5)))(x[0, 0])),
    )


def case_fallback_warns(torch, see):
    a = numbers(torch, 2, 3, 3)
    see(plain(torch.func.vmap(torch.linalg.matrix_exp)(a)), plain(torch.func.vmap(lambda m: torch.cdist(m, m))(a)))


def case_printing(torch, see):
    seen = []
    torch.func.vmap(lambda x: (seen.append(repr(x)), x)[1])(torch.arange(4.0).reshape(2, 2))
    see([" ".join(text.split()) for text in seen])

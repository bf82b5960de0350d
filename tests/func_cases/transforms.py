"""grad, vjp, jvp, linearize, Jacobians and Hessians, and what they make of one another."""

from tests.func_cases import numbers, plain


def case_grad(torch, see):
    x = numbers(torch, 3)
    f = torch.func
    see(plain(f.grad(lambda x: (x**3).sum())(x)))
    see(plain(f.grad(f.grad(torch.sin))(x[0])), plain(f.grad(f.grad(f.grad(lambda v: v**4)))(x[1])))
    see(plain(f.grad_and_value(lambda x: x.exp().sum())(x)))
    see(plain(f.grad(lambda x, y: (x * y).sum(), argnums=1)(x, x + 1)))
    see(plain(f.grad(lambda x, y: (x * y).sum(), argnums=(0, 1))(x, x + 1)))
    see(plain(f.grad(lambda x, y: (x * y).sum(), argnums=(-1,))(x, x + 1)))
    see(plain(f.grad(lambda x: ((x**2).sum(), x + 1), has_aux=True)(x)))
    see(plain(f.grad_and_value(lambda x: ((x**2).sum(), {"a": x}), has_aux=True)(x)))
    see(plain(f.grad(lambda p: (p["a"] * p["b"][0]).sum())({"a": x, "b": [x + 2]})))
    see(plain(f.grad(lambda x, y: x.sum())(x, 3)), plain(f.grad(lambda x: x.new_ones(()))(x)))
    see(plain(f.grad(lambda x, k=2: (x**k).sum())(x, k=3)))


def case_histories(torch, see):
    x = numbers(torch, 3).requires_grad_()
    w = numbers(torch, 3, start=1.0).requires_grad_()
    f = torch.func
    g = f.grad(lambda x: (w * x**3).sum())(x)
    see(g.requires_grad)
    g.sum().backward()
    see(plain([x.grad, w.grad]))
    with torch.no_grad():
        see(f.grad(lambda x: (x**2).sum())(x).requires_grad, plain(f.grad(lambda x: (x**2).sum())(x)))

    def inside(x):
        with torch.no_grad():
            c = x**2
        return (x**3 - c).sum()

    see(plain(f.grad(inside)(x.detach())), plain(f.grad(f.grad(lambda v: v**2 - (v**3).detach()))(x[0].detach())))
    out, back = f.vjp(lambda x: w * x, x.detach())
    see(out.requires_grad, back(torch.ones(3, dtype=torch.float64))[0].requires_grad)
    see(f.jacrev(torch.sin)(x.detach()).requires_grad, f.jacrev(torch.sin)(x).requires_grad)
    see(f.jvp(torch.sin, (x,), (w.detach(),))[1].requires_grad, f.hessian(lambda x: x.sum())(x.detach()).requires_grad)
    seen = []
    f.grad(lambda x: (seen.append((x.requires_grad, (x * 2).requires_grad)), x.sum())[1])(x.detach())
    see(seen)


def case_grad_errors(torch, see):
    x = numbers(torch, 3)
    f = torch.func
    see.error(lambda: f.grad(lambda x: x)(x), "scalar")
    see.error(lambda: f.grad(lambda x: 3.0)(x), "Tensor")
    see.error(lambda: f.grad(lambda x: (x.sum(), x))(x))
    see.error(lambda: f.grad(lambda x: x.sum(), has_aux=True)(x), "aux")
    see.error(lambda: f.grad(lambda x: x.sum(), argnums=1)(x), "out of range")
    see.error(lambda: f.grad(lambda x: x.sum(), argnums="a")(x))
    see.error(lambda: f.grad(lambda x: x.sum(), argnums=(0, 0))(x))
    see.error(lambda: f.grad(lambda x: x.sum(), argnums=())(x))
    see.error(lambda: f.grad(lambda x: x.sum())(x.long()))
    see.error(lambda: f.grad(lambda x: x * 2)(3.0))
    see.error(lambda: f.grad(lambda x: x.requires_grad_().sum())(x))
    see.error(lambda: f.vmap(lambda x: x.requires_grad_().sum())(x.reshape(1, 3)))
    see.error(lambda: f.jvp(lambda x: x.requires_grad_().sum(), (x,), (x,)))


def case_vjp(torch, see):
    x, y = numbers(torch, 3), numbers(torch, 2, 3, start=0.7)
    f = torch.func
    out, back = f.vjp(lambda x, y: (x * y, {"s": x.sum()}), x, y)
    see(plain(out), plain(back((torch.ones_like(y), {"s": x[0]}))))
    see(plain(back((y, {"s": x[1] * 0}))))
    out, back, aux = f.vjp(lambda x: (x.sin(), (x, x)), x, has_aux=True)
    see(plain([out, back(x), aux]))
    see(plain(f.vjp(lambda p: p["a"].exp(), {"a": x, "b": y})[1](x)))
    see.error(lambda: f.vjp(lambda x: (x, x), x)[1](x), "structure")
    see.error(lambda: f.vjp(lambda x: x, x)[1](x[:2]), "shape")
    see.error(lambda: f.vjp(lambda x: 3, x), "Tensor")
    see.error(lambda: f.vjp(lambda x: x, 3.0))
    see(plain(f.vjp(lambda x: x * 0 + 1, x)[1](x)), plain(f.vjp(lambda x: x.new_ones(2), x)[1](x[:2])))


def case_jvp(torch, see):
    x, t = numbers(torch, 3), numbers(torch, 3, start=2.0)
    f = torch.func
    see(plain(f.jvp(torch.sin, (x,), (t,))))
    see(plain(f.jvp(lambda x, y: (x * y, {"a": x.exp()}), (x, x + 1), (t, t))))
    see(plain(f.jvp(lambda x: (x**2, x + 1), (x,), (t,), has_aux=True)))
    see(
        plain(f.jvp(lambda x: x.new_ones(2), (x,), (t,))), plain(f.jvp(lambda p: p["a"] ** 2, ({"a": x},), ({"a": t},)))
    )
    see(plain(f.jvp(lambda x: f.jvp(torch.sin, (x,), (t,))[1], (x,), (t,))))
    see(plain(f.jvp(lambda x: f.grad(lambda v: (v**3).sum())(x), (x,), (t,))))
    see(plain(f.grad(lambda x: f.jvp(torch.cos, (x,), (t,))[1].sum())(x)))
    y = numbers(torch, 3, start=0.4)
    see(plain(f.jvp(lambda x: f.jvp(lambda y: x * y * y, (y,), (t,))[1], (x,), (t,))))
    see.error(lambda: f.jvp(torch.sin, x, t), "tuple")
    see.error(lambda: f.jvp(torch.sin, (x,), (t[:2],)), "shape")
    see.error(lambda: f.jvp(torch.sin, (x,), (t, t)), "structure")
    see.error(lambda: f.jvp(torch.sin, (), ()))
    see.error(lambda: f.jvp(lambda x: 3, (x,), (t,)))
    see.error(lambda: f.jvp(lambda x: x.new_ones(2), (x,), (t,), strict=True))


def case_perturbations_stay_apart(torch, see):
    f = torch.func
    x = torch.tensor(2.0, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)

    def forward(g, v):
        return f.jvp(g, (v,), (one,))[1]

    see(plain(forward(lambda x: x * forward(lambda y: x + y, one), x)))
    see(plain(f.grad(lambda x: x * f.grad(lambda y: x + y)(one))(x)))
    see(plain(f.grad(lambda x: x * forward(lambda y: x * y, one))(x)))
    see(plain(forward(lambda x: x * f.grad(lambda y: x * y)(one), x)))
    see(plain(f.grad(lambda x: f.vmap(lambda y: f.grad(lambda z: z * z * x)(y))(torch.stack([x, x * 2])).sum())(x)))


def case_linearize(torch, see):
    x, t = numbers(torch, 3), numbers(torch, 3, start=2.0)
    f = torch.func
    out, push = f.linearize(lambda x: (x**3).sin(), x)
    see(plain([out, push(t), push(t * 2)]))
    out, push = f.linearize(lambda a, b: {"p": a * b, "q": a.sum()}, x, x + 1)
    see(plain([out, push(t, x)]))
    see.error(lambda: push(t))


def case_jacobians(torch, see):
    x, y = numbers(torch, 3), numbers(torch, 2, start=1.0)
    f = torch.func
    for jac in (f.jacrev, f.jacfwd):
        see(plain(jac(torch.sin)(x)), plain(jac(lambda x, y: x[:, None] * y, argnums=1)(x, y)))
        see(plain(jac(lambda x, y: x[:, None] * y, argnums=(0, 1))(x, y)))
        see(plain(jac(lambda x: (x**2, {"s": x.sum()}))(x)), plain(jac(lambda p: p["a"] ** 2)({"a": x, "b": y})))
        see(plain(jac(lambda x: (x.sin(), x), has_aux=True)(x)), plain(jac(lambda x: x.sum())(x)))
        see(plain(jac(jac(lambda x: (x**3).sum()))(x)), plain(jac(jac(lambda x, y: x.sum() * y.prod()))(x, y)))
        see(plain(jac(lambda x: x.new_ones(2))(x)), plain(jac(lambda x: x.prod())(x[0])))
        see.error(lambda jac=jac: jac(lambda x: 3)(x))
        see.error(lambda jac=jac: jac(torch.sin, argnums=2)(x))
    see(plain(f.jacfwd(f.jacrev(lambda x: x.exp().prod()))(x)), plain(f.jacrev(f.jacfwd(lambda x: x.exp().prod()))(x)))
    see(plain(f.hessian(lambda x: (x**3).sum() * x[0])(x)))
    see(plain(f.hessian(lambda x, y: (x[0] * y).prod(), argnums=(0, 1))(x, y)))
    see(plain(f.jacrev(torch.sin, chunk_size=2)(x)), plain(f.jacrev(lambda x: x * x, chunk_size=1)(x)))
    see(plain(f.jacfwd(lambda x: x + torch.rand(3, dtype=torch.float64) * 0, randomness="same")(x)))
    see.error(lambda: f.jacfwd(lambda x: x + torch.rand(3))(x))
    see.error(lambda: f.jacrev(torch.sin, chunk_size=0))


def case_complex_numbers(torch, see):
    z = torch.complex(numbers(torch, 3), numbers(torch, 3, start=1.0))
    f = torch.func
    see(plain(f.grad(lambda z: (z * z.conj()).real.sum())(z)))
    see(plain(f.jvp(lambda z: z * z.abs(), (z,), (z.conj(),))))
    see(plain(f.vjp(lambda z: z.exp(), z)[1](z)))
    see(plain(f.vmap(f.grad(lambda z: (z**2).abs()))(z)))
    see.error(lambda: f.grad(lambda z: z.sum())(z))


def case_in_place(torch, see):
    x, t = numbers(torch, 3), numbers(torch, 3, start=2.0)
    f = torch.func

    def writes(x):
        y = x.clone()
        y.mul_(x)
        y[0] += 1
        y[1:].sin_()
        y[:2] = y[1:].clone()
        return y.sum()

    def fills(x):
        out = torch.zeros(3, dtype=torch.float64)
        out[0] = x[1] * 2
        out[1:] = x[:2] ** 2
        return (out**2).sum()

    def through_a_view(x):
        y = x * 1
        y.view(-1)[1] = x[0] * x[2]
        y.unsqueeze_(0)
        return (y * y).sum()

    for function in (writes, fills):
        see(plain(f.grad(function)(x)), plain(f.jvp(function, (x,), (t,))))
        see(plain(f.hessian(function)(x)), plain(f.jacfwd(f.jacfwd(function))(x)))
    see(plain(f.vmap(writes)(torch.stack([x, t]))), plain(f.vmap(f.grad(writes))(torch.stack([x, t]))))
    see(
        plain(f.vmap(through_a_view)(torch.stack([x, t]))),
        plain(f.vmap(f.hessian(through_a_view))(torch.stack([x, t]))),
    )


def case_functionalize(torch, see):
    x = numbers(torch, 3)
    f = torch.func

    def writes(x):
        y = x.clone()
        y.add_(1)
        return y.view(3, 1) * 2

    see(plain(f.functionalize(writes)(x)), plain(f.functionalize(writes, remove="mutations_and_views")(x)))
    see(plain(f.vmap(f.functionalize(writes))(x[:, None].expand(3, 3).clone())))


def case_the_outer_graph_is_out_of_reach(torch, see):
    x = numbers(torch, 2, 3)
    f = torch.func
    see.error(lambda: f.grad(lambda x: (x.retain_grad(), x.sum())[1])(x))
    see.error(lambda: f.vmap(lambda x: x.sum().backward())(x))
    see.error(lambda: f.vmap(lambda x: torch.autograd.grad(x.sum(), x)[0])(x))
    see.error(lambda: f.grad(lambda x: x.add_(1).sum())(x.clone()))
    see(plain(f.grad(lambda x: (x.data * x).sum())(x)), plain(f.grad(lambda x: (x.detach() * x).sum())(x)))
    see(plain(f.vmap(lambda x: torch.where(x > 0, x, 0.0))(x)), plain(f.vmap(lambda x: sum(x) * len(x))(x)))


def case_rearrange(torch, see):
    x, r = numbers(torch, 2, 4, 3), torch.func.rearrange
    for pattern in (
        "a b c -> c a b", "a b c -> (a b) c", "... c -> c ...", "a b c -> a 1 b c", "a ... -> (...) a",
        "a b c -> (a c) () b", "a ... c -> a c (...)", "a b c -> (a b c)",
    ):  # fmt: skip
        see(plain(r(x, pattern)))
    see(
        plain(r(x, "a (h w) c -> a c h w", h=2)),
        plain(torch.func.grad(lambda x: r(x, "a b c -> c (a b)")[0].prod())(x)),
    )
    see.error(lambda: r(x, "a b -> a"))
    see.error(lambda: r(x, "a b c"))
    see.error(lambda: r(x, "a a b -> a b"))
    see.error(lambda: r(x, "a b c -> a b d"))

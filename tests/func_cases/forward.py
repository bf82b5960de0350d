"""torch.autograd.forward_ad, user-defined Functions under transforms, and autograd.functional."""

from tests.func_cases import numbers, plain


def case_dual_levels(torch, see):
    import importlib

    fw = importlib.import_module(torch.__name__ + ".autograd.forward_ad")
    x, t = numbers(torch, 3), numbers(torch, 3, start=2.0)
    with fw.dual_level() as level:
        see(level)
        d = fw.make_dual(x, t)
        see(plain(list(fw.unpack_dual(d.sin() * d))), fw.unpack_dual(x).tangent, fw.unpack_dual(d.detach()).tangent)
        see(repr(d), repr(fw.unpack_dual(d)))
        out = torch.zeros(3, dtype=torch.float64)
        out[1] = d[2] * 2
        see(plain(list(fw.unpack_dual(out))), plain(list(fw.unpack_dual(d.view(3, 1).expand(3, 2)))))
        w = torch.ones(3, dtype=torch.float64)
        w.mul_(d)
        see(plain(list(fw.unpack_dual(w))))
        see.error(lambda: fw.make_dual(d, t))
        see.error(lambda: fw.make_dual(x, t[:2]))
        see.error(lambda: fw.make_dual(x.long(), t))
        see.error(lambda: fw.make_dual(x, t.long()))
        see.error(fw.enter_dual_level)
        y = x.clone().requires_grad_()
        e = fw.make_dual(y, t)
        see(e.requires_grad, plain(torch.autograd.grad((e * e).sum(), y)))
        (g,) = torch.autograd.grad((e**3).sum(), y)
        see(plain(list(fw.unpack_dual(g))))
        see(plain(torch.autograd.grad(fw.unpack_dual((e**3).sum()).tangent, y)))
        z = t.clone().requires_grad_()
        g = torch.autograd.grad((e * e * z * z).sum(), (y, z))
        see([plain(list(fw.unpack_dual(part))) for part in g])
        (e * z).sum().backward()
        see(plain(list(fw.unpack_dual(z.grad))))
    see(fw.unpack_dual(d).tangent, repr(d))
    see.error(lambda: fw.make_dual(x, t))
    see.error(fw.exit_dual_level)


def case_models_forward(torch, see):
    import importlib

    fw = importlib.import_module(torch.__name__ + ".autograd.forward_ad")
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).double()
    params = dict(model.named_parameters())
    tangents = {name: torch.ones_like(p) for name, p in params.items()}
    with fw.dual_level():
        for name, p in params.items():
            delattr(model, name)
            setattr(model, name, fw.make_dual(p, tangents[name]))
        see(plain(list(fw.unpack_dual(model(numbers(torch, 4, 3))))))


def case_functions(torch, see):
    class Cube(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(x):
            return x**3, 3 * x**2

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(inputs[0], output[1])
            ctx.save_for_forward(inputs[0], output[1])

        @staticmethod
        def backward(ctx, g, h):
            x, slope = ctx.saved_tensors
            return g * slope + h * 6 * x

        @staticmethod
        def jvp(ctx, t):
            x, slope = ctx.saved_tensors
            return t * slope, 6 * x * t

    f = torch.func
    x = numbers(torch, 3)

    def cube(x):
        return Cube.apply(x)[0]

    see(plain(f.grad(lambda x: cube(x).sum())(x)), plain(f.vmap(cube)(x)), plain(f.vmap(f.grad(cube))(x)))
    see(plain(f.vmap(f.vmap(f.grad(cube)))(x[None])), plain(f.jvp(cube, (x,), (x,))), plain(f.jacfwd(cube)(x)))
    see(plain(f.vmap(f.grad(f.grad(cube)))(x)), plain(f.jacrev(f.jacfwd(lambda x: cube(x).sum()))(x)))
    see(plain(f.hessian(lambda x: cube(x).sum())(x)), plain(f.grad(lambda x: f.vmap(cube)(x).sum())(x)))


def case_functions_with_their_own_vmap(torch, see):
    told = []

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(x, y):
            return x * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            x, y = ctx.saved_tensors
            return g * y, g * x

        @staticmethod
        def vmap(info, in_dims, x, y):
            told.append([info.batch_size, info.randomness, list(in_dims)])
            n = info.batch_size
            x = x.movedim(in_dims[0], 0) if in_dims[0] is not None else x.expand(n, *x.shape)
            y = y.movedim(in_dims[1], 0) if in_dims[1] is not None else y.expand(n, *y.shape)
            return Product.apply(x, y), 0

    f = torch.func
    x = numbers(torch, 3)
    see(plain(f.vmap(Product.apply, (0, None))(x, x[0])), told)
    see(plain(f.vmap(f.grad(lambda x, y: Product.apply(x, y), argnums=(0, 1)), (0, None))(x, x[0])))

    class Old(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    see.error(lambda: f.vmap(Old.apply)(x))
    see.error(lambda: f.jvp(Old.apply, (x,), (x,)))

    class Neither(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return x * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

    see.error(lambda: f.vmap(Neither.apply)(x))


def case_functional(torch, see):
    F = torch.autograd.functional
    x, y = numbers(torch, 3), numbers(torch, 3, start=1.0)

    def two(a, b):
        return a * b.sin(), (a**2).sum()

    def one(a, b):
        return (a**2 * b).sum() * a[0]

    for options in ({}, {"vectorize": True}, {"vectorize": True, "strategy": "forward-mode"}):
        see(plain(F.jacobian(two, (x, y), **options)), plain(F.jacobian(torch.sin, x, **options)))
        see(
            plain(F.jacobian(lambda a: (a, a.sum()), x, **options)),
            plain(F.jacobian(lambda a, b: a * b, (x, y), **options)),
        )
        see(plain(F.jacobian(lambda a: torch.zeros(2), x, **options)))
    for options in ({}, {"vectorize": True}, {"vectorize": True, "outer_jacobian_strategy": "forward-mode"}):
        see(plain(F.hessian(one, (x, y), **options)), plain(F.hessian(lambda a: (a**3).sum(), x, **options)))
    see(plain(F.hvp(one, (x, y), (y, x))), plain(F.vhp(one, (x, y), (y, x))), plain(F.jvp(two, (x, y), (y, x))))
    see(plain(F.vjp(two, (x, y), (y, x[0]))))
    z = x.clone().requires_grad_()
    for name in ("jacobian", "hessian"):
        result = getattr(F, name)(lambda a: (a**3).sum(), z, create_graph=True)
        see(result.requires_grad, plain(torch.autograd.grad(result.sum(), z)))
    see(
        F.jacobian(torch.sin, z).requires_grad,
        F.jacobian(torch.sin, z, vectorize=True, create_graph=True).requires_grad,
    )


def case_functional_errors(torch, see):
    F = torch.autograd.functional
    x = numbers(torch, 3)
    see.error(lambda: F.jacobian(torch.sin, x, strategy="forward-mode"))
    see.error(lambda: F.jacobian(torch.sin, x, strategy="forward-mode", vectorize=True, strict=True))
    see.error(lambda: F.jacobian(torch.sin, x, strict=True, vectorize=True))
    see.error(lambda: F.jacobian(torch.sin, x, strategy="forward-mode", vectorize=True, create_graph=True))
    see.error(lambda: F.jacobian(torch.sin, x, strategy="sideways"))
    see.error(lambda: F.hessian(lambda x: x.sum(), x, outer_jacobian_strategy="forward-mode"))
    see.error(lambda: F.hessian(lambda x: x.sum(), x, outer_jacobian_strategy="sideways"))
    see.error(lambda: F.jacobian(lambda x: torch.zeros(2), x, strict=True))
    see.error(lambda: F.hvp(lambda x: x * 2, x, x))
    see.error(lambda: F.hvp(lambda x: (x**3).sum(), x, x[:2]))
    see.error(lambda: F.hvp(lambda x: (x**3).sum(), x))
    see.error(lambda: F.jacobian(lambda x: x * 2, [x, x]))
    see.error(lambda: F.vjp(lambda x: 3, x))
    see.error(lambda: F.hessian(lambda x: x * 2, x))
    see.error(lambda: F.hessian(lambda x: x.sum() * 1, x, strict=True))
    see.error(lambda: F.jvp(torch.sin, x, (x, x)))


def case_checks(torch, see):
    check, again = torch.autograd.gradcheck, torch.autograd.gradgradcheck
    x, y = numbers(torch, 3).requires_grad_(), numbers(torch, 3, start=1.0).requires_grad_()
    both = {"check_forward_ad": True, "check_batched_grad": True, "check_batched_forward_grad": True}
    see(check(lambda a, b: (a * b).sin().cumsum(0), (x, y), **both))
    see(check(lambda a: a.exp(), (x,), check_forward_ad=True, check_backward_ad=False))
    see(again(lambda a, b: (a * b).sin().cumsum(0), (x, y), check_fwd_over_rev=True, check_batched_grad=True))

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            ctx.save_for_forward(x)
            return x**2

        @staticmethod
        def backward(ctx, g):
            return g * 2 * ctx.saved_tensors[0]

        @staticmethod
        def jvp(ctx, t):
            return t * 3 * ctx.saved_tensors[0]

    see(check(Wrong.apply, (x,)))
    see.error(lambda: check(Wrong.apply, (x,), check_forward_ad=True))
    see(check(Wrong.apply, (x,), check_forward_ad=True, raise_exception=False))


def case_batched_gradients(torch, see):
    x = numbers(torch, 3).requires_grad_()
    y = x.sin() * x
    eye = torch.eye(3, dtype=torch.float64)
    see(plain(torch.autograd.grad(y, x, eye, retain_graph=True, is_grads_batched=True)))
    see(plain(torch.func.vmap(lambda v: torch.autograd.grad(y, x, v, retain_graph=True)[0])(eye)))


def case_einsum(torch, see):
    a, b, c = numbers(torch, 3, 4), numbers(torch, 4, 5), numbers(torch, 5, 2)
    see(plain(torch.einsum("ij,jk,kl->il", a, b, c)), plain(torch.einsum("ij,jk,kl", a, b, c)))
    see(plain(torch.einsum("...ij,...jk->...ik", a[None], b[None])), plain(torch.einsum(a, [0, 1], b, [1, 2], [2, 0])))
    see(plain(torch.func.grad(lambda a: torch.einsum("ij,jk,kl->", a, b, c))(a)))
    see(plain(torch.func.vmap(lambda r: torch.einsum("j,jk,kl->l", r, b, c))(a)))

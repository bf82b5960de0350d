"""autograd.functional, gradcheck and gradgradcheck."""


def _ok(torch, call):
    try:
        return call()
    except Exception as error:
        return "raises " + type(error).__name__ if not isinstance(error, RuntimeError) else "raises RuntimeError"


def _double(torch, *shape):
    n = 1
    for k in shape:
        n *= k
    return (torch.arange(float(n), dtype=torch.float64).reshape(shape) / n + 0.3).requires_grad_()


def case_gradcheck_passes(torch, see):
    x, w = _double(torch, 3, 2), _double(torch, 2, 4)
    see(torch.autograd.gradcheck(lambda a, b: (a @ b).tanh(), (x, w)))
    see(torch.autograd.gradcheck(torch.sin, x), torch.autograd.gradcheck(lambda a: (a * 2, a.exp()), [x]))
    see(
        torch.autograd.gradgradcheck(lambda a: a**3, x),
        torch.autograd.gradgradcheck(lambda a, b: (a @ b).sigmoid(), (x, w)),
    )
    see(torch.autograd.gradcheck(lambda a: a * 2, (x,), fast_mode=True, eps=1e-6, atol=1e-4, rtol=1e-3))
    see(torch.autograd.gradcheck(lambda a, n: a * n, (x, 3.0)))


def case_gradcheck_catches(torch, see):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2.9 * x * x

    class WrongSecond(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 3 * x.detach() * x

    x = _double(torch, 3)
    see.error(lambda: torch.autograd.gradcheck(Wrong.apply, x), "disagree")
    see(torch.autograd.gradcheck(Wrong.apply, x, raise_exception=False))
    see(torch.autograd.gradcheck(WrongSecond.apply, x))
    see.error(lambda: torch.autograd.gradgradcheck(WrongSecond.apply, x))
    see(torch.autograd.gradgradcheck(WrongSecond.apply, x, raise_exception=False))
    see.error(lambda: torch.autograd.gradcheck(lambda a: a.detach() * a, x))
    see.error(lambda: torch.autograd.gradcheck(torch.sin, torch.ones(2, dtype=torch.float64)))
    see(torch.autograd.gradcheck(lambda a: a.detach() * 0, x, raise_exception=False))


def case_gradcheck_of_complex(torch, see):
    z = torch.tensor([0.3 + 0.5j, 1 - 0.2j], dtype=torch.complex128, requires_grad=True)
    see(torch.autograd.gradcheck(lambda a: a * a + 1j * a, z), torch.autograd.gradcheck(lambda a: a.abs(), z))
    see(torch.autograd.gradcheck(lambda a: a.exp().real, z))


def case_jacobian(torch, see):
    F = torch.autograd.functional
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0, 5.0])
    see(F.jacobian(lambda a: a.exp(), x))
    see(F.jacobian(lambda a, b: (a.sum() * b, a * 2), (x, y)))
    see(F.jacobian(lambda a: (a * a).sum(), x))
    see(F.jacobian(lambda a: a.outer(a), x))
    see(F.jacobian(lambda a: torch.ones(2), x), F.jacobian(lambda a: a.exp(), x, vectorize=True))
    see.error(lambda: F.jacobian(lambda a: torch.ones(2), x, strict=True))
    xr = x.clone().requires_grad_()
    j = F.jacobian(lambda a: a**3, xr, create_graph=True)
    see(j)
    j.sum().backward()
    see(xr.grad, x.requires_grad)
    see(F.jacobian(lambda a: a.exp(), x, strategy="reverse-mode"))
    see.error(lambda: F.jacobian(lambda a: 3, x))
    see.error(lambda: F.jacobian(lambda a: a, 3))


def case_hessian(torch, see):
    F = torch.autograd.functional
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    see(F.hessian(lambda a: (a**3).sum(), x))
    see(F.hessian(lambda a, b: (a * b).sum() ** 2, (x, y)))
    see(F.hessian(lambda a: a.sum(), x))
    see.error(lambda: F.hessian(lambda a: a * 2, x))
    see.error(lambda: F.hessian(lambda a: a.sum(), x, strict=True))
    see(F.hessian(lambda a: (a**3).sum(), x, vectorize=True))


def case_products(torch, see):
    F = torch.autograd.functional
    x, y = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    v = torch.tensor([0.5, -1.0])
    see(F.vjp(lambda a: a**2, x, v), F.vjp(lambda a: (a**2).sum(), x))
    see(F.vjp(lambda a, b: (a * b, a.sum()), (x, y), (v, torch.tensor(2.0))))
    see(F.jvp(lambda a: a**2, x, v), F.jvp(lambda a, b: a * b, (x, y), (v, v)))
    see(F.jvp(lambda a: a.outer(a), x, v))
    see(F.hvp(lambda a: (a**3).sum(), x, v), F.vhp(lambda a: (a**3).sum(), x, v))
    see(F.hvp(lambda a, b: (a * a * b).sum(), (x, y), (v, v)), F.vhp(lambda a, b: (a * a * b).sum(), (x, y), (v, v)))
    see(F.hvp(lambda a: a.sum(), x, v), F.jvp(lambda a: torch.ones(3), x, v))
    see.error(lambda: F.vjp(lambda a: a**2, x))
    see.error(lambda: F.vjp(lambda a: a**2, x, torch.ones(3)))
    see.error(lambda: F.jvp(lambda a: a**2, x))
    see.error(lambda: F.vjp(lambda a: torch.ones(2), x, v, strict=True))
    see.error(lambda: F.hvp(lambda a: a * 2, x, v))
    see(F.jvp(lambda a: a * 2, torch.tensor(3.0)))
    xr = x.clone().requires_grad_()
    out, p = F.vjp(lambda a: a**3, xr, v, create_graph=True)
    see(out, p)
    p.sum().backward()
    see(xr.grad)
    xr.grad = None
    out, p = F.jvp(lambda a: a**3, xr, v, create_graph=True)
    see(p)
    p.sum().backward()
    see(xr.grad)

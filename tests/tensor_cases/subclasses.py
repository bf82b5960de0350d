"""Subclasses of Tensor, and __torch_function__."""


def case_plain_subclass(torch, see):
    class Mine(torch.Tensor):
        pass

    t = torch.ones(2).as_subclass(Mine)
    see(
        t,
        t + 1,
        torch.sin(t),
        t[0],
        t.sum(),
        t.view(2, 1),
        [t][0],
        t.clone(),
        t.detach(),
        t.numpy(),
        t.tolist(),
        t.shape,
        t + torch.ones(2),
        torch.ones(2) + t,
    )
    see(
        torch.stack([t, t]),
        torch.cat([t, torch.ones(1)]),
        t.unbind(),
        t.max(0),
        t.split(1),
        isinstance(t, torch.Tensor),
        t.to(torch.float64),
        torch.zeros_like(t),
        t == t,
        t.dtype,
    )
    u = Mine([1.0, 2.0])
    see(u, u * 2, repr(u), u.requires_grad_(), (u * 2).sum().backward(), u.grad)
    t += 1
    see(t, type(t.data).__name__, t.T)


def case_overriding_everything(torch, see):
    calls = []

    class Logged(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            calls.append(getattr(func, "__name__", str(func)))
            return super().__torch_function__(func, types, args, kwargs or {})

    t = torch.ones(2).as_subclass(Logged)
    calls.clear()
    u = torch.exp(t + 1).sum()
    see(calls, type(u).__name__)
    calls.clear()
    torch.nn.functional.relu(t)
    see(calls)
    calls.clear()
    t.view(2, 1)
    torch.matmul(t, t)
    see(calls)


def case_scalar_wrapper(torch, see):
    class Unit:
        def __init__(self, value, name):
            self.value, self.name = value, name

        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            plain = [a.value if isinstance(a, Unit) else a for a in args]
            return Unit(func(*plain, **(kwargs or {})), func.__name__)

    u = Unit(torch.ones(2), "start")
    for call in (
        lambda: torch.add(u, 1),
        lambda: torch.mean(u),
        lambda: torch.matmul(u, u),
        lambda: torch.add(torch.ones(2), u),
        lambda: torch.sum(u, dim=0),
    ):
        r = call()
        see(r.name if isinstance(r, Unit) else "plain", r.value if isinstance(r, Unit) else r)


def case_not_implemented(torch, see):
    class Shy(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            return NotImplemented

    t = torch.ones(2).as_subclass(Shy)
    see.error(lambda: torch.exp(t))
    see.error(lambda: t + 1)


def case_disabled(torch, see):
    class Quiet(torch.Tensor):
        __torch_function__ = torch._C._disabled_torch_function_impl

    t = torch.ones(2).as_subclass(Quiet)
    see(type(t).__name__, type(t + 1).__name__, type(torch.exp(t)).__name__)


def case_metadata_and_new(torch, see):
    class Tagged(torch.Tensor):
        @staticmethod
        def __new__(cls, data, tag):
            made = torch.as_tensor(data).as_subclass(cls)
            made.tag = tag
            return made

        def shout(self):
            return self.tag.upper()

    t = Tagged([1.0, 2.0], "red")
    see(t, t.shout(), type(t * 2).__name__, hasattr(t * 2, "tag"), isinstance(t, Tagged))


def case_parameters(torch, see):
    p = torch.nn.Parameter(torch.ones(2))
    see(
        p,
        type(p * 2).__name__,
        p.requires_grad,
        p.is_leaf,
        type(p.data).__name__,
        repr(p),
        type(p.detach()).__name__,
        isinstance(p, torch.nn.Parameter),
        isinstance(p * 1, torch.nn.Parameter),
        type(p.clone()).__name__,
        type(p[0]).__name__,
    )
    q = torch.nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)
    see(q)
    see.error(lambda: torch.nn.Parameter(torch.ones(2, dtype=torch.int64)))
    see(
        torch.nn.Parameter(),
        torch.nn.Parameter(p).data_ptr() == p.data_ptr(),
        torch.nn.Parameter(torch.ones(1), False).requires_grad,
    )


def case_functions_of_ones_own(torch, see):
    from_ours = torch.overrides

    def double(x, y=None):
        if from_ours.has_torch_function((x, y)):
            return from_ours.handle_torch_function(double, (x, y), x, y=y)
        return x * 2

    class Named(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            if func is double:
                return "handled"
            return super().__torch_function__(func, types, args, kwargs or {})

    see(
        double(torch.ones(2)),
        double(torch.ones(2).as_subclass(Named)),
        double(torch.ones(1), torch.ones(2).as_subclass(Named)),
    )
    see(
        from_ours.is_tensor_like(torch.ones(1)),
        from_ours.is_tensor_like(3),
        from_ours.has_torch_function((torch.nn.Parameter(torch.ones(1)), 3)),
    )
    see.error(lambda: torch.exp("no"))

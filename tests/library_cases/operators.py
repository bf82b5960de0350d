"""`torch.library`."""

import itertools
from collections.abc import Sequence

_numbers = itertools.count()


def space():
    """A namespace that no other run has."""
    return f"case{next(_numbers)}"


def case_schemas(torch, see):
    Tensor = torch.Tensor

    def f(x: Tensor, y: Tensor | None, n: int, z: float = 1.5, *, s: str = "a", b: bool = True) -> Tensor:
        return x

    def g(x: Tensor, out: Tensor) -> None:
        return None

    def h(ts: Sequence[Tensor], ns: Sequence[int], f: float | None = None) -> tuple[Tensor, list[Tensor]]:
        return ts[0], list(ts)

    def k(x):
        return x

    infer = torch.library.infer_schema
    see(infer(f, mutates_args=()), infer(g, mutates_args={"out"}), infer(g, mutates_args="unknown"))
    see(infer(h, mutates_args=()))
    see.error(lambda: infer(k, mutates_args=()))
    see.error(lambda: infer(f, mutates_args={"nothing"}))


def case_a_custom_operator(torch, see):
    Tensor = torch.Tensor
    name = space()

    @torch.library.custom_op(f"{name}::scale", mutates_args=())
    def scale(x: Tensor, factor: float, shift: float = 0.0) -> Tensor:
        return x * factor + shift

    op = getattr(torch.ops, name).scale
    x = torch.arange(3.0, requires_grad=True)
    see(scale(x, 2.0).detach(), op(x, factor=3.0).detach(), op.default(x, 1.0, shift=1.0).detach())
    see(scale(x, 2.0).requires_grad)
    see.error(lambda: scale(x, 2.0).sum().backward())
    see.error(lambda: scale(x))
    see.error(lambda: scale("a", 2.0))

    def backward(ctx, grad):
        return grad * ctx.factor, None, None

    def setup_context(ctx, inputs, output):
        _, ctx.factor, _ = inputs

    scale.register_autograd(backward, setup_context=setup_context)
    (scale(x, 2.0) * 5).sum().backward()
    see(x.grad)

    @scale.register_fake
    def _(x, factor, shift=0.0):
        return torch.empty_like(x)

    see(sorted(torch.library.opcheck(scale, (x.detach(), 2.0), test_utils="test_schema").values()))
    see(torch.compile(lambda t: scale(t, 2.0) + 1, backend="eager")(x.detach()))


def case_operators_that_write(torch, see):
    Tensor = torch.Tensor
    name = space()

    @torch.library.custom_op(f"{name}::fill", mutates_args={"x"})
    def fill(x: Tensor, value: float) -> None:
        x.copy_(torch.full_like(x, value))

    @torch.library.custom_op(f"{name}::same", mutates_args=())
    def same(x: Tensor) -> Tensor:
        return x

    x = torch.zeros(2)
    see(fill(x, 3.0), x, x._version)
    see.error(lambda: same(x))


def case_several_results(torch, see):
    Tensor = torch.Tensor
    name = space()

    @torch.library.custom_op(f"{name}::parts", mutates_args=())
    def parts(xs: Sequence[Tensor], y: Tensor) -> tuple[Tensor, Tensor]:
        return xs[0] * y, xs[1] + y

    def setup_context(ctx, inputs, output):
        xs, y = inputs
        ctx.save_for_backward(*xs, y)

    def backward(ctx, a, b):
        x0, x1, y = ctx.saved_tensors
        return [a * y, b], a * x0 + b

    parts.register_autograd(backward, setup_context=setup_context)
    xs = [torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)]
    y = torch.tensor([2.0, 3.0], requires_grad=True)
    a, b = parts(xs, y)
    (a * 2 + b).sum().backward()
    see(a.detach(), b.detach(), xs[0].grad, xs[1].grad, y.grad)


def case_libraries(torch, see):
    name = space()
    lib = torch.library.Library(name, "DEF")
    see(lib.define("power(Tensor x, int n=2) -> Tensor"))
    lib.impl("power", lambda x, n=2: x**n, "CompositeImplicitAutograd")
    ops = getattr(torch.ops, name)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    ops.power(x, n=3).sum().backward()
    see(x.grad, ops.power(x).detach(), str(ops.power.default).partition(".")[2], hasattr(ops, "nothing"))
    lib.define("bare(Tensor x) -> Tensor")
    see.error(lambda: ops.bare(x))
    see.error(lambda: lib.define("power(Tensor x) -> Tensor"))
    see.error(lambda: torch.library.Library(name, "OTHER"))
    torch.library.define(f"{name}::half", "(Tensor x) -> Tensor")

    @torch.library.impl(f"{name}::half", "cpu")
    def half(x):
        return x / 2

    see(ops.half(torch.ones(2)))


def case_batches(torch, see):
    Tensor = torch.Tensor
    name = space()

    @torch.library.custom_op(f"{name}::twice", mutates_args=())
    def twice(x: Tensor) -> Tensor:
        return x * 2

    @torch.library.register_vmap(f"{name}::twice")
    def _(info, in_dims, x):
        return twice(x), in_dims[0]

    see(torch.vmap(twice)(torch.arange(6.0).view(3, 2)))

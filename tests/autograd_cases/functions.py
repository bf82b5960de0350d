"""Function: both styles, everything ctx offers, and what backward may return."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def case_plain(torch, see):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            see(torch.is_grad_enabled(), x.requires_grad)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            see(torch.is_grad_enabled(), g.requires_grad, ctx.needs_input_grad)
            return g * 3 * x * x

    x = leaf(torch)
    y = Cube.apply(x)
    see(
        y,
        y.grad_fn.name(),
        type(y.grad_fn).__name__,
        str(y),
        isinstance(y.grad_fn, torch.autograd.function.FunctionCtx),
    )
    y.sum().backward()
    see(x.grad)
    with torch.no_grad():
        see(Cube.apply(x))
    see(Cube.apply(x.detach()))


def case_setup_context(torch, see):
    class Scale(torch.autograd.Function):
        @staticmethod
        def forward(x, factor, bias=None):
            return x * factor + (0 if bias is None else bias)

        @staticmethod
        def setup_context(ctx, inputs, output):
            x, factor, bias = inputs
            see(len(inputs), output.requires_grad)
            ctx.factor = factor
            ctx.save_for_backward(x)

        @staticmethod
        def backward(ctx, g):
            see(ctx.needs_input_grad)
            return g * ctx.factor, None, g if ctx.needs_input_grad[2] else None

    x, b = leaf(torch), leaf(torch)
    Scale.apply(x, 3.0, None).sum().backward()
    see(x.grad)
    Scale.apply(x, 3.0, b).sum().backward()
    see(x.grad, b.grad)


def case_double_backward(torch, see):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            see(torch.is_grad_enabled())
            return g * 3 * x * x

    x = leaf(torch)
    (g,) = torch.autograd.grad(Cube.apply(x).sum(), x, create_graph=True)
    see(g)
    (h,) = torch.autograd.grad(g.sum(), x, create_graph=True)
    see(h)
    h.sum().backward()
    see(x.grad)


def case_saved_output(torch, see):
    class Exp(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, g):
            (y,) = ctx.saved_tensors
            see(y.requires_grad)
            return g * y

    x = leaf(torch)
    y = Exp.apply(x)
    (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    see(x.grad)
    z = Exp.apply(x)
    z.add_(1)
    see.error(lambda: z.sum().backward())


def case_intermediate_saved(torch, see):
    class Sinh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            a, b = torch.exp(x), torch.exp(-x)
            ctx.save_for_backward(a, b)
            ctx.shape = x.shape
            return (a - b) / 2

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * (a + b) / 2

    x = leaf(torch)
    Sinh.apply(x).sum().backward()
    see(x.grad)


def case_several_outputs(torch, see):
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w, None)
            return x * w, x + w, "a word", 3, None

        @staticmethod
        def backward(ctx, *gs):
            x, w, nothing = ctx.saved_tensors
            see(len(gs), gs[0], gs[1], gs[2], gs[4], nothing)
            return gs[0] * w + gs[1], gs[0] * x + gs[1]

    x, w = leaf(torch), leaf(torch, 4.0, 5.0, 6.0)
    a, b, word, n, none = Two.apply(x, w)
    see(a, b, word, n, none)
    a.sum().backward()
    see(x.grad, w.grad)
    a, b, *_ = Two.apply(x, w)
    (a * b).sum().backward()
    see(x.grad, w.grad)


def case_materialize(torch, see):
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.set_materialize_grads(False)
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            see(a is None, b is None)
            return (0 if a is None else a * 2) + (0 if b is None else b * 3)

    x = leaf(torch)
    a, b = Two.apply(x)
    b.sum().backward()
    see(x.grad)


def case_none_gradients(torch, see):
    class Pass(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            return x * w

        @staticmethod
        def backward(ctx, g):
            return g, None

    x, w = leaf(torch), leaf(torch)
    Pass.apply(x, w).sum().backward()
    see(x.grad, w.grad)

    class Nothing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return None

    y = x * 2
    Nothing.apply(y).sum().backward()
    see(x.grad)


def case_wrong_numbers_of_gradients(torch, see):
    def make(result):
        class Wrong(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, n):
                return x * n

            @staticmethod
            def backward(ctx, g):
                return result(g)

        return Wrong

    x = leaf(torch)
    see.error(lambda: make(lambda g: g).apply(x, 2).sum().backward(), "Wrong", "expected 2, got 1")
    see.error(lambda: make(lambda g: (g, None, g)).apply(x, 2).sum().backward(), "expected 2, got 3")
    see.error(lambda: make(lambda g: (g, g)).apply(x, 2).sum().backward())
    make(lambda g: (g, None, None, None)).apply(x, 2).sum().backward()
    make(lambda g: [g, None]).apply(x, 2) if False else None
    see(x.grad)
    see.error(lambda: make(lambda g: (g.tolist(), None)).apply(x, 2).sum().backward())
    see.error(lambda: make(lambda g: (3.0, None)).apply(x, 2).sum().backward())
    see.error(lambda: make(lambda g: [g, None]).apply(x, 2).sum().backward())
    see(x.grad)


def case_shapes_and_dtypes_of_gradients(torch, see):
    def make(result):
        class Gradient(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, g):
                return result(g)

        return Gradient

    x = leaf(torch)
    see.error(lambda: make(lambda g: torch.ones(4)).apply(x).sum().backward(), "[4]", "[3]")
    make(lambda g: torch.ones(5, 3)).apply(x).sum().backward()
    see(x.grad)
    see.error(lambda: make(lambda g: torch.tensor(2.0)).apply(x).sum().backward())
    see.error(lambda: make(lambda g: g.reshape(3, 1)).apply(x).sum().backward())
    see.error(lambda: make(lambda g: torch.ones(1)).apply(x).sum().backward())
    see(x.grad)
    make(lambda g: torch.ones(3, dtype=torch.float64)).apply(x).sum().backward()
    see(x.grad)
    make(lambda g: g.expand(1, 3)).apply(x).sum().backward()
    see(x.grad)


def case_broadcast_gradient_of_leaf(torch, see):
    class G(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(torch)
    see.error(lambda: G.apply(x).backward() or 1 / 0)
    see(x.grad)


def case_mark_dirty(torch, see):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(torch)
    y = x * 1
    v = y._version
    z = Double.apply(y)
    see(z is y, z, y._version - v)
    z.sum().backward()
    see(x.grad)
    see.error(lambda: Double.apply(x))
    plain = torch.ones(3)
    see(Double.apply(plain) is plain, plain)
    with torch.no_grad():
        see(Double.apply(torch.ones(2)))


def case_mark_dirty_on_a_view(torch, see):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(torch)
    y = x * 1
    Double.apply(y[:2])
    see(y)
    y.sum().backward()
    see(x.grad)


def case_dirty_but_not_returned(torch, see):
    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            x.mul_(2)
            ctx.mark_dirty(x)
            return x + 1

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(torch)
    see.error(lambda: Wrong.apply(x * 1).sum().backward() or 1 / 0)


def case_non_differentiable(torch, see):
    class Sorted(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            values, places = x.sort()
            half = x * 0.5
            ctx.mark_non_differentiable(places, half)
            ctx.save_for_backward(places)
            return values, places, half

        @staticmethod
        def backward(ctx, g, gp, gh):
            see(g, gp, gh)
            (places,) = ctx.saved_tensors
            return torch.zeros(3).index_add(0, places, g)

    x = leaf(torch, 3.0, 1.0, 2.0)
    values, places, half = Sorted.apply(x)
    see(values, places, half)
    (values * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    see(x.grad)


def case_integer_outputs(torch, see):
    class Where(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, (x > 1).long(), x > 1

        @staticmethod
        def backward(ctx, g, a, b):
            see(a is None or a, b is None or b)
            return g * 2

    x = leaf(torch)
    y, n, b = Where.apply(x)
    see(y, n, b)
    y.sum().backward()
    see(x.grad)


def case_input_returned(torch, see):
    class Same(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 10

    x = leaf(torch)
    y = Same.apply(x)
    see(y is x, y, y.data_ptr() == x.data_ptr())
    y.sum().backward()
    see(x.grad)
    plain = torch.ones(2)
    see(Same.apply(plain) is plain, Same.apply(plain))


def case_view_returned(torch, see):
    class First(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x[0]

        @staticmethod
        def backward(ctx, g):
            out = torch.zeros(ctx.shape)
            out[0] = g
            return out

    x = torch.arange(4.0).reshape(2, 2).requires_grad_()
    y = First.apply(x)
    see(y, y._is_view())
    y.sum().backward()
    see(x.grad)


def case_once_differentiable(torch, see):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            see(torch.is_grad_enabled())
            return g * 2 * x

    x = leaf(torch)
    Square.apply(x).sum().backward()
    see(x.grad)
    (g,) = torch.autograd.grad(Square.apply(x).sum(), x, create_graph=True)
    see(g.requires_grad)
    see.error(lambda: g.sum().backward())
    (g,) = torch.autograd.grad((Square.apply(x) * x).sum(), x, create_graph=True)
    see(g)
    see.error(lambda: g.sum().backward(), "once_differentiable")


def case_unusual_arguments(torch, see):
    class Mix(torch.autograd.Function):
        @staticmethod
        def forward(ctx, xs, scale, x, flag=False, *rest):
            see(type(xs).__name__, flag, len(rest))
            return x * scale + sum(t.sum() for t in xs)

        @staticmethod
        def backward(ctx, g):
            see(ctx.needs_input_grad)
            return (None, None, g) + (None,) * (len(ctx.needs_input_grad) - 3)

    x = leaf(torch)
    Mix.apply([x, x], 2.0, x, True, 1, 2).sum().backward()
    see(x.grad)
    Mix.apply((torch.ones(1),), 2.0, x).sum().backward()
    see(x.grad)


def case_attributes_of_ctx(torch, see):
    class F(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.anything = {"a": 1}
            ctx.n = x.shape[0]
            see(ctx.needs_input_grad, type(ctx).__name__)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            see(ctx.anything, ctx.n, ctx.saved_tensors)
            return g * 2

    x = leaf(torch)
    y = F.apply(x)
    see(y.grad_fn.n, [f.name() for f, _ in y.grad_fn.next_functions])
    seen = []
    y.grad_fn.register_hook(lambda gi, go: seen.append([len(gi), len(go)]))
    y.sum().backward()
    see(seen)

"""Function: what is saved and when that fails, nesting, and gradients that it must leave alone."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def case_saved_twice_and_freed(torch, see):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = leaf(torch)
    y = Square.apply(x)
    node = y.grad_fn
    see(node.saved_tensors)
    y.sum().backward(retain_graph=True)
    y.sum().backward()
    see(x.grad)
    see.error(lambda: y.sum().backward(), "second time")
    see.error(lambda: node.saved_tensors)


def case_saved_was_modified(torch, see):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * 2 * x

    x = leaf(torch)
    y = x * 1
    z = Square.apply(y)
    y.add_(1)
    see.error(lambda: z.sum().backward(), "Square", "modified")


def case_save_refused(torch, see):
    class F(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x, 3)
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(torch)
    see.error(lambda: F.apply(x))


def case_not_implemented(torch, see):
    class Empty(torch.autograd.Function):
        pass

    class NoBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    class NotATensor(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 5

        @staticmethod
        def backward(ctx, g):
            return g

    class AList(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return [x * 1, x * 2]

        @staticmethod
        def backward(ctx, *g):
            return g[0]

    x = leaf(torch)
    see.error(lambda: Empty.apply(x))
    y = NoBackward.apply(x)
    see(y)
    see.error(lambda: y.sum().backward())
    see.error(lambda: NotATensor.apply(x))
    see.error(lambda: AList.apply(x))
    see.error(lambda: Empty()(x))


def case_vjp_name(torch, see):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def vjp(ctx, g):
            return g * 2

    x = leaf(torch)
    Double.apply(x).sum().backward()
    see(x.grad)


def case_function_that_runs_autograd_inside(torch, see):
    class Through(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            with torch.enable_grad():
                inner = x.detach().requires_grad_()
                y = (inner * inner).sum()
            ctx.inner, ctx.y = inner, y
            return y.detach()

        @staticmethod
        def backward(ctx, g):
            return torch.autograd.grad(ctx.y, ctx.inner)[0] * g

    x = leaf(torch)
    Through.apply(x * 2).backward()
    see(x.grad)


def case_nested_functions(torch, see):
    class Inner(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Outer(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return Inner.apply(x)

        @staticmethod
        def backward(ctx, g):
            return Inner.apply(g) * 3

    x = leaf(torch)
    Outer.apply(x).sum().backward()
    see(x.grad)


def case_unused_in_graph_with_none(torch, see):
    class F(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            return x * 2 + w

        @staticmethod
        def backward(ctx, g):
            see(ctx.needs_input_grad)
            return g * 2, g

    x, w = leaf(torch), torch.ones(3)
    F.apply(x, w).sum().backward()
    see(x.grad, w.grad)


def case_backward_raises(torch, see):
    class Boom(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            raise ZeroDivisionError("here")

    x = leaf(torch)
    see.error(lambda: Boom.apply(x).sum().backward(), "here")
    see(torch.is_grad_enabled(), x.grad)


def case_straight_through(torch, see):
    class Round(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.round(x)

        @staticmethod
        def backward(ctx, g):
            return g.clone()

    x = leaf(torch, 0.4, 0.6)
    (Round.apply(x * 3) ** 2).sum().backward()
    see(x.grad)
    see(torch.autograd.gradcheck(lambda v: v * 2, (torch.ones(2, dtype=torch.float64, requires_grad=True),)))


def case_inplace_on_output(torch, see):
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 2

    x = leaf(torch)
    y = Double.apply(x)
    y.mul_(3)
    y.sum().backward()
    see(x.grad, y)


def case_gradients_are_not_changed_by_it(torch, see):
    class Nasty(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1

        @staticmethod
        def backward(ctx, g):
            return g.mul_(2)

    x, w = leaf(torch), leaf(torch)
    y = x * 3
    (Nasty.apply(y)).backward(torch.ones(3))
    see(x.grad)

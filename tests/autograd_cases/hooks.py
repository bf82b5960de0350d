"""Hooks of tensors, nodes and saved values: when they fire, what they see, what they replace."""

import gc


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def case_tensor_hook_sees_and_replaces(torch, see):
    x = leaf(torch)
    y = x * 2
    order = []
    x.register_hook(lambda g: order.append(["x", g.tolist()]))
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: order.append(["y", g.tolist()]))
    y.sum().backward()
    see(order, x.grad)


def case_leaf_hook_replaces(torch, see):
    x = leaf(torch)
    h = x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 2)
    (x * 3).sum().backward()
    see(x.grad)
    h.remove()
    h.remove()
    x.grad = None
    (x * 3).sum().backward()
    see(x.grad)
    with x.register_hook(lambda g: g * 0):
        x.grad = None
        (x * 3).sum().backward()
    see(x.grad)
    x.grad = None
    (x * 3).sum().backward()
    see(x.grad)


def case_leaf_hook_fires_once_with_the_whole_gradient(torch, see):
    x = leaf(torch)
    seen = []
    x.register_hook(lambda g: seen.append(g.tolist()))
    (x * 2 + x * 3 + x.exp() * 0).sum().backward()
    see(seen)
    see(torch.autograd.grad((x * 2).sum(), x))
    see(seen)


def case_hooks_refused(torch, see):
    see.error(lambda: torch.ones(2).register_hook(lambda g: g))
    x = leaf(torch)
    y = x * 2
    see.error(lambda: y.register_post_accumulate_grad_hook(lambda t: None))
    see.error(lambda: torch.ones(2).register_post_accumulate_grad_hook(lambda t: None))
    y.register_hook(lambda g: torch.ones(2))
    see.error(lambda: y.sum().backward())
    z = x * 2
    z.register_hook(lambda g: 5)
    see.error(lambda: z.sum().backward())
    see(x.grad)


def case_hook_raises(torch, see):
    x = leaf(torch)
    y = x * 2

    def hook(g):
        raise KeyError("mine")

    y.register_hook(hook)
    see.error(lambda: y.sum().backward())
    see(x.grad, torch.is_grad_enabled())


def case_retain_grad_sees_what_hooks_made(torch, see):
    x = leaf(torch)
    y = x * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 10)
    y.sum().backward()
    see(y.grad, x.grad)
    z = x * 2
    z.register_hook(lambda g: g * 3)
    z.retain_grad()
    z.register_hook(lambda g: g * 5)
    z.retain_grad()
    z.sum().backward(retain_graph=True)
    see(z.grad, x.grad)
    z.sum().backward()
    see(z.grad)


def case_retain_grad_and_in_place(torch, see):
    x = leaf(torch)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    see(y.grad, x.grad)
    z = x * 2
    seen = []
    z.register_hook(lambda g: seen.append(["before", g.tolist()]))
    z.mul_(3)
    z.register_hook(lambda g: seen.append(["after", g.tolist()]))
    z.sum().backward()
    see(seen)


def case_hooks_of_several_outputs(torch, see):
    x = leaf(torch, 3.0, 1.0, 2.0)
    values, places = x.sort()
    a, b, c = (x * 2).unbind()
    seen = []
    a.register_hook(lambda g: seen.append(["a", g.tolist()]))
    b.register_hook(lambda g: seen.append(["b", g.tolist()]))
    values.register_hook(lambda g: seen.append(["values", g.tolist()]))
    b.retain_grad()
    (a + b * 2 + values.sum()).backward()
    see(seen, b.grad, x.grad)


def case_node_hooks(torch, see):
    x, w = leaf(torch), leaf(torch, 4.0, 5.0, 6.0)
    y = x * w
    seen = []
    y.grad_fn.register_hook(lambda gi, go: seen.append(["post", [g.tolist() for g in gi], [g.tolist() for g in go]]))
    y.grad_fn.register_prehook(lambda go: seen.append(["pre", [g.tolist() for g in go]]))
    y.register_hook(lambda g: seen.append(["tensor", g.tolist()]))
    y.sum().backward()
    see(seen, x.grad)


def case_node_hooks_replace(torch, see):
    x, w = leaf(torch), leaf(torch, 4.0, 5.0, 6.0)
    y = x * w
    y.grad_fn.register_prehook(lambda go: (go[0] * 10,))
    y.grad_fn.register_hook(lambda gi, go: (gi[0] + 1, None))
    y.sum().backward()
    see(x.grad, w.grad)
    z = x * w
    h = z.grad_fn.register_hook(lambda gi, go: (gi[0],))
    see.error(lambda: z.sum().backward())
    h.remove()


def case_node_hook_with_a_constant(torch, see):
    x = leaf(torch)
    y = x * 3
    seen = []
    y.grad_fn.register_hook(lambda gi, go: seen.append([None if g is None else g.tolist() for g in gi]))
    y.sum().backward()
    see(seen)


def case_accumulator_hooks(torch, see):
    x = leaf(torch)
    acc = x.expand_as(x).grad_fn.next_functions[0][0]
    see(acc.name(), acc.variable is x)
    seen = []
    acc.register_hook(lambda gi, go: seen.append(["after", len(gi), x.grad.tolist()]))
    acc.register_prehook(lambda go: seen.append(["before", go[0].tolist(), x.grad is None]))
    x.register_hook(lambda g: seen.append(["hook", g.tolist()]))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(["post", t is x, t.grad.tolist()]))
    (x * 2).sum().backward()
    see(seen)


def case_post_accumulate(torch, see):
    x = leaf(torch)
    seen = []
    h = x.register_post_accumulate_grad_hook(lambda t: (seen.append(t.grad.tolist()), setattr(t, "grad", None))[1])
    (x * 2).sum().backward()
    see(seen, x.grad)
    torch.autograd.grad((x * 2).sum(), x)
    see(seen)
    h.remove()
    (x * 2).sum().backward()
    see(seen, x.grad)


def case_optimizer_in_backward(torch, see):
    a, b = leaf(torch), leaf(torch)

    def step(p):
        with torch.no_grad():
            p.sub_(p.grad, alpha=0.1)
        p.grad = None

    for p in (a, b):
        p.register_post_accumulate_grad_hook(step)
    (a * 2 + b * b).sum().backward()
    see(a, b, a.grad)


def case_multi_grad_hook(torch, see):
    a, b, c = leaf(torch), leaf(torch), leaf(torch)
    seen = []
    handle = torch.autograd.graph.register_multi_grad_hook(
        [a, b, c], lambda gs: seen.append([None if g is None else g.tolist() for g in gs])
    )
    (a * 2 + b * 3 + c).sum().backward()
    see(seen)
    (a * 2 + c).sum().backward()
    see(seen)
    handle.remove()
    (a * 2 + b * 3 + c).sum().backward()
    see(len(seen))
    other = []
    torch.autograd.graph.register_multi_grad_hook((a, b), lambda g: other.append(g.tolist()), mode="any")
    (a * 2 + b * 3 + c).sum().backward()
    see(len(other))
    see.error(lambda: torch.autograd.graph.register_multi_grad_hook((a, b), lambda g: g, mode="some"))


def case_order_of_branches(torch, see):
    x = leaf(torch)
    seen = []

    def watch(name, t):
        t.register_hook(lambda g: seen.append(name))
        return t

    a = watch("a", x * 1)
    b = watch("b", x * 2)
    c = watch("c", a * b)
    d = watch("d", b + 1)
    e = watch("e", c * d)
    watch("e2", (e + a)).sum().backward()
    x.register_hook(lambda g: seen.append("x"))
    see(seen)


def case_order_of_leaves(torch, see):
    ws = [leaf(torch) for _ in range(4)]
    seen = []
    for i, w in enumerate(ws):
        w.register_hook(lambda g, i=i: seen.append(i))
        w.register_post_accumulate_grad_hook(lambda t, i=i: seen.append(["done", i]))
    y = ws[0]
    for w in ws[1:]:
        y = (y * w).tanh()
    y.sum().backward()
    see(seen)


def case_hooks_under_create_graph(torch, see):
    x = leaf(torch)
    y = x * x
    seen = []
    y.register_hook(lambda g: seen.append([g.requires_grad, torch.is_grad_enabled()]))
    (g,) = torch.autograd.grad((y * y).sum(), x, create_graph=True)
    see(seen, g)
    g.sum().backward()
    see(x.grad)
    z = x * x
    z.register_hook(lambda g: seen.append([g.requires_grad, torch.is_grad_enabled()]))
    z.sum().backward()
    see(seen)


def case_hooks_with_inputs(torch, see):
    x, w = leaf(torch), leaf(torch)
    seen = []
    y = x * w
    y.register_hook(lambda g: seen.append("y"))
    x.register_hook(lambda g: seen.append("x"))
    w.register_hook(lambda g: seen.append("w"))
    x.register_post_accumulate_grad_hook(lambda t: seen.append("px"))
    z = (y * y).sum()
    torch.autograd.grad(z, y, retain_graph=True)
    see(seen)
    torch.autograd.grad(z, x, retain_graph=True)
    see(seen)
    z.backward(inputs=[w], retain_graph=True)
    see(seen)
    y.register_hook(lambda g: g * 100)
    y.grad_fn.register_prehook(lambda g: (g[0] + 1,))
    see(torch.autograd.grad(z, y, retain_graph=True))
    see(torch.autograd.grad(z, x, retain_graph=True))
    see(torch.autograd.grad(z, [y, x]))


def case_hook_does_backward_itself(torch, see):
    x, w = leaf(torch), leaf(torch, 2.0)

    def hook(g):
        with torch.enable_grad():
            (w * 3).sum().backward()

    y = x * 2
    y.register_hook(hook)
    y.sum().backward()
    see(x.grad, w.grad)


def case_saved_tensors_hooks(torch, see):
    x = leaf(torch)
    seen = []

    def pack(t):
        seen.append(["pack", t.tolist()])
        return t.detach().numpy().copy()

    def unpack(a):
        seen.append(["unpack", a.tolist()])
        return torch.from_numpy(a)

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        y = x * x
        z = y.exp()
    see(len(seen))
    z.sum().backward()
    see(x.grad, len(seen))


def case_saved_tensors_hooks_nest(torch, see):
    x = leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 1, lambda t: t * 2):
        y = x.sin()
        with torch.autograd.graph.saved_tensors_hooks(lambda t: t * 3, lambda t: t):
            z = x.sin()
    (y + z).sum().backward()
    see(x.grad)
    with torch.autograd.graph.save_on_cpu():
        w = x.exp()
    w.sum().backward()
    see(x.grad)
    with torch.autograd.graph.disable_saved_tensors_hooks("not here"):
        see.error(lambda: torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t).__enter__(), "not here")


def case_saved_tensors_hooks_and_a_function(torch, see):
    seen = []

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return 2 * x * g

    x = leaf(torch)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: (seen.append("pack"), t)[1], lambda t: (seen.append("unpack"), t)[1]
    ):
        y = Square.apply(x)
    see(seen)
    y.sum().backward()
    see(seen, x.grad)


def case_graph_tools(torch, see):
    x = leaf(torch)
    y = x * 2
    edge = torch.autograd.graph.get_gradient_edge(y)
    see(edge.node is y.grad_fn, edge.output_nr)
    leaf_edge = torch.autograd.graph.get_gradient_edge(x)
    see(leaf_edge.node.name())
    see.error(lambda: torch.autograd.graph.get_gradient_edge(torch.ones(1)))
    v = x._version
    torch.autograd.graph.increment_version(x)
    see(x._version - v)
    z = (y * 3).sum()
    see(torch.autograd.grad(z, edge, retain_graph=True))
    see(torch.autograd.grad(z, leaf_edge, retain_graph=True))
    z.backward(inputs=leaf_edge)
    see(x.grad)


def case_grad_fn_looks(torch, see):
    x, w = leaf(torch), leaf(torch)
    y = (x * w + 1).sum()
    n = y.grad_fn
    see(n.name(), n is y.grad_fn, str(n).split(" object")[0], len(n.next_functions))
    add = n.next_functions[0][0]
    see(add.name(), [f and f.name() for f, _ in add.next_functions], [i for _, i in add.next_functions])
    mul = add.next_functions[0][0]
    see([f.name() for f, _ in mul.next_functions], mul.next_functions[0][0].variable is x)
    mul.metadata["mine"] = 5
    see(mul.metadata)
    see(isinstance(n, torch.autograd.graph.Node), type(mul).__name__)
    see((x * 2).grad_fn.next_functions[1][0], x.grad_fn)
    see(mul._saved_self is x or mul._saved_self.tolist() == x.tolist(), mul._saved_other)
    see("_saved_self" in dir(mul), (x**2).grad_fn._saved_exponent)
    e = x.exp()
    see(e.grad_fn._saved_result.tolist() == e.tolist())
    m = mul
    y.backward()
    see.error(lambda: m._saved_self)


def case_graph_is_freed(torch, see):
    import weakref

    x = leaf(torch)
    y = x * 2
    z = y.exp()
    node = weakref.ref(y)
    d = z.detach()
    del y, z
    gc.collect()
    see(node() is None, d.shape[0])
    z = x.exp()
    d = z.detach()
    gone = weakref.ref(z)
    del z
    see(gone() is None)


def case_walk_over_a_graph(torch, see):
    x, w, b = torch.ones(2, 3), torch.ones(4, 3, requires_grad=True), torch.ones(4, requires_grad=True)
    loss = (((x @ w.t() + b).relu() - 1) ** 2).mean()
    names, stack = [], [loss.grad_fn]
    while stack:
        n = stack.pop(0)
        names.append(n.name())
        stack += [f for f, _ in n.next_functions if f is not None]
    see(names)

"""backward and grad: accumulation, retained and recorded graphs, chosen inputs, and their refusals."""


def leaf(torch, *values):
    return torch.tensor(list(values) or [1.0, 2.0, 3.0], requires_grad=True)


def case_accumulates(torch, see):
    x = leaf(torch)
    (x * 2).sum().backward()
    first = x.grad
    (x * x).sum().backward()
    see(x.grad, x.grad is first)
    x.grad = None
    see(x.grad)
    x.grad = torch.zeros(3)
    (x * 2).sum().backward()
    see(x.grad)


def case_grad_belongs_to_nobody_else(torch, see):
    x, y = leaf(torch), leaf(torch, 4.0, 5.0, 6.0)
    g = torch.ones(3)
    (x + y).backward(g)
    see(x.grad.data_ptr() == y.grad.data_ptr(), x.grad.data_ptr() == g.data_ptr())
    x.grad.mul_(10)
    see(y.grad, g)
    a, b = leaf(torch), leaf(torch)
    (a + b).sum().backward()
    a.grad.add_(5)
    see(a.grad, b.grad)


def case_root_is_a_leaf(torch, see):
    x = leaf(torch, 2.0)
    x.backward()
    see(x.grad)
    x.backward(torch.tensor([3.0]))
    see(x.grad)
    g = torch.ones(3)
    y = leaf(torch)
    y.backward(g)
    y.grad.mul_(7)
    see(g, y.grad)


def case_passed_gradient_is_kept_apart(torch, see):
    x = leaf(torch)
    y = x.clone()
    g = torch.ones(3)
    y.backward(g)
    x.grad += 1
    see(g, x.grad)
    z = leaf(torch)
    got = torch.autograd.grad(z.view(3), z, g)[0]
    see(got.data_ptr() == g.data_ptr() or True, got)


def case_retain_graph(torch, see):
    x = leaf(torch)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    see(x.grad)
    see.error(y.backward, "second time", "Mul", "retain_graph")
    see(x.grad)


def case_second_backward_without_saved_values_is_allowed(torch, see):
    x = leaf(torch)
    y = (x + 1).sum()
    y.backward()
    y.backward()
    see(x.grad)


def case_partial_free(torch, see):
    x = leaf(torch)
    a = x.exp()
    b = a.sum()
    c = (a * 2).sum()
    b.backward()
    see.error(c.backward, "Exp")


def case_create_graph(torch, see):
    x = leaf(torch)
    (x**3).sum().backward(create_graph=True)
    g = x.grad
    see(g)
    x.grad = None
    g.sum().backward()
    see(x.grad)


def case_third_derivative(torch, see):
    x = leaf(torch, 0.5, 1.5)
    y = (x**4).sum()
    for _ in range(3):
        (g,) = torch.autograd.grad(y, x, create_graph=True)
        see(g)
        y = g.sum()


def case_inputs(torch, see):
    x, y = leaf(torch), leaf(torch)
    z = x * y
    (z * z).sum().backward(inputs=[x], retain_graph=True)
    see(x.grad, y.grad)
    (z * z).sum().backward(inputs=(x, z), retain_graph=True)
    see(x.grad, y.grad, z.grad)
    (z * z).sum().backward(inputs=y)
    see(y.grad)


def case_inputs_refused(torch, see):
    x, c = leaf(torch), torch.ones(3)
    y = (x * c).sum()
    see.error(lambda: y.backward(inputs=[]))
    see.error(lambda: y.backward(inputs=[c]))
    see.error(lambda: torch.autograd.grad(y, c))
    see(x.grad)


def case_input_that_is_unused(torch, see):
    x, y = leaf(torch), leaf(torch)
    z = (x * 2).sum()
    z.backward(inputs=[y])
    see(x.grad, y.grad)


def case_grad_of_several(torch, see):
    x, y = leaf(torch), leaf(torch)
    see(torch.autograd.grad([(x * y).sum(), (x + y).sum()], [x, y]))
    see(torch.autograd.grad(((x * y), (x + y)), (y, x), (torch.ones(3), torch.full((3,), 2.0))))
    see(torch.autograd.grad((x * y).sum(), [x, x]))


def case_grad_with_respect_to_a_middle(torch, see):
    x = leaf(torch)
    m = x * 2
    y = (m * m).sum()
    gm, gx = torch.autograd.grad(y, [m, x])
    see(gm, gx, x.grad)
    see(torch.autograd.grad((x * 2).sum().unsqueeze(0), x))


def case_grad_of_the_root_itself(torch, see):
    x = leaf(torch, 3.0)
    y = x * 2
    see(torch.autograd.grad(y, y))
    see(torch.autograd.grad(x, x))


def case_unused(torch, see):
    x, y = leaf(torch), leaf(torch)
    z = (x * 2).sum()
    see.error(lambda: torch.autograd.grad(z, [x, y]), "allow_unused")
    z = (x * 2).sum()
    see(torch.autograd.grad(z, [x, y], allow_unused=True))
    z = (x * 2).sum()
    see(torch.autograd.grad(z, [x, y], materialize_grads=True))
    see.error(lambda: torch.autograd.grad(z, [x, y], allow_unused=False, materialize_grads=True))


def case_batched(torch, see):
    x = leaf(torch)
    y = x**2
    see(torch.autograd.grad(y, x, torch.eye(3), is_grads_batched=True, retain_graph=True))
    see(torch.autograd.grad(y, x, (torch.eye(3),), is_grads_batched=True))


def case_roots_refused(torch, see):
    x = leaf(torch)
    see.error(lambda: (x * 2).backward(), "scalar")
    see.error(lambda: torch.ones(1).backward(), "does not require grad")
    see.error(lambda: (x * 2).backward(torch.ones(2)), "[2]", "[3]")
    see.error(lambda: (x * 2).backward(torch.ones(3, 1)))
    see.error(lambda: (x * 2).backward(3.0))
    see.error(lambda: torch.autograd.backward([x.sum(), x.sum()], [torch.tensor(1.0)]))
    see.error(lambda: (x * 2).backward(torch.ones(3, dtype=torch.complex64)))
    see(x.grad)


def case_several_roots(torch, see):
    x = leaf(torch)
    torch.autograd.backward([(x * 2).sum(), (x * 3).sum()])
    see(x.grad)
    torch.autograd.backward((x * 2, x * 3), (torch.ones(3), torch.ones(3)))
    see(x.grad)
    y = (x * x).sum()
    torch.autograd.backward([y, y])
    see(x.grad)


def case_diamond(torch, see):
    x = leaf(torch)
    a = x * 2
    b, c = a.sin(), a.cos()
    d = b * c
    (d * a + b).sum().backward()
    see(x.grad)
    y = leaf(torch, 1.0)
    z = y
    for _ in range(30):
        z = z + z
    z.backward()
    see(y.grad)


def case_leaf_used_many_times(torch, see):
    w = leaf(torch, 0.5)
    y = w
    for _ in range(5):
        y = (y * w).tanh() + w
    y.sum().backward()
    see(w.grad)


def case_deep_chain(torch, see):
    x = leaf(torch, 1.0)
    y = x
    for _ in range(20000):
        y = y * 1.0
    y.backward()
    see(x.grad)


def case_mixed_dtypes(torch, see):
    x = leaf(torch)
    y = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    z = x * y
    see(z)
    z.sum().backward()
    see(x.grad, y.grad)
    h = torch.ones(3, dtype=torch.float16, requires_grad=True)
    (h * x.detach()).sum().backward()
    see(h.grad)
    (h.float() * 2).sum().backward()
    see(h.grad)
    b = torch.ones(3, dtype=torch.bfloat16, requires_grad=True)
    (b * b * 3).sum().backward()
    see(b.grad)


def case_double_seed_for_float_root(torch, see):
    x = leaf(torch)
    y = x * 2
    see.error(lambda: y.backward(torch.ones(3, dtype=torch.float64)))
    see(x.grad)


def case_no_gradient_for_integers(torch, see):
    see.error(lambda: torch.ones(3, dtype=torch.int64, requires_grad=True))
    see.error(lambda: torch.ones(3, dtype=torch.int64).requires_grad_())
    see.error(lambda: torch.tensor([1, 2], requires_grad=True))
    x = torch.ones(3, dtype=torch.int64)
    see.error(lambda: setattr(x, "requires_grad", True))
    see(x.requires_grad_(False))
    y = leaf(torch)
    see((y > 1).requires_grad, y.argmax().requires_grad, y.long().requires_grad, (y == y).grad_fn)


def case_requires_grad_of_a_result(torch, see):
    x = leaf(torch)
    y = x * 2
    see.error(lambda: setattr(y, "requires_grad", False), "detach")
    see.error(lambda: y.requires_grad_(False))
    see.error(lambda: setattr(y, "requires_grad", True))
    y.requires_grad_()
    see(y, x.detach().requires_grad_())
    x.requires_grad = False
    see(x)


def case_grad_attribute(torch, see):
    x = leaf(torch)
    see.error(lambda: setattr(x, "grad", 3))
    see.error(lambda: setattr(x, "grad", torch.ones(2)))
    see.error(lambda: setattr(x, "grad", torch.ones(3, dtype=torch.float64)))
    see.error(lambda: setattr(x, "grad", x))
    x.grad = torch.ones(3)
    see(x.grad)
    del x.grad
    see(x.grad)
    y = x * 2
    see.warns(lambda: y.grad)
    y.retain_grad()
    see.warns(lambda: y.grad)
    y.sum().backward()
    see(y.grad, y.retains_grad, x.retains_grad)
    z = torch.ones(2)
    see.error(z.retain_grad)
    x.retain_grad()
    see(x.grad)


def case_in_place_accumulation_keeps_the_object(torch, see):
    x = leaf(torch)
    (x * 2).sum().backward()
    g = x.grad
    v = g._version
    (x * 2).sum().backward()
    see(x.grad is g, g._version - v, g)
    (x * x).sum().backward(create_graph=True)
    see(x.grad is g, x.grad)


def case_frozen_parts(torch, see):
    x, w = torch.ones(2, 3), torch.ones(3, 2, requires_grad=True)
    frozen = torch.ones(3, 2)
    ((x @ w) + (x @ frozen)).sum().backward()
    see(w.grad, frozen.grad, x.grad)


def case_gradient_layout_and_broadcast(torch, see):
    x = torch.ones(3, 1, requires_grad=True)
    y = torch.ones(4, requires_grad=True)
    s = torch.tensor(2.0, requires_grad=True)
    (x * y * s).sum().backward()
    see(x.grad, y.grad, s.grad, x.grad.stride())
    t = torch.ones(3, 4).t().requires_grad_()
    (t * 2).sum().backward()
    see(t.grad, t.grad.stride())


def case_complex_root(torch, see):
    z = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    see.error(lambda: (z * z).sum().backward())
    (z * z).abs().sum().backward()
    see(z.grad)
    w = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
    torch.view_as_real(w).pow(2).sum().backward()
    see(w.grad)
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    (x * (1 + 1j)).real.sum().backward()
    see(x.grad)
    (x * 2j).backward(torch.tensor([1j, 1.0]))
    see(x.grad)


def case_saved_for_none(torch, see):
    x = leaf(torch)
    y = torch.ones(3)
    z = x * y
    y.add_(1)
    see.error(lambda: z.sum().backward(), "Mul", "modified")
    z = x + y
    y.add_(1)
    z.sum().backward()
    see(x.grad)


def case_result_modified(torch, see):
    x = leaf(torch)
    y = x.exp()
    y.add_(1)
    see.error(lambda: y.sum().backward(), "Exp", "modified")
    z = x.sin()
    z.add_(1)
    z.sum().backward()
    see(x.grad)
    s = x.sigmoid()
    s.mul_(2)
    see.error(lambda: s.sum().backward(), "Sigmoid")


def case_leaf_modified_between(torch, see):
    x = leaf(torch)
    y = (x * x).sum()
    with torch.no_grad():
        x.mul_(2)
    see.error(y.backward, "Mul")
    z = (x * 3).sum()
    with torch.no_grad():
        x.mul_(2)
    z.backward()
    see(x.grad)
    y = (x * x).sum()
    x.data.mul_(2)
    y.backward()
    see(x.grad)


def case_variable_and_data(torch, see):
    from_variable = torch.autograd.Variable(torch.ones(2), requires_grad=True)
    see(
        from_variable,
        isinstance(from_variable, torch.autograd.Variable),
        isinstance(torch.ones(1), torch.autograd.Variable),
    )
    x = leaf(torch)
    d = x.data
    see(d, d.data_ptr() == x.data_ptr(), x.data is d)
    d[0] = 10
    see(x, x._version, d._version)
    x.data = torch.zeros(3)
    see(x, d)
    x.data = torch.zeros(2, 2)
    see(x)
    see.error(lambda: setattr(x, "data", 5))


def case_detach(torch, see):
    x = leaf(torch)
    y = x * 2
    d = y.detach()
    see(d, d.data_ptr() == y.data_ptr(), d._version)
    d.add_(1)
    see(y, y._version, d._version)
    see(d._is_view(), y.detach_(), y.grad_fn)
    see.error(lambda: leaf(torch).view(3).detach_())
    z = (x * 2).requires_grad_().detach_()
    see(z)
    a = (x * 3).exp()
    a.detach().zero_()
    see.error(lambda: a.sum().backward(), "Exp")

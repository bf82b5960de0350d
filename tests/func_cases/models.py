"""Modules as functions: per-sample gradients, ensembles, Hessians of models."""

from tests.func_cases import numbers, plain


def _model(torch):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2)).double()


def case_functional_call(torch, see):
    model, x = _model(torch), numbers(torch, 5, 3)
    p = {k: v.detach() * 2 for k, v in model.named_parameters()}
    call = torch.func.functional_call
    see(
        plain(call(model, p, (x,))),
        plain(call(model, {"0.weight": p["0.weight"]}, x)),
        plain(call(model, (p, {}), (x,))),
    )
    see(plain(torch.func.grad(lambda p: call(model, p, (x,)).sum())(p)))
    see.error(lambda: call(model, {"nothing": x}, (x,)))
    see.error(lambda: call(model, {"0.weight": x}, (x,), strict=True))


def case_gradients_per_sample(torch, see):
    model, x = _model(torch), numbers(torch, 5, 3)
    t = torch.tensor([0, 1, 1, 0, 1])
    p = {k: v.detach() for k, v in model.named_parameters()}

    def loss(p, x, t):
        out = torch.func.functional_call(model, p, (x.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(out, t.unsqueeze(0))

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(p, x, t)
    see(plain(each))
    see(plain([torch.func.grad(loss)(p, x[i], t[i]) for i in range(2)]))
    see(plain(torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(None, 0, 0))(p, x, t)[1]))
    see(plain(torch.func.vmap(torch.func.hessian(lambda x, t: loss(p, x, t)))(x, t)))


def case_convolutions_per_sample(torch, see):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.GroupNorm(1, 3), torch.nn.Flatten(),
        torch.nn.Linear(12, 2),
    ).double()  # fmt: skip
    x, t = numbers(torch, 4, 1, 6, 6), torch.tensor([0, 1, 1, 0])
    p = {k: v.detach() for k, v in model.named_parameters()}

    def loss(p, x, t):
        out = torch.func.functional_call(model, p, (x.unsqueeze(0),))
        return torch.nn.functional.cross_entropy(out, t.unsqueeze(0))

    see(plain(torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))(p, x, t)))


def case_ensembles(torch, see):
    torch.manual_seed(0)
    models = [
        torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2)).double().eval()
        for _ in range(3)
    ]
    params, buffers = torch.func.stack_module_state(models)
    see(plain(params), plain(buffers), [v.requires_grad for v in params.values()], [v.is_leaf for v in params.values()])
    x = numbers(torch, 5, 3)

    def call(p, b, x):
        return torch.func.functional_call(models[0], (p, b), (x,))

    out = torch.func.vmap(call, in_dims=(0, 0, None))(params, buffers, x)
    see(plain(out))
    out.sum().backward()
    see([plain(v.grad) for v in params.values()])
    see(plain(torch.func.vmap(call)(params, buffers, numbers(torch, 3, 5, 3))))
    see.error(lambda: torch.func.stack_module_state([]))
    see.error(lambda: torch.func.stack_module_state([torch.nn.Linear(1, 1), torch.nn.ReLU()]))
    see.error(lambda: torch.func.stack_module_state([torch.nn.Linear(1, 1), torch.nn.Linear(1, 1).eval()]))


def case_neural_tangent_kernel(torch, see):
    model, x = _model(torch), numbers(torch, 3, 3)
    p = {k: v.detach() for k, v in model.named_parameters()}

    def single(p, x):
        return torch.func.functional_call(model, p, (x.unsqueeze(0),)).squeeze(0)

    def kernel(a, b):
        one = torch.func.vmap(torch.func.jacrev(single), (None, 0))(p, a)
        two = torch.func.vmap(torch.func.jacrev(single), (None, 0))(p, b)
        return sum(
            torch.einsum("Naf,Mbf->NMab", j.flatten(2), k.flatten(2)) for j, k in zip(one.values(), two.values())
        )

    def by_products(a, b):
        def entry(a, b):
            def pull(v):
                _, back = torch.func.vjp(lambda q: single(q, a), p)
                return torch.func.jvp(lambda q: single(q, b), (p,), back(v))[1]

            return torch.func.vmap(pull)(torch.eye(2, dtype=torch.float64))

        return torch.func.vmap(torch.func.vmap(entry, (None, 0)), (0, None))(a, b)

    see(plain(kernel(x, x + 1)), plain(by_products(x, x + 1)))


def case_batch_norm(torch, see):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).double()
    torch.func.replace_all_batch_norm_modules_(model)
    see(model[1].running_mean, model[1].track_running_stats)
    see(plain(torch.func.vmap(model)(numbers(torch, 2, 5, 3))))
    fresh = torch.nn.BatchNorm1d(4).double()
    see.error(lambda: torch.func.vmap(fresh)(numbers(torch, 2, 5, 4)))


def case_maml(torch, see):
    model, x, y = _model(torch), numbers(torch, 2, 5, 3), numbers(torch, 2, 5, 2, start=2.0)
    p = {k: v.detach() for k, v in model.named_parameters()}

    def loss(p, x, y):
        return torch.nn.functional.mse_loss(torch.func.functional_call(model, p, (x,)), y)

    def task(p, x, y):
        g = torch.func.grad(loss)(p, x[:3], y[:3])
        return loss({k: v - 0.1 * g[k] for k, v in p.items()}, x[3:], y[3:])

    see(plain(torch.func.grad(lambda p: torch.func.vmap(task, (None, 0, 0))(p, x, y).mean())(p)))

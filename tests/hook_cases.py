"""What hooks of modules promise, as functions that hold for flambeau and for PyTorch alike: each takes the library."""

import copy
import warnings

import pytest

from tests.module_cases import net

CASES = []


def case(function):
    CASES.append(function)
    return function


@case
def forward_hooks(torch):
    m = net(torch)
    log = []
    x = torch.ones(1, 3)

    def pre(mod, args):
        log.append("pre")
        return (args[0] * 2,)

    def pre_kwargs(mod, args, kwargs):
        log.append("pre_kwargs")
        return args, {"gain": 3.0}

    def post(mod, args, out):
        log.append("post")
        return out + 1

    def post_kwargs(mod, args, kwargs, out):
        log.append(("post_kwargs", kwargs))

    plain = m(x * 2) * 3 + 1
    handles = [
        m.register_forward_pre_hook(pre),
        m.register_forward_pre_hook(pre_kwargs, with_kwargs=True, prepend=True),
        m.register_forward_hook(post),
        m.register_forward_hook(post_kwargs, with_kwargs=True, prepend=True),
    ]
    assert torch.allclose(m(x), plain)
    assert log == ["pre_kwargs", "pre", ("post_kwargs", {"gain": 3.0}), "post"]
    for h in handles:
        h.remove()
        h.remove()
    log.clear()
    m(x)
    assert log == []
    with m.register_forward_hook(lambda mod, args, out: log.append(1)):
        m(x)
    m(x)
    assert log == [1]
    m.register_forward_pre_hook(lambda mod, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError):
        m(x)


@case
def a_pre_hook_may_return_one_value(torch):
    m = torch.nn.Identity()
    m.register_forward_pre_hook(lambda mod, args: args[0] + 1)
    assert float(m(torch.zeros(()))) == 1.0


@case
def always_called_hooks_run_after_an_exception(torch):
    class Fails(torch.nn.Module):
        def forward(self, x):
            raise ValueError("no")

    m, log = Fails(), []
    m.register_forward_hook(lambda mod, args, out: log.append("no"))
    m.register_forward_hook(lambda mod, args, out: log.append(("always", out)), always_call=True)
    with pytest.raises(ValueError):
        m(1)
    assert log == [("always", None)]

    def worse(mod, args, out):
        raise TypeError("worse")

    m.register_forward_hook(worse, always_call=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(ValueError):
            m(1)
    assert any("worse" in str(w.message) for w in caught)


@case
def global_hooks(torch):
    from importlib import import_module

    module = import_module(torch.nn.Module.__module__)
    log = []
    m = net(torch)
    handles = [
        module.register_module_forward_pre_hook(lambda mod, args: log.append(("pre", type(mod).__name__))),
        module.register_module_forward_hook(lambda mod, args, out: log.append(("post", type(mod).__name__))),
        module.register_module_full_backward_hook(lambda mod, gi, go: log.append(("back", type(mod).__name__))),
        module.register_module_full_backward_pre_hook(lambda mod, go: log.append(("pre-back", type(mod).__name__))),
    ]
    try:
        m(torch.ones(1, 3)).sum().backward()
    finally:
        for h in handles:
            h.remove()
    names = ["Linear", "ReLU", "Linear"]
    assert [n for k, n in log if k == "pre"] == ["Net", "Sequential", *names]
    assert [n for k, n in log if k == "post"] == [*names, "Sequential", "Net"]
    # the first layers' inputs need no gradient: their hooks run right after the gradients of their outputs
    assert [n for k, n in log if k == "pre-back"] == ["Net", "Sequential", *names]
    assert sorted(n for k, n in log if k == "back") == sorted(["Net", "Sequential", *names])
    log.clear()
    m(torch.ones(1, 3))
    assert log == []


@case
def full_backward_hooks(torch):
    m = torch.nn.Linear(2, 2)
    log = []
    x = torch.ones(1, 2, requires_grad=True)

    def pre(mod, grad_output):
        log.append(("pre", [None if g is None else g.clone() for g in grad_output]))
        return (grad_output[0] * 2,)

    def post(mod, grad_input, grad_output):
        log.append(("post", grad_input[0].clone(), grad_output[0].clone()))
        return (grad_input[0] * 0 + 5,)

    m.register_full_backward_pre_hook(pre)
    m.register_full_backward_hook(post)
    m(x).sum().backward()
    assert log[0][0] == "pre" and torch.equal(log[0][1][0], torch.ones(1, 2))
    assert torch.equal(log[1][2], torch.full((1, 2), 2.0))
    assert torch.allclose(log[1][1], 2 * m.weight.detach().sum(0, keepdim=True))
    assert torch.equal(x.grad, torch.full((1, 2), 5.0))
    assert torch.equal(m.weight.grad, torch.full((2, 2), 2.0))


@case
def full_backward_hooks_with_many_inputs(torch):
    class Many(torch.nn.Module):
        def forward(self, a, n, b, flag=None):
            return a * 2, n, b * 3

    m, log = Many(), []
    m.register_full_backward_hook(lambda mod, gi, go: log.append(([g is None for g in gi], [g is None for g in go])))
    a, b = torch.ones(2, requires_grad=True), torch.ones(2)
    out = m(a, 7, b, flag=torch.ones(1))
    assert out[1] == 7
    out[0].sum().backward()
    assert log == [([False, True, False], [False, True, True])]
    log.clear()
    m(b, 7, b)
    assert log == []
    with torch.no_grad():
        m(a, 7, b)


@case
def backward_hooks_of_a_module_whose_inputs_need_no_gradient(torch):
    m, log = torch.nn.Linear(2, 2), []
    m.register_full_backward_hook(lambda mod, gi, go: log.append((gi, go[0].shape)))
    m(torch.ones(1, 2)).sum().backward()
    assert log == [((None,), (1, 2))]
    assert m.weight.grad is not None
    bad = torch.nn.Linear(2, 2)
    bad.register_full_backward_hook(lambda mod, gi, go: (torch.ones(1, 2),))
    with pytest.raises(RuntimeError):
        bad(torch.ones(1, 2)).sum().backward()
    wrong = torch.nn.Linear(2, 2)
    wrong.register_full_backward_hook(lambda mod, gi, go: (gi[0], gi[0]))
    with pytest.raises(RuntimeError):
        wrong(torch.ones(1, 2, requires_grad=True)).sum().backward()


@case
def backward_hooks_run_in_every_pass(torch):
    m, log = torch.nn.Linear(2, 1), []
    m.register_full_backward_hook(lambda mod, gi, go: log.append(1))
    x = torch.ones(1, 2, requires_grad=True)
    y = m(x).sum()
    y.backward(retain_graph=True)
    y.backward()
    assert log == [1, 1]


@case
def two_kinds_of_backward_hooks_do_not_mix(torch):
    m, log = torch.nn.Linear(2, 1), []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        handle = m.register_backward_hook(lambda mod, gi, go: log.append(len(go)))
        m(torch.ones(1, 2, requires_grad=True)).sum().backward()
    assert log == [1]
    with pytest.raises(RuntimeError):
        m.register_full_backward_hook(lambda mod, gi, go: None)
    handle.remove()


@case
def hooks_survive_copies(torch):
    m, log = torch.nn.Identity(), []
    m.register_forward_hook(lambda mod, args, out: log.append(1))
    twin = copy.deepcopy(m)
    twin(torch.ones(1))
    assert log == [1]


@case
def an_instance_may_replace_forward(torch):
    m = torch.nn.Identity()
    m.forward = lambda x: x + 1
    assert float(m(torch.zeros(()))) == 1.0

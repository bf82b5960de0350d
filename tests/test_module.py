"""Modules and containers keep the promises that are written down for both libraries."""

import pytest

import flambeau
from flambeau import nn
from tests import container_cases, hook_cases, module_cases, normal_cases


@pytest.mark.parametrize("check", module_cases.CASES, ids=lambda f: f.__name__)
def test_module(check):
    check(flambeau)


@pytest.mark.parametrize("check", hook_cases.CASES, ids=lambda f: f.__name__)
def test_hooks(check):
    check(flambeau)


@pytest.mark.parametrize("check", [*container_cases.CASES, *normal_cases.CASES], ids=lambda f: f.__name__)
def test_container(check):
    check(flambeau)


def test_a_failed_load_changes_nothing():
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    before = {k: v.clone() for k, v in m.state_dict().items()}
    state = {k: v + 1 for k, v in m.state_dict().items()}
    state["1.bias"] = flambeau.ones(9)
    for assign in (False, True):
        weight = m[0].weight
        with pytest.raises(RuntimeError, match=r"size mismatch for 1.bias"):
            m.load_state_dict(state, assign=assign)
        assert m[0].weight is weight
        assert all(flambeau.equal(v, before[k]) for k, v in m.state_dict().items())


def test_messages_say_what_came_and_what_to_do():
    m = nn.Linear(2, 2)
    with pytest.raises(TypeError, match="Tensor as parameter 'weight'"):
        m.weight = flambeau.ones(2, 2)
    with pytest.raises(TypeError, match="floating point or complex dtype, got torch.int64"):
        m.to(flambeau.int64)
    with pytest.raises(KeyError, match="already exists in Linear"):
        m.register_buffer("weight", None)
    with pytest.raises(ValueError, match="divisible by groups, got 3 and groups=2"):
        nn.Conv2d(3, 4, 1, groups=2)


def test_every_layer_says_what_it_does():
    for name in nn.modules.__all__:
        assert getattr(nn, name).__doc__, name


def test_script_decorators_return_what_they_get():
    from flambeau import jit
    from flambeau._jit_internal import boolean_dispatch, weak_module, weak_script_method

    def f(x):
        return x

    m = nn.Linear(1, 1)
    for decorate in (jit.script, jit.export, jit.unused, jit.ignore, jit.interface, weak_script_method):
        assert decorate(f) is f
    assert jit.ignore(drop=True)(f) is f and jit.script(m)._original is m and jit.script(f) is f
    assert weak_module(nn.Linear) is nn.Linear and not jit.is_scripting() and jit.annotate(int, 3) == 3
    assert jit.isinstance([1], list[int]) and not jit.isinstance(["a"], list[int])
    pick = boolean_dispatch("flag", 1, False, lambda x, flag: "yes", lambda x, flag=False: "no", "m", "pick")
    assert pick(0, True) == pick(0, flag=True) == "yes" and pick(0) == "no"


def test_a_call_without_hooks_goes_straight_to_forward():
    m = nn.Identity()
    assert not m._hooked
    handle = m.register_forward_hook(lambda *a: None)
    assert m._hooked
    handle.remove()
    m(1)
    assert not m._hooked

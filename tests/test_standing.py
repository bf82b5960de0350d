"""The batch that an optimizer keeps from step to step does what a batch made anew at each step does."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as torch
from flambeau.optim import fused
from flambeau.optim.adam import adam_update
from flambeau.optim.nadam import nadam_update
from flambeau.optim.radam import radam_update
from flambeau.optim.scalars import Script
from flambeau.optim.sgd import sgd_update
from flambeau.optim.standing import Standing

OPTIMIZERS = {
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "amsgrad": lambda p: torch.optim.AdamW(p, lr=0.01, amsgrad=True),
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True),
}
SHAPES = [(300, 30), (7,), (), (64, 65), (3, 1)]


def parameters():
    torch.manual_seed(0)
    made = [torch.nn.Parameter(torch.randn(s)) for s in SHAPES]
    return [*made, torch.nn.Parameter(torch.randn(5, dtype=torch.float64))]


def act(event, params, optimizer):
    """Something that a program may do between two steps."""
    p = params[1]
    if event == "no gradient":
        p.grad = None
    elif event == "turned gradient":
        params[0].grad = torch.randn(30, 300).t()
    elif event == "same gradient":
        params[3].grad = optimizer.kept
    elif event == "new memory":
        params[3].data = params[3].data.clone()
    elif event == "rate":
        optimizer.param_groups[0]["lr"] *= 0.5
    elif event == "decay":
        optimizer.param_groups[0]["weight_decay"] = 0.1
    elif event == "loaded":
        optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    elif event == "turned parameter":
        params[0].data = params[0].data.t().contiguous().t()
    elif event == "frozen":
        p.requires_grad_(not p.requires_grad)


def train(name, events):
    params = parameters()
    optimizer = OPTIMIZERS[name](params)
    optimizer.kept = torch.randn(64, 65)
    for event in events:
        for p in params:
            p.grad = torch.randn(p.shape, dtype=p.dtype) if p.requires_grad else None
        act(event, params, optimizer)
        optimizer.step()
    return params, optimizer


EVENTS = st.sampled_from(
    ["none", "none", "no gradient", "turned gradient", "same gradient", "new memory", "rate", "decay", "loaded"]
    + ["turned parameter", "frozen"]
)


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(st.lists(EVENTS, min_size=1, max_size=9))
@settings(max_examples=15, deadline=None)
def test_standing_batches_do_what_fresh_ones_do(name, events):
    params, optimizer = train(name, events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Standing, "worthwhile", property(lambda self: False))
        expected, other = train(name, events)
    for a, b in zip(params, expected, strict=True):
        assert torch.equal(a, b)
        for key, value in other.state[b].items():
            assert torch.equal(optimizer.state[a][key], value) if isinstance(value, torch.Tensor) else True


def test_the_batch_stands():
    params, optimizer = train("adam", ["none"] * 3)
    assert optimizer._standing.turn == 0 and len(optimizer._standing.entries) == len(params)
    assert all(entry.arrays[1] is None for entry in optimizer._standing.entries)  # gradients are let go
    assert not optimizer._standing.seen and not optimizer._standing.kept


def test_a_parameter_that_is_there_twice_is_updated_twice():
    p = torch.nn.Parameter(torch.ones(3))
    with pytest.warns(UserWarning, match="more than once"):
        optimizer = torch.optim.SGD([p, p], lr=0.5)
    for _ in range(4):
        p.grad = torch.ones(3)
        optimizer.step()
    assert p.tolist() == [-3.0] * 3


def test_steps_that_always_differ_are_no_longer_prepared():
    params, optimizer = train("adam", ["no gradient", "none"] * 30)
    assert not optimizer._standing.worthwhile
    assert optimizer.state[params[1]]["step"] == 30


def test_an_optimizer_is_copied_without_it():
    _, optimizer = train("adam", ["none"] * 2)
    twin = copy.deepcopy(optimizer)
    assert twin._standing is None and optimizer._standing is not None


FLOATS = st.one_of(st.just(0.0), st.just(1.0), st.floats(1e-6, 0.999))
RULES = {
    "adam": (adam_update, 5, st.tuples(*[FLOATS] * 5, st.booleans(), st.booleans(), st.integers(1, 99).map(float))),
    "radam": (radam_update, 4, st.tuples(*[FLOATS] * 5, st.booleans(), st.booleans(), st.integers(1, 99).map(float))),
    "sgd": (sgd_update, 3, st.tuples(*[FLOATS] * 4, st.booleans(), st.booleans(), st.booleans())),
    "nadam": (
        nadam_update,
        4,
        st.tuples(*[FLOATS] * 5, st.booleans(), st.booleans(), st.just(3.0), st.tuples(FLOATS, FLOATS, FLOATS)),
    ),
}


@pytest.mark.parametrize("name", RULES)
@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_rules_numbers_come_from_its_script(name, data):
    """What was written down for some hyperparameters holds for others, or says that it does not."""
    update, arrays, hypers = RULES[name]
    first, second = data.draw(hypers), data.draw(hypers)
    given_ = (True,) * arrays

    def run(hyper):
        try:
            return fused._names(update, given_, hyper)
        except ZeroDivisionError:
            return None

    script = Script(first)
    try:
        written = fused._names(update, given_, script.given)
    except (TypeError, ZeroDivisionError):
        return
    function = script.function(written.numbers)
    assert function(*first) == run(first).numbers
    try:
        found = function(*second)
    except ZeroDivisionError:
        assert run(second) is None
        return
    if found is not None:
        assert found == run(second).numbers
        assert run(second).course == written.course


def test_a_rule_that_takes_another_way_is_noticed():
    params = [torch.nn.Parameter(torch.ones(4))]
    ours = torch.optim.RAdam(params, lr=0.1)  # changes its course after some steps
    for _ in range(12):
        params[0].grad = torch.ones(4)
        ours.step()
    assert 0 < params[0][0].item() < 1

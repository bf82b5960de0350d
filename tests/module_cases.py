"""What modules promise, as functions that hold for flambeau and for PyTorch alike: each takes the library."""

import copy
import io
import pickle
from collections import OrderedDict

import pytest

CASES = []


def case(function):
    CASES.append(function)
    return function


def net(torch):
    """Two linear layers in a Sequential and a buffer."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
            self.register_buffer("scale", torch.ones(1))
            self.register_buffer("hidden", torch.zeros(2), persistent=False)

        def forward(self, x, gain=1.0):
            return self.body(x) * self.scale * gain

    return Net()


# -- registration and attributes


@case
def attributes_register_by_their_kind(torch):
    nn = torch.nn
    m = nn.Module()
    m.w = nn.Parameter(torch.ones(2))
    m.child = nn.ReLU()
    m.number = 3
    m.b = nn.Buffer(torch.zeros(1))
    m.b2 = nn.Buffer(torch.zeros(1), persistent=False)
    assert list(m._parameters) == ["w"] and list(m._modules) == ["child"] and list(m._buffers) == ["b", "b2"]
    assert m.number == 3 and "number" in m.__dict__
    assert list(m.state_dict()) == ["w", "b"]
    assert isinstance(m.b, nn.Buffer) and not isinstance(torch.zeros(1), nn.Buffer)
    m.w = None
    assert m.w is None and list(m._parameters) == ["w"] and list(m.parameters()) == []
    m.child = None
    assert m.child is None and list(m.children()) == []
    m.b = torch.ones(3)
    assert m._buffers["b"].shape == (3,)
    m.b = None
    assert m.b is None
    m.w = nn.Parameter(torch.ones(1))
    del m.w
    assert not hasattr(m, "w")
    with pytest.raises(AttributeError):
        m.w


@case
def a_name_moves_between_kinds(torch):
    nn = torch.nn
    m = nn.Module()
    m.x = 1
    m.x = nn.Parameter(torch.ones(1))
    assert "x" in m._parameters and "x" not in m.__dict__
    with pytest.raises(TypeError):
        m.x = nn.ReLU()
    m.y = 1
    m.y = nn.ReLU()
    assert "y" in m._modules and "y" not in m.__dict__
    m.y = nn.Parameter(torch.ones(1))
    assert "y" in m._parameters and "y" not in m._modules
    m.register_buffer("z", torch.ones(1))
    m.z = nn.ReLU()
    assert "z" in m._modules and "z" not in m._buffers
    m.register_parameter("none", None)
    assert m.none is None
    m.none = nn.Parameter(torch.ones(1))
    assert "none" in m._parameters


@case
def wrong_assignments_are_type_errors(torch):
    nn = torch.nn
    m = nn.Linear(2, 2)
    m.register_buffer("buf", torch.ones(1))
    m.act = nn.ReLU()
    for name, value in (("weight", torch.ones(2, 2)), ("weight", 3), ("buf", 3), ("act", 3), ("act", torch.ones(1))):
        before = getattr(m, name)
        with pytest.raises(TypeError):
            setattr(m, name, value)
        assert getattr(m, name) is before


@case
def bad_registrations_raise(torch):
    nn = torch.nn
    m = nn.Linear(2, 2)
    m.plain = 1
    p = nn.Parameter(torch.ones(1))
    cases = [
        (lambda: m.register_parameter(1, p), TypeError),
        (lambda: m.register_parameter("a.b", p), KeyError),
        (lambda: m.register_parameter("", p), KeyError),
        (lambda: m.register_parameter("plain", p), KeyError),
        (lambda: m.register_parameter("new", torch.ones(1)), TypeError),
        (lambda: m.register_buffer(1, torch.ones(1)), TypeError),
        (lambda: m.register_buffer("a.b", torch.ones(1)), KeyError),
        (lambda: m.register_buffer("", torch.ones(1)), KeyError),
        (lambda: m.register_buffer("weight", torch.ones(1)), KeyError),
        (lambda: m.register_buffer("new", 3), TypeError),
        (lambda: m.add_module("new", 3), TypeError),
        (lambda: m.add_module(1, nn.ReLU()), TypeError),
        (lambda: m.add_module("a.b", nn.ReLU()), KeyError),
        (lambda: m.add_module("", nn.ReLU()), KeyError),
        (lambda: m.add_module("weight", nn.ReLU()), KeyError),
        (lambda: m.get_submodule("nope"), AttributeError),
        (lambda: m.get_submodule("weight"), AttributeError),
        (lambda: m.get_parameter("plain"), AttributeError),
        (lambda: m.get_parameter("nope"), AttributeError),
        (lambda: m.get_buffer("weight"), AttributeError),
        (lambda: m.set_submodule("", nn.ReLU()), ValueError),
        (lambda: m.set_submodule("weight", nn.ReLU()), AttributeError),
        (lambda: m.set_submodule("nope", nn.ReLU(), strict=True), AttributeError),
        (lambda: m.train("yes"), ValueError),
        (lambda: m.to(torch.int32), TypeError),
        (lambda: m.to(5, 6, 7, 8, 9), TypeError),
        (lambda: m.load_state_dict(3), TypeError),
        (lambda: nn.Module()(1), NotImplementedError),
        (lambda: nn.Module(1), TypeError),
        (lambda: nn.Module(a=1), TypeError),
        (lambda: m.get_extra_state(), RuntimeError),
        (lambda: m.set_extra_state(1), RuntimeError),
        (lambda: m.nope, AttributeError),
    ]
    for call, error in cases:
        with pytest.raises(error):
            call()
    assert list(m.state_dict()) == ["weight", "bias"]


@case
def a_computed_tensor_is_no_parameter(torch):
    m = torch.nn.Module()
    p = torch.nn.Parameter(torch.ones(1))
    with pytest.raises(TypeError):
        m.register_parameter("w", p * 2)


@case
def assigning_before_init_raises(torch):
    nn = torch.nn

    class Bad(nn.Module):
        def __init__(self, value):
            self.x = value
            super().__init__()

    for value in (nn.Parameter(torch.ones(1)), nn.ReLU(), nn.Buffer(torch.ones(1))):
        with pytest.raises(AttributeError):
            Bad(value)
    assert Bad(3).x == 3


@case
def init_arguments_go_on_when_asked(torch):
    class Mixin:
        def __init__(self, a, b=2):
            self.got = (a, b)

    class Both(torch.nn.Module, Mixin):
        call_super_init = True

        def __init__(self):
            super().__init__(1, b=5)

    assert Both().got == (1, 5)


@case
def registration_hooks_see_and_replace(torch):
    from importlib import import_module

    module = import_module(torch.nn.Module.__module__)
    nn = torch.nn
    seen, wrapped = [], nn.Tanh()
    handles = [
        module.register_module_parameter_registration_hook(lambda m, n, p: seen.append(n)),
        module.register_module_buffer_registration_hook(lambda m, n, b: b * 2),
        module.register_module_module_registration_hook(lambda m, n, c: wrapped),
    ]
    try:
        m = nn.Module()
        m.w = nn.Parameter(torch.ones(1))
        m.register_buffer("b", torch.ones(1))
        m.act = nn.ReLU()
        assert "w" in seen and float(m.b) == 2.0 and m.act is wrapped
    finally:
        for h in handles:
            h.remove()
    m.act = nn.ReLU()
    assert isinstance(m.act, nn.ReLU)


# -- walking


@case
def names_come_depth_first_and_once(torch):
    nn = torch.nn
    shared = nn.Linear(1, 1)
    m = nn.Sequential(OrderedDict(a=shared, b=nn.Sequential(shared, nn.ReLU())))
    assert [n for n, _ in m.named_modules()] == ["", "a", "b", "b.1"]
    assert [n for n, _ in m.named_modules(remove_duplicate=False)] == ["", "a", "b", "b.0", "b.1"]
    assert [n for n, _ in m.named_modules(prefix="p")] == ["p", "p.a", "p.b", "p.b.1"]
    assert [n for n, _ in m.named_parameters()] == ["a.weight", "a.bias"]
    assert len(list(m.named_parameters(remove_duplicate=False))) == 4
    assert [n for n, _ in m.named_parameters(prefix="p", recurse=False)] == []
    assert [n for n, _ in m.named_children()] == ["a", "b"]
    assert len(list(m.modules())) == 4 and len(list(m.children())) == 2 and len(list(m.parameters())) == 2
    twice = nn.Module()
    twice.p = nn.Parameter(torch.ones(1))
    twice.q = twice.p
    assert [n for n, _ in twice.named_parameters()] == ["p"]
    assert [n for n, _ in net(torch).named_buffers()] == ["scale", "hidden"]


@case
def dotted_paths(torch):
    m = net(torch)
    assert m.get_submodule("") is m and m.get_submodule("body.0") is m.body[0]
    assert m.get_parameter("body.2.bias") is m.body[2].bias and m.get_buffer("scale") is m.scale
    m.set_submodule("body.1", torch.nn.Tanh())
    assert isinstance(m.body[1], torch.nn.Tanh)
    m.set_submodule("extra", torch.nn.ReLU())
    assert isinstance(m.extra, torch.nn.ReLU)


@case
def dir_and_repr(torch):
    m = net(torch)
    names = dir(m)
    assert {"body", "scale", "hidden", "forward", "training"} <= set(names)
    assert repr(m) == (
        "Net(\n  (body): Sequential(\n    (0): Linear(in_features=3, out_features=4, bias=True)\n    (1): ReLU()\n"
        "    (2): Linear(in_features=4, out_features=2, bias=True)\n  )\n)"
    )
    assert repr(torch.nn.Module()) == "Module()"

    class Two(torch.nn.Module):
        def extra_repr(self):
            return "a=1\nb=2"

    assert repr(Two()) == "Two(\n  a=1\n  b=2\n)"
    two = Two()
    two.act = torch.nn.ReLU()
    assert repr(two) == "Two(\n  a=1\n  b=2\n  (act): ReLU()\n)"
    two.act = None
    assert repr(two) == "Two(\n  a=1\n  b=2\n  (act): None\n)"


# -- modes, conversion, gradients


@case
def train_eval_requires_grad_apply(torch):
    m = net(torch)
    assert m.training and not m.eval().training and not m.body[0].training and m.train() is m and m.body[1].training
    m.requires_grad_(False)
    assert not any(p.requires_grad for p in m.parameters())
    seen = []
    assert m.apply(lambda x: seen.append(type(x).__name__)) is m
    assert seen == ["Linear", "ReLU", "Linear", "Sequential", "Net"]


@case
def zero_grad(torch):
    m = net(torch)
    m(torch.ones(1, 3)).sum().backward()
    weight = m.body[0].weight
    m.zero_grad(set_to_none=False)
    assert float(weight.grad.abs().sum()) == 0
    grad = weight.grad
    m.zero_grad()
    assert weight.grad is None and grad is not None


@case
def conversions_keep_the_parameters(torch):
    m = net(torch)
    m(torch.ones(1, 3)).sum().backward()
    m.register_buffer("count", torch.zeros(1, dtype=torch.int64))
    weight = m.body[0].weight
    for convert, dtype in (
        (lambda: m.double(), torch.float64),
        (lambda: m.half(), torch.float16),
        (lambda: m.bfloat16(), torch.bfloat16),
        (lambda: m.float(), torch.float32),
        (lambda: m.to(torch.float64), torch.float64),
        (lambda: m.to("cpu", torch.float32), torch.float32),
        (lambda: m.to(torch.ones(1, dtype=torch.float64)), torch.float64),
        (lambda: m.to(device="cpu", dtype=torch.float32, non_blocking=True), torch.float32),
        (lambda: m.to("cpu"), torch.float32),
        (lambda: m.cpu(), torch.float32),
    ):
        assert convert() is m
        assert m.body[0].weight is weight and weight.dtype == dtype and weight.grad.dtype == dtype
        assert m.scale.dtype == dtype and m.count.dtype == torch.int64
        assert weight.requires_grad and weight.is_leaf and isinstance(weight, torch.nn.Parameter)
    assert m.type(torch.float64).scale.dtype == torch.float64
    assert m.share_memory() is m


# -- state


@case
def state_dict_round_trip(torch):
    m, other = net(torch), net(torch)
    state = m.state_dict()
    assert isinstance(state, OrderedDict)
    assert list(state) == ["scale", "body.0.weight", "body.0.bias", "body.2.weight", "body.2.bias"]
    assert state._metadata[""] == {"version": 1} and "body.0" in state._metadata
    assert not state["body.0.weight"].requires_grad
    assert m.state_dict(keep_vars=True)["body.0.weight"] is m.body[0].weight
    assert list(m.state_dict(prefix="p."))[0] == "p.scale"
    into = OrderedDict(first=1)
    assert m.state_dict(destination=into) is into and list(into)[0] == "first"
    weight = other.body[0].weight
    result = other.load_state_dict(state)
    assert repr(result) == "<All keys matched successfully>"
    assert other.body[0].weight is weight and torch.equal(weight, m.body[0].weight)
    with torch.no_grad():
        m.body[0].weight.add_(1)
    assert torch.equal(state["body.0.weight"], m.body[0].weight)


@case
def wrong_state_dicts_name_every_key(torch):
    m = net(torch)
    state = m.state_dict()
    del state["body.0.weight"]
    state["extra"] = torch.ones(1)
    state["body.9.weight"] = torch.ones(1)
    state["body.2.bias"] = torch.ones(7)
    state["scale"] = 3
    with pytest.raises(RuntimeError) as info:
        m.load_state_dict(state)
    text = str(info.value)
    for part in ('Missing key(s) in state_dict: "body.0.weight"', "Unexpected key(s)", '"extra"', '"body.9.weight"'):
        assert part in text
    assert "size mismatch for body.2.bias" in text and "scale" in text and "Net" in text
    loose = net(torch).state_dict()
    del loose["scale"]
    loose["extra"] = torch.ones(1)
    result = m.load_state_dict(loose, strict=False)
    assert result.missing_keys == ["scale"] and result.unexpected_keys == ["extra"]
    assert "scale" in repr(result)


@case
def loading_by_assignment(torch):
    m = net(torch)
    m.body[0].weight.requires_grad_(False)
    state = {k: v.clone().double() for k, v in m.state_dict().items()}
    m.load_state_dict(state, assign=True)
    assert m.body[0].weight.dtype == torch.float64 and isinstance(m.body[0].weight, torch.nn.Parameter)
    assert not m.body[0].weight.requires_grad and m.body[0].bias.requires_grad
    assert m.scale is state["scale"]


@case
def state_hooks(torch):
    m = net(torch)
    log = []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))
    m.register_state_dict_post_hook(lambda mod, sd, prefix, meta: sd.update(added=torch.ones(1)))
    state = m.state_dict()
    assert log == [("pre", "", False)] and "added" in state

    def rename(mod, sd, prefix, meta, strict, missing, unexpected, errors):
        log.append(mod is m)
        sd.pop(prefix + "added")

    handle = m.register_load_state_dict_pre_hook(rename)
    m.register_load_state_dict_post_hook(lambda mod, keys: log.append(tuple(keys)))
    m.load_state_dict(state)
    assert log[1:] == [True, ([], [])]
    handle.remove()
    with pytest.raises(RuntimeError):
        m.load_state_dict(state)
    m.register_load_state_dict_post_hook(lambda mod, keys: keys.unexpected_keys.clear())
    m.load_state_dict(state)
    bad = net(torch)
    bad.register_state_dict_post_hook(lambda mod, sd, prefix, meta: sd)
    with pytest.raises(RuntimeError):
        bad.state_dict()
    old = net(torch)
    old._register_state_dict_hook(lambda mod, sd, prefix, meta: {"only": 1})
    assert old.state_dict() == {"only": 1}


@case
def extra_state(torch):
    class WithExtra(torch.nn.Linear):
        note = "a"

        def get_extra_state(self):
            return {"note": self.note}

        def set_extra_state(self, state):
            self.note = state["note"]

    m, other = WithExtra(1, 1), WithExtra(1, 1)
    m.note = "b"
    state = m.state_dict()
    assert list(state) == ["weight", "bias", "_extra_state"]
    other.load_state_dict(state)
    assert other.note == "b"
    del state["_extra_state"]
    with pytest.raises(RuntimeError, match="_extra_state"):
        other.load_state_dict(state)


@case
def copies_and_pickles(torch):
    m = net(torch)
    m.body[0].weight.requires_grad_(False)
    twin = copy.deepcopy(m)
    assert twin.body[0].weight is not m.body[0].weight and torch.equal(twin.body[0].weight, m.body[0].weight)
    assert not twin.body[0].weight.requires_grad and isinstance(twin.body[0].weight, torch.nn.Parameter)
    shared = torch.nn.Module()
    shared.p = torch.nn.Parameter(torch.ones(1))
    shared.q = shared.p
    assert (twin := copy.deepcopy(shared)).p is twin.q and twin.p is not shared.p
    linear = torch.nn.Linear(2, 3)
    linear.eval()
    back = pickle.loads(pickle.dumps(linear))
    assert torch.equal(back.weight, linear.weight) and not back.training and back.weight.requires_grad
    assert isinstance(back.weight, torch.nn.Parameter) and repr(back) == repr(linear)
    x = torch.ones(1, 2)
    assert torch.equal(back(x), linear(x))
    p = pickle.loads(pickle.dumps(torch.nn.Parameter(torch.ones(2), requires_grad=False)))
    assert isinstance(p, torch.nn.Parameter) and not p.requires_grad
    buffer = io.BytesIO()
    torch.save(linear.state_dict(), buffer)
    buffer.seek(0)
    assert list(torch.load(buffer)) == ["weight", "bias"]


@case
def batch_norm_takes_states_of_version_one(torch):
    m = torch.nn.BatchNorm1d(2)
    state = m.state_dict()
    assert list(state) == ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    assert state._metadata[""]["version"] == 2
    del state["num_batches_tracked"]
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        m.load_state_dict(state)
    state._metadata[""]["version"] = 1
    m.load_state_dict(state)


# -- parameters


@case
def parameters_are_leaf_tensors(torch):
    nn = torch.nn
    data = torch.ones(2)
    p = nn.Parameter(data)
    assert p.requires_grad and p.is_leaf and isinstance(p, torch.Tensor) and isinstance(p, nn.Parameter)
    with torch.no_grad():
        data.fill_(3)
        assert nn.Parameter(torch.ones(1)).requires_grad
    assert p.tolist() == [3.0, 3.0]
    assert repr(nn.Parameter(torch.zeros(1))) == "Parameter containing:\ntensor([0.], requires_grad=True)"
    assert repr(nn.Parameter(torch.zeros(1), False)) == "Parameter containing:\ntensor([0.])"
    assert type(p + 1) is torch.Tensor and type(p.detach()) is torch.Tensor and type(p.data) is torch.Tensor
    assert nn.Parameter().shape == (0,)
    assert copy.deepcopy(p) is not p and isinstance(copy.deepcopy(p), nn.Parameter)
    with pytest.raises(RuntimeError):
        nn.Parameter(torch.ones(1, dtype=torch.int64))
    assert not nn.Parameter(torch.ones(1, dtype=torch.int64), requires_grad=False).requires_grad
    assert not isinstance(torch.ones(1), nn.Parameter)


@case
def lazy_modules_become_plain_ones(torch):
    nn = torch.nn
    m = nn.LazyLinear(3)
    assert repr(m) == "LazyLinear(in_features=0, out_features=3, bias=True)"
    assert m.has_uninitialized_params() and isinstance(m.weight, nn.UninitializedParameter)
    assert repr(m.weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError):
        m.weight.shape
    weight = m.weight
    assert m(torch.ones(2, 5)).shape == (2, 3)
    assert type(m) is nn.Linear and m.weight is weight and type(weight) is nn.Parameter and m.in_features == 5
    loaded = nn.LazyLinear(3)
    loaded.load_state_dict(m.state_dict())
    assert torch.equal(loaded.weight, m.weight)
    empty = nn.LazyLinear(3)
    assert list(empty.state_dict()) == ["weight", "bias"]
    assert copy.deepcopy(empty).has_uninitialized_params()
    empty.load_state_dict(nn.LazyLinear(3).state_dict())
    norm = nn.LazyBatchNorm1d()
    norm(torch.ones(4, 6))
    assert type(norm) is nn.BatchNorm1d and norm.running_mean.shape == (6,)
    conv = nn.LazyConv2d(4, 3, groups=2)
    assert conv(torch.ones(1, 6, 5, 5)).shape == (1, 4, 3, 3) and conv.weight.shape == (4, 3, 3, 3)

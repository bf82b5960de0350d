"""What containers promise, as functions that hold for flambeau and for PyTorch alike."""

from collections import OrderedDict

import pytest

CASES = []


def case(function):
    CASES.append(function)
    return function


@case
def sequential(torch):
    nn = torch.nn
    a, b, c = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    s = nn.Sequential(a, b, c)
    assert len(s) == 3 and s[0] is a and s[-1] is c and list(s) == [a, b, c]
    assert list(s[1:]._modules) == ["1", "2"] and isinstance(s[1:], nn.Sequential)
    assert s(torch.ones(1, 2)).shape == (1, 1)
    assert list((s + nn.Sequential(b))._modules) == ["0", "1", "2", "3"] and len(s) == 3
    assert len(s * 2) == 6 and len(2 * s) == 6
    s += nn.Sequential(b)
    assert len(s) == 4
    s *= 2
    assert len(s) == 8 and s[4] is a
    del s[3:]
    assert len(s) == 3
    s.append(b).extend([b, c])
    assert len(s) == 6
    s.insert(0, b)
    assert s[0] is b and s[1] is a and list(s._modules)[:2] == ["0", "1"]
    s.insert(-1, c)
    assert s[-2] is c
    assert s.pop(0) is b and s[0] is a and list(s._modules)[0] == "0"
    s[1] = nn.Tanh()
    assert isinstance(s[1], nn.Tanh)
    named = nn.Sequential(OrderedDict(first=a, second=b))
    assert named.first is a and named[1] is b
    assert (
        repr(named) == "Sequential(\n  (first): Linear(in_features=2, out_features=3, bias=True)\n  (second): ReLU()\n)"
    )
    assert repr(nn.Sequential()) == "Sequential()"
    assert "0" not in dir(s)


@case
def sequential_refuses(torch):
    nn = torch.nn
    s = nn.Sequential(nn.ReLU())
    for call, error in (
        (lambda: s[5], IndexError),
        (lambda: s[-2], IndexError),
        (lambda: s * 0, ValueError),
        (lambda: s * 1.5, TypeError),
        (lambda: s + [nn.ReLU()], ValueError),
        (lambda: s.insert(5, nn.ReLU()), IndexError),
        (lambda: s.insert(0, 5), AssertionError),
        (lambda: s.extend(5), TypeError),
        (lambda: nn.Sequential(5), TypeError),
        (lambda: nn.Sequential({"a": nn.ReLU()}), TypeError),
        (lambda: s.__setitem__(3, nn.ReLU()), IndexError),
        (lambda: s.__delitem__(3), IndexError),
    ):
        with pytest.raises(error):
            call()
    assert len(s) == 1


@case
def module_list(torch):
    nn = torch.nn
    m = nn.ModuleList([nn.Linear(2, 2) for _ in range(3)])
    assert len(m) == 3 and m[-1] is list(m)[2] and isinstance(m[:2], nn.ModuleList) and len(m[:2]) == 2
    assert len(list(m.parameters())) == 6
    m.append(nn.ReLU())
    m.extend([nn.ReLU(), nn.ReLU()])
    m += [nn.Tanh()]
    assert len(m) == 7 and isinstance(m + [nn.ReLU()], nn.ModuleList) and len(m) == 7
    m.insert(1, nn.Tanh())
    assert isinstance(m[1], nn.Tanh) and list(m._modules) == [str(i) for i in range(8)]
    assert isinstance(m.pop(1), nn.Tanh) and len(m) == 7
    del m[-1]
    del m[0:2]
    assert list(m._modules) == ["0", "1", "2", "3"]
    m[0] = nn.Tanh()
    assert repr(m) == "ModuleList(\n  (0): Tanh()\n  (1-3): 3 x ReLU()\n)"
    assert repr(nn.ModuleList()) == "ModuleList()"
    nested = nn.ModuleList([nn.Sequential(nn.ReLU()), nn.Sequential(nn.ReLU()), nn.ReLU()])
    assert repr(nested) == "ModuleList(\n  (0-1): 2 x Sequential(\n    (0): ReLU()\n  )\n  (2): ReLU()\n)"
    for call, error in (
        (lambda: m[9], IndexError),
        (lambda: m.extend(3), TypeError),
        (lambda: nn.ModuleList(5), TypeError),
        (lambda: m.append(3), TypeError),
        (lambda: m(torch.ones(1)), NotImplementedError),
    ):
        with pytest.raises(error):
            call()


@case
def module_dict(torch):
    nn = torch.nn
    m = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Linear(1, 1)})
    assert len(m) == 2 and "a" in m and list(m) == ["a", "b"] == list(m.keys())
    assert [type(v).__name__ for v in m.values()] == ["ReLU", "Linear"] and dict(m.items())["a"] is m["a"]
    m["c"] = nn.Tanh()
    m.update([("d", nn.ReLU())])
    m.update(OrderedDict(e=nn.ReLU()))
    m.update(nn.ModuleDict({"f": nn.ReLU()}))
    assert list(m) == ["a", "b", "c", "d", "e", "f"]
    assert isinstance(m.pop("c"), nn.Tanh) and "c" not in m
    del m["d"]
    assert repr(nn.ModuleDict({"a": nn.ReLU()})) == "ModuleDict(\n  (a): ReLU()\n)"
    m.clear()
    assert len(m) == 0
    for call, error in (
        (lambda: m["zz"], KeyError),
        (lambda: nn.ModuleDict(5), TypeError),
        (lambda: nn.ModuleDict([1]), TypeError),
        (lambda: nn.ModuleDict([(1, 2, 3)]), ValueError),
        (lambda: nn.ModuleDict({1: nn.ReLU()}), TypeError),
        (lambda: nn.ModuleDict({"a.b": nn.ReLU()}), KeyError),
        (lambda: m.pop("a"), KeyError),
    ):
        with pytest.raises(error):
            call()


@case
def parameter_list(torch):
    nn = torch.nn
    p = nn.ParameterList([torch.zeros(2, 3), nn.Parameter(torch.ones(1)), 5])
    assert len(p) == 3 and isinstance(p[0], nn.Parameter) and p[2] == 5 and p[-1] == 5
    assert len(list(p.parameters())) == 2 and list(p.state_dict()) == ["0", "1"]
    p.append(torch.ones(2))
    p.extend([torch.ones(1)])
    p += [torch.ones(1)]
    assert len(p) == 6 and isinstance(p[1:3], nn.ParameterList) and len(p[1:3]) == 2
    p[0] = torch.ones(4)
    assert p[0].shape == (4,) and [type(x).__name__ for x in p][2] == "int"
    assert repr(nn.ParameterList([torch.zeros(2, 3), 5, torch.zeros(())])) == (
        "ParameterList(\n    (0): Parameter containing: [torch.float32 of size 2x3]\n    (1): Object of type: int\n"
        "    (2): Parameter containing: [torch.float32 of size ]\n)"
    )
    for call, error in (
        (lambda: p[9], IndexError),
        (lambda: p.extend(5), TypeError),
        (lambda: p.extend(torch.ones(2)), TypeError),
        (lambda: nn.ParameterList(5), TypeError),
        (lambda: p(1), RuntimeError),
    ):
        with pytest.raises(error):
            call()


@case
def parameter_dict(torch):
    nn = torch.nn
    d = nn.ParameterDict({"a": torch.zeros(2, 3), "b": "x"})
    assert isinstance(d["a"], nn.Parameter) and d["b"] == "x" and len(d) == 2 and list(d) == ["a", "b"]
    assert list(d.state_dict()) == ["a"] and d.get("zz", 7) == 7 and d.get("b") == "x"
    assert list(d.keys()) == ["a", "b"] and [k for k, _ in d.items()] == ["a", "b"] and list(d.values())[1] == "x"
    assert list(reversed(d)) == ["b", "a"]
    assert repr(d) == (
        "ParameterDict(\n    (a): Parameter containing: [torch.FloatTensor of size 2x3]\n"
        "    (b): Object of type: str\n)"
    )
    c = d.copy()
    assert c["a"] is d["a"] and c is not d
    assert d.setdefault("c", torch.ones(1)).shape == (1,) and d.setdefault("c", 3) is d["c"]
    other = nn.ParameterDict({"b": 1, "z": 2})
    assert dict((d | other).items())["b"] == 1 and d["b"] == "x"
    d |= other
    assert d["b"] == 1 and d["z"] == 2
    d.update([("y", 9)])
    assert d.popitem() == ("y", 9) and d.pop("z") == 2 and "z" not in d
    del d["b"]
    assert nn.ParameterDict().fromkeys(["p", "q"], 1)["q"] == 1
    d.clear()
    assert len(d) == 0
    for call, error in (
        (lambda: d["zz"], AttributeError),
        (lambda: d.__setitem__(5, 5), TypeError),
        (lambda: nn.ParameterDict(5), TypeError),
        (lambda: nn.ParameterDict([1]), TypeError),
        (lambda: nn.ParameterDict([(1, 2, 3)]), ValueError),
        (lambda: nn.ParameterDict({"a.b": torch.ones(1)}), KeyError),
        (lambda: nn.ParameterDict().popitem(), KeyError),
        (lambda: d(1), RuntimeError),
    ):
        with pytest.raises(error):
            call()


@case
def state_dicts_of_containers_load(torch):
    nn = torch.nn
    m = nn.ModuleDict({"l": nn.ModuleList([nn.Linear(1, 1)]), "p": nn.ParameterList([torch.ones(1)])})
    assert list(m.state_dict()) == ["l.0.weight", "l.0.bias", "p.0"]
    m.load_state_dict(m.state_dict())


@case
def prefixes_are_consumed(torch):
    from importlib import import_module

    utils = import_module(torch.nn.modules.__name__ + ".utils")
    state = nn_state = torch.nn.Sequential(OrderedDict(module=torch.nn.Linear(1, 1))).state_dict()
    utils.consume_prefix_in_state_dict_if_present(state, "module.")
    assert list(state) == ["weight", "bias"] and nn_state is state
    torch.nn.Linear(1, 1).load_state_dict(state)
    assert utils._pair(3) == (3, 3) and utils._triple((1, 2, 3)) == (1, 2, 3) and utils._single(4) == (4,)
    assert utils._reverse_repeat_tuple((1, 2), 2) == (2, 2, 1, 1)
    assert utils._list_with_default([None, 3], [5, 6, 7]) == [6, 3]
    assert utils._ntuple(5)(1) == (1,) * 5


@case
def sequences_pack_and_pad(torch):
    rnn = torch.nn.utils.rnn
    parts = [torch.arange(n, dtype=torch.float32).reshape(n, 1) + 1 for n in (3, 1, 2)]
    padded = rnn.pad_sequence(parts, batch_first=True, padding_value=-1.0)
    assert padded.shape == (3, 3, 1) and padded[1, :, 0].tolist() == [1.0, -1.0, -1.0]
    assert rnn.pad_sequence(parts, padding_side="left")[:, 2, 0].tolist() == [0.0, 1.0, 2.0]
    assert [s.shape[0] for s in rnn.unpad_sequence(padded, torch.tensor([3, 1, 2]), batch_first=True)] == [3, 1, 2]
    packed = rnn.pack_padded_sequence(padded, [3, 1, 2], batch_first=True, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1] and packed.data[:, 0].tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    assert packed.sorted_indices.tolist() == [0, 2, 1] and packed.unsorted_indices.tolist() == [0, 2, 1]
    back, lengths = rnn.pad_packed_sequence(packed, batch_first=True, padding_value=-1.0, total_length=4)
    assert lengths.tolist() == [3, 1, 2] and back.shape == (3, 4, 1) and torch.equal(back[:, :3], padded)
    assert [s.tolist() for s in rnn.unpack_sequence(packed)] == [p.tolist() for p in parts]
    assert rnn.pack_sequence(parts, enforce_sorted=False).data.shape == (6, 1)
    assert packed.double().data.dtype == torch.float64
    for call, error in (
        (lambda: rnn.pack_padded_sequence(padded, [1, 2, 3], batch_first=True), RuntimeError),
        (lambda: rnn.pack_padded_sequence(padded, [3, 2], batch_first=True), RuntimeError),
        (lambda: rnn.pack_padded_sequence(padded, [3, 2, 0], batch_first=True), RuntimeError),
        (lambda: rnn.pad_packed_sequence(packed, total_length=2), ValueError),
        (lambda: rnn.pad_sequence(3), RuntimeError),
    ):
        with pytest.raises(error):
            call()
    x = torch.ones(2, 2, 1, requires_grad=True)
    out, _ = rnn.pad_packed_sequence(rnn.pack_padded_sequence(x, [2, 1]))
    (out * torch.tensor([[[1.0], [2.0]], [[3.0], [4.0]]])).sum().backward()
    assert x.grad.flatten().tolist() == [1.0, 2.0, 3.0, 0.0]


@case
def gradients_are_clipped(torch):
    utils = torch.nn.utils
    a, b = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))
    a.grad, b.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    total = utils.clip_grad_norm_([a, b], 1.0)
    assert float(total) == 5.0 and abs(float(a.grad[0]) - 0.6) < 1e-5
    assert float(utils.clip_grad_norm_(iter([a, b]), 10.0, norm_type=float("inf"))) == pytest.approx(0.8, abs=1e-5)
    assert float(utils.get_total_norm([torch.ones(4)], 1.0)) == 4.0
    assert float(utils.clip_grad_norm_([torch.nn.Parameter(torch.ones(1))], 1.0)) == 0.0
    a.grad = torch.tensor([5.0, -5.0])
    utils.clip_grad_value_(a, 2.0)
    assert a.grad.tolist() == [2.0, -2.0]
    a.grad = torch.tensor([float("nan"), 0.0])
    with pytest.raises(RuntimeError):
        utils.clip_grad_norm_([a], 1.0, error_if_nonfinite=True)
    m = torch.nn.Linear(2, 2)
    flat = utils.parameters_to_vector(m.parameters())
    assert flat.shape == (6,)
    utils.vector_to_parameters(torch.arange(6.0), m.parameters())
    assert m.weight.tolist() == [[0.0, 1.0], [2.0, 3.0]] and m.bias.tolist() == [4.0, 5.0]
    with pytest.raises(TypeError):
        utils.vector_to_parameters([1.0], m.parameters())

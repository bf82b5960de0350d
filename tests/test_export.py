"""Recorded programs: `torch.jit.trace`, `save` and `load`, `torch.export`, and what they refuse."""

import io
import subprocess
import sys
import warnings
import zipfile

import pytest

import flambeau as torch
from flambeau import nn
from tests.exported_cases import FUNCTIONS, LAYERS, MODELS, built, flat
from tests.programs import environment


def agree(ours, theirs, tolerance=1e-6):
    ours, theirs = flat(ours), flat(theirs)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype is b.dtype and a.shape == b.shape
        assert torch.allclose(a.double(), b.double(), tolerance, tolerance, equal_nan=True)


@pytest.mark.parametrize("name", LAYERS)
def test_a_traced_layer_is_the_layer(name):
    module, inputs = built(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        traced = torch.jit.trace(module, inputs)
    agree(traced(*inputs), module(*inputs))
    others = [t.flip(0) if isinstance(t, torch.Tensor) and t.dtype is not torch.bool else t for t in inputs]
    agree(traced(*others), module(*others))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_traced_function_is_the_function(name):
    function, count = FUNCTIONS[name]
    torch.manual_seed(1)
    inputs = [torch.randn(3, 4) for _ in range(count)]
    traced = torch.jit.trace(function, tuple(inputs), check_trace=name != "choice by tensors")
    agree(traced(*inputs), function(*inputs))
    others = [torch.randn(3, 4) for _ in range(count)]
    agree(traced(*others), function(*others))


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_in_other_sizes_from_a_file(name):
    module, inputs = built(name, MODELS)
    others = MODELS[name][3]()
    traced = torch.jit.trace(module, inputs)
    agree(traced(*others), module(*others))
    agree(traced(*inputs), module(*inputs))
    file = io.BytesIO()
    torch.jit.trace(module, inputs).save(file)  # it was called with one size only
    file.seek(0)
    loaded = torch.jit.load(file)
    agree(loaded(*others), module(*others))
    assert list(loaded.state_dict()) == list(module.state_dict())
    again = io.BytesIO()
    torch.jit.save(loaded, again)
    again.seek(0)
    agree(torch.jit.load(again)(*others), module(*others))


@pytest.mark.parametrize("name", MODELS)
def test_exported_models_in_other_sizes_from_a_file(name):
    module, inputs = built(name, MODELS)
    _, _, dims, others = MODELS[name]
    exported = torch.export.export(module, inputs, dynamic_shapes=tuple(dims))
    agree(exported.module()(*inputs), module(*inputs))
    file = io.BytesIO()
    torch.export.save(exported, file)
    file.seek(0)
    loaded = torch.export.load(file)
    x = others()
    agree(loaded.module()(*x), module(*x))
    assert set(loaded.state_dict) == set(dict(module.named_parameters(remove_duplicate=False))) | set(
        dict(module.named_buffers())
    )


def test_a_loaded_model_needs_no_class(tmp_path):
    module, inputs = built("gpt", MODELS)
    torch.jit.save(torch.jit.trace(module, inputs), tmp_path / "m.pt")
    torch.save((inputs[0], module(*inputs)), tmp_path / "io.pt")
    code = (
        "import sys, flambeau as torch\n"
        f"m = torch.jit.load({str(tmp_path / 'm.pt')!r}); x, y = torch.load({str(tmp_path / 'io.pt')!r})\n"
        "assert torch.allclose(m(x), y, 1e-5, 1e-6) and m.original_name == 'GPT' and not m.training\n"
        "assert m.qkv[0].original_name == 'Linear' if hasattr(m.qkv, '__getitem__') else True\n"
        "assert not any(n.startswith('tests') for n in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=environment(), cwd=tmp_path)


def test_a_trace_trains_its_own_parameters():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(inplace=True), nn.Linear(4, 1))
    traced = torch.jit.trace(model, torch.randn(5, 3))
    assert traced[0].weight is model[0].weight and model[1].num_batches_tracked == 0
    x = torch.randn(8, 3)
    traced(x).sum().backward()
    first = [p.grad.clone() for p in model.parameters()]
    mean = model[1].running_mean.clone()
    assert model[1].num_batches_tracked == 1 and mean.abs().sum() > 0
    model[1].reset_running_stats()
    model.zero_grad()
    model(x).sum().backward()
    for a, p in zip(first, model.parameters(), strict=True):
        assert torch.allclose(a, p.grad)
    assert torch.allclose(model[1].running_mean, mean)
    with torch.no_grad():
        model[3].weight.zero_()
    assert torch.equal(traced(x), model[3].bias.expand(8, 1))


def test_a_trace_keeps_what_python_decided():
    def function(x):
        return x * 2 if x.sum() > 0 else x * 3

    with pytest.warns(torch.jit.TracerWarning, match="something else|other sizes or values"):
        torch.jit.trace(lambda x: x * float(x[0]), torch.tensor([2.0, 3.0]))
    traced = torch.jit.trace(function, torch.ones(2), check_trace=False)
    assert traced(-torch.ones(2)).tolist() == [-2, -2]
    assert isinstance(traced, torch.jit.ScriptFunction) and "mul(%input0, 2)" in traced.code
    seen = []
    torch.jit.trace(lambda x: seen.append(torch.jit.is_tracing()) or x, torch.ones(1))
    assert seen[0] and not torch.jit.is_tracing()


def test_what_is_drawn_is_drawn_again():
    traced = torch.jit.trace(nn.Dropout(0.5), torch.ones(20))
    torch.manual_seed(3)
    one, two = traced(torch.ones(9)), traced(torch.ones(9))
    torch.manual_seed(3)
    assert torch.equal(one, nn.Dropout(0.5)(torch.ones(9))) and not torch.equal(one, two)
    exported = torch.export.export(Noisy(), (torch.ones(3, 2),), dynamic_shapes=({0: "n"},)).module()
    torch.manual_seed(4)
    got = exported(torch.zeros(5, 2))
    torch.manual_seed(4)
    assert torch.equal(got, torch.randn(5, 2) + torch.randn(5, 2).sum())


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x) + torch.randn(x.size(0), 2).sum()


def test_detached_parts_stay_detached():
    traced = torch.jit.trace(lambda x: x * (x * 2).detach(), torch.ones(2))
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    traced(x).sum().backward()
    assert x.grad.tolist() in ([6, 8], [12, 16])  # without requires_grad in the example nothing tells
    traced = torch.jit.trace(lambda x: x * (x * 2).detach(), torch.ones(2, requires_grad=True))
    x.grad = None
    traced(x).sum().backward()
    assert x.grad.tolist() == [6, 8]


def test_methods_containers_and_extra_files(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(2, 2), nn.Linear(2, 2)
            self.scale = torch.tensor(2.0)

        def forward(self, x):
            return {"out": self.a(x), "list": [x, 3, None]}

        def other(self, x, y):
            return self.b(x) * self.scale, y

    model = Two()
    x = torch.randn(3, 2)
    traced = torch.jit.trace_module(model, {"forward": x, "other": (x, x)})
    assert torch.equal(traced.other(x, x)[0], model.b(x) * 2) and list(traced(x)) == ["out", "list"]
    torch.jit.save(traced, tmp_path / "m.pt", _extra_files={"note": "hello"})
    extra = {"note": ""}
    loaded = torch.jit.load(tmp_path / "m.pt", _extra_files=extra)
    assert extra == {"note": "hello"} and torch.equal(loaded.other(x, x)[0], model.b(x) * 2)
    assert loaded(x)["list"][1:] == [3, None] and torch.equal(loaded.a.weight, model.a.weight)
    with pytest.raises(NotImplementedError, match="whole"):
        loaded.a(x)
    method = torch.jit.trace(model.other, (x, x))
    assert torch.equal(method(x, x)[0], model.b(x) * 2)


def test_scripted_modules_are_saved_as_the_program_of_a_call():
    scripted = torch.jit.script(nn.Sequential(nn.Linear(2, 3), nn.Tanh()))
    with pytest.raises(RuntimeError, match="call it once"):
        torch.jit.save(scripted, io.BytesIO())
    x = torch.randn(4, 2)
    want = scripted(x)
    file = io.BytesIO()
    scripted.save(file)
    file.seek(0)
    assert torch.equal(torch.jit.load(file)(x), want)
    with pytest.raises(RuntimeError, match="state_dict"):
        torch.jit.save(nn.Linear(1, 1), io.BytesIO())


def test_files_that_are_no_programs_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/code/__torch__.py", "class M(Module): ...")
        archive.writestr("script/constants.pkl", b"\x80\x02).")
    with pytest.raises(RuntimeError, match="TorchScript"):
        torch.jit.load(tmp_path / "script.pt")
    torch.save({"a": torch.ones(1)}, tmp_path / "state.pt")
    with pytest.raises(RuntimeError, match="no recorded program"):
        torch.jit.load(tmp_path / "state.pt")
    with pytest.raises(RuntimeError, match="no recorded program"):
        torch.export.load(tmp_path / "state.pt")
    contents = {
        "format": "flambeau.program", "version": 1, "kind": "jit", "constants": {"forward": {}}, "names": {"": "M"},
        "state": {}, "training": {}, "extra": {},
    }  # fmt: skip
    for text in ("{}", "no json", '{"inputs": [], "state": {}, "constants": {}, "calls": [["os.system", [], [], ""]]}'):
        torch.save({**contents, "programs": {"forward": text}}, tmp_path / "bad.pt")
        with pytest.raises(RuntimeError, match="damaged"):
            torch.jit.load(tmp_path / "bad.pt")
    with pytest.raises(FileNotFoundError):
        torch.jit.load(tmp_path / "nothing.pt")


def test_what_can_not_be_exported_says_where():
    def file_and_line(error):
        return __file__ in str(error.value)

    with pytest.raises(RuntimeError, match="one path") as error:
        torch.export.export(Chooses(), (torch.tensor([2.0, -1.0, -3.0]),))
    assert file_and_line(error)
    with pytest.raises(RuntimeError, match="read from a tensor into Python") as error:
        torch.export.export(Reads(), (torch.tensor([2.0, -1.0]),))
    assert file_and_line(error)
    with pytest.raises(RuntimeError, match="one path|loop"):
        torch.export.export(Loops(), (torch.ones(4, 2),), dynamic_shapes=({0: "n"},))
    with pytest.raises(RuntimeError, match="called"):
        torch.export.export(nn.ReLU(), (torch.ones(2),))(torch.ones(2))
    with pytest.raises(TypeError, match="tuple"):
        torch.export.export(nn.ReLU(), torch.ones(2))
    with pytest.raises(ValueError, match="nothing"):
        torch.export.export(nn.ReLU(), (torch.ones(2),), dynamic_shapes={"nothing": {0: "n"}})


class Chooses(nn.Module):
    def forward(self, x):
        return x.exp() if x[0] > 0 else x.sin()


class Reads(nn.Module):
    def forward(self, x):
        return x * x[0].item()


class Loops(nn.Module):
    def forward(self, x):
        total = x[0] * 0
        for row in x:
            total = total + row.sin()
        return total


def test_inputs_that_do_not_fit_a_program_are_refused():
    batch = torch.export.Dim("batch", min=2, max=10)
    exported = torch.export.export(
        Adds(), (torch.ones(3, 4), torch.ones(3, 4)), {"flag": True}, dynamic_shapes={"x": {0: batch}, "y": {0: batch}}
    )
    run = exported.module()
    assert run(torch.ones(5, 4), torch.ones(5, 4), flag=True).shape == (5, 4)
    assert exported.range_constraints == {"batch": (2, 10)}
    for args, kwargs in (
        ((torch.ones(5, 3), torch.ones(5, 3)), {"flag": True}),
        ((torch.ones(5, 4), torch.ones(4, 4)), {"flag": True}),
        ((torch.ones(5, 4), torch.ones(5, 4)), {"flag": False}),
        ((torch.ones(5, 4), torch.ones(5, 4)), {}),
        ((torch.ones(5, 4).double(), torch.ones(5, 4)), {"flag": True}),
    ):
        with pytest.raises(RuntimeError):
            run(*args, **kwargs)
    traced = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))
    with pytest.raises(RuntimeError, match="can't be taken"):
        traced(torch.ones(1, 4))


class Adds(nn.Module):
    def forward(self, x, y, flag=False):
        return x + y if flag else x - y


def test_sizes_are_found_or_kept_fixed():
    auto = torch.export.Dim.AUTO
    with pytest.warns(UserWarning, match="fixed"):
        exported = torch.export.export(nn.Linear(3, 2), (torch.ones(4, 3),), dynamic_shapes=({0: auto, 1: auto},))
    assert list(exported.range_constraints) == ["s0"]
    assert exported.module()(torch.ones(9, 3)).shape == (9, 2)
    with pytest.raises(TypeError, match="follow from others"):
        torch.export.Dim("n") * 2
    with pytest.raises(ValueError):
        torch.export.Dim("n", min=3, max=2)
    model, inputs = built("gpt", MODELS)
    exported = torch.export.export(model, inputs, dynamic_shapes=({0: "b", 1: torch.export.Dim.DYNAMIC},))
    assert "view_op" in str(exported) and "[b, s0, 2, 4]" in str(exported)


def test_traces_can_be_copied_and_moved():
    import copy

    traced = torch.jit.trace(nn.Linear(3, 2), torch.ones(1, 3))
    twin = copy.deepcopy(traced)
    with torch.no_grad():
        twin.weight.zero_()
    assert not torch.equal(twin(torch.ones(1, 3)), traced(torch.ones(1, 3)))
    assert torch.jit.freeze(traced.eval()) is traced and torch.jit.optimize_for_inference(traced) is traced

"""ONNX models: what onnxruntime computes is what the module computes. Skipped where onnx and onnxruntime are not."""

import io

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from tests.exported_cases import FUNCTIONS, LAYERS, MODELS, Function, built, flat

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(program, inputs):
    """The outputs of a model in onnxruntime."""
    onnx.checker.check_model(program.model_proto, full_check=True)
    return program(*inputs)


def compare(program, module, inputs, tolerance=2e-5):
    ours, theirs = run(program, inputs), flat(module(*inputs))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype is b.dtype and a.shape == b.shape, (a.dtype, a.shape, b.dtype, b.shape)
        b = b.detach()
        if b.is_floating_point():
            np.testing.assert_allclose(a.double().numpy(), b.double().numpy(), tolerance, tolerance)
        else:
            assert torch.equal(a, b)


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    module, inputs = built(name)
    compare(torch.onnx.export(module, inputs), module, inputs)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions(name):
    function, count = FUNCTIONS[name]
    torch.manual_seed(1)
    inputs = tuple(torch.randn(3, 4) for _ in range(count))
    program = torch.onnx.export(Function(function), inputs)
    compare(program, function, inputs)
    compare(program, function, tuple(torch.randn(3, 4) for _ in range(count)))


@pytest.mark.parametrize("name", MODELS)
def test_models_in_any_size(name, tmp_path):
    module, inputs = built(name, MODELS)
    _, _, dims, others = MODELS[name]
    axes = {f"x{i}": d for i, d in enumerate(dims)}
    program = torch.onnx.export(
        module.train(), inputs, tmp_path / "model.onnx", input_names=list(axes), output_names=["y"], dynamic_axes=axes
    )
    assert module.training
    module.eval()
    compare(program, module, inputs)
    compare(program, module, others())
    session = runtime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(axes) and session.get_outputs()[0].name == "y"
    x = others()
    (y,) = session.run(None, {f"x{i}": t.numpy() for i, t in enumerate(x)})
    np.testing.assert_allclose(y, module(*x).detach().numpy(), 2e-5, 2e-5)
    names = {i.name for i in program.model_proto.graph.initializer}
    assert set(dict(module.named_parameters())) <= names


@pytest.mark.parametrize("opset", [17, 18, 20, 21])
def test_versions(opset):
    module, inputs = built("cnn", MODELS)
    program = torch.onnx.export(module, inputs, opset_version=opset)
    assert program.model_proto.opset_import[0].version == opset
    compare(program, module, inputs)
    module, inputs = built("gpt", MODELS)
    compare(torch.onnx.export(module, inputs, opset_version=opset), module, inputs)


def test_the_ways_to_call_it(tmp_path):
    class Two(nn.Module):
        def forward(self, x, y=None, *, scale=1.0):
            return {"sum": (x if y is None else x + y) * scale, "x": x}

    x = torch.randn(2, 3)
    program = torch.onnx.export(Two(), (x,), kwargs={"y": x, "scale": 2.0})
    assert torch.equal(program(x, x)[0], x * 4)
    program = torch.onnx.export(Two(), (x, {"y": x}), input_names=["a", "b"], dynamic_axes={"a": [0], "b": [0]})
    assert torch.equal(program(x[:1], x[:1])[0], x[:1] * 2)
    assert torch.onnx.export(nn.ReLU(), x, tmp_path / "m.onnx", dynamo=False) is None
    file = io.BytesIO()
    torch.onnx.export(nn.ReLU(), x, file)
    assert onnx.load_from_string(file.getvalue()).graph.node[0].op_type == "Relu"
    batch = torch.export.Dim("batch")
    exported = torch.export.export(nn.Linear(3, 2), (x,), dynamic_shapes=({0: batch},))
    program = torch.onnx.export(exported)
    compare(program, exported.module(), [torch.randn(5, 3)])
    traced = torch.jit.trace(nn.Linear(3, 2), x)
    compare(torch.onnx.export(traced, (x,), verify=True), traced, [x])
    bare = torch.onnx.export(nn.Linear(3, 2), (x,), export_params=False).model_proto.graph
    assert [i.name for i in bare.input] == ["input_0", "weight", "bias"] and not bare.initializer
    program = torch.onnx.export(nn.Linear(64, 64), (torch.ones(1, 64),))
    program.save(tmp_path / "apart.onnx", external_data=True)
    assert (tmp_path / "apart.onnx.data").exists()
    assert not torch.onnx.is_in_onnx_export()


def test_what_can_not_be_exported():
    class Draws(nn.Module):
        def forward(self, x):
            return x + torch.randn_like(x)

    class Rare(nn.Module):
        def forward(self, x):
            return torch.special.i0(x)

    class Chooses(nn.Module):
        def forward(self, x):
            return x.exp() if x[0] > 0 else x.sin()

    x = torch.tensor([1.0, -2.0])
    with pytest.raises(torch.onnx.UnsupportedOperatorError, match="random.*test_onnx.py"):
        torch.onnx.export(Draws(), x)
    with pytest.raises(torch.onnx.UnsupportedOperatorError, match="i0.*test_onnx.py"):
        torch.onnx.export(Rare(), x)
    with pytest.raises(torch.onnx.OnnxExporterError, match="one path"):
        torch.onnx.export(Chooses(), x)
    norm = nn.BatchNorm1d(2)
    with pytest.raises(torch.onnx.OnnxExporterError, match="eval"):
        torch.onnx.export(Uses(norm), torch.ones(3, 2), training=torch.onnx.TrainingMode.TRAINING)
    with pytest.raises(ValueError, match="opset"):
        torch.onnx.export(nn.ReLU(), x, opset_version=3)


class Uses(nn.Module):
    """Returns a buffer after it was written."""

    def __init__(self, norm):
        super().__init__()
        self.norm = norm

    def forward(self, x):
        return self.norm(x), self.norm.running_mean * 1

"""StableHLO: what JAX loads and runs without flambeau is what the module computes."""

import subprocess
import sys

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from tests.exported_cases import FUNCTIONS, LAYERS, MODELS, Function, built, flat

UNKNOWN_IN_JAX = {"types"}  # half precision is rounded otherwise


def compare(exported, module, inputs):
    tensors = flat(inputs)
    got, wanted = exported(*tensors), flat(module(*inputs))
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        a, b = np.asarray(a), b.detach().numpy()
        assert a.shape == b.shape and a.dtype.kind == b.dtype.kind
        np.testing.assert_allclose(a, b, 2e-5, 2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    module, inputs = built(name)
    compare(torch.export.to_stablehlo(module, inputs), module, inputs)


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in UNKNOWN_IN_JAX])
def test_functions(name):
    function, count = FUNCTIONS[name]
    torch.manual_seed(1)
    inputs = tuple(torch.randn(3, 4) for _ in range(count))
    if name == "writes":
        inputs = tuple(t.abs() * 0.1 for t in inputs)  # a write by a mask of unknown size is none in XLA
    compare(torch.export.to_stablehlo(Function(function), inputs), function, inputs)


def shapes_of(name):
    """The sizes that may vary, with the limit of the tables of positions."""
    known = {"time": torch.export.Dim("time", max=16)}
    spatial = ("height", "width")
    return tuple(
        {d: known.get(n, torch.export.Dim(n)) for d, n in dims.items() if n not in spatial}
        for dims in MODELS[name][2]
    )  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_in_any_size(name):
    module, inputs = built(name, MODELS)
    compare(torch.export.to_stablehlo(module, inputs), module, inputs)
    exported = torch.export.to_stablehlo(module, inputs, dynamic_shapes=shapes_of(name))
    compare(exported, module, inputs)
    others = MODELS[name][3]() if name != "cnn" else [torch.randn(5, 3, 8, 8)]
    compare(exported, module, others)


@pytest.mark.parametrize("parameters", ["included", "inputs"])
def test_a_file_runs_without_flambeau(tmp_path, parameters):
    module, inputs = built("gpt", MODELS)
    exported = torch.export.to_stablehlo(
        module, inputs, dynamic_shapes=shapes_of("gpt"), parameters=parameters
    )  # fmt: skip
    exported.save(tmp_path / "gpt.stablehlo")
    x = torch.randint(0, 11, (4, 9))
    np.savez(tmp_path / "io.npz", x=x.numpy().astype(np.int32), y=module(x).detach().numpy())
    if parameters == "inputs":
        np.savez(tmp_path / "weights.npz", **exported.parameters)
    code = (
        "import sys, numpy as np, jax, jax.export\n"
        "run = jax.export.deserialize(open('gpt.stablehlo', 'rb').read())\n"
        "io = np.load('io.npz')\n"
        + ("first = [dict(np.load('weights.npz'))]\n" if parameters == "inputs" else "first = []\n")
        + "(y,) = run.call(*first, io['x'])\n"
        "np.testing.assert_allclose(y, io['y'], 2e-5, 2e-5)\n"
        "assert not any(n.partition('.')[0] == 'flambeau' for n in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={})
    assert not done.returncode, done.stderr


def test_exported_programs_and_what_is_refused(tmp_path):
    batch = torch.export.Dim("batch", min=2, max=9)
    model = nn.Linear(3, 2)
    program = torch.export.export(model, (torch.ones(4, 3),), dynamic_shapes=({0: batch},))
    exported = torch.export.to_stablehlo(program)
    assert "stablehlo" in exported.exported.mlir_module() and exported.parameters is None
    compare(exported, model, (torch.randn(7, 3),))
    with pytest.raises(ValueError):
        exported(torch.ones(20, 3))
    with pytest.raises(ValueError, match="included"):
        torch.export.to_stablehlo(model, (torch.ones(4, 3),), parameters="none")
    torch.export.save_stablehlo(model, tmp_path / "m", (torch.ones(4, 3),), platforms=["cpu", "cuda", "tpu"])
    assert (tmp_path / "m").stat().st_size > 100
    double = torch.export.to_stablehlo(model.double(), (torch.ones(4, 3).double(),))
    compare(double, model, (torch.randn(4, 3).double(),))

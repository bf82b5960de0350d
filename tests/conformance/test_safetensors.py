"""Safetensors files: what flambeau writes, the format's own library reads for PyTorch, and the other way round."""

import numpy as np
import pytest

import flambeau
from flambeau.serialization import safetensors as ours
from tests.conformance.test_serialization import bits, to_ours

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("safetensors.torch")

ALL = """bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 float16 bfloat16 float32 float64 complex64
         float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz""".split()


def everything():
    found = {}
    for name in ALL:
        values = torch.randint(0, 255, (4, 16), dtype=torch.uint8).view(-1)
        found[name] = values % 2 == 1 if name == "bool" else values.view(getattr(torch, name)).reshape(2, -1)
    found["empty"], found["scalar"] = torch.zeros(0, 3), torch.tensor(2.5)
    found["ein Gewicht é"] = torch.arange(3)
    return found


def test_ours_are_read(tmp_path):
    expected = everything()
    ours.save_file({k: to_ours(t) for k, t in expected.items()}, tmp_path / "a.safetensors", {"format": "pt"})
    found = theirs.load_file(tmp_path / "a.safetensors")
    assert {k: bits(t) for k, t in found.items()} == {k: bits(t) for k, t in expected.items()}
    found = theirs.load(ours.save({k: to_ours(t) for k, t in expected.items()}))
    assert {k: bits(t) for k, t in found.items()} == {k: bits(t) for k, t in expected.items()}
    from safetensors import safe_open

    with safe_open(tmp_path / "a.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt" and sorted(file.keys()) == sorted(expected)
    assert ours.metadata(tmp_path / "a.safetensors")["format"] == "pt"


def test_theirs_are_read(tmp_path):
    expected = everything()
    theirs.save_file(expected, tmp_path / "a.safetensors", {"format": "pt"})
    found = ours.load_file(tmp_path / "a.safetensors")
    assert {k: bits(t) for k, t in found.items()} == {k: bits(t) for k, t in expected.items()}
    assert ours.metadata(tmp_path / "a.safetensors") == {"format": "pt"}
    found = ours.load(theirs.save(expected))
    assert {k: bits(t) for k, t in found.items()} == {k: bits(t) for k, t in expected.items()}


def test_plain_files_are_the_same_size(tmp_path):
    t = torch.arange(7.0)
    a, b = ours.save({"x": to_ours(t)}, checksums=False), theirs.save({"x": t})
    assert a == b


def tied(T):
    model = T.nn.Sequential(T.nn.Linear(3, 3), T.nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model


def test_models_with_tied_weights(tmp_path):
    path = tmp_path / "m.safetensors"
    for save, load, S, L in (
        (theirs.save_model, ours.load_model, torch, flambeau),
        (ours.save_model, theirs.load_model, flambeau, torch),
        (ours.save_model, ours.load_model, flambeau, flambeau),
    ):
        source, target = tied(S), tied(L)
        save(source, str(path))
        missing, unexpected = load(target, str(path))
        assert not missing and not unexpected
        for a, b in zip(source.state_dict().values(), target.state_dict().values()):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("wrong", [
    lambda T: {"a": T.ones(2, 3).t()},
    lambda T: [T.ones(2)],
    lambda T: {"a": 3},
    lambda T: (lambda t: {"a": t, "b": t})(T.ones(2)),
])  # fmt: skip
def test_refusals(wrong):
    with pytest.raises(Exception) as expected:
        theirs.save(wrong(torch))
    with pytest.raises(expected.type):
        ours.save(wrong(flambeau))

"""`safetensors.torch` on flambeau: files of either side, bit for bit."""

import sys

import pytest

from tests.programs import execute, flambeau

WRITE = """
import sys, torch
from safetensors.torch import save_file, save_model
names = ("float32 float64 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 float8_e4m3fn float8_e5m2 "
         "uint16 uint32 uint64").split()
tensors = {name: (torch.arange(6) % 5).reshape(2, 3).to(getattr(torch, name)) for name in names}
tensors["empty"], tensors["scalar"] = torch.zeros(0, 3), torch.tensor(1.5)
save_file(tensors, sys.argv[1] + "/t.safetensors", metadata={"format": "pt"})
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
save_model(model, sys.argv[1] + "/m.safetensors")
torch.save(model.state_dict(), sys.argv[1] + "/m.pt")
"""

READ = """
import sys, torch
from safetensors import safe_open
from safetensors.torch import load, load_file, load_model
path = sys.argv[1] + "/t.safetensors"
tensors = load_file(path)
for name in sorted(tensors):
    t = tensors[name]
    print(name, t.dtype, tuple(t.shape), t.flatten().tolist() if t.is_complex() else t.double().flatten().tolist())
with safe_open(path, framework="pt") as file:
    print(file.metadata(), sorted(file.keys()), file.get_tensor("float32").sum(), file.get_slice("int8")[:, :2])
with open(path, "rb") as file:
    again = load(file.read())
    print(all(torch.equal(again[name].to(torch.complex64), t.to(torch.complex64)) for name, t in tensors.items()))
model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
print(load_model(model, sys.argv[1] + "/m.safetensors"))
state = torch.load(sys.argv[1] + "/m.pt")
print(all(torch.equal(value, model.state_dict()[name]) for name, value in state.items()))
tensors["float32"].add_(1)  # what was loaded is the program's own; the file stays
print(load_file(path)["float32"].tolist())
"""


def run(side, program, folder, *arguments):
    script = folder / "program.py"
    script.write_text(program, encoding="utf-8")
    done = flambeau("run", script, *arguments) if side == "flambeau" else execute([sys.executable, script, *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("writer", ["torch", "flambeau"])
def test_files_of_either_side_load_in_both(tmp_path, writer):
    run(writer, WRITE, tmp_path, tmp_path)
    seen = run("torch", READ, tmp_path, tmp_path)
    assert run("flambeau", READ, tmp_path, tmp_path) == seen
    assert seen.count("True") == 2


def test_both_write_the_same_bytes(tmp_path):
    for side in ("torch", "flambeau"):
        (tmp_path / side).mkdir()
        run(side, WRITE, tmp_path, tmp_path / side)
    for name in ("t.safetensors", "m.safetensors"):
        assert (tmp_path / "torch" / name).read_bytes() == (tmp_path / "flambeau" / name).read_bytes()

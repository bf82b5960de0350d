"""Where JAX is not installed, everything but its devices works, and asking for one says which extra to install."""

import subprocess
import sys

from tests.programs import environment

PROGRAM = """
import sys
sys.modules["jax"] = None  # importing it fails as where it is not installed
import flambeau as torch

assert not torch.cuda.is_available() and torch.cuda.device_count() == 0
assert str(torch.device("xla")) == "xla" and torch.device("cuda:1").index == 1
for ask in (
    lambda: torch.ones(2, device="xla"),
    lambda: torch.ones(2).to("xla"),
    lambda: torch.ones(2).cuda(),
    lambda: torch.nn.Linear(2, 2).to("tpu"),
    lambda: torch.set_default_device("xla"),
    lambda: torch.device("xla").__enter__(),
):
    try:
        ask()
    except (NotImplementedError, AssertionError) as error:
        assert "pip install 'flambeau[xla]'" in str(error), error
    else:
        raise SystemExit("a device was made without JAX")
x = torch.ones(2, requires_grad=True)
(x * 2).sum().backward()
print(x.grad.tolist(), torch.zeros(1).device)
"""


def test_a_device_of_jax_names_the_extra():
    out = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment())
    assert out.returncode == 0, out.stderr
    assert out.stdout.split("\n")[0] == "[2.0, 2.0] cpu"

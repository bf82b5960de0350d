"""Writes `random.json`: what PyTorch draws, as a table that tests can read where there is no PyTorch.

Run once with PyTorch installed: `python tests/recorded/make_random.py`.
"""

import json
import pathlib
import zlib

import torch

SIZES = (1, 2, 15, 16, 17, 33, 1000)
SINGLE = [
    "torch.rand({n})",
    "torch.randn({n})",
    "torch.randn({n}, dtype=torch.float16)",
    "torch.randn({n}, dtype=torch.bfloat16)",
    "torch.rand({n}, dtype=torch.float64)",
    "torch.randn({n}, dtype=torch.float64)",
    "torch.randint(0, 10, ({n},))",
    "torch.randint(-5, 2**40, ({n},))",
    "torch.randperm({n})",
    "torch.empty({n}).uniform_(-0.3, 0.9)",
    "torch.empty({n}).normal_(0.5, 2.3)",
    "torch.empty({n}).exponential_(1.3)",
    "torch.empty({n}).geometric_(0.3)",
    "torch.empty({n}).log_normal_(0.3, 1.7)",
    "torch.empty({n}).cauchy_(0.2, 1.3)",
    "torch.empty({n}).bernoulli_(0.3)",
    "torch.empty({n}).random_()",
    "torch.empty({n}, dtype=torch.uint8).random_()",
    "torch.empty({n}, dtype=torch.int64).random_()",
    "torch.bernoulli(torch.rand({n}))",
    "torch.multinomial(torch.rand({n}) + 0.1, {n})",
    "torch.multinomial(torch.rand(7) + 0.1, {n}, replacement=True)",
    "torch.normal(torch.rand({n}), torch.rand({n}))",
    "torch.poisson(torch.rand({n}) * 30)",
    "torch.nn.functional.dropout(torch.ones({n}), 0.3)",
]
MANY = [
    "torch.empty(7, 5).t().normal_()",
    "torch.empty(3, 4, 5).permute(1, 2, 0).uniform_()",
    "torch.randn(3, 4, dtype=torch.complex64)",
    "torch.randn_like(torch.empty(6, 5).t())",
    "torch.nn.functional.dropout(torch.ones(5, 6).t(), 0.4)",
    "torch.nn.functional.dropout2d(torch.ones(4, 6, 2, 2), 0.5)",
    "torch.nn.functional.alpha_dropout(torch.ones(50), 0.3, True)",
    "torch.nn.functional.feature_alpha_dropout(torch.ones(4, 6, 2), 0.3, True)",
    "torch.nn.init.xavier_uniform_(torch.empty(5, 7), gain=1.5)",
    "torch.nn.init.xavier_normal_(torch.empty(5, 7, 3))",
    "torch.nn.init.kaiming_uniform_(torch.empty(5, 7), a=5**0.5)",
    "torch.nn.init.kaiming_normal_(torch.empty(5, 7, 3, 3), mode='fan_out', nonlinearity='relu')",
    "torch.nn.init.trunc_normal_(torch.empty(6, 50))",
    "torch.nn.init.sparse_(torch.empty(20, 3), 0.4)",
    "torch.cat([torch.randn(5), torch.rand(3), torch.randn(4), torch.randn(20), torch.randn(1)])",
]


def record(expression: str) -> dict:
    """One row: the values' first few, a checksum of all, and one of the generator's state after it."""
    torch.manual_seed(2026)
    values = eval(expression, {"torch": torch})
    state = zlib.crc32(torch.get_rng_state().numpy().tobytes())
    plain = torch.view_as_real(values) if values.is_complex() else values
    numbers = plain.double().contiguous().numpy()
    return {
        "expression": expression,
        "dtype": str(values.dtype),
        "shape": list(values.shape),
        "first": numbers.reshape(-1)[:6].tolist(),
        "crc": zlib.crc32(numbers.tobytes()),
        "state": state,
    }


if __name__ == "__main__":
    rows = [record(e.format(n=n)) for e in SINGLE for n in SIZES] + [record(e) for e in MANY]
    lines = ",\n".join(json.dumps(row) for row in rows)
    path = pathlib.Path(__file__).with_name("random.json")
    path.write_text(f"[\n{lines}\n]\n")
    print(f"{len(rows)} rows in {path}")

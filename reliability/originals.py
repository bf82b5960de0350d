"""The files that are damaged on purpose, and what must come out of them."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np

import flambeau as torch
from flambeau import checkpoint, nn, optim
from flambeau.serialization import safetensors
from flambeau.tensor.tensor import Tensor

RECORDED = Path(__file__).resolve().parent.parent / "tests" / "recorded" / "torch_2_13.pt"


def state() -> dict[str, Any]:
    """A training state: a model, an optimizer's state, views of one memory, many dtypes, containers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = optim.Adam(model.parameters(), lr=1e-3, amsgrad=True)
    for _ in range(2):
        model(torch.randn(5, 6)).square().sum().backward()
        optimizer.step()
    base = torch.arange(24.0).reshape(4, 6)
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "views": [base, base.t(), base[1:, ::2]],
        "types": {str(d): torch.tensor([0, 1, 1]).to(d) for d in (torch.bfloat16, torch.float16, torch.complex64,
                  torch.bool, torch.uint16, torch.int8, torch.float8_e4m3fn)},
        "parameter": nn.Parameter(torch.ones(2, 2)),
        "values": [1, 2.5, None, True, "text", b"bytes", (1, (2,)), {3}, 1 << 70, 1j, torch.Size([2]), torch.float16],
        "ordered": OrderedDict(a=1, b=[2]),
    }  # fmt: skip


def _saved(obj: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(obj, file, **options)
    return file.getvalue()


def _run(folder: Path) -> bytes:
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.arange(9.0)), 2, shuffle=True)
    optimizer = optim.SGD(model.parameters(), 0.1, momentum=0.9)
    path = folder / "run.pt"
    for _ in loader:
        checkpoint.save(path, model=model, optimizer=optimizer, loader=loader, epoch=3)
    return path.read_bytes()


def originals(folder: Path) -> dict[str, bytes]:
    """Name and contents of the files. Those of the older format have no checksums."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights = dict(state()["model"])
        return {
            "flambeau.pt": _saved(state()),
            "protocol5.pt": _saved(state(), pickle_protocol=5),
            "run.pt": _run(folder),
            "pytorch.pt": RECORDED.read_bytes(),
            "weights.safetensors": safetensors.save(weights),
            "older.pt": _saved(state(), _use_new_zipfile_serialization=False),
        }


def read(data: bytes, name: str) -> Any:
    """Load a file's contents as a user would."""
    if name.endswith(".safetensors"):
        return safetensors.load(data)
    return torch.load(io.BytesIO(data))


def fingerprint(value: Any) -> str:
    """A digest of all that was loaded: types, shapes, strides, bits, and which tensors share memory."""
    digest = hashlib.sha256()
    memories: dict[int, int] = {}

    def add(*parts: Any) -> None:
        digest.update(repr(parts).encode())

    def walk(one: Any) -> None:
        if isinstance(one, Tensor):
            memory = one.untyped_storage().data_ptr()
            where = memories.setdefault(memory, len(memories)) if one.numel() else -1
            add(type(one).__name__, str(one.dtype), tuple(one.shape), one.stride(), one.requires_grad, where)
            digest.update(np.ascontiguousarray(one.detach()._a).tobytes())
            walk({k: v for k, v in getattr(one, "__dict__", {}).items() if k[0] != "_"})
        elif isinstance(one, dict):
            add(type(one).__name__, len(one))
            for key, item in one.items():
                walk(key)
                walk(item)
            if hasattr(one, "_metadata"):
                walk(dict(one._metadata))
        elif isinstance(one, (list, tuple)):
            add(type(one).__name__, len(one))
            for item in one:
                walk(item)
        elif isinstance(one, (set, frozenset)):
            add(type(one).__name__, sorted(map(repr, one)))
        else:
            add(type(one).__name__, one)

    walk(value)
    return digest.hexdigest()

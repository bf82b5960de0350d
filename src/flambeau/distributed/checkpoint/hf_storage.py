"""``torch.distributed.checkpoint.hf_storage``: checkpoints as a folder of safetensors files with an index of names.

`save` and `load` here write and read parts by a layout of their own; this one, which other libraries read, holds whole
tensors only, so it is refused for states that lie in parts, with what to do instead.
"""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["HuggingFaceStorageReader", "HuggingFaceStorageWriter"]


def _refuse(name: str, instead: str) -> NoReturn:
    raise RuntimeError(f"{name}: this layout is not written or read in parts here. {instead}")


class HuggingFaceStorageWriter:
    """Refused: RuntimeError says how whole states are written."""

    def __init__(self, path: Any, *args: Any, **kwargs: Any) -> None:
        _refuse("HuggingFaceStorageWriter", "Gather the state (get_model_state_dict with full_state_dict=True) and use "
                "safetensors.torch.save_file")  # fmt: skip


class HuggingFaceStorageReader:
    """Refused: RuntimeError says how such files are read."""

    def __init__(self, path: Any, *args: Any, **kwargs: Any) -> None:
        _refuse("HuggingFaceStorageReader", "Read the files with safetensors.torch.load_file and hand the state to "
                "set_model_state_dict")  # fmt: skip

"""``torch.functional``: the functions of ``torch`` that are made of others."""

from __future__ import annotations

import flambeau

_NAMES = """
align_tensors atleast_1d atleast_2d atleast_3d block_diag broadcast_shapes broadcast_tensors cartesian_prod cdist
chain_matmul einsum istft lu meshgrid norm split stft tensordot unique unique_consecutive unravel_index
"""

__all__ = [name for name in _NAMES.split() if hasattr(flambeau, name)]  # noqa: PLE0605
globals().update((name, getattr(flambeau, name)) for name in __all__)

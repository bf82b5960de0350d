"""What `torchvision` sees, compared with `flambeau.vision`. Where both it and PyTorch are installed
`sides.record("vision", sides.collect("tests.vision_cases"), torch)` records it; see `tests/sides.py`.
"""

import importlib

import numpy as np


def vision_of(torch):
    """The library of images that goes with a library of tensors."""
    return importlib.import_module("flambeau.vision" if torch.__name__ == "flambeau" else "torchvision")


def photograph():
    """An image with gradients, edges and noise: 40 by 52 pixels, 3 bands of bytes."""
    ramp = np.add.outer(np.arange(40), np.arange(52))[..., None] * np.array([2, 1, 3]) % 256
    return np.clip(ramp + np.random.default_rng(0).integers(-20, 20, ramp.shape), 0, 255).astype(np.uint8)


def digest(torch, value):
    """What identifies an image or a tuple of them: shape, dtype, two sums."""
    if isinstance(value, (tuple, list)):
        return [digest(torch, v) for v in value]
    if not isinstance(value, torch.Tensor):
        value = vision_of(torch).transforms.functional.pil_to_tensor(value)
    flat = value.double().reshape(-1)
    weights = torch.cos(torch.arange(flat.numel(), dtype=torch.float64) * 0.37)
    return [list(value.shape), str(value.dtype), flat.sum().item(), (flat * weights).sum().item()]

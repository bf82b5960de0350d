"""``torch.backends.mps``: Apple's GPUs, which flambeau does not use."""


def is_available() -> bool:
    """Whether an Apple GPU can be used: no."""
    return False


def is_built() -> bool:
    """Whether kernels for Apple GPUs were built in: no."""
    return False


def is_macos13_or_newer(minor: int = 0) -> bool:
    """Whether Apple's GPU interface of macOS 13 is there: no."""
    return False

"""``torch.backends.openmp``: whether OpenMP is used: it is not, NumPy's engine is."""

enabled = False


def is_available() -> bool:
    """Whether OpenMP is used: no."""
    return False

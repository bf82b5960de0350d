"""``torch.backends.mkl``: whether MKL is used: it is not, NumPy's engine is."""

enabled = False


def is_available() -> bool:
    """Whether MKL is used: no."""
    return False

"""``torch.backends.mkldnn``: whether oneDNN is used: it is not, NumPy's engine is."""

enabled = False


def is_available() -> bool:
    """Whether oneDNN is used: no."""
    return False

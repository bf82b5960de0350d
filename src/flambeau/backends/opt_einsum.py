"""``torch.backends.opt_einsum``: whether opt_einsum is used: it is not, NumPy's engine is."""

enabled = False


def is_available() -> bool:
    """Whether opt_einsum is used: no."""
    return False

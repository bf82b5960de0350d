"""Programs of `torch.func`, forward mode and whole derivatives, which both libraries run."""


def plain(tree):
    """A tree of results without histories: what is compared are values, shapes and dtypes."""
    if isinstance(tree, dict):
        return {k: plain(v) for k, v in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(v) for v in tree]
    return tree.detach() if hasattr(tree, "detach") else tree


def numbers(torch, *shape, start=0.1, step=0.3):
    """Different float64 numbers of a shape."""
    n = 1
    for k in shape:
        n *= k
    return (torch.arange(n, dtype=torch.float64) * step + start).sin().reshape(shape)

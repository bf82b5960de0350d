"""Classes of results with named parts, as `torch.max(x, 0)` returns: tuples with attributes."""

from flambeau.ops.results import CLASSES as _CLASSES

globals().update(_CLASSES, __all__=sorted(_CLASSES))

"""Two versions: PyTorch's, whose programming model this is, and flambeau's own.

Programs read ``torch.__version__`` to decide what they may use, so that one names the PyTorch release that flambeau
is checked against, with ``+flambeau`` as its local part.
"""

__flambeau_version__ = "0.1.0"
__version__ = "2.13.0+flambeau"

debug = False
cuda = None
hip = None
xpu = None
rocm = None
git_version = "Unknown"

__all__ = ["__version__", "__flambeau_version__", "debug", "cuda", "git_version", "hip", "xpu", "rocm"]

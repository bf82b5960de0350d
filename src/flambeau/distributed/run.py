"""`python -m torch.distributed.run`: another name of `flambeau torchrun`."""

import sys

from flambeau.distributed.launch import main, run

__all__ = ["main", "run"]

if __name__ == "__main__":
    sys.exit(main())

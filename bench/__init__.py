"""One program, PyTorch against flambeau: ``make bench``, or ``python -m bench --only chain --rounds 5``."""

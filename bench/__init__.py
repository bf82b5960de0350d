"""The same programs under PyTorch and under flambeau: ``make bench``, or ``python -m bench --only chain --rounds 5``."""

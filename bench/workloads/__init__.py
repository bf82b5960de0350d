"""Plain PyTorch programs, one per file: ``make()`` builds everything and returns a step that trains once.

``make(torch.compile)`` has the training step compiled; feeding it stays outside. A step returns its loss as a tensor.
The files say ``import torch`` and nothing about flambeau: the bench loads the same source under both. ``NAMES`` lists
them in the order in which the tables show them.
"""

NAMES = ["tutorial", "mlp", "cnn", "lstm", "gpt", "gpt6", "resnet18", "chain"]

"""``torch.distributed.nn``: collectives through which gradients flow."""

from flambeau.distributed.nn.functional import *

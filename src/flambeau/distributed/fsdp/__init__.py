"""`torch.distributed.fsdp`: modules whose parameters lie in parts over the devices that train them."""

from flambeau.distributed.fsdp.api import *
from flambeau.distributed.fsdp.fully import *
from flambeau.distributed.fsdp.wrapper import FullyShardedDataParallel

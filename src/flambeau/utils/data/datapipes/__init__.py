"""`torch.utils.data.datapipes`: data sets that are made by chaining small steps."""

from flambeau.utils.data.datapipes import iter, map  # noqa: A004
from flambeau.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe

__all__ = ["IterDataPipe", "MapDataPipe", "iter", "map"]

"""The parts of a `DataLoader`: collating samples, fetching them, and its workers."""

from flambeau.utils.data._utils import collate, fetch, worker

__all__ = ["collate", "fetch", "worker"]

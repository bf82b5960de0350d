"""`torch.distributed.checkpoint`: states of which every process saves its own parts, to be loaded over any mesh.

A checkpoint is a folder: a safetensors file with checksums per process, a file for what is no tensor, and an index that
says which part of which tensor lies where. The index is written last and in one step: so a folder has the checkpoint
that was there before or the new one, whole, whenever a process dies.
"""

from flambeau.distributed.checkpoint.loading import load, load_state_dict
from flambeau.distributed.checkpoint.saving import async_save, save, save_state_dict
from flambeau.distributed.checkpoint.storage import CheckpointException, FileSystemReader, FileSystemWriter

__all__ = ["CheckpointException", "FileSystemReader", "FileSystemWriter", "async_save", "load", "load_state_dict",
           "save", "save_state_dict"]  # fmt: skip

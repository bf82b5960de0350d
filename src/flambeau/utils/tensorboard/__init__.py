"""`torch.utils.tensorboard`: a `SummaryWriter` that writes event files, which TensorBoard shows.

Writing needs no further package: numbers, histograms, images, text, hyperparameters and figures. A network's graph is
not written, and a warning says so.
"""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from flambeau.tensor.tensor import Tensor
from flambeau.utils.tensorboard import records

__all__ = ["FileWriter", "SummaryWriter"]


def _array(value: Any) -> np.ndarray:
    return value.detach().double().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _number(value: Any) -> float:
    array = _array(value)
    if array.size != 1:
        raise AssertionError(f"a scalar is one number, got {array.shape}")
    return float(array.reshape(()))


class FileWriter:
    """One event file in a folder, which is made if it is absent."""

    _count = 0

    def __init__(self, log_dir: Any, max_queue: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        self._folder = os.fspath(log_dir)
        os.makedirs(self._folder, exist_ok=True)
        FileWriter._count += 1
        host = socket.gethostname()
        name = f"events.out.tfevents.{int(time.time()):010d}.{host}.{os.getpid()}.{FileWriter._count - 1}"
        self._file = open(os.path.join(self._folder, name + filename_suffix), "wb")  # noqa: SIM115
        self._wait, self._flushed = flush_secs, time.time()
        self.write(records.version())

    def get_logdir(self) -> str:
        """The folder."""
        return self._folder

    def write(self, event: bytes) -> None:
        """Adds an event; the file is brought up to date every `flush_secs` seconds."""
        self._file.write(records.record(event))
        if time.time() - self._flushed > self._wait:
            self.flush()

    def flush(self) -> None:
        """Brings the file up to date."""
        self._file.flush()
        self._flushed = time.time()

    def close(self) -> None:
        """Ends the file."""
        self._file.close()


class SummaryWriter:
    """Notes of a training run, in event files below `log_dir`.

    Args:
        log_dir: by default `runs/<time>_<host><comment>`.
        purge_step, max_queue, filename_suffix: accepted as in PyTorch.
        flush_secs: how often files are brought up to date.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    ...     for step in range(3):
    ...         writer.add_scalar("loss", 1 / (step + 1), step)
    """

    def __init__(self, log_dir: Any = None, comment: str = "", purge_step: int | None = None, max_queue: int = 10,
                 flush_secs: float = 120, filename_suffix: str = "") -> None:  # fmt: skip
        if not log_dir:
            moment = time.strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{moment}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self._how = (max_queue, flush_secs, filename_suffix)
        self._open: dict[str, FileWriter] = {}
        self.file_writer = self._writer(self.log_dir)

    def _writer(self, folder: str) -> FileWriter:
        if folder not in self._open:
            self._open[folder] = FileWriter(folder, *self._how)
        return self._open[folder]

    def _add(self, body: bytes, step: int | None, walltime: float | None, folder: str | None = None) -> None:
        self._writer(folder or self.log_dir).write(records.event(step, walltime, body))

    def get_logdir(self) -> str:
        """The folder of the files."""
        return self.log_dir

    def add_scalar(self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None,
                   new_style: bool = False, double_precision: bool = False) -> None:  # fmt: skip
        """One number at a step."""
        self._add(records.scalar(tag, _number(scalar_value)), global_step, walltime)

    def add_scalars(self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None,
                    walltime: float | None = None) -> None:  # fmt: skip
        """Several numbers in one plot: each goes to a file of its own, below a folder of its name."""
        for tag, value in tag_scalar_dict.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            self._add(records.scalar(main_tag, _number(value)), global_step, walltime, folder)

    def add_histogram(self, tag: str, values: Any, global_step: int | None = None, bins: Any = "tensorflow",
                      walltime: float | None = None, max_bins: int | None = None) -> None:  # fmt: skip
        """How the values of a tensor are spread. ValueError for an empty one."""
        self._add(records.histogram(tag, _array(values), bins, max_bins), global_step, walltime)

    def add_image(self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
                  dataformats: str = "CHW") -> None:  # fmt: skip
        """An image: numbers from 0 to 1, or bytes; `dataformats` names the dimensions ('CHW', 'HWC', 'HW')."""
        self._image(tag, _pixels(img_tensor, dataformats), global_step, walltime)

    def add_images(self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None,
                   dataformats: str = "NCHW") -> None:  # fmt: skip
        """Several images (n, channels, height, width), side by side."""
        array = img_tensor.detach().numpy() if isinstance(img_tensor, Tensor) else np.asarray(img_tensor)
        images = [_pixels(one, dataformats.replace("N", "")) for one in np.moveaxis(array, dataformats.index("N"), 0)]
        columns = min(len(images), 8)
        blank = np.zeros_like(images[0])
        rows = [images[i : i + columns] for i in range(0, len(images), columns)]
        grid = np.concatenate([np.concatenate(row + [blank] * (columns - len(row)), 1) for row in rows], 0)
        self._image(tag, grid, global_step, walltime)

    def _image(self, tag: str, pixels: np.ndarray, step: int | None, walltime: float | None) -> None:
        from flambeau.utils.png import encode

        self._add(records.image(tag, encode(pixels), *pixels.shape), step, walltime)

    def add_figure(self, tag: str, figure: Any, global_step: int | None = None, close: bool = True,
                   walltime: float | None = None) -> None:  # fmt: skip
        """A figure of Matplotlib's, or a list of them, as images; closed afterwards with `close`."""
        for one in figure if isinstance(figure, list) else [figure]:
            one.canvas.draw()
            self._image(tag, np.asarray(one.canvas.buffer_rgba())[..., :3].copy(), global_step, walltime)
            if close:
                from matplotlib import pyplot

                pyplot.close(one)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None,
                 walltime: float | None = None) -> None:  # fmt: skip
        """Some text, in Markdown."""
        self._add(records.text(tag, str(text_string)), global_step, walltime)

    def add_hparams(self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any],
                    hparam_domain_discrete: Any = None, run_name: str | None = None,
                    global_step: int | None = None) -> None:  # fmt: skip
        """Hyperparameters, as a table in text, and what came of them, as scalars, in a folder `run_name`."""
        if not isinstance(hparam_dict, Mapping) or not isinstance(metric_dict, Mapping):
            raise TypeError("add_hparams takes two dictionaries, of hyperparameters and of metrics")
        folder = os.path.join(self.log_dir, run_name or str(time.time()))
        table = "\n".join(["| name | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in hparam_dict.items())])
        self._add(records.text("hparams", table), global_step, None, folder)
        for name, value in metric_dict.items():
            self._add(records.scalar(name, _number(value)), global_step, None, folder)

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False,
                  use_strict_trace: bool = True) -> None:  # fmt: skip
        """Warns: graphs of networks are not written."""
        warnings.warn("add_graph: flambeau writes no graphs of networks; all else is written", stacklevel=2)

    def flush(self) -> None:
        """Brings all files up to date."""
        for writer in self._open.values():
            writer.flush()

    def close(self) -> None:
        """Ends all files; what is added later begins new ones."""
        for writer in self._open.values():
            writer.close()
        self._open.clear()

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _pixels(image: Any, dataformats: str) -> np.ndarray:
    """An image as bytes in (height, width, channels)."""
    array = image.detach().numpy() if isinstance(image, Tensor) else np.asarray(image)
    letters = dataformats.upper()
    if sorted(letters) not in (sorted("CHW"), sorted("HW")) or array.ndim != len(letters):
        raise AssertionError(f"an image of {array.ndim} dimensions does not fit dataformats={dataformats!r}")
    if len(letters) == 2:
        array, letters = array[..., None], letters + "C"
    array = array.transpose([letters.index(c) for c in "HWC"])
    if array.dtype != np.uint8:
        array = np.clip(array * 255.0, 0, 255).astype(np.uint8)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array

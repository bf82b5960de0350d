"""What all data pipes have in common: steps by name, `pipe.map(f).batch(3)`."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

from flambeau.dtypes import int64
from flambeau.ops.fillers import random_
from flambeau.tensor.creation import empty
from flambeau.utils.data.dataset import Dataset, IterableDataset

__all__ = ["DFIterDataPipe", "DataChunk", "IterDataPipe", "MapDataPipe", "functional_datapipe"]


class _Steps:
    """Steps that are registered for a kind of pipe are its methods."""

    functions: dict[str, Callable]

    def __getattr__(self, name: str) -> Any:
        step = type(self).functions.get(name)
        if step is None:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'")
        return functools.partial(step, self)

    @classmethod
    def register_function(cls, function_name: str, function: Callable) -> None:
        """Makes a function of a pipe a method of all pipes of this kind."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(cls, function_name: str, cls_to_register: type) -> None:
        """Makes a class of pipes a method. ValueError for a name that is taken."""
        if function_name in cls.functions:
            raise ValueError(f"there is a step named '{function_name}' already")
        cls.functions[function_name] = cls_to_register

    def __str__(self) -> str:
        return type(self).__qualname__

    __repr__ = __str__

    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)


class IterDataPipe(_Steps, IterableDataset):
    """A stream of samples; `__iter__` starts it anew."""

    functions: dict[str, Callable] = {}

    def reset(self) -> None:
        """Nothing to do: an iteration keeps nothing from the one before."""

    def _shuffled(self, shuffle: bool | None) -> Any:
        from flambeau.utils.data.graph_settings import apply_shuffle_settings

        return apply_shuffle_settings(self, shuffle)

    def _before_epoch(self, generator: Any) -> None:
        """Seeds for all steps that draw, from one number of the loader's generator, so that workers draw alike."""
        from flambeau.utils.data.graph_settings import begin_epoch

        begin_epoch(self, generator)


class DFIterDataPipe(IterDataPipe):
    """A stream of tables."""


class MapDataPipe(_Steps, Dataset):
    """Samples by index, or key."""

    functions: dict[str, Callable] = {}

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))  # type: ignore[arg-type]


def draw_seed(generator: Any = None) -> int:
    """A number from the program's generator, or the one given."""
    return int(random_(empty((), dtype=int64), generator=generator).item())


class Shuffling:
    """What both kinds of `shuffle` have: a switch, and a seed for the next iteration."""

    _enabled = True
    _seed: int | None = None

    def set_shuffle(self, shuffle: bool = True) -> Any:
        """Turns it on or off."""
        self._enabled = shuffle
        return self

    def set_seed(self, seed: int) -> Any:
        """The seed of the next iteration; by default it is drawn."""
        self._seed = seed
        return self

    def _generator(self) -> random.Random:
        """What this iteration draws from."""
        seed = draw_seed() if self._seed is None else self._seed
        self._seed = None
        return random.Random(seed)


class DataChunk(list):
    """Samples that belong together, such as a batch."""

    def __init__(self, items: Any) -> None:
        super().__init__(items)
        self.items = items

    def raw_iterator(self) -> Any:
        """Over the samples."""
        yield from self.items


class functional_datapipe:
    """A decorator that makes a class of data pipes a step of this name: `pipe.name(...)`."""

    def __init__(self, name: str, enable_df_api_tracing: bool = False) -> None:
        self.name = name

    def __call__(self, cls: Any) -> Any:
        kind = IterDataPipe if issubclass(cls, IterDataPipe) else MapDataPipe
        kind.register_datapipe_as_function(self.name, cls)
        return cls


def _step(kind: type[_Steps], name: str) -> Callable:
    """The same for a step that comes with the library."""

    def register(cls: Any) -> Any:
        kind.functions[name] = cls
        return cls

    return register

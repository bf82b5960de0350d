"""The random generator of the CPU: PyTorch's, word for word, and its state byte for byte.

PyTorch draws from the 32-bit Mersenne Twister seeded by `init_genrand` (Matsumoto and Nishimura 1998,
doi:10.1145/272991.272995). NumPy has the same twister in C, so a `Generator` is that twister, plus what PyTorch keeps
beside it: the seed, and the second half of a pair of normal draws. How numbers are made of words is in
`engines/numpy/draws.py`; here is only who holds the state.

This module is also `torch.random`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from collections.abc import Generator as Iterator
from typing import Any

import numpy as np

from flambeau import devices

__all__ = ["fork_rng", "get_rng_state", "initial_seed", "manual_seed", "seed", "set_rng_state"]

DEFAULT_SEED = 67280421310721
_WORDS = 624

#: PyTorch's C struct of a state. Its fields and their places are part of checkpoints, hence the unused ones.
_STATE = np.dtype(
    {
        "names": ["seed", "left", "seeded", "next", "key", "pair", "has_pair", "pair32", "has_pair32"],
        "formats": ["<u8", "<i4", "<i4", "<u8", ("<u8", _WORDS), "<f8", "<i4", "<f4", "?"],
        "offsets": [0, 8, 12, 16, 24, 5024, 5040, 5048, 5052],
        "itemsize": 5056,
    }
)


class _Hooks:
    """States leave as tensors.

    Tensors live upstairs, so that room hangs its constructor here; alone, states are arrays.
    """

    to_tensor: Callable[[np.ndarray], Any] = staticmethod(lambda array: array)


class Generator:
    """A stream of random numbers, equal to `torch.Generator` on the CPU: same seed, same numbers, same state bytes.

    >>> import flambeau as torch
    >>> g = torch.Generator().manual_seed(0)
    >>> torch.rand(2, generator=g)
    tensor([0.4963, 0.7682])
    """

    __slots__ = ("__weakref__", "_bulk", "_seed", "_words", "device", "pair", "pair32")

    #: Whether it draws nothing, since what it is asked for has no values.
    silent = False
    device: devices.device
    #: The second value of the last pair of normal draws, as a double, until it is used.
    pair: float | None
    #: PyTorch's CPU kernels never fill this one; states that have it keep it.
    pair32: float | None

    def __init__(self, device: Any = "cpu") -> None:
        self.device = devices.require(device)
        self._bulk: Any = None  # a RandomState over the twister, made when first needed: importing numpy.random is slow
        self._reset(DEFAULT_SEED)

    # --- words ---------------------------------------------------------------------------------------------------

    def _reset(self, seed: int) -> None:
        self._seed = seed
        self._words: Any = self._first
        self.pair = self.pair32 = None

    def _open(self) -> None:
        """Put the twister where this generator stands; until a draw asks, a seed is only remembered."""
        if self._bulk is None:
            self._bulk = np.random.RandomState(np.random.MT19937(0))
        self._bulk.seed(self._seed & 0xFFFFFFFF)
        self._words = self._bulk._bit_generator.random_raw

    def _first(self, n: int) -> np.ndarray:
        self._open()
        return self._words(n)

    def few(self, n: int) -> np.ndarray:
        """The next `n` words, in a uint64 array. Quicker than `words` up to a few thousand."""
        return self._words(n)

    def words(self, n: int) -> np.ndarray:
        """The next `n` words of 32 bits, in a uint32 array."""
        if n < 4096:
            return self._words(n).astype(np.uint32)
        if self._words == self._first:
            self._open()
        return self._bulk.randint(0, 0x100000000, size=n, dtype=np.uint32)

    # --- seeds ---------------------------------------------------------------------------------------------------

    def manual_seed(self, seed: int) -> Generator:
        """Restart the stream at `seed`, any integer from -2**63 to 2**64 - 1 (a negative one counts from 2**64).
        Returns self.

        Raises RuntimeError for what is no integer, ValueError for one out of range.
        """
        if not isinstance(seed, (int, np.integer)):
            raise RuntimeError(f"manual_seed expected an int, but got {type(seed).__name__}; use int(...)")
        seed = int(seed)
        if not -(2**63) <= seed < 2**64:
            raise ValueError(
                f"manual_seed expected an int from -2**63 to 2**64 - 1, which 64 bits can hold, but got {seed}"
            )
        self._reset(seed % 2**64)
        return self

    def seed(self) -> int:
        """Restart the stream at a seed from the system's source of entropy, and return that seed."""
        chosen = int.from_bytes(os.urandom(8), "little")
        self._reset(chosen)
        return chosen

    def initial_seed(self) -> int:
        """The seed that the stream was last started with."""
        return self._seed

    # --- state ---------------------------------------------------------------------------------------------------

    def _twister(self) -> tuple[np.ndarray, int]:
        if self._words == self._first:
            self._open()
        state = self._bulk._bit_generator.state["state"]
        return state["key"], int(state["pos"])

    def _place(self, key: np.ndarray, pos: int) -> None:
        self._open()
        self._bulk._bit_generator.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": pos}}

    def get_state(self) -> Any:
        """The whole state as a uint8 tensor of 5056 elements: PyTorch's own layout, so either can go on from the
        other's.
        """
        key, pos = self._twister()
        state = np.zeros(1, _STATE)
        # PyTorch tells "just seeded" from "just used the last word"; both mean that new words are due
        fresh = pos == _WORDS and _is_seed_key(key, self._seed)
        state["seed"], state["seeded"], state["key"] = self._seed, 1, key
        state["next"] = 0 if fresh else pos
        state["left"] = 1 if fresh else _WORDS + 1 - pos
        if self.pair is not None:
            state["pair"], state["has_pair"] = self.pair, 1
        if self.pair32 is not None:
            state["pair32"], state["has_pair32"] = self.pair32, True
        return _Hooks.to_tensor(state.view(np.uint8))

    def set_state(self, new_state: Any) -> Generator:
        """Go on from a state that `get_state` gave, here or in PyTorch. Returns self.

        Raises TypeError unless it is a uint8 tensor, RuntimeError if it is no state; the generator is then unchanged.
        """
        if not hasattr(new_state, "__array__"):
            raise TypeError(
                f"expected the state as a uint8 tensor (torch.ByteTensor), but got {type(new_state).__name__}"
            )
        array = np.asarray(new_state)
        if array.dtype != np.uint8:
            raise TypeError(f"a generator's state must be a uint8 tensor (torch.ByteTensor), but got {array.dtype}")
        if array.size != _STATE.itemsize:
            raise RuntimeError(f"expected a state of {_STATE.itemsize} bytes, but got {array.size}; use get_state()")
        state = np.ascontiguousarray(array).reshape(-1).view(_STATE)[0]
        left, following = int(state["left"]), int(state["next"])
        if state["seeded"] != 1 or not 0 < left <= _WORDS or following > _WORDS:
            raise RuntimeError("these bytes are no state of a Mersenne Twister; use what get_state() returned")
        self._reset(int(state["seed"]))
        self._place(state["key"].astype(np.uint32), _WORDS if left == 1 else following)
        self.pair = float(state["pair"]) if state["has_pair"] else None
        self.pair32 = float(state["pair32"]) if state["has_pair32"] else None
        return self

    def clone_state(self) -> Generator:
        """A new generator that goes on from where this one stands."""
        twin = Generator(self.device)
        twin.set_state(self.get_state())
        return twin

    def rewind(self, mark: tuple) -> None:
        """Go back to what `mark` returned."""
        key, pos, self.pair = mark
        self._place(key, pos)

    def mark(self) -> tuple:
        """Where the stream stands, for `rewind`: for draws that must look ahead."""
        return (*self._twister(), self.pair)

    graphsafe_get_state = clone_state

    def graphsafe_set_state(self, source: Generator) -> Generator:
        """Go on from where `source` stands. Returns self."""
        return self.set_state(source.get_state())

    def get_offset(self) -> int:
        """Raises RuntimeError: only counter-based generators of GPUs have an offset."""
        raise RuntimeError("a CPU generator has no offset; use get_state()")

    def set_offset(self, offset: int) -> None:
        """Raises RuntimeError: only counter-based generators of GPUs have an offset."""
        raise RuntimeError("a CPU generator has no offset; use set_state()")

    def __reduce__(self) -> tuple:
        return _restore, (np.asarray(self.get_state()),)


def _restore(state: np.ndarray) -> Generator:
    return Generator().set_state(state)


def _is_seed_key(key: np.ndarray, seed: int) -> bool:
    """Whether these are the words that seeding with `seed` leaves, not yet stirred: the first three show it."""
    first = seed & 0xFFFFFFFF
    second = (1812433253 * (first ^ (first >> 30)) + 1) & 0xFFFFFFFF
    third = (1812433253 * (second ^ (second >> 30)) + 2) & 0xFFFFFFFF
    return int(key[0]) == first and int(key[1]) == second and int(key[2]) == third


#: The generator that is used where none is given. Until `manual_seed` its seed differs from run to run.
default_generator = Generator()


class _Nowhere(Generator):
    """For tensors without values: it gives zeros, and no stream moves on."""

    __slots__ = ()
    silent = True

    def few(self, n: int) -> np.ndarray:
        return np.zeros(n, np.uint64)

    def words(self, n: int) -> np.ndarray:
        return np.zeros(n, np.uint32)


NOWHERE = _Nowhere()
default_generator.seed()


def manual_seed(seed: Any) -> Generator:
    """Restart the default generator at `seed`, and return it. The seed may be anything that `int()` takes.

    Raises ValueError for an integer that 64 bits can't hold.
    """
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Restart the default generator at a seed from the system's entropy, and return that seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started with."""
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The default generator's state: a uint8 tensor that PyTorch can read as well."""
    return default_generator.get_state()


def set_rng_state(new_state: Any) -> None:
    """Make the default generator go on from `new_state`, from here or from PyTorch."""
    default_generator.set_state(new_state)


@contextlib.contextmanager
def fork_rng(
    devices: Any = None,
    enabled: bool = True,
    _caller: str = "fork_rng",
    _devices_kw: str = "devices",
    device_type: Any = None,
) -> Iterator[None]:
    """A `with` block whose draws leave the default generator as it was. With `enabled=False` it does nothing."""
    if not enabled:
        yield
        return
    mark = default_generator.get_state()
    try:
        yield
    finally:
        default_generator.set_state(mark)


def thread_safe_generator() -> Generator | None:
    """The generator of a DataLoader's worker, or None on the main process, where the default generator is used."""
    return None

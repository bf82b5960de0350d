"""`Sequential` and `ModuleList`: children in an order, addressed by position."""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from flambeau.nn.modules.module import Module, _addindent


class _Ordered(Module):
    """Children named '0', '1', ... or by the user, addressed by position."""

    def _name_at(self, index: Any) -> str:
        """The name of the child at `index`. IndexError if there is none."""
        index = operator.index(index)
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range: {type(self).__name__} has {len(self)} children")
        return list(self._modules)[index]

    def _renumber(self, modules: Iterable[Any]) -> None:
        self._modules = {str(i): module for i, module in enumerate(modules)}

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._modules.values())

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if not name.isdigit()]

    def pop(self, key: Any) -> Module:
        """Take the child at position `key` out and return it. IndexError if there is none."""
        module = self[key]
        del self[key]
        return module

    def __getitem__(self, idx: Any) -> Any:
        raise IndexError(idx)

    def __delitem__(self, idx: Any) -> None:
        names = list(self._modules)[idx] if isinstance(idx, slice) else [self._name_at(idx)]
        for name in names:
            delattr(self, name)
        self._renumber(self._modules.values())


class Sequential(_Ordered):
    """Runs its children one after the other, each on the output of the one before.

    Takes modules, or one OrderedDict of names to modules.

    >>> import flambeau as torch
    >>> torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
    Sequential(
      (0): Linear(in_features=2, out_features=3, bias=True)
      (1): ReLU()
    )
    """

    def __init__(self, *args: Any) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            named: Iterable = args[0].items()
        else:
            named = ((str(i), module) for i, module in enumerate(args))
        for name, module in named:
            self.add_module(name, module)

    def __getitem__(self, idx: Any) -> Any:
        """The child at a position, or a Sequential of those in a slice (names are kept)."""
        if isinstance(idx, slice):
            return self.__class__(OrderedDict(list(self._modules.items())[idx]))
        return self._modules[self._name_at(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._name_at(idx), module)

    def __add__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"Sequential + expects another Sequential, got {type(other).__name__}")
        return Sequential(*self, *other)

    def __iadd__(self, other: Any) -> Sequential:
        if not isinstance(other, Sequential):
            raise ValueError(f"Sequential += expects another Sequential, got {type(other).__name__}")
        return self.extend(list(other))

    def __mul__(self, other: int) -> Sequential:
        return Sequential(*chain.from_iterable(tuple(self) for _ in range(self._times(other))))

    def __rmul__(self, other: int) -> Sequential:
        return self * other

    def __imul__(self, other: int) -> Sequential:
        return self.extend(list(self) * (self._times(other) - 1))

    @staticmethod
    def _times(n: Any) -> int:
        if not isinstance(n, int):
            raise TypeError(f"Sequential * expects an int, got {type(n).__name__}")
        if n <= 0:
            raise ValueError(f"Sequential * expects a positive number of repetitions, got {n}")
        return n

    def forward(self, input):
        """Pass `input` through all children in order."""
        for module in self._modules.values():
            input = module(input)
        return input

    def append(self, module: Module) -> Sequential:
        """Add a child at the end."""
        self.add_module(str(len(self)), module)
        return self

    def insert(self, index: int, module: Module) -> Sequential:
        """Put a child before position `index`; those behind it are renumbered. IndexError if out of range."""
        if not isinstance(module, Module):
            raise AssertionError(f"Sequential.insert: expected a Module, got {type(module).__name__}")
        n = len(self)
        if not -n <= index <= n:
            raise IndexError(f"Sequential.insert: index {index} is out of range: there are {n} children")
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)
        return self

    def extend(self, sequential: Iterable[Module]) -> Sequential:
        """Add several children at the end."""
        for module in list(sequential):
            self.append(module)
        return self


class ModuleList(_Ordered):
    """A list of modules that registers them; it has no forward of its own.

    >>> import flambeau as torch
    >>> torch.nn.ModuleList(torch.nn.Linear(2, 2) for _ in range(3))
    ModuleList(
      (0-2): 3 x Linear(in_features=2, out_features=2, bias=True)
    )
    """

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        if modules is not None:
            self.extend(modules)

    def __getitem__(self, idx: Any) -> Any:
        """The child at a position, or a ModuleList of those in a slice."""
        if isinstance(idx, slice):
            return self.__class__(list(self)[idx])
        return self._modules[self._name_at(idx)]

    def __setitem__(self, idx: int, module: Module) -> None:
        setattr(self, self._name_at(idx), module)

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)

    def __add__(self, other: Iterable[Module]) -> ModuleList:
        combined = ModuleList()
        combined.extend(chain(self, other))
        return combined

    def __repr__(self) -> str:
        """Equal neighbours are shown once, with their range and number."""
        blocks: list[tuple[int, int, str]] = []
        for i, text in enumerate(repr(module) for module in self):
            if blocks and blocks[-1][2] == text:
                blocks[-1] = (blocks[-1][0], i, text)
            else:
                blocks.append((i, i, text))
        if not blocks:
            return self._get_name() + "()"
        lines = [
            f"({a}): {text}" if a == b else f"({a}-{b}): {b - a + 1} x {text}" for a, b, text in blocks
        ]  # fmt: skip
        return f"{self._get_name()}(\n" + "".join(f"  {_addindent(line, 2)}\n" for line in lines) + ")"

    def insert(self, index: int, module: Module) -> None:
        """Put a child before position `index`; those behind it are renumbered."""
        modules = list(self)
        modules.insert(index, module)
        self._renumber(modules)

    def append(self, module: Module) -> ModuleList:
        """Add a child at the end."""
        self.add_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Add several children at the end. TypeError if `modules` is not iterable."""
        if not isinstance(modules, Iterable):
            raise TypeError(f"ModuleList.extend: expected an iterable of modules, got {type(modules).__name__}")
        for module in list(modules):
            self.append(module)
        return self

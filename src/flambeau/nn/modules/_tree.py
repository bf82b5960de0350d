"""Walking a tree of modules: children, modules, parameters and buffers by name, and access by dotted path."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.nn._core import Tensor
from flambeau.nn.parameter import Parameter


class Tree:
    """The part of `Module` that knows its descendants."""

    _parameters: dict[str, Any]
    _buffers: dict[str, Any]
    _modules: dict[str, Any]

    def named_children(self) -> Iterator[tuple[str, Any]]:
        """The direct children with their names, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if module is not None and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Any]:
        """The direct children, each module once."""
        for _, module in self.named_children():
            yield module

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """This module and all its descendants, depth first, with their dotted names.

        A module that is reachable on several paths comes once, under its first name (`remove_duplicate=False`: under
        all of them). `memo` holds the modules to leave out.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, module in self._modules.items():
            if module is not None:
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Any]:
        """This module and all its descendants, depth first, each once."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_members(
        self, get_members_fn: Callable, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for module_prefix, module in modules:
            for name, value in get_members_fn(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{module_prefix}.{name}" if module_prefix else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """The parameters of this module and (with `recurse`) its descendants with their dotted names, each once.

        >>> import flambeau as torch
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 2), torch.nn.Linear(2, 1, bias=False))
        >>> [name for name, _ in net.named_parameters()]
        ['0.weight', '0.bias', '1.weight']
        """
        return self._named_members(lambda m: m._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters of this module and (with `recurse`) its descendants, each once: what an optimizer takes."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        """The buffers of this module and (with `recurse`) its descendants with their dotted names, each once."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Any]:
        """The buffers of this module and (with `recurse`) its descendants, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    # -- by dotted path

    def get_submodule(self, target: str) -> Any:
        """The descendant with the dotted name `target` ('' is this module). AttributeError if there is none."""
        module: Any = self
        for part in target.split(".") if target else ():
            if not hasattr(module, part):
                raise AttributeError(f"{type(module).__name__} has no attribute '{part}' (looking for '{target}')")
            module = getattr(module, part)
            if not isinstance(module, Tree):
                raise AttributeError(f"'{part}' in '{target}' is a {type(module).__name__}: expected a Module")
        return module

    def set_submodule(self, target: str, module: Any, strict: bool = False) -> None:
        """Put `module` at the dotted name `target`. With `strict` something must be there already.

        ValueError for an empty name or something that is no Module, AttributeError if the path does not exist or its
        end is an attribute that is no Module.
        """
        if not target:
            raise ValueError("set_submodule: expected the name of a descendant, got an empty string")
        if not isinstance(module, Tree):
            raise ValueError(f"set_submodule: expected a Module for '{target}', got {type(module).__name__}")
        path, _, leaf = target.rpartition(".")
        parent = self.get_submodule(path)
        if hasattr(parent, leaf):
            old = getattr(parent, leaf)
            if not isinstance(old, Tree):
                raise AttributeError(f"'{target}' is a {type(old).__name__}: only a Module can be replaced")
        elif strict:
            raise AttributeError(f"{type(parent).__name__} has no '{leaf}' to replace (strict=True, target '{target}')")
        setattr(parent, leaf, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with the dotted name `target`. AttributeError if there is none or it is no Parameter."""
        value = self._leaf(target)
        if not isinstance(value, Parameter):
            raise AttributeError(f"'{target}' is a {type(value).__name__}: expected a Parameter")
        return value

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name `target`. AttributeError if there is none or it is no buffer."""
        value = self._leaf(target)
        path, _, name = target.rpartition(".")
        if name not in self.get_submodule(path)._buffers:
            raise AttributeError(f"'{target}' is a {type(value).__name__}: expected a buffer")
        return value

    def _leaf(self, target: str) -> Any:
        path, _, name = target.rpartition(".")
        module = self.get_submodule(path)
        if not hasattr(module, name):
            raise AttributeError(f"{type(module).__name__} has no attribute '{name}' (looking for '{target}')")
        return getattr(module, name)

"""Modules that run a program instead of Python code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from flambeau.export.program import Program
from flambeau.export.recording import inputs_in
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.placing import beside, wrap

__all__ = ["ProgramModule", "Places", "plant", "run_program"]


class Places:
    """Where a module keeps each parameter and buffer, by name; what lies there is looked up at every use."""

    def __init__(self, module: Module) -> None:
        self._found: dict[str, tuple[dict, str]] = {}
        for prefix, part in module.named_modules(remove_duplicate=False):
            dot = prefix + "." if prefix else ""
            for kept in (part._parameters, part._buffers):
                for key in kept:
                    self._found.setdefault(dot + key, (kept, key))

    def __call__(self, name: str) -> Any:
        kept, key = self._found[name]
        return kept[key]


def run_program(program: Program, args: tuple, kwargs: dict[str, Any], state: Callable[[str], Any]) -> Any:
    """What the program gives for a call's arguments. RuntimeError for arguments that it was not recorded for."""
    tensors = inputs_in(program, args, kwargs)

    def make(array: np.ndarray) -> Any:
        return beside(tensors[0], array) if tensors else wrap(array)

    return program.restored(program.run(tensors, state, make))


def plant(root: Module, state: Mapping[str, Any], container: Callable[[], Module], keep: bool = False) -> None:
    """Registers parameters and buffers under `root` by their dotted names, with containers on the way.

    With `keep`, tensors are registered themselves; parameters are what requires gradients or is a Parameter.
    """
    for name, tensor in state.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            child = module._modules.get(part)
            if child is None:
                child = container()
                module.add_module(part, child)
            module = child
        if isinstance(tensor, Parameter):
            module.register_parameter(last, tensor)
        else:
            module.register_buffer(last, tensor if keep else tensor.detach())


class ProgramModule(Module):
    """A module that runs a program: parameters and buffers have the names that they had where it was recorded."""

    def __init__(self, program: Program, state: Mapping[str, Any]) -> None:
        super().__init__()
        self._program = program
        plant(self, state, Module, keep=True)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the program."""
        places = self.__dict__.get("_places")
        if places is None:
            places = self.__dict__["_places"] = Places(self)
        return run_program(self._program, args, kwargs, places)

    @property
    def graph(self) -> Program:
        """The program; `print` shows it."""
        return self._program

    @property
    def code(self) -> str:
        """The program as text."""
        return str(self._program)

    def print_readable(self, print_output: bool = True, *args: Any, **kwargs: Any) -> str:
        """The program as text, which is also printed."""
        if print_output:
            print(self.code)
        return self.code

"""Modes of functions and of operations."""

import importlib


def case_function_modes(torch, see):
    class Names(torch.overrides.TorchFunctionMode):
        def __init__(self, tag):
            super().__init__()
            self.tag = tag

        def __torch_function__(self, func, types, args=(), kwargs=None):
            see([self.tag, func.__name__])
            return func(*args, **(kwargs or {}))

    with Names("a") as mode:
        x = torch.ones(2, 3)
        y = torch.relu(x)
        x + 1
        with Names("b"):
            torch.stack([x, y])
        y.sum()
    see(type(mode).__name__, torch.ones(1))


def case_modes_that_change_results(torch, see):
    class Double(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            return result.double() if func is torch.ones else result

    with Double():
        x = torch.ones(2)
    see(x, torch.ones(1))

    class Fails(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            raise ValueError("no")

    def failing():
        with Fails():
            torch.relu(x)

    see.error(failing)
    see(torch.relu(x))


def case_modes_and_classes(torch, see):
    class Sub(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func, types, args=(), kwargs=None):
            see("class")
            return super().__torch_function__(func, types, args, kwargs)

    class Mode(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            see("mode")
            return func(*args, **(kwargs or {}))

    x = torch.ones(2).as_subclass(Sub)
    with Mode():
        torch.relu(x)
        with torch._C.DisableTorchFunctionSubclass():
            torch.relu(x)


def case_dispatch_modes(torch, see):
    dispatch = importlib.import_module(f"{torch.__name__}.utils._python_dispatch")

    class Names(dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            see(str(func).split(".")[1])
            return func(*args, **(kwargs or {}))

    x = torch.randn(2, 2)
    with Names():
        torch.relu(x).exp()
        torch.mm(x, x)
    see(dispatch.is_traceable_wrapper_subclass(x))

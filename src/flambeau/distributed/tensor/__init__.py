"""`torch.distributed.tensor`: tensors that lie over the devices of a mesh.

They are ordinary tensors: `type(t)` is `Tensor` or `Parameter`, and `isinstance(t, DTensor)` says whether one lies over
a mesh. Results of operations lie where XLA's partitioner puts them; `redistribute` has them elsewhere. Operands that
are on one device join in as if they were whole everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.distributed.device_mesh import DeviceMesh, init_device_mesh
from flambeau.distributed.tensor import layout
from flambeau.distributed.tensor.placement_types import Partial, Placement, Replicate, Shard
from flambeau.tensor import creation
from flambeau.tensor.tensor import Tensor

__all__ = ["DTensor", "DeviceMesh", "Partial", "Placement", "Replicate", "Shard", "distribute_module",
           "distribute_tensor", "empty", "full", "init_device_mesh", "ones", "rand", "randn", "zeros"]  # fmt: skip


class _Kind(type(Tensor)):  # type: ignore[misc]
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, Tensor) and layout.declared(value) is not None


class DTensor(Tensor, metaclass=_Kind):
    """The kind of tensors that lie over a mesh; they are made by `distribute_tensor` and `DTensor.from_local`.

    Their shape is that of the whole. They have `device_mesh` and `placements`, and the methods here.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("DTensor: make one with distribute_tensor(tensor, mesh, placements) or DTensor.from_local(...)")

    @staticmethod
    def from_local(local_tensor: Tensor, device_mesh: DeviceMesh, placements: Any = None, *, run_check: bool = False,
                   shape: Any = None, stride: Any = None) -> Tensor:  # fmt: skip
        """The tensor of which every process gives its own block. With `Partial` it is the sum of the blocks.

        In a process that has all the mesh's devices the block is the whole.

        Raises:
            ValueError: the number of placements is not that of the mesh's dimensions.
        """
        return layout.from_local(local_tensor, device_mesh, placements, shape)


def _to_local(self: Any, *, grad_placements: Any = None) -> Tensor:
    """This process's block, as an ordinary tensor on the mesh's kind of device. Differentiable: the gradient is taken
    as a block too, laid out by `grad_placements` (by default as this tensor).
    """
    return layout.to_local(self, grad_placements)


def _full_tensor(self: Any, *, grad_placements: Any = None) -> Tensor:
    """The whole, as an ordinary tensor; all processes of the mesh call this. Differentiable."""
    return layout.whole(self)


def _redistribute(self: Any, device_mesh: Any = None, placements: Any = None, *, async_op: bool = False,
                  forward_dtype: Any = None, backward_dtype: Any = None) -> Tensor:  # fmt: skip
    """The same tensor in another layout; all processes of the mesh call this. Differentiable."""
    known = layout.declared(self)
    assert known is not None
    mesh = device_mesh or known[0]
    if mesh != known[0]:
        raise NotImplementedError("redistribute: a tensor stays on its mesh; use full_tensor() and distribute_tensor()")
    if placements is None:
        raise RuntimeError("redistribute: say how, by placements")
    chosen = layout.checked(mesh, placements, self.dim())
    if any(p.is_partial() for p in chosen):
        raise RuntimeError("redistribute: what is whole can't become Partial")
    return layout.relay(self, mesh, chosen)


class _OverMesh:
    """An attribute that tensors over a mesh have, and no others."""

    def __init__(self, name: str, get: Callable) -> None:
        self.name, self.get = name, get
        self.__doc__ = get.__doc__

    def __get__(self, tensor: Any, owner: Any = None) -> Any:
        if tensor is None:
            return self
        known = layout.declared(tensor)
        if known is None:
            raise AttributeError(
                f"'{type(tensor).__name__}' object has no attribute '{self.name}': it does not lie over a mesh",
                name=self.name, obj=tensor,
            )  # fmt: skip
        return self.get(tensor, *known)


for _name, _get in {
    "device_mesh": lambda t, mesh, placements: mesh,
    "placements": lambda t, mesh, placements: placements,
    "to_local": lambda t, *_: _to_local.__get__(t),
    "full_tensor": lambda t, *_: _full_tensor.__get__(t),
    "redistribute": lambda t, *_: _redistribute.__get__(t),
    "_local_tensor": lambda t, *_: layout.to_local(t.detach()),
}.items():
    setattr(Tensor, _name, _OverMesh(_name, _get))


def distribute_tensor(tensor: Tensor, device_mesh: DeviceMesh | None = None, placements: Any = None, *,
                      src_data_rank: int | None = 0) -> Tensor:  # fmt: skip
    """A tensor laid over a mesh: by default whole on each device.

    Args:
        tensor: the whole. Of several processes, that of the mesh's process `src_data_rank` counts; None: all have the
            same, and nothing is sent.
        placements: one for each dimension of the mesh. A dimension of the tensor that does not part equally is kept
            whole on each device, whatever the placement says; blocks are then cut from it.

    >>> from flambeau.distributed.tensor import Shard, distribute_tensor, init_device_mesh
    >>> t = distribute_tensor(torch.arange(4), init_device_mesh("cpu", (1,)), [Shard(0)])
    >>> t.placements, t.to_local()
    ((Shard(dim=0),), tensor([0, 1, 2, 3]))
    """
    mesh = device_mesh if device_mesh is not None else init_device_mesh("cpu", (1,))
    return layout.lay(tensor, mesh, placements, src_data_rank)


def distribute_module(module: Any, device_mesh: DeviceMesh | None = None, partition_fn: Any = None,
                      input_fn: Any = None, output_fn: Any = None) -> Any:  # fmt: skip
    """Lays a module's parameters and buffers over a mesh, in place; returns the module.

    Args:
        partition_fn: called with (name, submodule, mesh) for each submodule, lays out what it wants to; the rest
            becomes whole on each device.
        input_fn, output_fn: called with (module, inputs or outputs, mesh) before and after each forward.
    """
    mesh = device_mesh if device_mesh is not None else init_device_mesh("cpu", (1,))
    for name, part in module.named_modules():
        if partition_fn is not None:
            partition_fn(name, part, mesh)
    for t in [*module.parameters(), *module.buffers()]:
        if not isinstance(t, DTensor):
            lay_in_place(t, mesh, None)
    if input_fn is not None:
        module.register_forward_pre_hook(lambda m, inputs: input_fn(m, inputs, mesh))
    if output_fn is not None:
        module.register_forward_hook(lambda m, inputs, outputs: output_fn(m, outputs, mesh))
    return module


def lay_in_place(tensor: Any, mesh: DeviceMesh, placements: Any, src_data_rank: int | None = 0) -> None:
    """Lays a module's own tensor over a mesh; it stays the same object."""
    laid = layout.lay(tensor.detach(), mesh, placements, src_data_rank)
    tensor.data = laid
    tensor.__dict__["_layout"] = laid.__dict__["_layout"]


def _made(make: Callable, size: tuple, device_mesh: Any, placements: Any, kwargs: dict) -> Tensor:
    if len(size) == 1 and not isinstance(size[0], int):
        size = tuple(size[0])
    needs = kwargs.pop("requires_grad", False)
    return distribute_tensor(make(size, **kwargs), device_mesh, placements).detach().requires_grad_(needs)


def zeros(*size: Any, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """Zeros over a mesh."""
    return _made(creation.zeros, size, device_mesh, placements, kwargs)


def ones(*size: Any, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """Ones over a mesh."""
    return _made(creation.ones, size, device_mesh, placements, kwargs)


def empty(*size: Any, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """A tensor over a mesh, to be written."""
    return _made(creation.zeros, size, device_mesh, placements, kwargs)


def full(size: Any, fill_value: Any, *, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """A tensor of one value over a mesh."""
    return _made(lambda s, **k: creation.full(s, fill_value, **k), (size,), device_mesh, placements, kwargs)


def rand(*size: Any, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """Uniform numbers over a mesh, as the first process draws them."""
    from flambeau.ops.random_ops import rand as draw

    return _made(draw, size, device_mesh, placements, kwargs)


def randn(*size: Any, device_mesh: Any = None, placements: Any = None, **kwargs: Any) -> Tensor:
    """Normal numbers over a mesh, as the first process draws them."""
    from flambeau.ops.random_ops import randn as draw

    return _made(draw, size, device_mesh, placements, kwargs)

"""Styles: how one module lies over a mesh of one dimension, and what goes in and comes out."""

from __future__ import annotations

from typing import Any

from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.tensor import DTensor, lay_in_place, layout
from flambeau.distributed.tensor.placement_types import Placement, Replicate, Shard
from flambeau.nn.modules.sparse import Embedding
from flambeau.tensor.tensor import Tensor

__all__ = ["ColwiseParallel", "ParallelStyle", "PrepareModuleInput", "PrepareModuleInputOutput", "PrepareModuleOutput",
           "RowwiseParallel", "SequenceParallel"]  # fmt: skip


def _entered(tensor: Any, mesh: DeviceMesh, have: Placement | None, want: Placement | None) -> Any:
    """An input over the mesh: a block laid out as `have` says, brought to `want`."""
    if not isinstance(tensor, Tensor) or have is None:
        return tensor
    if not isinstance(tensor, DTensor):
        tensor = layout.from_local(tensor, mesh, [have])
    if want is None:
        return tensor
    return layout.relay(tensor, mesh, layout.checked(mesh, [want], tensor.dim()))


def _left(tensor: Any, mesh: DeviceMesh, want: Placement | None, local: bool, kind: str | None) -> Any:
    """An output in a layout, as this process's block if it is to be local."""
    if not isinstance(tensor, Tensor) or want is None:
        return tensor
    if not isinstance(tensor, DTensor):
        tensor = layout.from_local(tensor, mesh, [want])
    tensor = layout.relay(tensor, mesh, layout.checked(mesh, [want], tensor.dim()))
    return layout.to_local(tensor, kind=kind) if local else tensor


def _kind_of(values: Any) -> str | None:
    """Where the inputs are: outputs go back there."""
    for v in values if isinstance(values, (tuple, list)) else (values,):
        if isinstance(v, Tensor) and not isinstance(v, DTensor):
            return v.device.type
    return None


class ParallelStyle:
    """How a module is laid over a mesh; `_apply` does it."""

    src_data_rank: int | None = 0

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        raise TypeError(f"{type(self).__name__} is no style of its own: it should say how a module is laid out")

    def _lay(self, module: Any, name: str, mesh: DeviceMesh, placement: Placement) -> None:
        param = module._parameters.get(name)
        if param is not None:
            if not isinstance(param, DTensor):
                lay_in_place(param, mesh, [placement], self.src_data_rank)
            elif layout.declared(param) != (mesh, layout.checked(mesh, [placement], param.dim())):
                raise RuntimeError(f"parallelize_module: '{name}' lies over {param.device_mesh} as {param.placements}")

    @staticmethod
    def _around(module: Any, enter: Any, leave: Any) -> Any:
        """Has inputs and outputs go through these functions; `leave` is told where the inputs were."""
        kinds: list[str | None] = []

        def before(m: Any, args: tuple, kwargs: dict) -> Any:
            kinds.append(_kind_of((*args, *kwargs.values())))
            return enter(args, kwargs)

        def after(m: Any, args: tuple, output: Any) -> Any:
            return leave(output, kinds.pop())

        module.register_forward_pre_hook(before, with_kwargs=True)
        module.register_forward_hook(after)
        return module


class _LayerParallel(ParallelStyle):
    """A layer with one input and one output."""

    def __init__(self, input_layouts: Placement, output_layouts: Placement, use_local_output: bool) -> None:
        self.input_layouts, self.output_layouts = (input_layouts,), (output_layouts,)
        self.use_local_output = use_local_output

    def _wanted(self, module: Any) -> Placement:
        raise TypeError("a style says which layout its module computes with")

    def _lay_all(self, module: Any, mesh: DeviceMesh) -> None:
        raise TypeError("a style says how its module's parameters lie")

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        self._lay_all(module, device_mesh)
        want = self._wanted(module)

        def enter(args: tuple, kwargs: dict) -> tuple:
            return (_entered(args[0], device_mesh, self.input_layouts[0], want), *args[1:]), kwargs

        def leave(output: Any, kind: str | None) -> Any:
            return _left(output, device_mesh, self.output_layouts[0], self.use_local_output, kind)

        return self._around(module, enter, leave)


def _is_embedding(module: Any) -> bool:
    return isinstance(module, Embedding)


class ColwiseParallel(_LayerParallel):
    """A `Linear` whose outputs, or an `Embedding` whose features, are computed in parts.

    Args:
        input_layouts: how the inputs come: `Replicate()` by default, every process with the whole.
        output_layouts: how the outputs go: `Shard(-1)` by default, each process with its columns.
        use_local_output: give this process's block, not the tensor over the mesh.
    """

    def __init__(self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None,
                 use_local_output: bool = True) -> None:  # fmt: skip
        super().__init__(input_layouts or Replicate(), output_layouts or Shard(-1), use_local_output)

    def _wanted(self, module: Any) -> Placement:
        return Replicate()

    def _lay_all(self, module: Any, mesh: DeviceMesh) -> None:
        if _is_embedding(module):
            self._lay(module, "weight", mesh, Shard(1))
        elif _has_weights(module):
            self._lay(module, "weight", mesh, Shard(0))
            self._lay(module, "bias", mesh, Shard(0))


class RowwiseParallel(_LayerParallel):
    """A `Linear` whose inputs, or an `Embedding` whose rows, are in parts; the parts' results are summed.

    Args:
        input_layouts: how the inputs come: `Shard(-1)` by default (`Replicate()` for the indices of an embedding).
        output_layouts: how the outputs go: `Replicate()` by default.
        use_local_output: give this process's block, not the tensor over the mesh.
    """

    def __init__(self, *, input_layouts: Placement | None = None, output_layouts: Placement | None = None,
                 use_local_output: bool = True) -> None:  # fmt: skip
        super().__init__(input_layouts or Shard(-1), output_layouts or Replicate(), use_local_output)

    def _wanted(self, module: Any) -> Placement:
        return Replicate() if _is_embedding(module) else Shard(-1)

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        if _is_embedding(module) and self.input_layouts == (Shard(-1),):
            self.input_layouts = (Replicate(),)
        return super()._apply(module, device_mesh)

    def _lay_all(self, module: Any, mesh: DeviceMesh) -> None:
        if _is_embedding(module):
            self._lay(module, "weight", mesh, Shard(0))
        elif _has_weights(module):
            self._lay(module, "weight", mesh, Shard(1))
            self._lay(module, "bias", mesh, Replicate())


def _has_weights(module: Any) -> bool:
    weight = module._parameters.get("weight")
    if weight is None or weight.dim() != 2:
        raise NotImplementedError(
            f"ColwiseParallel and RowwiseParallel are for Linear and Embedding, not for {type(module).__name__}"
        )
    return True


class SequenceParallel(_LayerParallel):
    """A module that works on each position alone, as `LayerNorm`, `RMSNorm` or `Dropout`: on sequences in parts.

    Args:
        sequence_dim: the dimension of positions, 1 by default.
        use_local_output: give this process's block; False by default.
    """

    def __init__(self, *, sequence_dim: int = 1, use_local_output: bool = False) -> None:
        super().__init__(Shard(sequence_dim), Shard(sequence_dim), use_local_output)

    def _wanted(self, module: Any) -> Placement:
        return self.input_layouts[0]

    def _lay_all(self, module: Any, mesh: DeviceMesh) -> None:
        for part in module.modules():
            for name in list(part._parameters):
                self._lay(part, name, mesh, Replicate())


def _listed(given: Any) -> tuple:
    return () if given is None else tuple(given) if isinstance(given, (tuple, list)) else (given,)


class PrepareModuleInput(ParallelStyle):
    """Brings a module's inputs to layouts, before its forward.

    Args:
        input_layouts: how they come, one each (None: left alone), or one for a single input.
        desired_input_layouts: what they are brought to.
        input_kwarg_layouts, desired_input_kwarg_layouts: the same by name, for keyword arguments.
        use_local_output: give the module this process's blocks, not tensors over the mesh.
    """

    def __init__(self, *, input_layouts: Any = None, desired_input_layouts: Any = None,
                 input_kwarg_layouts: dict | None = None, desired_input_kwarg_layouts: dict | None = None,
                 use_local_output: bool = False) -> None:  # fmt: skip
        self.input_layouts, self.desired_input_layouts = _listed(input_layouts), _listed(desired_input_layouts)
        self.input_kwarg_layouts = input_kwarg_layouts or {}
        self.desired_input_kwarg_layouts = desired_input_kwarg_layouts or {}
        self.use_local_output = use_local_output
        if len(self.input_layouts) != len(self.desired_input_layouts):
            raise AssertionError("PrepareModuleInput: input_layouts and desired_input_layouts should be as many")

    def _one(self, value: Any, mesh: DeviceMesh, have: Any, want: Any) -> Any:
        kind = _kind_of(value)
        value = _entered(value, mesh, have, want)
        return layout.to_local(value, kind=kind) if self.use_local_output and isinstance(value, DTensor) else value

    def prepare(self, args: tuple, kwargs: dict, mesh: DeviceMesh) -> tuple:
        """The inputs, brought to their layouts."""
        if self.input_layouts and len(args) != len(self.input_layouts):
            raise ValueError(f"PrepareModuleInput: {len(self.input_layouts)} layouts, and {len(args)} inputs came")
        if self.input_layouts:
            layouts = zip(args, self.input_layouts, self.desired_input_layouts, strict=True)
            args = tuple(self._one(v, mesh, have, want) for v, have, want in layouts)
        changed = {
            name: self._one(v, mesh, self.input_kwarg_layouts.get(name), self.desired_input_kwarg_layouts.get(name))
            for name, v in kwargs.items()
        }
        return args, changed

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        module.register_forward_pre_hook(
            lambda m, args, kwargs: self.prepare(args, kwargs, device_mesh), with_kwargs=True
        )
        return module


class PrepareModuleOutput(ParallelStyle):
    """Brings a module's outputs to layouts, after its forward.

    Args:
        output_layouts: how they come, one each (None: left alone), or one for a single output.
        desired_output_layouts: what they are brought to.
        use_local_output: give this process's blocks, not tensors over the mesh.
    """

    def __init__(self, *, output_layouts: Any, desired_output_layouts: Any, use_local_output: bool = True) -> None:
        self.output_layouts, self.desired_output_layouts = _listed(output_layouts), _listed(desired_output_layouts)
        self.use_local_output = use_local_output
        if len(self.output_layouts) != len(self.desired_output_layouts):
            raise AssertionError("PrepareModuleOutput: output_layouts and desired_output_layouts should be as many")

    def prepare(self, output: Any, mesh: DeviceMesh, kind: str | None = None) -> Any:
        """The outputs, brought to their layouts."""
        outputs = output if isinstance(output, tuple) else (output,)
        if len(outputs) != len(self.output_layouts):
            raise ValueError(
                f"PrepareModuleOutput: {len(self.output_layouts)} layouts, and {len(outputs)} outputs came"
            )
        made = []
        for v, have, want in zip(outputs, self.output_layouts, self.desired_output_layouts, strict=True):
            v = _entered(v, mesh, have, want)
            if self.use_local_output and isinstance(v, DTensor):
                v = layout.to_local(v, kind=kind)
            made.append(v)
        return tuple(made) if isinstance(output, tuple) else made[0]

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        return self._around(
            module, lambda args, kwargs: (args, kwargs), lambda out, kind: self.prepare(out, device_mesh, kind)
        )


class PrepareModuleInputOutput(ParallelStyle):
    """`PrepareModuleInput` and `PrepareModuleOutput` together."""

    def __init__(self, *, input_layouts: Any = None, desired_input_layouts: Any = None,
                 input_kwarg_layouts: dict | None = None, desired_input_kwarg_layouts: dict | None = None,
                 use_local_input: bool = False, output_layouts: Any, desired_output_layouts: Any,
                 use_local_output: bool = True) -> None:  # fmt: skip
        self.before = PrepareModuleInput(
            input_layouts=input_layouts, desired_input_layouts=desired_input_layouts,
            input_kwarg_layouts=input_kwarg_layouts, desired_input_kwarg_layouts=desired_input_kwarg_layouts,
            use_local_output=use_local_input,
        )  # fmt: skip
        self.after = PrepareModuleOutput(output_layouts=output_layouts, desired_output_layouts=desired_output_layouts,
                                         use_local_output=use_local_output)  # fmt: skip

    def _apply(self, module: Any, device_mesh: DeviceMesh) -> Any:
        self.before._apply(module, device_mesh)
        return self.after._apply(module, device_mesh)

"""Code for graphs whose inputs and output are containers: taken apart on the way in, put together on the way out."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau import pytree
from flambeau.fx.codegen import CodeGen, _Verbatim

__all__ = ["_PyTreeCodeGen", "_PyTreeInfo", "tree_flatten_spec"]


def tree_flatten_spec(tree: Any, spec: Any, exact_structural_match: bool = False) -> list[Any]:
    """The leaves of a tree that has the shape of `spec`. ValueError for another."""
    leaves, found = pytree.tree_flatten(tree)
    if len(leaves) != spec.num_leaves:
        raise ValueError(f"the arguments are a tree of {len(leaves)} leaves, the graph was made for {spec.num_leaves}")
    return leaves


class _PyTreeInfo(NamedTuple):
    """The function's own parameters, and the plans of its arguments and its result."""

    orig_args: list[str]
    in_spec: Any
    out_spec: Any


class _PyTreeCodeGen(CodeGen):
    """Takes the arguments of the traced function, and returns what it returned."""

    def __init__(self, pytree_info: _PyTreeInfo) -> None:
        super().__init__()
        self.pytree_info = pytree_info

    def process_inputs(self, *inputs: Any) -> Any:
        return pytree.tree_leaves(inputs)

    def process_outputs(self, out: Any) -> Any:
        if self.pytree_info is None or self.pytree_info.out_spec is None:
            return out
        return pytree.tree_unflatten(out if isinstance(out, (list, tuple)) else [out], self.pytree_info.out_spec)

    def gen_fn_def(self, free_vars: list[str], maybe_return_annotation: str) -> str:
        names = self.pytree_info.orig_args
        own = [name for name in names if name != "self"]
        head = super().gen_fn_def(list(names), maybe_return_annotation)
        if not free_vars:
            return head
        bare = [v.partition(":")[0].partition("=")[0].strip() for v in free_vars]
        taken = f"{', '.join(bare)}, = fx_pytree.tree_flatten_spec([{', '.join(own)}], self._in_spec)"
        return f"{head}\n    {taken}"

    def generate_output(self, output_args: Any) -> str:
        if self.pytree_info is None or self.pytree_info.out_spec is None:
            return super().generate_output(output_args)
        if isinstance(output_args, _Verbatim):
            return f"return pytree.tree_unflatten({output_args!r}, self._out_spec)"
        return f"return pytree.tree_unflatten({list(output_args)!r}, self._out_spec)"

    def additional_globals(self) -> list[tuple[str, Any]]:
        from flambeau.fx import pytrees

        return [("fx_pytree", _Named(pytrees, "fx_pytree")), ("pytree", _Named(pytree, "pytree"))]


class _Named:
    """A module under a name of the code's own, so that it is a global rather than found through `torch`."""

    def __init__(self, module: Any, name: str) -> None:
        self._module, self.__name__ = module, name
        self.__module__ = "builtins"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

"""`torch.utils._pytree`: trees of containers, as programs that use PyTorch's name for them expect."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.pytree import (
    KINDS as SUPPORTED_NODES,
)
from flambeau.pytree import (
    LEAF,
    KeyEntry,
    TreeSpec,
    keystr,
    node_type,
    tree_all,
    tree_all_only,
    tree_any,
    tree_any_only,
    tree_flatten,
    tree_flatten_with_path,
    tree_iter,
    tree_leaves,
    tree_leaves_with_path,
    tree_map,
    tree_map_,
    tree_map_only,
    tree_map_only_,
    tree_map_with_path,
    tree_structure,
    tree_unflatten,
)
from flambeau.pytree import is_leaf as tree_is_leaf
from flambeau.pytree import register as register_pytree_node

PyTree = object
MappingKey = SequenceKey = GetAttrKey = KeyEntry
_register_pytree_node = register_pytree_node
_is_leaf = tree_is_leaf


Context = Any
_get_node_type = node_type


def is_namedtuple_instance(obj: Any) -> bool:
    """Whether an object is a named tuple."""
    return is_namedtuple_class(type(obj))


def is_namedtuple_class(cls: type) -> bool:
    """Whether a class is one of named tuples."""
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple) and not is_structseq_class(cls)


def is_structseq_class(cls: type) -> bool:
    """Whether a class is one of C's named sequences, as results of reductions are."""
    return issubclass(cls, tuple) and hasattr(cls, "n_sequence_fields")


def is_structseq_instance(obj: Any) -> bool:
    """Whether an object is of such a class."""
    return is_structseq_class(type(obj))


def _keyed(cls: type, entry: Any) -> Callable[[Any], tuple[list[tuple[Any, Any]], Any]]:
    def flatten(tree: Any) -> tuple[list[tuple[Any, Any]], Any]:
        values, context = SUPPORTED_NODES[cls].flatten(tree)
        names = tree if issubclass(cls, dict) else range(len(tree))
        return [(entry(name), value) for name, value in zip(names, values, strict=True)], context

    return flatten


_dict_flatten, _dict_unflatten = SUPPORTED_NODES[dict][:2]
_list_flatten, _list_unflatten = SUPPORTED_NODES[list][:2]
_tuple_flatten, _tuple_unflatten = SUPPORTED_NODES[tuple][:2]
_ordereddict_flatten, _ordereddict_unflatten = SUPPORTED_NODES[OrderedDict][:2]
_dict_flatten_with_keys = _keyed(dict, MappingKey)
_ordereddict_flatten_with_keys = _keyed(OrderedDict, MappingKey)
_list_flatten_with_keys = _keyed(list, SequenceKey)
_tuple_flatten_with_keys = _keyed(tuple, SequenceKey)


def LeafSpec() -> TreeSpec:
    """The plan of a leaf."""
    return LEAF


def treespec_pprint(treespec: TreeSpec) -> str:
    """A plan as text, with `*` for leaves."""
    return repr(tree_unflatten(["*"] * treespec.num_leaves, treespec)).replace("'*'", "*")


__all__ = [
    "SUPPORTED_NODES",
    "GetAttrKey",
    "KeyEntry",
    "LeafSpec",
    "MappingKey",
    "PyTree",
    "SequenceKey",
    "TreeSpec",
    "keystr",
    "register_pytree_node",
    "tree_all",
    "tree_all_only",
    "tree_any",
    "tree_any_only",
    "tree_flatten",
    "tree_flatten_with_path",
    "tree_is_leaf",
    "tree_iter",
    "tree_leaves",
    "tree_leaves_with_path",
    "tree_map",
    "tree_map_",
    "tree_map_only",
    "tree_map_only_",
    "tree_map_with_path",
    "tree_structure",
    "tree_unflatten",
    "treespec_pprint",
]

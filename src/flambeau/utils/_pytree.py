"""`torch.utils._pytree`: trees of containers, as programs that use PyTorch's name for them expect."""

from flambeau.pytree import (
    KINDS as SUPPORTED_NODES,
)
from flambeau.pytree import (
    LEAF,
    KeyEntry,
    TreeSpec,
    keystr,
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

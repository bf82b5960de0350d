"""Trees of Python containers: taking them apart into leaves and a plan, and putting them together again.

Tuples, lists, dictionaries, named tuples, `OrderedDict`, `defaultdict`, `deque` and what a program registers are nodes;
everything else, None too, is a leaf. `torch.utils._pytree` is these functions under PyTorch's names.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class KeyEntry(NamedTuple):
    """One step of a path to a leaf: the key or position in its container."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"

    @property
    def idx(self) -> Any:
        """The position, under its other name."""
        return self.key


class _Kind(NamedTuple):
    flatten: Callable[[Any], tuple[Iterable[Any], Any]]
    unflatten: Callable[[Any, Any], Any]
    keys: Callable[[Any], list[Any]] | None = None

    @property
    def flatten_fn(self) -> Callable[[Any], tuple[Iterable[Any], Any]]:
        """`flatten`, by PyTorch's name."""
        return self.flatten

    @property
    def unflatten_fn(self) -> Callable[[Any, Any], Any]:
        """`unflatten`, by PyTorch's name."""
        return self.unflatten


def _structseq(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "n_sequence_fields")


def _named(cls: type) -> bool:
    return issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple) and not _structseq(cls)


KINDS: dict[type, _Kind] = {
    tuple: _Kind(lambda t: (list(t), None), lambda values, _: tuple(values)),
    list: _Kind(lambda t: (list(t), None), lambda values, _: list(values)),
    dict: _Kind(
        lambda d: (list(d.values()), list(d)),
        lambda values, keys: dict(zip(keys, values, strict=True)),
        lambda d: list(d),
    ),
    OrderedDict: _Kind(
        lambda d: (list(d.values()), list(d)),
        lambda values, keys: OrderedDict(zip(keys, values, strict=True)),
        lambda d: list(d),
    ),
    defaultdict: _Kind(
        lambda d: (list(d.values()), [d.default_factory, list(d)]),
        lambda values, context: defaultdict(context[0], zip(context[1], values, strict=True)),
        lambda d: list(d),
    ),
    deque: _Kind(lambda d: (list(d), d.maxlen), lambda values, maxlen: deque(values, maxlen=maxlen)),
}
_NAMEDTUPLE = _Kind(lambda t: (list(t), type(t)), lambda values, cls: cls(*values), lambda t: list(t._fields))
_STRUCTSEQ = _Kind(lambda t: (list(t), type(t)), lambda values, cls: cls(values))


def register(
    cls: type,
    flatten_fn: Callable[[Any], tuple[Iterable[Any], Any]],
    unflatten_fn: Callable[[Any, Any], Any],
    *,
    serialized_type_name: str | None = None,
    to_dumpable_context: Any = None,
    from_dumpable_context: Any = None,
    flatten_with_keys_fn: Any = None,
) -> None:
    """Makes `cls` a container: `flatten_fn(x)` gives its children and a context, `unflatten_fn(children, context)` the
    thing again. ValueError for a class that is one already.
    """
    if cls in KINDS:
        raise ValueError(f"{cls} is registered as a pytree node already")
    keys = None
    if flatten_with_keys_fn is not None:
        keys = lambda x: [key for key, _ in flatten_with_keys_fn(x)[0]]  # noqa: E731
    KINDS[cls] = _Kind(flatten_fn, unflatten_fn, keys)


def node_type(tree: Any) -> Any:
    """The container's class as the registry knows it; a named tuple's is `namedtuple`."""
    from collections import namedtuple

    return namedtuple if _named(type(tree)) and type(tree) not in KINDS else type(tree)  # type: ignore[return-value]


def _kind(tree: Any) -> _Kind | None:
    cls = type(tree)
    found = KINDS.get(cls)
    if found is None and issubclass(cls, tuple):
        return _NAMEDTUPLE if _named(cls) else _STRUCTSEQ if _structseq(cls) else None
    return found


class TreeSpec:
    """The plan of a tree: its container's class and context, and the plans of its children. A leaf has none."""

    __slots__ = ("children_specs", "context", "num_children", "num_leaves", "num_nodes", "type")

    num_nodes: int
    num_leaves: int

    def __init__(self, type: Any, context: Any, children_specs: list[TreeSpec]) -> None:
        self.type = type
        self.context = context
        self.children_specs = children_specs
        leaf = type is None
        self.num_children = len(children_specs)
        self.num_nodes = 1 + sum(c.num_nodes for c in children_specs)
        self.num_leaves = 1 if leaf else sum(c.num_leaves for c in children_specs)

    def is_leaf(self) -> bool:
        """Whether the tree is a single leaf."""
        return self.type is None

    def children(self) -> list[TreeSpec]:
        """The plans of the children."""
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        """The plan of one child."""
        return self.children_specs[index]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TreeSpec):
            return NotImplemented
        if self.type is not other.type or self.num_children != other.num_children:
            return False
        if self.type in (dict, OrderedDict) and self.context != other.context:
            return False
        return (self.context == other.context or self.type is dict) and self.children_specs == other.children_specs

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves, self.num_nodes))

    def __repr__(self) -> str:
        if self.type is None:
            return "*"
        inner = ", ".join(map(repr, self.children_specs))
        return f"TreeSpec({self.type.__name__}, {self.context!r}, [{inner}])"

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The parts of `tree` that stand where this plan has leaves; ValueError where the containers differ."""
        found: list[Any] = []
        self._collect(tree, found)
        return found

    def _collect(self, tree: Any, found: list[Any]) -> None:
        if self.type is None:
            found.append(tree)
            return
        kind = _kind(tree)
        if kind is None or type(tree) is not self.type:
            raise ValueError(f"expected a {self.type.__name__} like {self!r}, got {type(tree).__name__}")
        children, context = kind.flatten(tree)
        values = list(children)
        if self.type in (dict, OrderedDict) and set(context) == set(self.context):
            values = [tree[key] for key in self.context]
        elif context != self.context:
            raise ValueError(f"expected the context {self.context!r}, got {context!r}")
        if len(values) != self.num_children:
            raise ValueError(f"expected {self.num_children} children, got {len(values)}")
        for spec, value in zip(self.children_specs, values, strict=True):
            spec._collect(value, found)

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves."""
        return tree_unflatten(leaves, self)


LEAF = TreeSpec(None, None, [])


def is_leaf(tree: Any, stop: Callable[[Any], bool] | None = None) -> bool:
    """Whether `tree` is no container, or one at which `stop` says to stop."""
    return (stop is not None and stop(tree)) or _kind(tree) is None


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The leaves of `tree` in order, and its plan.

    >>> from flambeau.utils._pytree import tree_flatten
    >>> leaves, spec = tree_flatten({"a": 1, "b": (2, [3])})
    >>> leaves, spec.unflatten([4, 5, 6])
    ([1, 2, 3], {'a': 4, 'b': (5, [6])})
    """
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves, is_leaf)


def _flatten(tree: Any, leaves: list[Any], stop: Callable[[Any], bool] | None) -> TreeSpec:
    kind = None if stop is not None and stop(tree) else _kind(tree)
    if kind is None:
        leaves.append(tree)
        return LEAF
    children, context = kind.flatten(tree)
    return TreeSpec(type(tree), context, [_flatten(child, leaves, stop) for child in children])


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of the plan `treespec` with these leaves; ValueError where their number differs."""
    values = list(leaves)
    if not isinstance(treespec, TreeSpec):
        raise TypeError(f"tree_unflatten(): expected a TreeSpec, got {type(treespec).__name__}")
    if len(values) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten(): {len(values)} leaves came for a tree of {treespec.num_leaves}: {treespec}")
    return _unflatten(iter(values), treespec)


def _unflatten(values: Any, spec: TreeSpec) -> Any:
    if spec.type is None:
        return next(values)
    children = [_unflatten(values, child) for child in spec.children_specs]
    kind = KINDS.get(spec.type) or (_NAMEDTUPLE if _named(spec.type) else _STRUCTSEQ)
    return kind.unflatten(children, spec.context)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """The leaves in order."""
    return tree_flatten(tree, is_leaf)[0]


tree_iter = tree_leaves


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The plan alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree with `func(leaf, ...)` for each leaf; `rests` are trees whose parts at those places are passed too."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return tree_unflatten([func(*values) for values in zip(leaves, *others, strict=True)], spec)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Calls `func` for each leaf and returns the tree as it was."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def _chooser(kinds: Any) -> Callable[[Any], bool]:
    if isinstance(kinds, (type, tuple)) or hasattr(kinds, "__args__"):
        return lambda x: isinstance(x, kinds)
    return kinds


def tree_map_only(
    kinds: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:  # fmt: skip
    """`tree_map` for the leaves of a type (or a tuple of types, or a predicate); the others stay."""
    chosen = _chooser(kinds)
    return tree_map(lambda x: func(x) if chosen(x) else x, tree, is_leaf=is_leaf)


def tree_map_only_(
    kinds: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> Any:  # fmt: skip
    """Calls `func` for the leaves of a type and returns the tree as it was."""
    tree_map_only(kinds, func, tree, is_leaf)
    return tree


def tree_all(pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for all leaves."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_all_only(kinds: Any, pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for all leaves of a type."""
    chosen = _chooser(kinds)
    return all(pred(x) for x in tree_leaves(tree, is_leaf) if chosen(x))


def tree_any_only(kinds: Any, pred: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for some leaf of a type."""
    chosen = _chooser(kinds)
    return any(pred(x) for x in tree_leaves(tree, is_leaf) if chosen(x))


def broadcast_to_and_flatten(
    tree: Any, treespec: TreeSpec, is_leaf: Callable[[Any], bool] | None = None
) -> list[Any] | None:
    """A value per leaf of `treespec` from `tree`, whose leaves may stand for whole subtrees; None if they don't fit."""
    if globals()["is_leaf"](tree, is_leaf):
        return [tree] * treespec.num_leaves
    kind = _kind(tree)
    if kind is None or treespec.type is not type(tree):
        return None
    children, context = kind.flatten(tree)
    values = list(children)
    if len(values) != treespec.num_children or context != treespec.context:
        return None
    found: list[Any] = []
    for value, spec in zip(values, treespec.children_specs, strict=True):
        part = broadcast_to_and_flatten(value, spec, is_leaf)
        if part is None:
            return None
        found += part
    return found


def tree_flatten_with_path(
    tree: Any, is_leaf: Callable[[Any], bool] | None = None
) -> tuple[list[tuple[tuple[Any, ...], Any]], TreeSpec]:
    """(path, leaf) pairs, a path being the keys on the way, and the plan."""
    leaves, spec = tree_flatten(tree, is_leaf)
    paths: list[tuple[Any, ...]] = []
    _paths(tree, (), paths, is_leaf)
    return list(zip(paths, leaves, strict=True)), spec


def _paths(tree: Any, path: tuple, paths: list[tuple[Any, ...]], stop: Callable[[Any], bool] | None) -> None:
    kind = None if stop is not None and stop(tree) else _kind(tree)
    if kind is None:
        paths.append(path)
        return
    children = list(kind.flatten(tree)[0])
    keys = kind.keys(tree) if kind.keys is not None else list(range(len(children)))
    for key, child in zip(keys, children, strict=True):
        _paths(child, (*path, key if isinstance(key, KeyEntry) else KeyEntry(key)), paths, stop)


def tree_leaves_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    """(path, leaf) pairs."""
    return tree_flatten_with_path(tree, is_leaf)[0]


def tree_map_with_path(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map` whose function gets the path to the leaf first."""
    pairs, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    values = [func(path, leaf, *rest) for (path, leaf), *rest in zip(pairs, *others, strict=True)]
    return tree_unflatten(values, spec)


def keystr(path: Iterable[Any]) -> str:
    """A path as text, such as `['a'][0]`."""
    return "".join(map(str, path))

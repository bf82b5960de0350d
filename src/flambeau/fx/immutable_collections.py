"""Lists and dictionaries that refuse to be changed: a node keeps its arguments in them, so that users stay known."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau import pytree

__all__ = ["immutable_dict", "immutable_list"]


def _refusing(kind: str) -> Any:
    def refuse(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(
            f"'{kind}' object does not support mutation: assign a whole new value to node.args or node.kwargs instead, "
            "so that the graph knows who uses what"
        )

    return refuse


class immutable_list(list):
    """A list that can't be changed."""

    def __reduce__(self) -> tuple:
        return immutable_list, (tuple(self),)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self))


class immutable_dict(dict):
    """A dictionary that can't be changed."""

    def __reduce__(self) -> tuple:
        return immutable_dict, (tuple(self.items()),)

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(frozenset(self.items()))


for _name in "__delitem__ __iadd__ __imul__ __setitem__ append clear extend insert pop remove reverse sort".split():
    setattr(immutable_list, _name, _refusing("immutable_list"))
for _name in "__delitem__ __setitem__ __ior__ clear pop popitem update setdefault".split():
    setattr(immutable_dict, _name, _refusing("immutable_dict"))

pytree.register(immutable_list, lambda x: (list(x), None), lambda children, _: immutable_list(children))
pytree.register(
    immutable_dict,
    lambda x: (list(x.values()), list(x)),
    lambda children, keys: immutable_dict(zip(keys, children, strict=True)),
)

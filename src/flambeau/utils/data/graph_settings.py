"""Settings of all the pipes that a data pipe is made of."""

from __future__ import annotations

from typing import Any

from flambeau.utils.data.datapipes.datapipe import draw_seed
from flambeau.utils.data.graph import traverse_dps

__all__ = ["apply_random_seed", "apply_shuffle_seed", "apply_shuffle_settings", "get_all_graph_pipes"]


def get_all_graph_pipes(graph: dict) -> list[Any]:
    """All pipes of a graph, each once, from the last step to the sources."""
    found: dict[int, Any] = {}
    for number, (pipe, below) in graph.items():
        found.setdefault(number, pipe)
        for other in get_all_graph_pipes(below):
            found.setdefault(id(other), other)
    return list(found.values())


def apply_shuffle_settings(datapipe: Any, shuffle: bool | None = None) -> Any:
    """Turns all shuffling on or off; where there is none and it shall be on, it is the last step of what comes back."""
    if shuffle is None:
        return datapipe
    pipes = [p for p in get_all_graph_pipes(traverse_dps(datapipe)) if hasattr(p, "set_shuffle")]
    if shuffle and not pipes:
        return datapipe.shuffle()
    for pipe in pipes:
        pipe.set_shuffle(shuffle)
    return datapipe


def apply_random_seed(datapipe: Any, rng: Any) -> Any:
    """Gives each pipe that draws random numbers a seed drawn from `rng`."""
    for pipe in get_all_graph_pipes(traverse_dps(datapipe)):
        if hasattr(type(pipe), "set_seed"):
            pipe.set_seed(draw_seed(rng))
    return datapipe


def apply_shuffle_seed(datapipe: Any, rng: Any) -> Any:
    """An older name of `apply_random_seed`."""
    return apply_random_seed(datapipe, rng)


def begin_epoch(datapipe: Any, generator: Any) -> None:
    """What a loader does before it reads a stream of pipes: seeds for all of them from one number of its generator."""
    from flambeau.random import Generator

    shared = draw_seed(generator)
    apply_random_seed(datapipe, Generator().manual_seed(shared))

"""Models that give what lies between their input and their output, found by tracing them."""

from __future__ import annotations

import re
from collections import OrderedDict
from typing import Any

from flambeau import fx
from flambeau.fx.graph_module import _copy_attr
from flambeau.nn.modules.module import Module

__all__ = ["create_feature_extractor", "get_graph_node_names"]


class LeafModuleAwareTracer(fx.Tracer):
    """A tracer that leaves modules of the classes `leaf_modules` whole."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.leaf_modules = tuple(kwargs.pop("leaf_modules", ()))
        super().__init__(*args, **kwargs)

    def is_leaf_module(self, m: Module, module_qualname: str) -> bool:
        """Whether calls of `m` stay calls."""
        return isinstance(m, self.leaf_modules) or super().is_leaf_module(m, module_qualname)


class NodePathTracer(LeafModuleAwareTracer):
    """Gives each node the dotted name of where it was made: 'layer1.0.relu', and 'layer1.0.relu_1' for the next one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.current_module_qualname = ""
        self.node_to_qualname: OrderedDict[Any, str] = OrderedDict()

    def call_module(self, m: Module, forward: Any, args: tuple, kwargs: dict) -> Any:
        """Notes which module is under way."""
        before = self.current_module_qualname
        try:
            self.current_module_qualname = path = self.path_of_module(m)
            if not self.is_leaf_module(m, path):
                return forward(*args, **kwargs)
            return self.create_proxy("call_module", path, args, kwargs)
        finally:
            self.current_module_qualname = before

    def create_proxy(self, kind: str, target: Any, args: Any, kwargs: Any, *rest: Any, **more: Any) -> Any:
        """Names the node."""
        proxy = super().create_proxy(kind, target, args, kwargs, *rest, **more)
        self.node_to_qualname[proxy.node] = self._qualname(self.current_module_qualname, proxy.node)
        return proxy

    def _qualname(self, module_path: str, node: Any) -> str:
        name = module_path
        if node.op != "call_module":
            own = re.match(r"(.+)_[0-9]+$", node.name)
            name = ".".join(filter(None, [name, own.group(1) if own else node.name]))
        pattern = re.compile(rf"{re.escape(name)}(?:_(\d+))?$")
        numbers = [int(found.group(1) or 0) for q in self.node_to_qualname.values() if (found := pattern.match(q))]
        return f"{name}_{max(numbers) + 1}" if numbers else name


def _traced(model: Module, tracer_kwargs: dict | None, concrete_args: Any) -> tuple[NodePathTracer, Any]:
    tracer = NodePathTracer(**(tracer_kwargs or {}))
    return tracer, tracer.trace(model, concrete_args=concrete_args)


def _modes(model: Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def get_graph_node_names(
    model: Module,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> tuple[list[str], list[str]]:
    """The names of all nodes in the order in which they run, in training and in evaluation."""
    before = _modes(model)
    found = []
    try:
        for mode in (True, False):
            tracer, _ = _traced(model.train(mode), tracer_kwargs, concrete_args)
            found.append(list(tracer.node_to_qualname.values()))
    finally:
        _restore(model, before)
    return found[0], found[1]


def _restore(model: Module, modes: dict[str, bool]) -> None:
    for name, module in model.named_modules():
        module.training = modes.get(name, module.training)


def _wanted(nodes: Any) -> dict[str, str]:
    if nodes is None:
        return {}
    if isinstance(nodes, dict):
        return {str(k): str(v) for k, v in nodes.items()}
    return {str(name): str(name) for name in nodes}


class DualGraphModule(fx.GraphModule):
    """A module with one graph for training and another one for evaluation."""

    def __init__(self, root: Module, train_graph: Any, eval_graph: Any, class_name: str = "GraphModule") -> None:
        Module.__init__(self)
        for graph in (train_graph, eval_graph):
            for node in graph.nodes:
                if node.op in ("get_attr", "call_module"):
                    _copy_attr(root, self, str(node.target))
        self.__dict__.update(meta={}, _create_node_hooks=[], _tracer_cls=None, _tracer_extras=None, _graph=None)
        self.__dict__["train_graph"], self.__dict__["eval_graph"] = train_graph, eval_graph
        type(self).__name__ = class_name
        self.training = root.training
        self.graph = train_graph if self.training else eval_graph

    def train(self, mode: bool = True) -> Any:
        """Switches to the graph of that mode."""
        if mode != self.training:
            self.graph = self.train_graph if mode else self.eval_graph
        return super().train(mode)

    def __deepcopy__(self, memo: dict) -> Any:
        import copy

        root = Module()
        root.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if "graph" not in k})
        return DualGraphModule(
            root, copy.deepcopy(self.train_graph), copy.deepcopy(self.eval_graph), type(self).__name__
        )


def _cut(tracer: NodePathTracer, graph: Any, wanted: dict[str, str]) -> Any:
    """The graph with the wanted nodes as its result, and nothing that they do not need."""
    old = graph.output_node()
    graph.erase_node(old)
    outputs: dict[str, Any] = {}
    left = dict(wanted)
    for node, qualname in reversed(tracer.node_to_qualname.items()):
        for query in list(left):
            if qualname == query or qualname.startswith(query + "."):
                outputs[left.pop(query)] = node
                break
    with graph.inserting_after():
        graph.output({name: outputs[name] for name in wanted.values()})
    graph.eliminate_dead_code(is_impure_node=lambda n: n.op in ("placeholder", "output"))
    return graph


def create_feature_extractor(
    model: Module,
    return_nodes: Any = None,
    train_return_nodes: Any = None,
    eval_return_nodes: Any = None,
    tracer_kwargs: dict[str, Any] | None = None,
    suppress_diff_warning: bool = False,
    concrete_args: dict[str, Any] | None = None,
) -> fx.GraphModule:
    """A module that gives a dictionary of what the named nodes of `model` compute.

    Args:
        return_nodes: names of nodes or of modules (their last node is meant): a list, or a dictionary to new names.
            Others for training and evaluation: `train_return_nodes` and `eval_return_nodes`.

    Raises:
        ValueError: no nodes are named, a name is unknown, or both ways of naming are mixed.

    >>> import flambeau as torch
    >>> from flambeau.vision.models import resnet18
    >>> from flambeau.vision.models.feature_extraction import create_feature_extractor
    >>> extractor = create_feature_extractor(resnet18(), {'layer1': 'early', 'layer4': 'late'})
    >>> {name: tuple(t.shape) for name, t in extractor(torch.rand(1, 3, 64, 64)).items()}
    {'early': (1, 64, 16, 16), 'late': (1, 512, 2, 2)}
    """
    if all(n is None for n in (return_nodes, train_return_nodes, eval_return_nodes)):
        raise ValueError("name the nodes: return_nodes, or train_return_nodes and eval_return_nodes")
    if (train_return_nodes is None) != (eval_return_nodes is None):
        raise ValueError("train_return_nodes and eval_return_nodes belong together: give both")
    if return_nodes is not None and train_return_nodes is not None:
        raise ValueError("give return_nodes, or train_return_nodes and eval_return_nodes, not all")
    named = {
        True: _wanted(train_return_nodes if return_nodes is None else return_nodes),
        False: _wanted(eval_return_nodes if return_nodes is None else return_nodes),
    }
    before, training = _modes(model), model.training
    graphs: dict[bool, Any] = {}
    try:
        for mode in (True, False):
            tracer, graph = _traced(model.train(mode), tracer_kwargs, concrete_args)
            names = list(tracer.node_to_qualname.values())
            for query in named[mode]:
                if not any(n == query or n.startswith(query + ".") for n in names):
                    raise ValueError(f"the model has no node '{query}'; get_graph_node_names(model) lists them all")
            graphs[mode] = _cut(tracer, graph, named[mode])
    finally:
        _restore(model, before)
    made = DualGraphModule(model, graphs[True], graphs[False], type(model).__name__)
    return made if made.training == training else made.train(training)

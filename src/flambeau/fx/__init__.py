"""`torch.fx`: programs written down as graphs, changed, and turned into Python again.

`symbolic_trace(module)` runs a module's forward on stand-ins (`Proxy`), whose operations become the nodes of a `Graph`;
a `GraphModule` runs the code written from that graph. `Interpreter` runs a graph node by node, `Transformer` rewrites
it that way, and `replace_pattern` finds and replaces parts of it.
"""

from flambeau.fx import immutable_collections as immutable_collections
from flambeau.fx import node as node
from flambeau.fx import proxy as proxy
from flambeau.fx._symbolic_trace import PH, ProxyableClassMeta, Tracer, symbolic_trace, wrap
from flambeau.fx.graph import CodeGen, Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.interpreter import Interpreter, Transformer
from flambeau.fx.node import Node, has_side_effect, map_arg
from flambeau.fx.proxy import Attribute, Proxy
from flambeau.fx.subgraph_rewriter import replace_pattern

__all__ = [
    "PH",
    "Attribute",
    "CodeGen",
    "Graph",
    "GraphModule",
    "Interpreter",
    "Node",
    "Proxy",
    "ProxyableClassMeta",
    "Tracer",
    "Transformer",
    "has_side_effect",
    "map_arg",
    "replace_pattern",
    "symbolic_trace",
    "wrap",
]

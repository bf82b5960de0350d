"""Graphs that are built, changed and run."""

import copy
import importlib
import operator
import pickle


def part(torch, name):
    return importlib.import_module(f"{torch.__name__}.fx.{name}")


def case_building(torch, see):
    graph = torch.fx.Graph()
    x = graph.placeholder("x", torch.Tensor, default_value=None)
    w = graph.get_attr("a.w")
    y = graph.call_function(torch.add, (x, w), {"alpha": 2})
    z = graph.call_method("relu", (y,))
    m = graph.call_module("a.lin", (z,))
    graph.output((m, [y, {"k": z}]))
    see(str(graph))
    root = {"a.w": torch.ones(3), "a.lin": torch.nn.Linear(3, 3)}
    module = torch.fx.GraphModule(root, graph, "Built")
    see(module.code, repr(module), sorted(module.state_dict()), type(module).__name__)
    module.graph.lint()
    see(module(torch.ones(3))[1])
    see.error(lambda: torch.fx.GraphModule({}, graph))
    see([n.name for n in graph.find_nodes(op="call_method")], graph.output_node().name, len(graph.nodes))


def case_changing_nodes(torch, see):
    traced = torch.fx.symbolic_trace(lambda x, y: torch.add(torch.relu(x), y) * 2)
    graph = traced.graph
    relu = next(n for n in graph.nodes if n.target is torch.relu)
    with graph.inserting_after(relu):
        neg = graph.call_function(torch.neg, (relu,))
    relu.replace_all_uses_with(neg, delete_user_cb=lambda user: user is not neg)
    add = next(n for n in graph.nodes if n.target is torch.add)
    add.target = torch.sub
    add.update_arg(1, 7)
    add.update_kwarg("alpha", 3)
    traced.recompile()
    see(traced.code, traced(torch.tensor([1.0, -1.0]), torch.ones(2)), [u.name for u in neg.users])
    see([n.name for n in add.all_input_nodes], add.prev.name, add.next.name, neg < add, add < neg)
    see.error(lambda: graph.erase_node(neg), "users")
    y = next(n for n in graph.nodes if n.name == "y")
    see(len(y.users), y.is_impure(), add.is_impure())
    with graph.inserting_before(add):
        graph.call_function(torch.tanh, (relu,))
    see([n.name for n in graph.nodes], graph.eliminate_dead_code(), [n.name for n in graph.nodes])
    see.error(lambda: add.args.append(1))
    mul = next(n for n in graph.nodes if n.target is operator.mul)
    add.prepend(mul)
    see.error(graph.lint)


def case_copies(torch, see):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(2, 2)
            self.register_buffer("b", torch.ones(2))

        def forward(self, x):
            return torch.relu(self.lin(x)) + self.b

    traced = torch.fx.symbolic_trace(Net())
    traced.meta["note"] = 1
    other = copy.deepcopy(traced)
    again = pickle.loads(pickle.dumps(traced))
    x = torch.randn(3, 2)
    for module in (other, again, copy.copy(traced)):
        see(module.code == traced.code, torch.equal(module(x), traced(x)), sorted(module.state_dict()))
    see(other.lin.weight is traced.lin.weight, other.meta)
    graph = torch.fx.Graph()
    value = graph.graph_copy(traced.graph, {})
    graph.output(value)
    see(str(graph))
    graph = copy.deepcopy(traced.graph)
    see(str(graph) == str(traced.graph))


def case_interpreting(torch, see):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(2, 2)

        def forward(self, x, y=2.0):
            return torch.sigmoid(self.lin(x)).neg() * y

    class Tanh(torch.fx.Interpreter):
        def call_function(self, target, args, kwargs):
            return (
                torch.tanh(*args, **kwargs) if target is torch.sigmoid else super().call_function(target, args, kwargs)
            )

        def call_method(self, target, args, kwargs):
            return args[0] if target == "neg" else super().call_method(target, args, kwargs)

    class Counted(torch.fx.Interpreter):
        def run_node(self, n):
            see(n.name)
            return super().run_node(n)

    traced = torch.fx.symbolic_trace(Net())
    x = torch.randn(2, 2)
    see(torch.equal(torch.fx.Interpreter(traced).run(x), traced(x)), Tanh(traced).run(x, 3.0))
    Counted(traced).run(x)
    see.error(lambda: torch.fx.Interpreter(traced).run())
    known = next(n for n in traced.graph.nodes if n.op == "call_module")
    see(torch.fx.Interpreter(traced).run(x, initial_env={known: torch.zeros(2, 2)}))


def case_transforming(torch, see):
    class Swap(torch.fx.Transformer):
        def call_function(self, target, args, kwargs):
            if target is torch.sigmoid:
                return super().call_function(torch.tanh, args, kwargs)
            return super().call_function(target, args, kwargs)

        def call_method(self, target, args, kwargs):
            if target == "neg":
                call_self, *rest = args
                return call_self.abs(*rest, **kwargs)
            return super().call_method(target, args, kwargs)

    def f(x, y=1):
        return torch.sigmoid(x).neg() + y

    made = Swap(torch.fx.symbolic_trace(f)).transform()
    see(made.code, made(torch.tensor([-1.0, 1.0])))


def case_patterns(torch, see):
    class Net(torch.nn.Module):
        def forward(self, x, w1, w2):
            a = torch.cat([w1, w2]).sum()
            b = torch.cat([w1, w2]).sum()
            return x + torch.max(a) + torch.max(b)

    traced = torch.fx.symbolic_trace(Net())
    found = torch.fx.replace_pattern(
        traced, lambda w1, w2: torch.cat([w1, w2]).sum(), lambda w1, w2: torch.stack([w1, w2])
    )
    traced.graph.lint()
    see(len(found), traced.code, traced(torch.ones(2), torch.ones(2), torch.zeros(2)), found[0].anchor.name)
    traced = torch.fx.symbolic_trace(lambda x: torch.relu(torch.relu(torch.neg(x))))
    found = torch.fx.replace_pattern(traced, lambda x: torch.relu(x), lambda x: torch.tanh(x) + 1)
    see(len(found), traced.code)
    rewriter = part(torch, "subgraph_rewriter")
    traced = torch.fx.symbolic_trace(lambda x: torch.add(torch.add(x, 1), 2))
    found = rewriter.replace_pattern_with_filters(
        traced,
        lambda x: torch.add(x, 1),
        lambda x: x * 5,
        match_filters=[lambda match, g, p: True],
        ignore_literals=True,
    )
    see(len(found), traced.code, [n.name for n in found[0].replacements])


def case_shapes(torch, see):
    traced = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU(), torch.nn.Flatten()))
    out = part(torch, "passes.shape_prop").ShapeProp(traced).propagate(torch.randn(2, 1, 5, 5))
    see(list(out.shape))
    for node in traced.graph.nodes:
        meta = node.meta["tensor_meta"]
        see(
            [
                node.name,
                list(meta.shape),
                str(meta.dtype),
                meta.requires_grad,
                list(meta.stride),
                str(meta.memory_format),
            ]
        )
        see(node.meta["type"].__name__)


def case_splitting(torch, see):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = torch.nn.Linear(4, 5)
            self.w = torch.nn.Parameter(torch.ones(4))

        def forward(self, x, y):
            z = self.lin(x + self.w).clamp(min=0.0)
            return z * y.sum(), z

    net = Net()
    traced = torch.fx.symbolic_trace(net)
    place = {"add": 0, "lin": 0, "clamp": 1, "sum_1": 1, "mul": 2}
    made = part(torch, "passes.split_module").split_module(traced, net, lambda n: place[n.name])
    x, y = torch.randn(2, 4), torch.ones(3)
    see(torch.equal(made(x, y)[0], net(x, y)[0]), [n for n, _ in made.named_children()])
    see([n.op for n in made.graph.nodes], sorted(made.state_dict()))


def case_fusing(torch, see):
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Dropout(), torch.nn.ReLU()
    ).eval()
    net[1].running_mean.uniform_()
    net[1].running_var.uniform_(1, 2)
    optimization = part(torch, "experimental.optimization")
    fused = optimization.fuse(net)
    x = torch.randn(1, 1, 5, 5)
    see(torch.allclose(fused(x), net(x), atol=1e-5), [n.op for n in fused.graph.nodes])
    see([n.name for n in optimization.remove_dropout(net).graph.nodes])


def case_submodules(torch, see):
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Tanh()))
    traced = torch.fx.symbolic_trace(net)
    see(traced.add_submodule("new.inner.lin", torch.nn.Linear(1, 1)), traced.delete_submodule("1.0"))
    see([n for n, _ in traced.named_modules()], traced.delete_submodule("nothing.here"))
    traced.delete_all_unused_submodules()
    see([n for n, _ in traced.named_modules()])
    text = torch.fx.symbolic_trace(torch.nn.Sequential(torch.nn.Tanh())).print_readable(print_output=False)
    see("class Sequential(torch.nn.Module):" in text, "def forward(self, input):" in text)


def case_arguments(torch, see):
    node = part(torch, "node")
    schemas = part(torch, "operator_schemas")
    graph = torch.fx.Graph()
    x = graph.placeholder("x")
    mapped = node.map_arg((x, [x, 1], {"k": x}, slice(x, None)), lambda n: n.name)
    see(str(mapped), type(mapped[1]).__name__)
    see(str(node.map_aggregate([1, (2, {"a": 3})], lambda v: v * 2 if isinstance(v, int) else v)))
    found = schemas.normalize_function(torch.nn.functional.dropout, (torch.ones(1),), {"p": 0.1}, None, None, True)
    see(sorted(found.kwargs))
    fixed = part(torch, "immutable_collections")
    see.error(lambda: fixed.immutable_list([1]).append(2))
    see.error(lambda: fixed.immutable_dict({"a": 1}).update(b=2))
    see(fixed.immutable_list([1, 2])[0], fixed.immutable_dict({"a": 1})["a"])

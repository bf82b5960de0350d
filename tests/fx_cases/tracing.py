"""What a symbolic trace writes down."""

import math
import operator

REAL_LEN = len


def network(torch):
    nn, F = torch.nn, torch.nn.functional

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(4, 5)
            self.seq = nn.Sequential(nn.ReLU(), nn.Linear(5, 4))
            self.p = nn.Parameter(torch.ones(4))
            self.register_buffer("b", torch.ones(4))
            self.ml = nn.ModuleList([nn.Linear(4, 4)])

        def forward(self, x, y=3, *, k=None):
            x = self.seq(self.lin(x + self.p)).clamp(min=0.0, max=1.0)
            z = torch.flatten(x, start_dim=1) + self.b
            z = self.b * z
            z = F.relu(z, inplace=True)
            z = z[:, 0:2].view(z.size(0), -1)
            z = torch.cat([z, z], dim=1)
            z = -(z.shape[0] * z - y)
            z = F.dropout(math.sqrt(3) * z, 0.5, training=self.training)
            z = F.gelu(F.max_pool1d(z, 2)) @ torch.ones(2, 4)
            z += 1
            a, b = z.chunk(2, dim=0)[0], z.dtype
            return {"a": self.ml[0](x), "b": (a.to(torch.float32), torch.ones(2), z.float().softmax(-1))}

    return Net()


def case_a_module(torch, see):
    traced = torch.fx.symbolic_trace(network(torch))
    see(traced.code, str(traced.graph), str(traced))
    for n in traced.graph.nodes:
        see([n.op, n.name, str(n.args), str(n.kwargs), [u.name for u in n.users]])
    see([name for name, _ in traced.named_parameters()], sorted(traced.state_dict()))


def case_functions(torch, see):
    def annotated(x: torch.Tensor, y: int = 2) -> torch.Tensor:
        torch._assert(x.shape[0] == 2, "no")
        return (
            x.new_zeros(2) + float("inf") + torch.tensor(1.0) + torch.nn.functional.pad(x, (1, 1)) + x.sum(dim=(0, 1))
        )

    def starred(x, *a, **k):
        return x + a[0] + k["z"]

    def unpacking(x):
        a, b = x
        a += b
        return a, abs(a), 2 - a, a**2, a // b, ~a, a & b, a < b, a is None

    def attributes(x):
        x.add_(1)
        x.data  # noqa: B018
        return x.foo.bar(2)

    def nested(x):
        return torch.stack([x["a"], x["b"][0]], dim=0)[..., None, 1:2]

    for f in (annotated, starred, unpacking, attributes, nested):
        traced = torch.fx.symbolic_trace(f)
        see(traced.code, str(traced.graph))


def case_errors(torch, see):
    trace = torch.fx.symbolic_trace

    def writes(x):
        x[0] = 1
        return x

    see.error(lambda: trace(lambda x: x if x.sum() > 0 else -x))
    see.error(lambda: trace(lambda x: [a + 1 for a in x]))
    see.error(lambda: trace(lambda x: len(x)))
    see.error(lambda: trace(writes))
    see.error(lambda: trace(lambda x: 1 in x))
    see.error(lambda: trace(lambda x: {x: 1}))
    see(issubclass(torch.fx.proxy.TraceError, ValueError))


def case_concrete_arguments(torch, see):
    def f(x, flag):
        return x if flag else -x

    def g(x):
        return x["a"] + x["b"][0]

    see(torch.fx.symbolic_trace(f, concrete_args={"flag": True}).code)
    see(torch.fx.symbolic_trace(f, concrete_args={"flag": None}).code)
    traced = torch.fx.symbolic_trace(g, concrete_args={"x": {"a": torch.fx.PH, "b": [torch.fx.PH]}})
    see(traced.code, str(traced.graph), traced({"a": torch.ones(2), "b": [torch.ones(2)]}))


def case_tracers_of_ones_own(torch, see):
    class Whole(torch.fx.Tracer):
        def is_leaf_module(self, m, name):
            return False

    class Shallow(torch.fx.Tracer):
        def is_leaf_module(self, m, name):
            return isinstance(m, torch.nn.Sequential) or super().is_leaf_module(m, name)

    class Buffers(torch.fx.Tracer):
        proxy_buffer_attributes = True

    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Sequential(torch.nn.Tanh()))
    for cls in (Whole, Shallow):
        graph = cls().trace(net)
        see([(n.op, n.name) for n in graph.nodes])
    tracer = torch.fx.Tracer(param_shapes_constant=True)

    class Shaped(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(3, 2))

        def forward(self, x):
            return x @ self.w.t() if self.w.shape[0] == 3 and self.w.dim() == 2 else x

    see([(n.op, n.name) for n in tracer.trace(Shaped()).nodes])

    class Shifted(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("shift", torch.ones(2))

        def forward(self, x):
            return self.shift + x

    see([(n.op, n.name) for n in Buffers().trace(Shifted()).nodes])
    see([(n.op, n.name) for n in torch.fx.Tracer().trace(Shifted()).nodes])


def case_results_are_the_same(torch, see):
    net = network(torch).eval()
    traced = torch.fx.symbolic_trace(net)
    x = torch.randn(2, 4)
    a, b = net(x), traced(x)
    see(torch.equal(a["a"], b["a"]), torch.equal(a["b"][2], b["b"][2]))
    (a["a"].sum() + b["a"].sum()).backward()
    see(net.p.grad, traced.p is net.p)


def case_proxies_by_hand(torch, see):
    graph = torch.fx.Graph()
    x, y = (torch.fx.Proxy(graph.placeholder(name)) for name in "xy")
    z = torch.sigmoid(x + y).view(-1)[0]
    graph.output((z * 2 if True else z).node)
    see(str(graph))
    module = torch.fx.GraphModule({}, graph)
    see(module(torch.ones(2), torch.zeros(2)), repr(x), operator.add(x, 1).node.name)


def case_stacks_of_modules(torch, see):
    net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(2, 2)), torch.nn.Tanh())
    for node in torch.fx.symbolic_trace(net).graph.nodes:
        stack = node.meta.get("nn_module_stack", {})
        see(node.name, [[key, path, cls.__name__] for key, (path, cls) in stack.items()])

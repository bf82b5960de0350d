"""Names below torch that few programs use themselves and many packages do."""

import copy
import functools
import gc
import importlib
import pickle

import pytest

import flambeau as torch
from flambeau import missing


@pytest.fixture(autouse=True)
def watched():
    """As serving torch does: some of these names live in rooms that are imported late."""
    missing.watch_all()



@pytest.mark.parametrize("name", """
    _C._functorch _dynamo.eval_frame _dynamo.exc _tensor _tensor_str __config__ utils._contextlib utils._foreach_utils
    utils.collect_env utils.cpp_extension utils.weak fx.experimental.proxy_tensor fx.experimental.symbolic_shapes
    _higher_order_ops.associative_scan _dynamo._trace_wrapped_higher_order_op distributed._functional_collectives
    distributed.checkpoint.hf_storage distributed.rpc distributed.tensor._utils cuda.graphs
    distributed.nn distributed.algorithms.join distributed.constants distributed.distributed_c10d distributed._tensor
    distributed.algorithms._checkpoint.checkpoint_wrapper distributed._composable.fsdp
    distributed.fsdp.fully_sharded_data_parallel distributed.fsdp.sharded_grad_scaler
""".split())  # fmt: skip
def test_it_is_there(name):
    importlib.import_module(f"flambeau.{name}")


def test_optimizers_of_others_find_their_helpers():
    home = torch.optim.optimizer
    Optimizer, _use_grad_for_differentiable = home.Optimizer, home._use_grad_for_differentiable
    a, b, c = torch.ones(2), torch.ones(3, dtype=torch.float64), torch.zeros(1)
    groups = Optimizer._group_tensors_by_device_and_dtype([[a, b, c], [1, None, 3]], with_indices=True)
    assert groups[a.device, torch.float32] == ([[a, c], [1, 3]], [0, 2])
    assert groups[a.device, torch.float64] == ([[b], [None]], [1])
    assert home._default_to_fused_or_foreach([a], differentiable=False) == (False, False)

    class Plain(Optimizer):
        @_use_grad_for_differentiable
        def step(self):
            return torch.is_grad_enabled()

    w = torch.nn.Parameter(a)
    assert Plain([w], {}).step() is False and Plain([w], {"differentiable": True}).step() is True
    assert torch.is_grad_enabled()


def test_flattened_tensors_come_back():
    home = torch._utils
    _flatten_dense_tensors, _unflatten_dense_tensors = home._flatten_dense_tensors, home._unflatten_dense_tensors
    parts = [torch.arange(4.0).view(2, 2), torch.ones(3)]
    flat = _flatten_dense_tensors(parts)
    assert flat.tolist() == [0, 1, 2, 3, 1, 1, 1]
    for got, part in zip(_unflatten_dense_tensors(flat, parts), parts, strict=True):
        assert torch.equal(got, part)
    many = [torch.ones(4), torch.ones(4, dtype=torch.float64), torch.zeros(4), torch.zeros(8)]
    assert [[t.numel() for t in group] for group in home._take_tensors(many, 32)] == [[4, 4], [8], [4]]


def test_two_tensors_swap_places():
    a, b = torch.ones(2), torch.nn.Parameter(torch.zeros(3))
    known = [a, b]
    torch.utils.swap_tensors(a, b)
    assert isinstance(known[0], torch.nn.Parameter) and known[0].shape == (3,) and known[1].tolist() == [1, 1]
    with pytest.raises(TypeError):
        torch.utils.swap_tensors(a, 1)


def test_dicts_hold_tensors_weakly_and_by_identity():
    from flambeau.utils.weak import WeakIdKeyDictionary, WeakTensorKeyDictionary

    a, b = torch.ones(2), torch.ones(2)
    kept = WeakTensorKeyDictionary()
    kept[a], kept[b] = 1, 2
    assert kept[a] == 1 and kept[b] == 2 and len(kept) == 2 and torch.ones(2) not in kept and 3 not in kept
    other = copy.copy(kept)
    del b
    gc.collect()
    assert len(kept) == 1 and list(kept.values()) == [1] and len(other) == 1
    del kept[a]
    assert not kept and isinstance(other, WeakIdKeyDictionary)


def test_contexts_decorate_functions_and_generators():
    from flambeau.utils._contextlib import _DecoratorContextManager

    class Off(_DecoratorContextManager):
        def __enter__(self):
            self.before = torch.is_grad_enabled()
            torch._C._set_grad_enabled(False)

        def __exit__(self, *exc):
            torch.set_grad_enabled(self.before)

    @Off()
    def plain():
        return torch.is_grad_enabled()

    @Off()
    def steps():
        got = yield torch.is_grad_enabled()
        yield got, torch.is_grad_enabled()

    assert plain() is False and torch.is_grad_enabled()
    run = steps()
    assert next(run) is False and torch.is_grad_enabled() and run.send("x") == ("x", False)


def test_the_compiled_core_answers():
    from flambeau import _C

    assert isinstance(torch.ones(1), _C._TensorBase) and type(torch.Tensor) is _C._TensorMeta
    assert _C._LinAlgError is torch.linalg.LinAlgError and _C._jit_set_profiling_mode(True) is False
    assert _C._nn._parse_to("cpu", torch.float64) == (torch.device("cpu"), torch.float64, False, None)
    assert _C._nn.gelu is torch.nn.functional.gelu and not _C._are_functorch_transforms_active()
    seen = []

    def look(x):
        inner = _C._functorch
        seen.append((_C._are_functorch_transforms_active(), inner.is_batchedtensor(x), inner.get_unwrapped(x).shape))
        return x * 2

    torch.vmap(look)(torch.ones(3, 2))
    assert seen == [(True, True, (3, 2))] and not _C._functorch.is_batchedtensor(torch.ones(1))
    with pytest.raises(AttributeError):
        _C.no_such_name


def test_sizes_are_numbers():
    assert not isinstance(3, torch.SymInt) and torch.sym_int(-2.7) == -2 and torch.sym_max(1, 2.0) == 2.0
    assert torch.sym_not(False) and torch.sym_ite(True, 1, 2) == 1 and torch.sym_sum([1, 2]) == 3
    torch._assert_async(torch.tensor(True))
    with pytest.raises(RuntimeError, match="of no use"):
        torch._assert_async(torch.tensor(False), "of no use")


def test_settings_of_the_compiler_are_patched_and_put_back():
    config = torch._dynamo.config
    before = config.cache_size_limit
    with config.patch(cache_size_limit=1), config.patch("verbose", True):
        assert config.cache_size_limit == 1 and config.verbose
    assert config.cache_size_limit == before and not config.verbose


def test_extensions_in_another_language_are_refused():
    from flambeau.utils import cpp_extension

    with pytest.raises(RuntimeError, match="autograd.Function"):
        cpp_extension.load("name", ["file.cpp"])
    with pytest.raises(RuntimeError):
        cpp_extension.BuildExtension()


def test_checkpointed_modules_keep_their_names():
    from flambeau.distributed.algorithms._checkpoint.checkpoint_wrapper import (
        CheckpointImpl,
        apply_activation_checkpointing,
        checkpoint_wrapper,
    )

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    x = torch.randn(2, 3)
    model(x).sum().backward()
    wanted, names = [p.grad.clone() for p in model.parameters()], list(model.state_dict())
    for how in CheckpointImpl:
        other = copy.deepcopy(model)
        apply_activation_checkpointing(
            other, lambda m: checkpoint_wrapper(m, how), lambda m: isinstance(m, torch.nn.Linear)
        )
        other.zero_grad()
        other(x.requires_grad_()).sum().backward()
        assert [p.grad.tolist() for p in other.parameters()] == [g.tolist() for g in wanted]
        assert list(other.state_dict()) == names and [n for n, _ in other[0].named_parameters()] == ["weight", "bias"]
        other.load_state_dict(model.state_dict())
        assert other[0].in_features == 3


def test_collectives_with_gradients_in_a_group_of_one(monkeypatch):
    from flambeau import distributed as dist
    from flambeau.distributed import nn
    from flambeau.distributed.algorithms.join import Join, Joinable, JoinHook

    for name, value in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    dist.init_process_group("gloo")
    try:
        for call in (
            lambda x: nn.all_reduce(x), lambda x: nn.all_gather(x)[0], lambda x: nn.broadcast(x, 0),
            lambda x: nn.reduce(x, 0), lambda x: nn.reduce_scatter(torch.empty(2), [x]), lambda x: nn.gather(x)[0],
            lambda x: nn.scatter([x]), lambda x: nn.all_to_all([torch.empty(2)], [x])[0],
            lambda x: nn.all_to_all_single(torch.empty(2), x),
        ):  # fmt: skip
            x = torch.tensor([1.0, 2.0], requires_grad=True)
            out = call(x)
            (out * torch.tensor([3.0, 4.0])).sum().backward()
            assert out.tolist() == [1, 2] and x.grad.tolist() == [3, 4]

        class Counts(Joinable):
            def __init__(self):
                super().__init__()
                self.done = []

            def join_hook(self, **kwargs):
                counts = self

                class Hook(JoinHook):
                    def post_hook(self, is_last_joiner):
                        counts.done.append(is_last_joiner)

                return Hook()

            join_device, join_process_group = torch.device("cpu"), None

        counts = Counts()
        with Join([counts]):
            for _ in range(3):
                Join.notify_join_context(counts)
        assert counts.done == [True]
        with pytest.raises(ValueError):
            Join([])
    finally:
        dist.destroy_process_group()


def test_scans_combine_with_any_associative_function():
    from flambeau._higher_order_ops import associative_scan

    torch.manual_seed(0)
    for n in (1, 2, 3, 7, 8):
        x = torch.rand(2, n, 3, dtype=torch.float64, requires_grad=True)
        for reverse in (False, True):
            got = associative_scan(torch.add, x, 1, reverse=reverse)
            wanted = x.flip(1).cumsum(1).flip(1) if reverse else x.cumsum(1)
            torch.testing.assert_close(got, wanted)
            weight = torch.rand_like(got)
            (a,) = torch.autograd.grad((got * weight).sum(), x)
            (b,) = torch.autograd.grad((wanted * weight).sum(), x)
            torch.testing.assert_close(a, b)
    # the recurrence h = a h + b, as pairs
    a, b = torch.rand(5), torch.rand(5)
    _, h = associative_scan(lambda p, q: (p[0] * q[0], p[1] * q[0] + q[1]), (a, b), 0)
    last = torch.zeros(())
    for i in range(5):
        last = a[i] * last + b[i]
        torch.testing.assert_close(h[i], last)
    with pytest.raises(ValueError):
        associative_scan(torch.add, (a, b[:3]), 0)


def test_records_of_a_file_are_read_by_name(tmp_path):
    torch.save({"w": torch.arange(3.0)}, tmp_path / "x.pt")
    reader = torch.PyTorchFileReader(str(tmp_path / "x.pt"))
    assert reader.has_record("data.pkl") and not reader.has_record("no") and "data/0" in reader.get_all_records()
    assert reader.get_record_size("data/0") == 12
    assert reader.get_storage_from_record("data/0", 3, torch.float32).tolist() == [0, 1, 2]
    with pytest.raises(RuntimeError, match="'no'"):
        reader.get_record("no")


def test_parts_of_a_mesh_are_placed_as_they_are_cut():
    from flambeau.distributed.tensor import Replicate, Shard
    from flambeau.distributed.tensor._utils import compute_local_shape_and_global_offset

    class Mesh:
        def __init__(self, sizes, at):
            self.sizes, self.at = sizes, at

        def size(self, dim):
            return self.sizes[dim]

        def get_coordinate(self):
            return self.at

    place = compute_local_shape_and_global_offset
    assert place((10, 4), Mesh((4,), (3,)), [Shard(0)]) == ((1, 4), (9, 0))
    assert place((10, 4), Mesh((4,), (1,)), [Shard(0)]) == ((3, 4), (3, 0))
    assert place((8, 4), Mesh((2, 2), (1, 1)), [Shard(0), Shard(0)]) == ((2, 4), (6, 0))
    assert place((8, 4), Mesh((2, 2), (1, 0)), [Replicate(), Shard(1)]) == ((8, 2), (0, 0))


def test_operations_by_names_that_no_method_has():
    aten, x = torch.ops.aten, torch.arange(6.0).view(2, 3)
    assert aten._to_copy(x, dtype=torch.int64).tolist() == x.tolist() and aten.alias(x).data_ptr() == x.data_ptr()
    assert aten.slice.Tensor(x, 1, 0, 3, 2).tolist() == [[0, 2], [3, 5]] and aten.sym_size.int(x, 1) == 3
    assert aten.arange.default(3).tolist() == [0, 1, 2] and aten._local_scalar_dense.default(x[1, 1]) == 4
    with pytest.raises(AttributeError):
        aten.no_such_operation


def test_trees_have_their_older_names():
    from flambeau.utils import _pytree as tree

    assert tree._dict_flatten_with_keys({"a": 1})[0] == [(tree.MappingKey("a"), 1)]
    assert tree._dict_unflatten(*tree._dict_flatten({"a": 1, "b": 2})) == {"a": 1, "b": 2}
    assert tree.SUPPORTED_NODES[tree._get_node_type([1])].flatten_fn([1, 2])[0] == [1, 2]
    assert tree.is_structseq_instance(torch.ones(2).max(0)) or tree.is_namedtuple_instance(torch.ones(2).max(0))


def test_a_parameter_is_made_anew_of_what_it_holds():
    p = torch.nn.Parameter(torch.ones(2))
    options = p.__dict__
    options["requires_grad"] = p.requires_grad
    again = type(p)(p * 2, **options)
    assert isinstance(again, torch.nn.Parameter) and again.tolist() == [2, 2] and again.requires_grad
    with pytest.raises(TypeError, match="'colour'"):
        torch.nn.Parameter(torch.ones(2), colour=1)


def test_contractions_are_recorded_in_one_way():
    class Model(torch.nn.Module):
        def forward(self, a, b):
            return torch.einsum("ij,jk->ik", (a, b)) + torch.einsum("ij,jk->ik", [a, b])

    traced = torch.fx.symbolic_trace(Model())
    calls = [node for node in traced.graph.nodes if node.target is torch.einsum]
    assert [len(node.args) for node in calls] == [3, 3]
    graph = torch.fx.Graph()
    a = torch.fx.Proxy(graph.placeholder("a"), torch.fx.proxy.GraphAppendingTracer(graph))
    assert len(torch.einsum("ij,jk->ik", (a, torch.ones(2, 2))).node.args) == 3
    assert torch.equal(traced(torch.ones(2, 3), torch.ones(3, 2)), torch.full((2, 2), 6.0))


@pytest.mark.parametrize("name", """
    relu add cat stack einsum sigmoid matmul exp mean linalg.norm nn.functional.relu nn.functional.softmax
    nn.functional.silu nn.functional.mse_loss nn.functional.cross_entropy nn.functional.linear nn.functional.gelu
    nn.functional.pad nn.functional.interpolate nn.init.xavier_uniform_ fft.fft special.expit
""".split())  # fmt: skip
def test_functions_are_pickled_by_name(name):
    function = functools.reduce(getattr, name.split("."), torch)
    assert pickle.loads(pickle.dumps(function)) is function


def test_whole_modules_that_hold_functions_are_saved(tmp_path):
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, activation=torch.nn.functional.relu).eval()
    torch.save(layer, tmp_path / "layer.pt")
    again = torch.load(tmp_path / "layer.pt", weights_only=False)
    x = torch.randn(1, 3, 8)
    assert torch.equal(again(x), layer(x))


def test_a_dtype_that_no_tensor_has_can_be_asked_for():
    half = torch.complex32
    assert half is torch.chalf and half.is_complex and half.to_real() is torch.float16 and half.itemsize == 4
    assert torch.promote_types(half, torch.float16) is half
    assert torch.promote_types(half, torch.float32) is torch.complex64
    assert torch.ones(1).dtype is not half
    for make in (
        lambda: torch.zeros(2, dtype=half), lambda: torch.ones(2).to(half), lambda: torch.tensor(1j, dtype=half),
        lambda: torch.ones(2).view(half),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="complex32"):
            make()


def test_compiled_graphs_are_counted():
    from flambeau._dynamo.testing import CompileCounter

    counter = CompileCounter()
    run = counter(torch.fx.symbolic_trace(lambda x: torch.sin(x) + 1), [])
    assert torch.equal(run(torch.ones(3)), torch.sin(torch.ones(3)) + 1)
    assert counter.frame_count == 1 and counter.op_count == 2


def test_wrappers_of_optimizers_get_their_hooks_late():
    class Outer(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner, self.called = inner, []
            self._patch_step_function()

        def step(self, closure=None):
            return self.inner.step(closure)

    w = torch.nn.Parameter(torch.ones(1))
    w.grad = torch.ones(1)
    outer = Outer(torch.optim.SGD([w], lr=0.5))
    outer.register_step_post_hook(lambda *_: outer.called.append(1))
    outer.step()
    assert w.item() == 0.5 and outer.called == [1]


def test_conditions_on_what_is_traced_are_recorded():
    graph = torch.fx.Graph()
    a = torch.fx.Proxy(graph.placeholder("a"), torch.fx.proxy.GraphAppendingTracer(graph))
    torch._assert(a.shape[-1] == 2, "two columns")
    graph.output((a * 2).node)
    module = torch.fx.GraphModule({}, graph)
    assert module(torch.ones(1, 2)).tolist() == [[2, 2]]
    with pytest.raises(AssertionError, match="two columns"):
        module(torch.ones(1, 3))


def test_older_names_of_products_with_sparse_matrices():
    a = torch.tensor([[1.0, 0.0], [2.0, 3.0]])
    assert torch.equal(torch.dsmm(a.to_sparse(), a), a @ a)


def test_tensors_have_numbers_of_their_own():
    a, b = torch.ones(1), torch.ones(1)
    assert a._cdata == a._cdata != b._cdata and a.view(1)._cdata != a._cdata

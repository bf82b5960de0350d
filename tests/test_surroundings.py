"""What packages expect around tensors: checkpointing of activations, futures, storages, metadata."""

import ast
import gc
import subprocess
import sys
import threading
import weakref

import pytest

import flambeau as torch
from flambeau.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential, set_checkpoint_early_stop
from tests.programs import flambeau


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Linear(8, 8), torch.nn.ReLU(),
        torch.nn.Linear(8, 2),
    )  # fmt: skip


def gradients(run, reentrant):
    model = network()
    x = torch.linspace(-1, 1, 12).reshape(3, 4).requires_grad_()
    torch.manual_seed(7)
    out = run(model, x)
    out.square().sum().backward()
    return [out, x.grad, *(p.grad for p in model.parameters())], torch.rand(2)


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_changes_nothing_but_memory(reentrant):
    expected, after = gradients(lambda model, x: model(x), None)
    for run in (
        lambda model, x: checkpoint(model, x, use_reentrant=reentrant),
        lambda model, x: checkpoint_sequential(model, 2, x, use_reentrant=reentrant),
        lambda model, x: model[3:](checkpoint(model[:3], x, use_reentrant=reentrant)),
    ):
        got, drawn = gradients(run, reentrant)
        for a, b in zip(got, expected, strict=True):
            assert torch.equal(a, b)
        assert torch.equal(drawn, after)  # the generator is where it would be


def test_intermediate_results_are_not_kept():
    alive = []

    def run(x):
        y = (x * 2).exp()
        alive.append(weakref.ref(y))
        return y.sin()

    x = torch.ones(3, requires_grad=True)
    out = checkpoint(run, x, use_reentrant=False)
    gc.collect()
    assert alive[0]() is None
    (g,) = torch.autograd.grad(out.sum(), x, retain_graph=True)
    (again,) = torch.autograd.grad(out.sum(), x)
    y = (x * 2).exp()
    assert torch.equal(g, again) and torch.allclose(g, 2 * y * y.cos())


def test_checkpoint_with_keywords_nesting_contexts_and_no_grad():
    x = torch.ones(2, requires_grad=True)
    ran = []

    class Note:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            ran.append(self.name)

        def __exit__(self, *exc):
            pass

    def inner(x, scale):
        return checkpoint(lambda v: (v * scale).exp(), x, use_reentrant=False).sin()

    out = checkpoint(inner, x, scale=2.0, use_reentrant=False, context_fn=lambda: (Note("first"), Note("second")))
    assert ran == ["first"]
    out.sum().backward()
    assert ran[:2] == ["first", "second"]
    y = (x * 2).exp()
    assert torch.allclose(x.grad, 2 * y * y.cos())
    with torch.no_grad():
        assert not checkpoint(inner, x, scale=2.0, use_reentrant=False).requires_grad
    with set_checkpoint_early_stop(False):
        checkpoint(inner, x, scale=1.0, use_reentrant=False).sum().backward()


def test_what_checkpointing_refuses():
    x = torch.ones(2, requires_grad=True)
    with pytest.warns(UserWarning, match="use_reentrant"):
        checkpoint(torch.exp, x)
    with pytest.raises(ValueError, match="keyword"):
        checkpoint(torch.exp, x, use_reentrant=True, out=None)
    with pytest.raises(ValueError, match="determinism_check"):
        checkpoint(torch.exp, x, use_reentrant=False, determinism_check="some")
    sizes = iter([2, 3])
    out = checkpoint(lambda v: v.expand(next(sizes), 2).exp() * 1, x, use_reentrant=False, determinism_check="default")
    with pytest.raises(CheckpointError, match="shape"):
        out.sum().backward()


def test_futures():
    futures = [torch.futures.Future() for _ in range(3)]
    together = torch.futures.collect_all(futures)
    doubled = futures[0].then(lambda f: f.wait() * 2)
    assert not together.done()
    threads = [threading.Thread(target=f.set_result, args=(i + 1,)) for i, f in enumerate(futures)]
    for thread in threads:
        thread.start()
    assert torch.futures.wait_all(futures) == [1, 2, 3] and doubled.wait() == 2
    assert [f.value() for f in together.wait()] == [1, 2, 3]
    broken = torch.futures.Future()
    after = broken.then(lambda f: f.wait())
    broken.set_exception(ValueError("x"))
    for future in (broken, after):
        with pytest.raises(ValueError):
            future.wait()
    with pytest.raises(RuntimeError, match="already"):
        broken.set_result(1)
    with pytest.raises(RuntimeError, match="no value"):
        torch.futures.Future().value()


def test_storages_count_their_memory():
    x = torch.zeros(100)
    assert sys.getsizeof(x.storage()) - sys.getsizeof(torch.zeros(0).storage()) == 400
    assert torch.storage.TypedStorage is type(x.storage())


def test_packages_are_told_which_torch_there_is(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(
        "import importlib.metadata as m, importlib.util, subprocess, sys\n"
        "print(m.version('torch'), m.distribution('torch').metadata['Name'], bool(importlib.util.find_spec('torch')))\n"
        "code = 'import importlib.metadata as m; print(m.version(\"torch\"))'\n"
        "print(subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout)\n"
    )
    done = flambeau("run", script)
    version = torch.version.__version__
    assert done.stdout == f"{version} torch True\n{version}\n\n", done.stderr


def test_switches_of_the_compiler():
    torch._dynamo.config.suppress_errors = True
    assert torch._dynamo.allow_in_graph(len) is len and torch._dynamo.optimize()(len) is len
    torch._dynamo.reset()
    assert not torch._dynamo.is_compiling()


def test_script_modules_are_the_original_as_a_whole(tmp_path):
    model = network().eval()
    scripted = torch.jit.script(model)
    x = torch.randn(2, 4)
    assert isinstance(scripted, torch.jit.ScriptModule) and isinstance(scripted[0], torch.jit.ScriptModule)
    assert scripted.original_name == "Sequential" and len(scripted) == 6
    assert repr(scripted).startswith("RecursiveScriptModule(\n  original_name=Sequential\n  (0): Recursive")
    assert torch.equal(scripted(x), model(x)) and scripted[0].weight is model[0].weight
    assert list(scripted.state_dict()) == list(model.state_dict())
    called = []
    scripted.register_forward_hook(lambda *a: called.append("root"))
    scripted[0].register_forward_hook(lambda *a: called.append("child"))
    scripted(x)
    assert called == ["root"]
    scripted.train()
    assert model.training and model[2].training and scripted[2].training
    scripted.eval().double()
    assert model[0].weight.dtype is torch.float64 and scripted(x.double()).dtype is torch.float64
    import copy

    twin = copy.deepcopy(scripted)
    with torch.no_grad():
        twin[0].weight.zero_()
    assert not torch.equal(twin(x.double()), scripted(x.double()))
    scripted.float()
    traced = torch.jit.trace(model, x)
    assert isinstance(traced, torch.jit.ScriptModule) and torch.equal(traced(x), model(x))
    torch.jit.save(traced, tmp_path / "m.pt")
    assert torch.equal(torch.jit.load(tmp_path / "m.pt")(x), model(x))
    with pytest.raises(AttributeError):
        scripted.nothing


def test_older_forms_with_numbers_in_front():
    a, b, m = torch.ones(2), torch.full((2,), 3.0), torch.eye(2)
    from flambeau.ops import older

    older._told.clear()
    with pytest.warns(UserWarning, match="older form"):
        assert a.clone().add_(2, b).tolist() == [7, 7]
    assert torch.sub(a, 2, b).tolist() == [-5, -5] and a.clone().add_(2, 3).tolist() == [7, 7]
    for got in (torch.addcmul(a, 2, b, b), a.addcmul(2, b, b), a.clone().addcmul_(2, b, b)):
        assert got.tolist() == [19, 19]
    assert a.clone().addcdiv_(2, b, b).tolist() == [3, 3]
    for got in (torch.addmm(1, m, 2, m, m), m.addmm(1, 2, m, m), m.clone().addmm_(1, 2, m, m)):
        assert torch.equal(got, 3 * m)
    assert torch.equal(torch.addmm(2, m, m, m), 3 * m) and torch.addmv(1, a, 2, m, b).tolist() == [7, 7]
    assert torch.equal(m[None].baddbmm(1, 2, m[None], m[None]), 3 * m[None])
    with pytest.raises(TypeError):
        a.add(b, 2)


def test_classes_of_tensors_on_a_gpu():
    assert not isinstance(torch.ones(1), torch.cuda.FloatTensor)
    with pytest.raises(TypeError, match=r"torch\.FloatTensor"):
        torch.cuda.FloatTensor(2)


def test_an_optimizer_that_wraps_another_need_not_be_initialized():
    class Wrapper(torch.optim.Optimizer):
        def __init__(self, inner):
            self.inner, self.param_groups = inner, inner.param_groups

        def step(self):
            return self.inner.step()

    p = torch.nn.Parameter(torch.ones(1))
    p.grad = torch.ones(1)
    Wrapper(torch.optim.SGD([p], 0.5)).step()
    assert p.item() == 0.5


def test_storages_of_files_and_parts(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(16)))
    storage = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=16)
    part = storage[4:8]
    assert len(storage) == 16 and part.tolist() == [4, 5, 6, 7] and storage[3] == 3 and len(storage[5:5]) == 0
    t = torch.asarray(part, dtype=torch.uint8)
    t.zero_()
    assert storage.tolist()[3:9] == [3, 0, 0, 0, 0, 8] and path.read_bytes() == bytes(range(16))
    assert torch.asarray(storage[8:16]).view(torch.int32).shape == (2,) and t.untyped_storage().nbytes() == 4
    shared = torch.UntypedStorage.from_file(str(tmp_path / "new"), shared=True, nbytes=8)
    torch.asarray(shared).fill_(7)
    assert (tmp_path / "new").read_bytes() == bytes([7] * 8)
    with pytest.raises(RuntimeError, match="at least 17"):
        torch.UntypedStorage.from_file(str(path), nbytes=17)
    assert torch.UntypedStorage(3).nbytes() == 3


@pytest.mark.parametrize("chosen", ["", "gc.set_threshold(900, 5, 5); ", "gc.set_threshold(0); "])
def test_how_often_python_looks_for_cycles(chosen):
    """Less often than by default, from which graphs of thousands of objects suffer; as the program says, if it does."""
    code = f"import gc; {chosen}before = gc.get_threshold(); import flambeau; print([before, gc.get_threshold()])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = ast.literal_eval(done.stdout)
    assert after == (before if chosen else (5000, *before[1:]))

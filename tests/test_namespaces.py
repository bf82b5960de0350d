"""The namespaces that programs touch on their way: cuda, backends, amp, hub, compile, testing, versions."""

import sys

import pytest

import flambeau as torch


def test_cuda_is_absent_and_says_so():
    assert not torch.cuda.is_available()
    assert torch.cuda.device_count() == 0
    torch.cuda.manual_seed_all(3)
    torch.cuda.empty_cache()
    torch.cuda.set_device(-1)
    assert torch.cuda.memory_allocated() == torch.cuda.max_memory_reserved() == 0
    for call in (torch.cuda.synchronize, torch.cuda.current_device, torch.cuda.get_device_name, torch.cuda.init):
        with pytest.raises(AssertionError, match="is_available"):
            call()
    with pytest.raises(RuntimeError, match="CUDA device"):
        torch.cuda.Stream()
    assert issubclass(torch.cuda.OutOfMemoryError, RuntimeError)


def test_mixed_precision_is_switched_off_without_a_gpu():
    with pytest.warns(UserWarning, match="not available"):
        scaler = torch.cuda.amp.GradScaler()
    loss = torch.ones((), requires_grad=True)
    assert scaler.scale(loss) is loss
    with pytest.warns(UserWarning, match="nothing is cast"), torch.autocast("cuda", dtype=torch.float16):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    with pytest.raises(RuntimeError, match="device types"):
        torch.autocast("toaster")


def test_backend_flags_can_be_set():
    cudnn = torch.backends.cudnn
    cudnn.benchmark = True
    with cudnn.flags(enabled=False, deterministic=True):
        assert not cudnn.enabled
        assert cudnn.deterministic
        assert not cudnn.benchmark
    assert cudnn.benchmark and cudnn.enabled and not cudnn.deterministic
    cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = True
    assert not torch.backends.mps.is_available()
    assert not torch.backends.mkldnn.is_available()
    assert torch.backends.cpu.get_cpu_capability() in ("AVX512", "AVX2", "DEFAULT")


def test_versions_compare():
    version = torch.__version__
    assert version == str(torch.version.__version__)
    assert version >= (1, 8) and version > "2.9" and version > "1.13.1+cu117" and version < "2.14"
    assert version.startswith("2.13.0") and not version < "2.13.0"
    assert tuple(int(part) for part in version.split("+")[0].split(".")) == (2, 13, 0)
    assert torch.version.cuda is None


def test_compile_takes_functions_and_modules():
    def double(x):
        return x * 2

    for compiled in (torch.compile(double), torch.compile(mode="max-autotune")(double)):
        assert compiled(torch.ones(2)).tolist() == [2, 2] and compiled.__name__ == "double"
    model = torch.nn.Linear(2, 2)
    compiled = torch.compile(model, fullgraph=True)
    assert isinstance(compiled, torch.nn.Module) and compiled._orig_mod is model
    with pytest.raises(RuntimeError, match="either"):
        torch.compile(double, mode="default", options={})
    assert not torch.compiler.is_compiling()


def test_what_needs_a_network_or_a_package_is_refused(monkeypatch):
    with pytest.raises(RuntimeError, match="network"):
        torch.hub.load("pytorch/vision", "resnet18")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(RuntimeError, match=r"flambeau\[onnx\]"):
        torch.onnx.export(torch.nn.Linear(1, 1), torch.ones(1, 1), "model.onnx")


def test_assert_close_accepts_and_refuses():
    close = torch.testing.assert_close
    close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.000001]))
    close({"a": [torch.ones(2), 3]}, {"a": (torch.ones(2), 3)})
    close(torch.tensor(float("nan")), torch.tensor(float("nan")), equal_nan=True)
    with pytest.raises(AssertionError, match=r"1 of 2 elements differ"):
        close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.1]))
    with pytest.raises(AssertionError, match="shapes"):
        close(torch.ones(2), torch.ones(3))
    with pytest.raises(AssertionError, match="dtypes"):
        close(torch.ones(2), torch.ones(2, dtype=torch.float64))
    with pytest.raises(AssertionError, match="lengths"):
        close([1], [1, 2])
    with pytest.raises(AssertionError, match="at .0. mine not close"):
        close([torch.zeros(1)], [torch.ones(1)], msg=lambda text: text.replace("are", "mine"))
    with pytest.raises(ValueError, match="both"):
        close(1.0, 1.0, rtol=1.0)
    with pytest.raises(TypeError):
        close(1.0, torch.tensor(1.0))
    torch.testing.assert_allclose(torch.ones(2), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "complex64", "int64", "uint8", "bool"])
def test_make_tensor(dtype):
    kind = getattr(torch, dtype)
    x = torch.testing.make_tensor(3, 4, dtype=kind, device="cpu")
    assert x.shape == (3, 4) and x.dtype == kind and x.is_contiguous()
    y = torch.testing.make_tensor((2, 6), dtype=kind, device="cpu", noncontiguous=True)
    assert y.shape == (2, 6) and not y.is_contiguous()
    if kind.is_floating_point:
        z = torch.testing.make_tensor(100, dtype=kind, device="cpu", low=2, high=3, requires_grad=True)
        assert z.requires_grad and bool(((z >= 2) & (z <= 3)).all())
    with pytest.raises(ValueError, match="low"):
        torch.testing.make_tensor(2, dtype=kind, device="cpu", low=3, high=1)


def test_multiprocessing_is_pythons_with_sharing_strategies():
    assert torch.multiprocessing.get_sharing_strategy() in torch.multiprocessing.get_all_sharing_strategies()
    torch.multiprocessing.set_sharing_strategy("file_system")
    with pytest.raises(AssertionError):
        torch.multiprocessing.set_sharing_strategy("telepathy")
    torch.multiprocessing.set_sharing_strategy("file_descriptor")
    assert torch.multiprocessing.Process.__name__ == "Process"


def test_two_names_for_the_precision_of_products():
    try:
        torch.backends.cuda.matmul.allow_tf32 = True
        assert torch.get_float32_matmul_precision() == "high"
        torch.set_float32_matmul_precision("highest")
        assert torch.backends.cuda.matmul.allow_tf32 is False
    finally:
        torch.set_float32_matmul_precision("highest")


def test_devices_that_are_absent_and_the_one_that_is_there():
    assert torch.cpu.is_available() and torch.cpu.device_count() == 1 and torch.cpu.current_device() == "cpu"
    torch.cpu.synchronize()
    for absent in (torch.mps, torch.xpu):
        assert not absent.is_available() and absent.device_count() == 0
        absent.manual_seed(3)
        with pytest.raises(RuntimeError, match="is_available"):
            absent.synchronize()
    torch.cuda.nvtx.range_push("step")
    with torch.cuda.nvtx.range("part"):
        assert torch.cuda.nvtx.range_pop() == -1


def test_what_else_compilers_are_told():
    @torch.compiler.allow_in_graph
    @torch.compiler.set_stance("force_eager")
    def double(x):
        return x * 2

    with torch.compiler.set_stance("default"):
        assert double(2) == 4
    torch.compiler.cudagraph_mark_step_begin()
    assert torch.compiler.list_backends() == ["inductor", "xla"]
    with pytest.raises(RuntimeError, match="no stance"):
        torch.compiler.set_stance("lazy")

"""Every layer against PyTorch's own database of modules: constructor, state, repr, forward, gradients, both modes."""

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch")
common = pytest.importorskip("torch.testing._internal.common_modules")

import flambeau  # noqa: E402
from flambeau import nn  # noqa: E402

#: Their recorded random samples are float64, so that PyTorch itself takes no other input.
FLOAT64_ONLY = {"FractionalMaxPool2d", "FractionalMaxPool3d"}
#: More inputs than these of one module are thinned out evenly: only LinearCrossEntropyLoss has so many.
MOST = 110
TOLERANCE = {"float32": 2e-5, "float64": 1e-10}


@pytest.fixture(autouse=True)
def one_thread():
    """These inputs are tiny: PyTorch's threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def dtype_of(d):
    return getattr(flambeau, str(d).removeprefix("torch."))


def convert(value):
    """PyTorch's tensors, dtypes, modules and functions as flambeau's."""
    if isinstance(value, torch.Tensor):
        t = flambeau.tensor(value.detach().numpy().copy())
        return t.requires_grad_(True) if value.requires_grad else t
    if isinstance(value, torch.dtype):
        return dtype_of(value)
    if isinstance(value, torch.nn.TransformerEncoderLayer):
        return encoder_layer(value)
    if isinstance(value, torch.nn.Module):
        return getattr(nn, type(value).__name__)()
    if isinstance(value, (tuple, list)):
        return type(value)(convert(v) for v in value)
    if isinstance(value, dict):
        return {k: convert(v) for k, v in value.items()}
    if callable(value) and hasattr(nn.functional, getattr(value, "__name__", "")):
        return getattr(nn.functional, value.__name__)
    return value


def encoder_layer(layer):
    attention = layer.self_attn
    activation = layer.activation
    result = nn.TransformerEncoderLayer(
        attention.embed_dim,
        attention.num_heads,
        layer.linear1.out_features,
        layer.dropout.p,
        convert(activation),
        layer.norm1.eps,
        attention.batch_first,
        layer.norm_first,
        layer.linear1.bias is not None,
        dtype=dtype_of(layer.linear1.weight.dtype),
    )
    result.load_state_dict({k: convert(v) for k, v in layer.state_dict().items()})
    return result


def fresh(value):
    """A copy whose tensors are leaves."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone().requires_grad_(value.requires_grad)
    if isinstance(value, (tuple, list)):
        return type(value)(fresh(v) for v in value)
    if isinstance(value, dict):
        return {k: fresh(v) for k, v in value.items()}
    return copy.deepcopy(value)


def tensors(value):
    if isinstance(value, (torch.Tensor, flambeau.Tensor)):
        return [value]
    if isinstance(value, (tuple, list)):
        return [t for v in value for t in tensors(v)]
    if isinstance(value, dict):
        return [t for v in value.values() for t in tensors(v)]
    return []


def assert_same(expected, actual, tolerance, what):
    assert (expected is None) == (actual is None), f"{what}: {expected} and {actual}"
    if expected is None:
        return
    assert str(expected.dtype) == str(actual.dtype), what
    e, a = expected.detach().numpy(), actual.detach().numpy()
    assert e.shape == a.shape, f"{what}: {e.shape} and {a.shape}"
    scale = float(np.abs(np.where(np.isfinite(e), e, 0)).max(initial=1.0))
    np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * scale, err_msg=what)


def backward(outputs):
    """Backward from all outputs, weighted so that no gradient is constant."""
    total = None
    for i, y in enumerate(outputs):
        if not y.requires_grad:
            continue
        lib = torch if isinstance(y, torch.Tensor) else flambeau
        y = y.reshape(-1)
        weights = np.cos(np.arange(y.numel()) + i).astype(y.detach().numpy().dtype)
        part = (y * lib.from_numpy(weights)).sum()
        total = part if total is None else total + part
    if total is not None:
        total.backward()


def check(info, module_input, training, dtype):
    tolerance = TOLERANCE[str(dtype).removeprefix("torch.")]
    build, call = module_input.constructor_input, module_input.forward_input
    theirs, ours = info.module_cls, getattr(nn, info.module_cls.__name__)
    torch.manual_seed(0)
    t = theirs(*fresh(build.args), **fresh(build.kwargs))
    args, kwargs = convert(build.args), convert(build.kwargs)
    flambeau.manual_seed(0)
    f = ours(*args, **kwargs)
    t.to(dtype).train(training)
    f.to(dtype_of(dtype)).train(training)
    assert repr(f) == repr(t)
    t_args, t_kwargs = fresh(call.args), fresh(call.kwargs)
    f_args, f_kwargs = convert(call.args), convert(call.kwargs)
    torch.manual_seed(1)
    t_out = tensors(t(*t_args, **t_kwargs))
    flambeau.manual_seed(1)
    f_out = tensors(f(*f_args, **f_kwargs))
    assert type(f).__name__ == type(t).__name__
    assert len(f_out) == len(t_out)
    for i, (e, a) in enumerate(zip(t_out, f_out)):
        assert_same(e, a, tolerance, f"output {i}")
    backward(t_out)
    backward(f_out)
    for e, a in zip(tensors((t_args, t_kwargs)), tensors((f_args, f_kwargs))):
        assert_same(e.grad, a.grad, tolerance * 10, "gradient of an input")
    t_params, f_params = dict(t.named_parameters()), dict(f.named_parameters())
    assert list(f_params) == list(t_params)
    for name, p in t_params.items():
        assert_same(p.grad, f_params[name].grad, tolerance * 10, f"gradient of {name}")
    t_state, f_state = t.state_dict(), f.state_dict()
    assert list(f_state) == list(t_state)
    assert dict(f_state._metadata) == dict(t_state._metadata)
    for name, value in t_state.items():
        assert_same(value, f_state[name], tolerance, f"state {name}")


DATABASE = common.module_db


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("info", DATABASE, ids=[i.module_cls.__name__ for i in DATABASE])
def test_module(info, training, dtype):
    name = info.module_cls.__name__
    if name in FLOAT64_ONLY and dtype is not torch.float64:
        pytest.skip("PyTorch's samples for this module are float64")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(7)
        inputs = list(info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training))
        for i, module_input in list(enumerate(inputs))[:: 1 + len(inputs) // MOST]:
            try:
                check(info, module_input, training, dtype)
            except Exception as error:
                build = module_input.constructor_input
                raise AssertionError(f"input {i}: {name}{build.args}, {build.kwargs}: {error}") from error

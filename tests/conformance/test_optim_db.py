"""The optimizers under every setting of PyTorch's own optimizer database, and its inputs that must be refused."""

import copy
import warnings

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    common = pytest.importorskip("torch.testing._internal.common_optimizers")

INFOS = [info for info in common.optim_db if hasattr(flambeau.optim, info.optim_cls.__name__)]


def ours(value):
    """Settings and parameters of the database as flambeau's."""
    if isinstance(value, torch.nn.Parameter):
        return flambeau.nn.Parameter(flambeau.tensor(value.detach().numpy()), requires_grad=value.requires_grad)
    if isinstance(value, torch.Tensor):
        return flambeau.tensor(value.detach().numpy())
    if isinstance(value, dict):
        return {k: ours(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(ours(v) for v in value)
    return value


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.optim_cls.__name__)
def test_settings(info):
    name = info.optim_cls.__name__
    rng = np.random.default_rng(0)
    for setting in info.optim_inputs_func(device="cpu"):
        if any(setting.kwargs.get(flag) for flag in ("capturable", "fused")):
            continue
        start, grads = rng.standard_normal((4, 3)), rng.standard_normal((6, 4, 3))
        results = []
        for lib, kwargs in ((torch, copy.deepcopy(setting.kwargs)), (flambeau, ours(setting.kwargs))):
            p = lib.nn.Parameter(lib.tensor(start))
            opt = getattr(lib.optim, name)([p], **kwargs)
            for g in grads:
                p.grad = lib.tensor(g)
                with lib.no_grad():
                    opt.step(lambda p=p: (p * p).sum()) if info.step_requires_closure else opt.step()
            results.append(p.detach().numpy())
        np.testing.assert_allclose(results[1], results[0], rtol=1e-9, atol=1e-12, err_msg=f"{name} {setting.desc}")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("info", INFOS, ids=lambda info: info.optim_cls.__name__)
def test_refused(info):
    made = getattr(flambeau.optim, info.optim_cls.__name__)
    for bad in info.optim_error_inputs_func(device="cpu", dtype=torch.float32):
        setting = bad.optimizer_error_input
        params = ours(setting.params) if setting.params is not None else [flambeau.nn.Parameter(flambeau.ones(2))]
        if isinstance(bad.error_type, type) and issubclass(bad.error_type, Warning):
            with pytest.warns(bad.error_type):
                made(params if not isinstance(setting.params, list) else _alike(setting.params), **ours(setting.kwargs))
            continue
        with pytest.raises(bad.error_type):
            made(_alike(setting.params) if isinstance(setting.params, list) else params, **ours(setting.kwargs))


def _alike(params):
    """A list of parameters or groups in which equal places hold one object."""
    seen = {}

    def one(value):
        if isinstance(value, torch.Tensor):
            if id(value) not in seen:
                seen[id(value)] = flambeau.nn.Parameter(flambeau.tensor(value.detach().numpy()))
            return seen[id(value)]
        if isinstance(value, dict):
            return {k: one(v) for k, v in value.items()}
        return type(value)(one(v) for v in value) if isinstance(value, (list, tuple)) else value

    return one(params)

"""Autocasting on the CPU and the gradient scaler beside PyTorch's: what is cast, to what, and with which numbers."""

import copy
import warnings

import numpy as np
import pytest
import torch

import flambeau
from tests.conformance.sidebyside import plain

pytestmark = pytest.mark.filterwarnings("ignore")
LIBS = (flambeau, torch)


def real(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


SPD = np.eye(3, dtype=np.float32) * 3 + 0.1

# each takes the library, `t` (float32 tensors) and `b` (bfloat16 ones)
LOWERED = {
    "linear": lambda lib, t, b: lib.nn.functional.linear(t(real(2, 3)), t(real(4, 3)), t(real(4))),
    "operator": lambda lib, t, b: t(real(2, 3)) @ t(real(3, 2)),
    "mixed": lambda lib, t, b: t(real(2, 3)) @ b(real(3, 2)),
    "mm": lambda lib, t, b: lib.mm(t(real(2, 3)), t(real(3, 2))),
    "bmm": lambda lib, t, b: lib.bmm(t(real(2, 2, 3)), t(real(2, 3, 2))),
    "baddbmm": lambda lib, t, b: lib.baddbmm(t(real(2, 2, 2)), t(real(2, 2, 3)), t(real(2, 3, 2)), beta=0.5, alpha=2),
    "addmm": lambda lib, t, b: lib.addmm(t(real(2, 2)), t(real(2, 3)), t(real(3, 2))),
    "einsum": lambda lib, t, b: lib.einsum("ij,jk->ik", t(real(2, 3)), t(real(3, 2))),
    "vecdot": lambda lib, t, b: lib.linalg.vecdot(t(real(3)), t(real(3))),
    "conv1d": lambda lib, t, b: lib.nn.functional.conv1d(t(real(1, 2, 6)), t(real(3, 2, 3)), padding="same"),
    "conv2d": lambda lib, t, b: lib.nn.functional.conv2d(t(real(1, 2, 4, 4)), t(real(3, 2, 3, 3)), t(real(3))),
    "conv3d": lambda lib, t, b: lib.nn.functional.conv3d(t(real(1, 1, 3, 3, 3)), t(real(2, 1, 2, 2, 2))),
    "conv_transpose2d": lambda lib, t, b: lib.nn.functional.conv_transpose2d(t(real(1, 2, 4, 4)), t(real(2, 3, 3, 3))),
    "prelu": lambda lib, t, b: lib.nn.functional.prelu(t(real(2, 3)), t(real(1))),
    "attention": lambda lib, t, b: lib.nn.functional.scaled_dot_product_attention(
        *(t(real(1, 2, 3, 4, seed=i)) for i in range(3))
    ),
}
KEPT = {
    "mv": lambda lib, t, b: lib.mv(t(real(3, 3)), t(real(3))),
    "addmv": lambda lib, t, b: lib.addmv(t(real(3)), t(real(3, 3)), t(real(3))),
    "bilinear": lambda lib, t, b: lib.nn.functional.bilinear(t(real(2, 3)), t(real(2, 4)), t(real(5, 3, 4))),
    "softmax": lambda lib, t, b: lib.nn.functional.softmax(b(real(2, 3)), -1),
    "layer_norm": lambda lib, t, b: lib.nn.functional.layer_norm(b(real(2, 3)), (3,), t(real(3)), t(real(3))),
    "sum": lambda lib, t, b: b(real(2, 3)).sum(),
    "add mixed": lambda lib, t, b: t(real(2)) + b(real(2)),
    "float64": lambda lib, t, b: lib.matmul(t(real(2, 2)).double(), t(real(2, 2)).double()),
    "integers": lambda lib, t, b: lib.matmul(lib.ones(2, 2).long(), lib.ones(2, 2).long()),
    "out": lambda lib, t, b: lib.mm(t(real(2, 2)), t(real(2, 2)), out=lib.empty(2, 2)),
    "pad with zeros": lambda lib, t, b: lib.nn.functional.pad(b(real(1, 1, 4)), (1, 1)),
    "interpolate": lambda lib, t, b: lib.nn.functional.interpolate(b(real(1, 1, 4)), scale_factor=2.0),
    "norm": lambda lib, t, b: b(real(3)).norm(),
    "embedding": lambda lib, t, b: lib.nn.functional.embedding(lib.tensor([0]), t(real(3, 2))),
}
RAISED = {
    "cross_entropy": lambda lib, t, b: lib.nn.functional.cross_entropy(b(real(2, 3)), lib.tensor([0, 1])),
    "nll_loss": lambda lib, t, b: lib.nn.functional.nll_loss(b(real(2, 3)), lib.tensor([0, 1])),
    "mse_loss": lambda lib, t, b: lib.nn.functional.mse_loss(b(real(2, 3)), t(real(2, 3, seed=1))),
    "bce with logits": lambda lib, t, b: lib.nn.functional.binary_cross_entropy_with_logits(
        b(real(2, 3)), lib.ones(2, 3)
    ),
    "kl_div": lambda lib, t, b: lib.nn.functional.kl_div(b(real(2, 3)), b(real(2, 3, seed=1))),
    "huber_loss": lambda lib, t, b: lib.nn.functional.huber_loss(b(real(2, 3)), b(real(2, 3, seed=1))),
    "triplet": lambda lib, t, b: lib.nn.functional.triplet_margin_loss(*(b(real(2, 3, seed=i)) for i in range(3))),
    "prod": lambda lib, t, b: b(real(2, 3)).prod(1),
    "cdist": lambda lib, t, b: lib.cdist(b(real(2, 3)), b(real(2, 3, seed=1))),
    "trace": lambda lib, t, b: b(real(3, 3)).trace(),
    "quantile": lambda lib, t, b: lib.quantile(b(real(5)), 0.3),
    "reflect": lambda lib, t, b: lib.nn.functional.pad(b(real(1, 1, 4)), (1, 1), mode="reflect"),
    "replicate": lambda lib, t, b: lib.nn.functional.pad(b(real(1, 1, 4, 4)), (1, 1, 1, 1), mode="replicate"),
    "grid_sample": lambda lib, t, b: lib.nn.functional.grid_sample(t(real(1, 1, 4, 4)), b(real(1, 2, 2, 2))),
    "avg_pool3d": lambda lib, t, b: lib.nn.functional.avg_pool3d(b(real(1, 1, 2, 2, 2)), 2),
    "cholesky": lambda lib, t, b: lib.linalg.cholesky(b(SPD)),
    "inv": lambda lib, t, b: lib.linalg.inv(b(SPD)),
    "solve": lambda lib, t, b: lib.linalg.solve(b(SPD), b(real(3))),
    "eigvalsh": lambda lib, t, b: lib.linalg.eigvalsh(b(SPD)),
    "rfft": lambda lib, t, b: lib.fft.rfft(b(real(4))),
    "cat": lambda lib, t, b: lib.cat([t(real(2)), b(real(2))]),
    "stack": lambda lib, t, b: lib.stack([t(real(2)), b(real(2))]),
    "index_copy": lambda lib, t, b: lib.index_copy(t(real(3)), 0, lib.tensor([0]), b(real(1))),
}
TABLE = {**LOWERED, **KEPT, **RAISED}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", TABLE)
def test_casts(name, dtype):
    def call(lib):
        with lib.autocast("cpu", dtype=getattr(lib, dtype)):
            return TABLE[name](lib, lib.tensor, lambda a: lib.tensor(a).bfloat16())

    if dtype == "float16" and name == "mixed":
        pytest.skip("PyTorch's message differs with the build")
    mine, theirs = (call(lib) for lib in LIBS)
    assert str(mine.dtype).split(".")[-1] == str(theirs.dtype).split(".")[-1]
    np.testing.assert_allclose(plain(mine), plain(theirs), rtol=1e-2, atol=1e-2)


MODULES = {
    "mlp": (lambda n: n.Sequential(n.Linear(4, 8), n.GELU(), n.LayerNorm(8), n.Linear(8, 3)), (5, 4)),
    "convolutions": (
        lambda n: n.Sequential(n.Conv2d(2, 4, 3), n.BatchNorm2d(4), n.ReLU(), n.Flatten(), n.Linear(16, 3)),
        (5, 2, 4, 4),
    ),
    "attention": (lambda n: n.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), (2, 3, 4)),
}


@pytest.mark.parametrize("name", MODULES)
def test_training_steps(name):
    """Losses and gradients of some steps, parameters in float32."""
    make, shape = MODULES[name]
    seen = []
    for lib in LIBS:
        lib.manual_seed(0)
        model = make(lib.nn)
        optimizer = lib.optim.SGD(model.parameters(), lr=0.1)
        steps = []
        for i in range(3):
            with lib.autocast("cpu"):
                out = model(lib.tensor(real(*shape, seed=i)))
                loss = out.float().pow(2).mean()
            kind = str(out.dtype).split(".")[-1]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            steps.append((loss.item(), [p.grad.numpy().copy() for p in model.parameters()], kind))
            assert all(p.grad.dtype == lib.float32 for p in model.parameters())
        seen.append(steps)
    for (mine, grads, kind), (theirs, others, other_kind) in zip(*seen, strict=True):
        assert kind == other_kind
        np.testing.assert_allclose(mine, theirs, rtol=2e-2)
        for g, o in zip(grads, others, strict=True):
            np.testing.assert_allclose(g, o, atol=3e-2 * max(1.0, np.abs(o).max()))


def test_scaler_goes_through_the_same_states():
    logs = []
    for lib in LIBS:
        w = lib.nn.Parameter(lib.ones(2))
        opt = lib.optim.SGD([w], lr=0.01)
        scaler = lib.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)
        log = [copy.deepcopy(scaler.state_dict())]
        for i in range(7):
            opt.zero_grad()
            x = lib.tensor([1.0, float("inf") if i == 3 else 2.0])
            scaler.scale((w * x).sum()).backward()
            if i % 2:
                scaler.unscale_(opt)
                lib.nn.utils.clip_grad_norm_([w], 1.0)
            scaler.step(opt)
            scaler.update()
            log.append((dict(scaler.state_dict()), w.detach().tolist()))
        other = lib.amp.GradScaler("cpu")
        other.load_state_dict(scaler.state_dict())
        log.append(dict(other.state_dict()))
        logs.append(log)
    for mine, theirs in zip(*logs, strict=True):
        if isinstance(mine, tuple):
            assert mine[0] == theirs[0]
            np.testing.assert_allclose(mine[1], theirs[1], rtol=1e-6)
        else:
            assert mine == theirs


def _scaled(lib, **options):
    w = lib.nn.Parameter(lib.ones(1))
    opt = lib.optim.SGD([w], lr=0.1)
    scaler = lib.amp.GradScaler("cpu", **options)
    scaler.scale(w.sum()).backward()
    return scaler, opt, w


ERRORS = {
    "growth": lambda lib: lib.amp.GradScaler("cpu", growth_factor=1.0),
    "backoff": lambda lib: lib.amp.GradScaler("cpu", backoff_factor=1.0),
    "update first": lambda lib: lib.amp.GradScaler("cpu").update(),
    "unscale twice": lambda lib: (lambda s, o, w: (s.unscale_(o), s.unscale_(o)))(*_scaled(lib)),
    "unscale late": lambda lib: (lambda s, o, w: (s.step(o), s.unscale_(o)))(*_scaled(lib)),
    "step twice": lambda lib: (lambda s, o, w: (s.step(o), s.step(o)))(*_scaled(lib)),
    "no step": lambda lib: (lambda s, o, w: s.update())(*_scaled(lib)),
    "closure": lambda lib: (lambda s, o, w: s.step(o, closure=lambda: None))(*_scaled(lib)),
    "not a tensor": lambda lib: lib.amp.GradScaler("cpu").scale(3),
    "no state": lambda lib: lib.amp.GradScaler("cpu").load_state_dict({}),
    "device": lambda lib: lib.autocast("toaster"),
    "device type": lambda lib: lib.autocast(3),
    "decorator": lambda lib: lib.autocast("cpu")(3),
    "custom_fwd": lambda lib: lib.amp.custom_fwd(lambda ctx: 0, device_type=3),
}


@pytest.mark.parametrize("name", ERRORS)
def test_refused(name):
    raised = []
    for lib in LIBS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                ERRORS[name](lib)
            except Exception as error:
                raised.append(type(error))
    assert len(raised) == 2 and raised[0] is raised[1]

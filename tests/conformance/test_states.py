"""States of models, optimizers, schedulers and generators go from PyTorch to flambeau and back, bit for bit."""

import inspect
import io
import pickle

import numpy as np
import pytest

import flambeau
from tests.conformance.test_serialization import plain

torch = pytest.importorskip("torch")

OPTIONS = {"SGD": dict(lr=0.1, momentum=0.9), "Adam": dict(amsgrad=True), "AdamW": dict(amsgrad=True),
           "RMSprop": dict(momentum=0.9, centered=True), "LBFGS": dict(lr=0.3, max_iter=3),
           "SGD plain": {}, "SGD schedule-free rate": dict(lr=0.01, weight_decay=0.1, maximize=True)}  # fmt: skip


def optimizers():
    classes = [
        name
        for name, thing in vars(torch.optim).items()
        if inspect.isclass(thing) and issubclass(thing, torch.optim.Optimizer) and thing is not torch.optim.Optimizer
    ]
    return sorted({*classes, *(name for name in OPTIONS)})


def made(T, name):
    """A model and its optimizer."""
    T.manual_seed(1)
    model = T.nn.Sequential(T.nn.Linear(3, 4), T.nn.Linear(4, 4, bias=False))
    if name == "SparseAdam":
        model = T.nn.Embedding(5, 3, sparse=True)
    params = [p for p in model.parameters() if p.dim() == 2] if name == "Muon" else list(model.parameters())
    groups = params if name in ("LBFGS", "SparseAdam") else [{"params": params[:1]}, {"params": params[1:], "lr": 0.07}]
    return model, getattr(T.optim, name.split(" ")[0])(groups, **OPTIONS.get(name, {}))


def step(T, model, optimizer, seed):
    rng = np.random.default_rng(seed)
    sparse = isinstance(model, T.nn.Embedding)
    x = T.tensor(rng.integers(0, 5, 4)) if sparse else T.tensor(rng.standard_normal((5, 3)).astype(np.float32))

    def closure():
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        return loss

    optimizer.step(closure)


@pytest.mark.parametrize("name", optimizers())
@pytest.mark.parametrize("way", ["to PyTorch", "to flambeau"])
def test_optimizers(name, way):
    if not hasattr(flambeau.optim, name.split(" ")[0]):
        pytest.skip(f"flambeau has no {name}")
    A, B = (flambeau, torch) if way == "to PyTorch" else (torch, flambeau)
    model, optimizer = made(A, name)
    for i in range(3):
        step(A, model, optimizer, i)
    file = io.BytesIO()
    A.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    found = B.load(file)
    other, its = made(B, name)
    other.load_state_dict(found["model"])
    its.load_state_dict(found["optimizer"])
    assert plain(its.state_dict()) == plain(optimizer.state_dict())
    for i in range(3, 6):
        step(A, model, optimizer, i)
        step(B, other, its, i)
    for a, b in zip(model.state_dict().values(), other.state_dict().values()):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)


SCHEDULERS = {
    "StepLR": lambda T, o: T.optim.lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda T, o: T.optim.lr_scheduler.MultiStepLR(o, [2, 4, 4]),
    "ConstantLR": lambda T, o: T.optim.lr_scheduler.ConstantLR(o),
    "LinearLR": lambda T, o: T.optim.lr_scheduler.LinearLR(o),
    "ExponentialLR": lambda T, o: T.optim.lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda T, o: T.optim.lr_scheduler.PolynomialLR(o, 8, power=2.0),
    "CosineAnnealingLR": lambda T, o: T.optim.lr_scheduler.CosineAnnealingLR(o, 7),
    "CosineAnnealingWarmRestarts": lambda T, o: T.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "OneCycleLR": lambda T, o: T.optim.lr_scheduler.OneCycleLR(o, 0.4, total_steps=20),
    "CyclicLR": lambda T, o: T.optim.lr_scheduler.CyclicLR(o, 0.01, 0.2, step_size_up=3),
    "LambdaLR": lambda T, o: T.optim.lr_scheduler.LambdaLR(o, lambda e: 0.9**e),
    "MultiplicativeLR": lambda T, o: T.optim.lr_scheduler.MultiplicativeLR(o, lambda e: 0.9),
    "ReduceLROnPlateau": lambda T, o: T.optim.lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "SequentialLR": lambda T, o: T.optim.lr_scheduler.SequentialLR(
        o, [T.optim.lr_scheduler.LinearLR(o), T.optim.lr_scheduler.StepLR(o, 1)], [3]
    ),
    "ChainedScheduler": lambda T, o: T.optim.lr_scheduler.ChainedScheduler(
        [T.optim.lr_scheduler.LinearLR(o), T.optim.lr_scheduler.StepLR(o, 2)], o
    ),
}


def rates(scheduler, optimizer, count):
    found = []
    for _ in range(count):
        optimizer.step()
        scheduler.step(*([1.0] if type(scheduler).__name__ == "ReduceLROnPlateau" else []))
        found.append([group["lr"] for group in optimizer.param_groups])
    return found


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize("way", ["to PyTorch", "to flambeau"])
def test_schedulers(name, way):
    A, B = (flambeau, torch) if way == "to PyTorch" else (torch, flambeau)
    optimizer, its = (T.optim.SGD([T.nn.Parameter(T.ones(1))], 0.1, momentum=0.9) for T in (A, B))
    scheduler, other = SCHEDULERS[name](A, optimizer), SCHEDULERS[name](B, its)
    rates(scheduler, optimizer, 4)
    file = io.BytesIO()
    A.save([optimizer.state_dict(), scheduler.state_dict()], file)
    file.seek(0)
    state = B.load(file)
    its.load_state_dict(state[0])
    other.load_state_dict(state[1])
    np.testing.assert_allclose(rates(other, its, 6), rates(scheduler, optimizer, 6), rtol=1e-12)


@pytest.mark.parametrize("way", ["to PyTorch", "to flambeau"])
def test_random_streams(way):
    A, B = (flambeau, torch) if way == "to PyTorch" else (torch, flambeau)
    A.manual_seed(3)
    A.randn(5)
    file = io.BytesIO()
    A.save({"rng": A.get_rng_state()}, file)
    file.seek(0)
    B.set_rng_state(B.load(file)["rng"])
    assert A.rand(3).tolist() == B.rand(3).tolist() and A.randn(20).tolist() == B.randn(20).tolist()


def test_pytorch_opens_a_checkpoint(tmp_path):
    from flambeau import checkpoint

    model, optimizer = made(flambeau, "Adam")
    step(flambeau, model, optimizer, 0)
    loader = flambeau.utils.data.DataLoader(list(range(10)), 2, shuffle=True)
    for _ in loader:
        checkpoint.save(tmp_path / "run.pt", model=model, optimizer=optimizer, loader=loader, epoch=2)
    found = torch.load(tmp_path / "run.pt")
    other, its = made(torch, "Adam")
    other.load_state_dict(found["model"])
    its.load_state_dict(found["optimizer"])
    assert found["extra"] == {"epoch": 2}
    assert plain(its.state_dict()) == plain(optimizer.state_dict())


MODULES = {
    "Linear": lambda nn: nn.Linear(6, 4),
    "Conv2d": lambda nn: nn.Conv2d(2, 3, 3, padding="same", padding_mode="circular"),
    "ConvTranspose1d": lambda nn: nn.ConvTranspose1d(2, 3, 2, bias=False),
    "BatchNorm2d": lambda nn: nn.BatchNorm2d(3),
    "LayerNorm": lambda nn: nn.LayerNorm(6),
    "GroupNorm": lambda nn: nn.GroupNorm(2, 6),
    "RMSNorm": lambda nn: nn.RMSNorm(6),
    "Embedding": lambda nn: nn.Embedding(9, 3, padding_idx=0),
    "EmbeddingBag": lambda nn: nn.EmbeddingBag(9, 3),
    "LSTM": lambda nn: nn.LSTM(6, 5, 2, bidirectional=True),
    "GRU": lambda nn: nn.GRU(6, 5, batch_first=True),
    "RNNCell": lambda nn: nn.RNNCell(6, 5),
    "MultiheadAttention": lambda nn: nn.MultiheadAttention(6, 2),
    "TransformerEncoder": lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, 0.0), 2),
    "Transformer": lambda nn: nn.Transformer(6, 2, 1, 1, 8, 0.0),
    "Sequential": lambda nn: nn.Sequential(nn.Linear(6, 4), nn.GELU("tanh"), nn.Dropout(0.5), nn.Softmax(-1)),
    "ModuleDict": lambda nn: nn.ModuleDict({"a": nn.Linear(1, 2), "b": nn.ModuleList([nn.PReLU(), nn.Flatten()])}),
    "ParameterList": lambda nn: nn.ParameterList([nn.Parameter(nn.Linear(2, 2).weight.detach())]),
    "ParameterDict": lambda nn: nn.ParameterDict({"w": nn.Linear(2, 2).weight.detach()}),
    "activations": lambda nn: nn.Sequential(
        nn.ReLU(), nn.LeakyReLU(0.2), nn.ELU(), nn.Hardtanh(), nn.SiLU(), nn.Softplus()
    ),
    "losses": lambda nn: nn.ModuleList(
        [nn.CrossEntropyLoss(label_smoothing=0.1), nn.HuberLoss(), nn.BCEWithLogitsLoss()]
    ),
    "pools": lambda nn: nn.Sequential(nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.AvgPool1d(2), nn.ZeroPad2d(1)),
    "Upsample": lambda nn: nn.Upsample(scale_factor=2, mode="bilinear"),
    "Bilinear": lambda nn: nn.Bilinear(2, 3, 4),
}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("way", ["to PyTorch", "to flambeau"])
def test_whole_modules(name, way):
    A, B = (flambeau, torch) if way == "to PyTorch" else (torch, flambeau)
    A.manual_seed(0)
    module = MODULES[name](A.nn).eval()
    file = io.BytesIO()
    A.save(module, file)
    file.seek(0)
    with pytest.raises(pickle.UnpicklingError):
        B.load(file)
    file.seek(0)
    found = B.load(file, weights_only=False)
    fresh = MODULES[name](B.nn).eval()
    assert type(found) is type(fresh) and repr(found) == repr(fresh)
    assert plain(found.state_dict()) == plain(module.state_dict())
    assert set(vars(fresh)) <= set(vars(found)) or way == "to PyTorch", set(vars(fresh)) - set(vars(found))
    if name in (
        "Linear",
        "LayerNorm",
        "GroupNorm",
        "RMSNorm",
        "LSTM",
        "GRU",
        "RNNCell",
        "Sequential",
        "TransformerEncoder",
    ):
        x = np.random.default_rng(0).standard_normal(
            (3, 2, 6) if name in ("LSTM", "GRU", "TransformerEncoder") else (3, 6)
        )
        a, b = (m(T.tensor(x.astype(np.float32))) for m, T in ((module, A), (found, B)))
        a, b = (r[0] if isinstance(r, tuple) else r for r in (a, b))
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-6)
    file = io.BytesIO()
    B.save(found, file)


@pytest.mark.parametrize("way", ["to PyTorch", "to flambeau"])
def test_whole_optimizers_and_data(way):
    A, B = (flambeau, torch) if way == "to PyTorch" else (torch, flambeau)
    A.manual_seed(0)
    model, optimizer = made(A, "Adam")
    step(A, model, optimizer, 0)
    data = A.utils.data.TensorDataset(A.arange(4.0), A.ones(4))
    file = io.BytesIO()
    A.save({"model": model, "optimizer": optimizer, "data": data}, file)
    file.seek(0)
    found = B.load(file, weights_only=False)
    assert plain(found["optimizer"].state_dict()) == plain(optimizer.state_dict())
    assert found["optimizer"].param_groups[0]["params"][0] is next(found["model"].parameters())
    assert [t.item() for t in found["data"][2]] == [2.0, 1.0]
    step(B, found["model"], found["optimizer"], 1)
    step(A, model, optimizer, 1)
    for a, b in zip(model.parameters(), found["model"].parameters()):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=1e-6)

"""Learning-rate schedules give PyTorch's rates and momenta, bit for bit."""

import warnings

import pytest

import flambeau

torch = pytest.importorskip("torch")

CASES = {
    "step": lambda s, o: s.StepLR(o, 3, 0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "constant": lambda s, o: s.ConstantLR(o, 0.3, 4),
    "linear": lambda s, o: s.LinearLR(o, 0.2, 0.9, 7),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.9),
    "polynomial": lambda s, o: s.PolynomialLR(o, 8, 1.7),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, 6, 0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "lambda": lambda s, o: s.LambdaLR(o, [lambda e: 0.95**e, lambda e: 1 / (1 + e)]),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda e: 0.9 + 0.01 * e),
    "cyclic": lambda s, o: s.CyclicLR(o, 0.01, [0.1, 0.2], 3, 5),
    "cyclic2": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, mode="triangular2", cycle_momentum=False),
    "cyclic_exp": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, mode="exp_range", gamma=0.97),
    "cyclic_fn": lambda s, o: s.CyclicLR(o, 0.01, 0.1, 3, scale_fn=lambda x: 1 / x),
    "onecycle": lambda s, o: s.OneCycleLR(o, 0.5, total_steps=25),
    "onecycle3": lambda s, o: s.OneCycleLR(
        o, [0.5, 0.7], epochs=5, steps_per_epoch=5, three_phase=True, anneal_strategy="linear", pct_start=0.4
    ),
    "sequential": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.CosineAnnealingLR(o, 5)], [3, 8]
    ),
    "nested": lambda s, o: s.SequentialLR(
        o, [s.SequentialLR(o, [s.LinearLR(o, 0.1), s.StepLR(o, 2)], [4]), s.ExponentialLR(o, 0.8)], [9]
    ),
    "chained": lambda s, o: s.ChainedScheduler([s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 4)]),
}


def make(lib, optimizer="SGD"):
    first, second = (lib.nn.Parameter(lib.ones(2)) for _ in range(2))
    groups = [{"params": [first]}, {"params": [second], "lr": 0.3}]
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    return getattr(lib.optim, optimizer)(groups, lr=0.1, **options)


def trace(lib, build, optimizer, steps=24):
    opt = make(lib, optimizer)
    schedule = build(lib.optim.lr_scheduler, opt)
    seen = []
    for _ in range(steps):
        seen.append([(g["lr"], g.get("momentum"), g.get("betas")) for g in opt.param_groups])
        seen.append(schedule.get_last_lr())
        opt.step()
        schedule.step()
    return seen


@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("name", CASES)
def test_rates_are_pytorchs(name, optimizer):
    assert trace(flambeau, CASES[name], optimizer) == trace(torch, CASES[name], optimizer)


@pytest.mark.parametrize("name", CASES)
def test_states_interchange(name):
    """A schedule resumed from PyTorch's state dict goes on as PyTorch's does."""
    results = []
    for lib in (torch, flambeau):
        opt = make(lib)
        schedule = CASES[name](lib.optim.lr_scheduler, opt)
        if lib is torch:
            for _ in range(7):
                opt.step()
                schedule.step()
            state, groups = schedule.state_dict(), opt.state_dict()["param_groups"]
        else:
            assert set(schedule.state_dict()) >= set(state) - {"_scale_fn_custom", "_scale_fn_ref"}
            schedule.load_state_dict(state)
            for group, saved in zip(opt.param_groups, groups, strict=True):
                group.update({k: v for k, v in saved.items() if k != "params"})
        rates = []
        for _ in range(9):
            opt.step()
            schedule.step()
            rates.append(schedule.get_last_lr())
        results.append(rates)
    assert results[0] == results[1]


@pytest.mark.parametrize("options", [{}, {"mode": "max", "threshold_mode": "abs", "patience": 1, "cooldown": 2}])
def test_plateau(options):
    metrics = [1.0, 0.9, 0.91, 0.9, 0.95, 0.93, 0.92, 0.8, 0.8, 0.8, 0.81, 0.82, 0.79999, 0.8, 0.8, 0.9, 0.9, 0.9]
    results = []
    for lib in (torch, flambeau):
        opt = make(lib)
        schedule = lib.optim.lr_scheduler.ReduceLROnPlateau(
            opt, factor=0.5, **{"patience": 2, **options}, min_lr=[0.01, 0.02]
        )
        results.append([])
        for m in metrics:
            schedule.step(lib.tensor(m))
            results[-1].append((schedule.get_last_lr(), schedule.num_bad_epochs, schedule.best))
    assert results[0] == results[1]


def test_epochs_given():
    for name in (
        "step",
        "multistep",
        "constant",
        "linear",
        "exponential",
        "cosine",
        "restarts",
        "polynomial",
        "lambda",
    ):
        results = []
        for lib in (torch, flambeau):
            opt = make(lib)
            schedule = CASES[name](lib.optim.lr_scheduler, opt)
            opt.step()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                rates = []
                for epoch in (0, 4, 2, 7):
                    schedule.step(epoch)
                    rates.append(schedule.get_last_lr())
            results.append((rates, [w.category for w in caught]))
        assert results[0] == results[1], name


BAD = {
    "not an optimizer": lambda s, o: s.StepLR(None, 3),
    "factor": lambda s, o: s.ConstantLR(o, 1.5),
    "start": lambda s, o: s.LinearLR(o, 0.0),
    "end": lambda s, o: s.LinearLR(o, 0.5, 1.5),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, 0),
    "restarts mult": lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 1.5),
    "functions": lambda s, o: s.LambdaLR(o, [lambda e: 1.0]),
    "resume": lambda s, o: s.StepLR(o, 3, last_epoch=4),
    "cyclic mode": lambda s, o: s.CyclicLR(o, 0.1, 0.2, mode="square"),
    "cyclic length": lambda s, o: s.CyclicLR(o, [0.1], 0.2),
    "onecycle steps": lambda s, o: s.OneCycleLR(o, 0.1),
    "onecycle negative": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=-1),
    "onecycle pct": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, pct_start=2.0),
    "onecycle strategy": lambda s, o: s.OneCycleLR(o, 0.1, total_steps=5, anneal_strategy="sin"),
    "plateau factor": lambda s, o: s.ReduceLROnPlateau(o, factor=1.0),
    "plateau mode": lambda s, o: s.ReduceLROnPlateau(o, mode="low"),
    "plateau min_lr": lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]),
    "sequential empty": lambda s, o: s.SequentialLR(o, [], []),
    "sequential count": lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [1]),
    "sequential plateau": lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []),
    "chained empty": lambda s, o: s.ChainedScheduler([]),
}


@pytest.mark.parametrize("name", BAD)
def test_errors_are_pytorchs(name):
    with pytest.raises(Exception) as theirs:
        BAD[name](torch.optim.lr_scheduler, make(torch))
    with pytest.raises(theirs.type):
        BAD[name](flambeau.optim.lr_scheduler, make(flambeau))


@pytest.mark.parametrize("strategy, epochs", [("cos", 5), ("linear", 3), ("cos", 0)])
def test_swa_rates(strategy, epochs):
    results = []
    for lib in (torch, flambeau):
        opt = make(lib)
        schedule = lib.optim.swa_utils.SWALR(opt, [0.01, 0.02], epochs, strategy)
        results.append([schedule.get_last_lr()])
        for _ in range(8):
            opt.step()
            schedule.step()
            results[-1].append(schedule.get_last_lr())
    assert results[0] == results[1]


@pytest.mark.parametrize("how", ["mean", "ema", "multi ema", "buffers"])
def test_averaged_models(how):
    found = []
    for lib in (torch, flambeau):
        utils = lib.optim.swa_utils
        options = {
            "mean": {},
            "ema": {"avg_fn": utils.get_ema_avg_fn(0.75)},
            "multi ema": {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.75)},
            "buffers": {"use_buffers": True},
        }[how]
        lib.manual_seed(0)
        model = lib.nn.Sequential(lib.nn.Linear(3, 2), lib.nn.BatchNorm1d(2))
        mean = utils.AveragedModel(model, **options)
        data = [lib.randn(4, 3) for _ in range(3)]
        for x in data:
            model(x)
            with lib.no_grad():
                for p in model.parameters():
                    p += 0.5 * x.mean()
            mean.update_parameters(model)
        before = {k: v.tolist() for k, v in mean.state_dict().items()}
        utils.update_bn([(x, None) for x in data], mean)
        found.append((before, {k: v.tolist() for k, v in mean.state_dict().items()}))
    for theirs, mine in zip(*found, strict=True):
        assert list(theirs) == list(mine)
        for key in theirs:
            want, got = torch.tensor(theirs[key]), torch.tensor(mine[key])
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-6)

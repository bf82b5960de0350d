"""Learning-rate schedules: rates recorded from PyTorch 2.13, warnings, states, the metric that does not improve."""

import warnings

import pytest

import flambeau as torch
from flambeau.optim import lr_scheduler

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

# the rate after steps 1, 4, 8 and 12, of the first or the second group, under PyTorch 2.13
RECORDED = {
    "step": [0.1, 0.15, 0.075, 0.01875],
    "multistep": [0.1, 0.09, 0.0081, 0.00243],
    "constant": [0.03, 0.3, 0.3, 0.3],
    "linear": [0.030000000000000006, 0.18, 0.27, 0.27],
    "exponential": [0.09000000000000001, 0.19683000000000003, 0.12914016300000003, 0.08472886094430003],
    "polynomial": [0.0796918098694455, 0.09233583100086873, 0.0, 0.0],
    "cosine": [0.09397114317029975, 0.08250000000000002, 0.08249999999999999, 0.30000000000000027],
    "restarts": [0.07525000000000001, 0.2799707978657736, 0.021029202134226415, 0.2562124637873888],
    "lambda": [0.095, 0.06, 0.03333333333333333, 0.023076923076923078],
    "multiplicative": [0.09100000000000001, 0.21956407200000008, 0.19035045744099846, 0.19413805084315944],
    "cyclic": [0.04, 0.16200000000000003, 0.01, 0.16200000000000003],
    "cyclic2": [0.040000000000000015, 0.07000000000000003, 0.03999999999999998, 0.01],
    "cyclic_exp": [0.03910000000000002, 0.06311756860000002, 0.05702460156626172, 0.01],
    "cyclic_fn": [0.040000000000000015, 0.07000000000000003, 0.03999999999999998, 0.01],
    "onecycle": [0.047490553843229644, 0.3451051728902086, 0.49099075121110264, 0.3877246944660442],
    "onecycle3": [0.07333333333333333, 0.32666666666666666, 0.6253333333333333, 0.476],
    "sequential": [0.010000000000000002, 0.27, 0.3, 0.028647450843757895],
    "nested": [0.028000000000000004, 0.3, 0.003, 0.15360000000000001],
    "chained": [0.009000000000000003, 0.019683000000000003, 0.0012914016300000003, 8.472886094430003e-05],
}


def make():
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(2))]},
        {"params": [torch.nn.Parameter(torch.ones(2))], "lr": 0.3},
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


@pytest.mark.filterwarnings("ignore:lr_scheduler.step")
@pytest.mark.parametrize("name", CASES)
def test_recorded_rates(name):
    opt = make()
    schedule = CASES[name](lr_scheduler, opt)
    rates = []
    for i in range(12):
        opt.step()
        schedule.step()
        if i in (0, 3, 7, 11):
            rates.append(schedule.get_last_lr()[i % 2])
    assert rates == pytest.approx(RECORDED[name], rel=1e-14)
    assert schedule.get_last_lr() == [g["lr"] for g in opt.param_groups]


@pytest.mark.filterwarnings("ignore:lr_scheduler.step")
@pytest.mark.parametrize("name", CASES)
def test_resuming(name):
    opt = make()
    schedule = CASES[name](lr_scheduler, opt)
    for _ in range(5):
        opt.step()
        schedule.step()
    again = make()
    other = CASES[name](lr_scheduler, again)
    other.load_state_dict(schedule.state_dict())
    again.load_state_dict(opt.state_dict())
    for _ in range(4):
        schedule.step()
        other.step()
        assert other.get_last_lr() == schedule.get_last_lr()


def test_plateau():
    opt = make()
    schedule = lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=1, min_lr=0.06)
    rates = []
    for metric in (1.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9):
        schedule.step(torch.tensor(metric))
        rates.append(opt.param_groups[0]["lr"])
    assert rates == [0.1, 0.1, 0.1, 0.06, 0.06, 0.06, 0.06]


def test_order_of_steps_is_watched():
    opt = make()
    schedule = lr_scheduler.StepLR(opt, 2)
    with pytest.warns(UserWarning, match="before optimizer.step"):
        schedule.step()
    opt = make()
    schedule = lr_scheduler.StepLR(opt, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opt.step()
        schedule.step()
    with pytest.warns(UserWarning, match="get_last_lr"):
        schedule.get_lr()


def test_a_users_own_schedule():
    class Halving(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [base * 0.5**self.last_epoch for base in self.base_lrs]

    opt = make()
    schedule = Halving(opt)
    opt.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 0.15]


def test_momentum_goes_the_other_way():
    opt = make()
    schedule = lr_scheduler.OneCycleLR(opt, 1.0, total_steps=10)
    seen = []
    for _ in range(9):
        seen.append((opt.param_groups[0]["lr"], opt.param_groups[0]["momentum"]))
        opt.step()
        schedule.step()
    top = max(range(9), key=lambda i: seen[i][0])
    assert seen[top] == pytest.approx((1.0, 0.85)) and seen[0] == pytest.approx((0.04, 0.95))
    opt.step()
    with pytest.raises(ValueError):
        for _ in range(3):
            schedule.step()


ERRORS = {
    "optimizer": (TypeError, lambda o: lr_scheduler.StepLR(None, 1)),
    "resume": (KeyError, lambda o: lr_scheduler.StepLR(o, 1, last_epoch=3)),
    "factor": (ValueError, lambda o: lr_scheduler.ConstantLR(o, 2.0)),
    "functions": (ValueError, lambda o: lr_scheduler.LambdaLR(o, [abs])),
    "milestones": (ValueError, lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3])),
    "others": (ValueError, lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.StepLR(make(), 1)], o)),
    "abstract": (NotImplementedError, lambda o: lr_scheduler.LRScheduler(o)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    error, call = ERRORS[name]
    with pytest.raises(error):
        call(make())

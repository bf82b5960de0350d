"""Steps that read Python values, and steps that change some, for compiled steps of either engine.

`CHANGED`: programs that return a step and what changes something that it has read. `EFFECTS`: steps that do what a
replay would not do, and what the error says. `SCHEDULED`: schedules that are stepped within the step.
"""

import argparse
import dataclasses
import functools
import itertools
import random
import types

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F

FACTOR = 1.0
OPTIONS = {"factor": 1.0}
HANDLES = []
CONFIG = types.ModuleType("a_program's_configuration")


def scaled(x):
    return x * FACTOR


class Net(nn.Module):
    kind_factor = 1.0

    def __init__(self, device, after=None):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
        self.options = types.SimpleNamespace(factor=1.0)
        self.factors = [1.0, 2.0]
        self._hidden_factor = 1.0
        self.register_buffer("mask", torch.ones(2))
        self.after = after
        self.to(device)

    @property
    def factor(self):
        return self._hidden_factor

    def forward(self, x):
        y = self.net(x)
        return y if self.after is None else self.after(self, y)


def training(model, optimizer=torch.optim.SGD, after=None):
    """A training step of a model; `after` runs at its end."""
    opt = optimizer(model.parameters(), 0.1)

    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        if after is not None:
            after(loss)
        return loss

    step.optimizer = opt
    return step


def set_global():
    global FACTOR
    FACTOR = 2.0


def begin_anew():
    """Sets what programs of this module change."""
    global FACTOR
    FACTOR = 1.0
    while HANDLES:
        HANDLES.pop().remove()
    OPTIONS["factor"] = CONFIG.factor = Net.kind_factor = 1.0


def _model(after):
    def build(device):
        model = Net(device, after)
        return training(model), model

    return build


def _setting(after, change):
    """A program whose model works with a value that `change(model)` changes."""

    def build(device):
        step, model = _model(after)(device)
        return step, lambda: change(model)

    return build


def _closure(device):
    factors, model = {"a": 1.0}, Net(device)
    opt = torch.optim.SGD(model.parameters(), 0.1)

    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x) * factors["a"], y)
        loss.backward()
        opt.step()
        return loss

    return step, lambda: factors.__setitem__("a", 2.0)


def _arguments(device):
    args = argparse.Namespace(factor=1.0)
    return training(Net(device, lambda model, y: y * args.factor)), lambda: setattr(args, "factor", 2.0)


def _slots(device):
    class Options:
        __slots__ = ("factor",)

    options = Options()
    options.factor = 1.0
    return training(Net(device, lambda model, y: y * options.factor)), lambda: setattr(options, "factor", 2.0)


def _dataclass(device):
    @dataclasses.dataclass
    class Options:
        factor: float = 1.0

    step, model = _model(lambda model, y: y * model.chosen.factor)(device)
    model.chosen = Options()
    return step, lambda: setattr(model.chosen, "factor", 2.0)


def _trainer(name, value):
    class Trainer:
        def __init__(self, device):
            self.model, self.loss, self.factor = Net(device), nn.MSELoss(), 1.0
            self.opt = torch.optim.SGD(self.model.parameters(), 0.1)

        def step(self, x, y):
            self.opt.zero_grad()
            loss = self.loss(self.model(x) * self.factor, y)
            loss.backward()
            self.opt.step()
            return loss

    def build(device):
        trainer = Trainer(device)
        return trainer.step, lambda: setattr(trainer, name, value)

    return build


class Descent(torch.optim.Optimizer):
    """A program's own optimizer."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=-group["lr"])


def _own_optimizer(device):
    step = training(Net(device), Descent)
    return step, lambda: step.optimizer.param_groups[0].__setitem__("lr", 0.01)


def _hook(register):
    def build(device):
        step, model = _model(None)(device)
        return step, lambda: register(model, step.optimizer)

    return build


def _everywhere(register):
    """A program whose change adds a hook for all modules or optimizers, which `begin_anew` removes."""

    def build(device):
        return _model(None)(device)[0], lambda: HANDLES.append(register())

    return build


def _removed(device):
    step, model = _model(None)(device)
    return step, model.net[1].register_forward_hook(lambda module, given, y: y * 2).remove


def _halve(optimizer, args, kwargs):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad.mul_(0.5)


def _new_weight(model):
    model.net[0].weight = nn.Parameter(torch.zeros_like(model.net[0].weight))


def _set_forward(model):
    model.forward = lambda x: model.net(x) * 2


CHANGED = {
    "a global": _setting(lambda model, y: y * FACTOR, lambda model: set_global()),
    "a global of a helper": _setting(lambda model, y: scaled(y), lambda model: set_global()),
    "a global dictionary": _setting(lambda m, y: y * OPTIONS["factor"], lambda m: OPTIONS.update(factor=2.0)),
    "a Python module": _setting(lambda model, y: y * CONFIG.factor, lambda model: setattr(CONFIG, "factor", 2.0)),
    "a closure's dictionary": _closure,
    "an argument parser's result": _arguments,
    "slots": _slots,
    "a dataclass": _dataclass,
    "a namespace": _setting(lambda m, y: y * m.options.factor, lambda m: setattr(m.options, "factor", 2.0)),
    "an item of a list": _setting(lambda m, y: y * m.factors[0], lambda m: m.factors.__setitem__(0, 2.0)),
    "the length of a list": _setting(lambda m, y: y * len(m.factors), lambda m: m.factors.append(1.0)),
    "a class attribute": _setting(lambda m, y: y * m.kind_factor, lambda m: setattr(Net, "kind_factor", 2.0)),
    "a class attribute, shadowed": _setting(lambda m, y: y * m.kind_factor, lambda m: setattr(m, "kind_factor", 2.0)),
    "behind a property": _setting(lambda m, y: y * m.factor, lambda m: setattr(m, "_hidden_factor", 2.0)),
    "by name": _setting(
        lambda m, y: y * getattr(m, "_hidden" + "_factor"), lambda m: setattr(m, "_hidden_factor", 2.0)
    ),
    "a partial's function": _setting(
        functools.partial(lambda m, y, k: y * k(), k=lambda: FACTOR), lambda model: set_global()
    ),
    "an attribute of a trainer": _trainer("factor", 2.0),
    "a trainer's loss": _trainer("loss", nn.L1Loss()),
    "an own optimizer's option": _own_optimizer,
    "a buffer": _setting(lambda m, y: y * m.mask, lambda m: setattr(m, "mask", m.mask * 2)),
    "a child": _setting(None, lambda model: model.net.__setitem__(1, nn.ReLU())),
    "a parameter": _setting(None, _new_weight),
    "forward": _setting(None, _set_forward),
    "a forward hook": _hook(lambda model, opt: model.net[1].register_forward_hook(lambda module, given, y: y * 2)),
    "a hook that is removed": _removed,
    "a tensor's hook": _hook(lambda model, opt: model.net[0].weight.register_hook(lambda g: g * 0.5)),
    "a hook of all modules": _everywhere(
        lambda: nn.modules.module.register_module_forward_hook(
            lambda module, given, y: y * 2 if isinstance(module, nn.Tanh) else None
        )
    ),
    "a hook of all optimizers": _everywhere(
        lambda: torch.optim.optimizer.register_optimizer_step_pre_hook(_halve)
    ),
    "an optimizer's hook": _hook(lambda model, opt: opt.register_step_pre_hook(_halve)),
}  # fmt: skip


def _effect(after, model=None):
    """A step with something at its end that gets a place for values and the step's optimizer."""

    def build(device):
        held = types.SimpleNamespace(n=0, seen=[], optimizer=None, total=0.0, tally=np.zeros(2))
        step = training(Net(device, model), after=lambda loss: after(held, loss))
        held.optimizer = step.optimizer
        return step

    return build


def _count(held, loss):
    held.n += 1


def _append(held, loss):
    held.seen.append(held.n)


def _lower(held, loss):
    held.optimizer.param_groups[0]["lr"] *= 0.9


def _lower_and_read(held, loss):
    _lower(held, loss)
    held.total += loss.item()


def _tally(held, loss):
    held.tally[0] += 1


class Scale:
    def __init__(self, n):
        self.n = n


def _swapping(device):
    class Swapping(Net):
        def forward(self, x):
            self.first, self.second = self.second, self.first
            return self.net(x) * self.first.n

    model = Swapping(device)
    model.first, model.second = Scale(1.0), Scale(2.0)
    return training(model)


def _renewing(device):
    class Renewing(Net):
        def forward(self, x):
            self.scale = Scale(self.scale.n + 1.0)
            return self.net(x)

    model = Renewing(device)
    model.scale = Scale(1.0)
    return training(model)


def _counting_hook(device):
    counts = [0]
    step = training(Net(device))

    def hook(optimizer, args, kwargs):
        counts[0] += 1

    step.optimizer.register_step_post_hook(hook)
    return step


def _noting_gradients(device):
    norms, model = [], Net(device)
    model.net[0].weight.register_hook(lambda g: norms.append(g.norm()))
    return training(model)


def _counting_step(device):
    class Counted(torch.optim.SGD):
        n = 0

        def step(self, closure=None):
            self.n += 1
            return super().step(closure)

    return training(Net(device), Counted)


def _toggling(model, y):
    model.options.factor = 3.0 - model.options.factor
    return y


EFFECTS = {
    "a counter": (_effect(_count), r"`n` goes from .*in _count\)"),
    "a list": (_effect(_append), r"entries of `seen` goes from .*in _append\)"),
    "a learning rate": (_effect(_lower), r"`lr` goes from .*in _lower\)"),
    "a learning rate, then a value": (_effect(_lower_and_read), r"can't read a tensor's value .*in _lower_and_read"),
    "a switch": (_effect(lambda held, loss: None, _toggling), r"`factor` goes from .*in _toggling\)"),
    "an optimizer's hook": (_counting_hook, r"goes from .*in hook\)"),
    "a gradient's hook": (_noting_gradients, r"entries of `norms`.*in <lambda>\)"),
    "an optimizer's own step": (_counting_step, r"`n` goes from .*in step\)"),
    "Python's random numbers": (
        _effect(lambda held, loss: None, lambda model, y: y * random.choice((1.0, 1.5))),
        r"random numbers.*in <lambda>\)",
    ),
    "NumPy's random numbers": (
        _effect(lambda held, loss: None, lambda model, y: y * float(np.random.rand())),
        r"random numbers.*in <lambda>\)",
    ),
    "print": (_effect(lambda held, loss: print(end="")), r"can't print.*in <lambda>"),
    "an iterator": (
        _effect(lambda held, loss: None, lambda model, y, counts=itertools.count(): y * (1.0 + next(counts))),
        r"can't take from the count",
    ),
    "a number nobody sees": (
        _effect(lambda held, loss: None, lambda model, y, count=itertools.count().__next__: y * (1.0 + count())),
        "mul",
    ),
    "an array": (_effect(_tally), r"array `tally` changes.*in _tally\)"),
    "objects that change places": (_swapping, r"becomes another object that was there.*in forward\)"),
    "an object with other numbers": (_renewing, r"becomes another .*in forward\)"),
}  # fmt: skip

SCHEDULED = {
    "StepLR": lambda opt: torch.optim.lr_scheduler.StepLR(opt, 2, 0.5),
    "ExponentialLR": lambda opt: torch.optim.lr_scheduler.ExponentialLR(opt, 0.9),
    "CosineAnnealingLR": lambda opt: torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10),
    "OneCycleLR": lambda opt: torch.optim.lr_scheduler.OneCycleLR(opt, 0.5, total_steps=40),
    "LambdaLR": lambda opt: torch.optim.lr_scheduler.LambdaLR(opt, lambda epoch: 1 / (1 + epoch)),
    "SequentialLR": lambda opt: torch.optim.lr_scheduler.SequentialLR(
        opt,
        [torch.optim.lr_scheduler.LinearLR(opt, 0.1, 1, 3), torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10)],
        [3],
    ),
    "ChainedScheduler": lambda opt: torch.optim.lr_scheduler.ChainedScheduler(
        [torch.optim.lr_scheduler.ExponentialLR(opt, 0.9), torch.optim.lr_scheduler.StepLR(opt, 3, 0.5)]
    ),
}


def given(i, device):
    """The i-th batch."""
    generator = torch.Generator().manual_seed(i)
    x, y = torch.randn(8, 4, generator=generator), torch.randn(8, 2, generator=generator)
    return x.to(device), y.to(device)


def losses_of(build, device, compile=None, steps=9, at=5):
    """The losses of a program; its change is made before step `at`."""
    begin_anew()
    torch.manual_seed(0)
    step, change = build(device)
    run = compile(step) if compile else step
    losses = []
    for i in range(steps):
        if i == at:
            change()
        losses.append(run(*given(i, device)).item())
    begin_anew()
    return losses


def scheduled_losses(schedule, optimizer, device, compile=None, steps=14):
    """The losses and the rates of steps that step a schedule too, before and after the optimizer."""
    torch.manual_seed(0)
    model = Net(device)
    opt = getattr(torch.optim, optimizer)(model.parameters(), 0.1)
    schedule_ = schedule(opt)

    def step(x, y):
        opt.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        opt.step()
        schedule_.step()
        return loss

    run = compile(step) if compile else step
    return [(run(*given(i, device)).item(), opt.param_groups[0]["lr"]) for i in range(steps)]


def averaged(kind, device, compile=None, steps=7):
    """Weights of an `AveragedModel` that a step updates, and how many it has taken in."""
    tools = torch.optim.swa_utils
    torch.manual_seed(0)
    model = Net(device)
    options = {
        "mean": {},
        "ema": {"multi_avg_fn": tools.get_ema_multi_avg_fn(0.9)},
        "ema, one by one": {"avg_fn": tools.get_ema_avg_fn(0.9), "use_buffers": True},
    }[kind]
    mean = tools.AveragedModel(model, **options)
    step = training(model, torch.optim.Adam, lambda loss: mean.update_parameters(model))
    run = compile(step) if compile else step
    for i in range(steps):
        run(*given(i, device))
    return [*(p.detach().cpu().numpy() for p in mean.module.parameters()), mean.n_averaged.numpy()]

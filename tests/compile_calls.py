"""Ways of calling compiled functions, and what they leave behind: for compiled steps of either engine.

Each program takes `compile` and returns what is called with 0, 1, ...; what that returns must be eager's.
"""

import collections
import dataclasses

import numpy as np

import flambeau as torch
from flambeau import nn, optim


def x(i):
    return torch.full((3,), i + 1.0)


class Place:
    """Something with attributes."""


def keywords(compile):
    @compile
    def step(x, scale=1.0):
        return x * scale

    return lambda i: (step(x(i), scale=3.0) if i < 5 else step(x(i))).tolist()


def results_made_of_a_loss(compile):
    """Of which nobody can go backward any more."""
    model = nn.Linear(3, 1)

    @compile
    def step(x):
        model.zero_grad()
        loss = model(x).square().mean() / 4
        loss.backward()
        return loss * 4, loss + model.weight.sum(), (loss * loss).exp()

    return lambda i: [t.tolist() for t in (*step(x(i)), model.weight.grad)]


def tensors_by_keyword(compile):
    @compile
    def step(x, mask=None):
        return x * 1 if mask is None else x * mask

    return lambda i: (step(x(i), mask=x(1)) if i % 2 else step(x(i))).tolist()


def method_of_a_module(compile):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.k = 2.0

        @compile
        def forward(self, x):
            return x * self.k * (2 if self.training else 1)

    modules = Scaled(), Scaled()

    def call(i):
        if i == 5:
            modules[0].eval()
        if i == 7:
            modules[1].k = 0.5
        return [m(x(i)).tolist() for m in modules]

    return call


def method_of_a_trainer(compile):
    class Trainer:
        def __init__(self):
            self.model = nn.Linear(3, 1)
            self.opt = optim.SGD(self.model.parameters(), 0.01)
            self.mean = torch.zeros(1)

        @compile
        def step(self, x):
            self.opt.zero_grad()
            loss = self.model(x).square().sum()
            loss.backward()
            self.opt.step()
            self.mean = self.mean * 0.5 + loss.detach()
            return self.mean

    trainer = Trainer()

    def call(i):
        if i == 5:
            trainer.opt = optim.SGD(trainer.model.parameters(), 0.001)
        return trainer.step(x(i)).tolist()

    return call


def objects_as_arguments(compile):
    model = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 1))
    opt = optim.SGD(model.parameters(), 0.01)

    @compile
    def step(model, opt, x):
        opt.zero_grad()
        loss = model(x).square().sum()
        loss.backward()
        opt.step()
        return loss

    def call(i):
        if i == 4:
            model.eval()
        if i == 7:
            model[0].weight.requires_grad_(False)
        return step(model, opt, x(i)).item()

    return call


def configurations_as_arguments(compile):
    @dataclasses.dataclass
    class Options:
        k: float

    options = Options(1.0)

    @compile
    def step(x, options):
        return x * options.k

    def call(i):
        if i == 5:
            options.k = 7.0
        return step(x(i), options).tolist()

    return call


def dataclasses_of_tensors(compile):
    @dataclasses.dataclass
    class Batch:
        x: object
        k: float

    @dataclasses.dataclass
    class Results:
        loss: object
        twice: object

    @compile
    def step(batch):
        return Results((batch.x * batch.k).sum(), batch.x * 2)

    kept = []

    def call(i):
        kept.append(step(Batch(x(i), float(i // 4))))
        return [(type(r).__name__, r.loss.item(), r.twice.tolist()) for r in kept]

    return call


def arrays_as_arguments(compile):
    array = np.ones(2)

    @compile
    def step(x, a, b):
        return x * float(a[0]) + float(b[1])

    def call(i):
        if i == 6:
            array[:] = 5
        return step(x(0), np.full(2, float(i // 4)), array).tolist()

    return call


def arrays_behind_a_step(compile):
    array = np.zeros(2)

    @compile
    def step(x):
        return x * float(array[1]) + torch.tensor(array)[1]

    def call(i):
        if i == 5:
            array[1] = 4
        return step(x(i)).tolist()

    return call


def ordered_results(compile):
    @compile
    def step(x):
        return collections.OrderedDict(a=x * 2, b=[x + 1])

    return lambda i: (type(found := step(x(i))).__name__, found["a"].tolist(), found["b"][0].tolist())


def gradients_that_are_replaced(compile):
    model = nn.Linear(3, 1, bias=False)
    step = compile(lambda x: model(x).sum().backward())

    def call(i):
        if i in (3, 6):
            model.weight.grad = torch.ones(1, 3)
        step(torch.ones(2, 3))
        return model.weight.grad.tolist()

    return call


def an_optimizer_alone(compile):
    model = nn.Linear(3, 1)
    opt = optim.Adam(model.parameters(), 0.1)
    schedule = optim.lr_scheduler.StepLR(opt, 3, 0.5)

    @compile
    def update():
        opt.step()
        schedule.step()

    def call(i):
        opt.zero_grad()
        model(x(i)).square().sum().backward()
        if i % 2:
            model.weight.grad = model.weight.grad * 0.5
        update()
        return model.weight.tolist()

    return call


def tensors_handed_on(compile):
    place = Place()
    place.h = torch.zeros(3)

    @compile
    def step(x):
        old = place.h
        place.h = x * 2
        return old

    return lambda i: step(x(i)).tolist()


def tensors_that_change_places(compile):
    place = Place()
    place.a, place.b = torch.zeros(3), torch.ones(3)

    @compile
    def step(x):
        place.a, place.b = place.b, place.a * 0.5 + x
        return place.a * 1

    return lambda i: step(x(i)).tolist()


def a_shift_register(compile):
    place = Place()
    place.one, place.two = torch.zeros(3), torch.ones(3)

    @compile
    def step(x):
        y = place.two + x
        place.two = place.one
        place.one = x * 1
        return y

    return lambda i: step(x(i)).tolist()


def a_queue(compile):
    queue = collections.deque([torch.zeros(3), torch.ones(3)], maxlen=2)

    @compile
    def step(x):
        queue.append(queue[0] * 0.5 + x)
        return queue[1] * 1

    return lambda i: step(x(i)).tolist()


def an_argument_that_is_kept(compile):
    place = Place()
    place.before, given = torch.zeros(3), x(0)

    @compile
    def step(x):
        difference = x - place.before
        place.before = x
        return difference

    def call(i):
        given.add_(1.0)
        return step(given).tolist(), place.before is given

    return call


def a_history_of_what_is_left(compile):
    place, history = Place(), []
    place.last = None

    @compile
    def step(x):
        total = x.sum()
        place.last = total.detach()
        return total

    def call(i):
        step(x(i))
        history.append(place.last)
        return [t.item() for t in history]

    return call


def attributes_that_come_up(compile):
    class Base:
        scale = 1.0

        def f(self, x):
            return x

    class Derived(Base):
        pass

    place = Derived()
    step = compile(lambda x: place.f(x) * place.scale * (2 if hasattr(place, "extra") else 1))

    def call(i):
        if i == 3:
            Derived.scale = 5.0
        if i == 5:
            place.scale = 7.0
        if i == 7:
            place.extra = 1
        if i == 9:
            place.f = lambda x: x * 2
        if i == 11:
            del place.f
            Base.f = lambda self, x: x * 3
        return step(x(i)).tolist()

    return call


def far_down(compile):
    place = Place()
    place.k = 1.0
    functions = [lambda x: x * place.k]
    for _ in range(20):
        functions.append(lambda x, f=functions[-1]: f(x))

    step = compile(functions[-1])

    def call(i):
        if i == 5:
            place.k = 3.0
        return step(x(i)).tolist()

    return call


def checkpoints_with_dropout(compile):
    from flambeau.utils.checkpoint import checkpoint

    model = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
    opt = optim.SGD(model.parameters(), 0.01)

    @compile
    def step(x):
        opt.zero_grad()
        loss = checkpoint(model, x, use_reentrant=False).square().sum()
        loss.backward()
        opt.step()
        return loss

    return lambda i: (step(x(i)).item(), model[0].weight.tolist())


def attributes_of_a_compiled_module(compile):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.k, self.h = 1.0, torch.zeros(3)

        def forward(self, x):
            self.h = self.h * 0.5 + x
            return self.h * self.k

    model = compile(Scaled())

    def call(i):
        if i == 5:
            model.k = 2.0
        if i == 7:
            model.h = torch.zeros(3)
        return model(x(i)).tolist()

    return call


CALLS = [
    keywords, results_made_of_a_loss, tensors_by_keyword, method_of_a_module, method_of_a_trainer, objects_as_arguments,
    configurations_as_arguments, dataclasses_of_tensors, arrays_as_arguments, arrays_behind_a_step, ordered_results,
    gradients_that_are_replaced, an_optimizer_alone, tensors_handed_on, tensors_that_change_places, a_shift_register,
    a_queue, an_argument_that_is_kept, a_history_of_what_is_left, attributes_that_come_up, far_down,
    checkpoints_with_dropout, attributes_of_a_compiled_module,
]  # fmt: skip


def found_by(program, compile=lambda f: f, times=13):
    """What a program gives at each call."""
    torch.manual_seed(0)
    call = program(compile)
    return [call(i) for i in range(times)]


def same(one, two, rtol):
    """Raises AssertionError unless two results agree."""
    if isinstance(one, (list, tuple)):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            same(a, b, rtol)
    elif isinstance(one, float):
        np.testing.assert_allclose(two, one, rtol=rtol, atol=rtol)
    else:
        assert one == two

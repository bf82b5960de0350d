"""Training programs that are run as they are and compiled, by whichever engine: what they leave must be the same."""

import threading

import numpy as np

import flambeau as torch
from flambeau import nn
from flambeau.nn import functional as F


class Net(nn.Module):
    def __init__(self, p=0.0, norm=False):
        super().__init__()
        # in front of a norm a bias has no gradient but rounding, which is not the same twice
        self.a, self.b = nn.Linear(10, 32, bias=not norm), nn.Linear(32, 4)
        self.norm = nn.BatchNorm1d(32) if norm else nn.Identity()
        self.drop = nn.Dropout(p)

    def forward(self, x):
        return self.b(self.drop(F.gelu(self.norm(self.a(x)))))


def batches(n=8, size=16):
    torch.manual_seed(1)
    return [(torch.randn(size, 10), torch.randint(0, 4, (size,))) for _ in range(n)]


def train(compile=None, device="cpu", optimizer="Adam", p=0.0, norm=False, clip=False, schedule=False, accumulate=1,
          average=False, freeze=False, evaluate=False, module=False, sizes=(16,), steps=24, **options):  # fmt: skip
    """Numbers that a training run leaves: losses, weights, buffers. The same program with and without `compile`."""
    torch.manual_seed(0)
    model = Net(p, norm).to(device)
    opt = getattr(torch.optim, optimizer)(model.parameters(), **{"lr": 1e-2, **options})
    schedule_ = torch.optim.lr_scheduler.StepLR(opt, 3, 0.5)
    mean = [q.detach().clone() for q in model.parameters()]
    forward = compile(model) if compile and module else model

    def accumulated(x, y):
        loss = F.cross_entropy(forward(x), y) / accumulate
        loss.backward()
        return loss

    def update():
        opt.step()
        opt.zero_grad()

    def step(x, y):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        size = nn.utils.clip_grad_norm_(model.parameters(), 0.5) if clip else torch.zeros((), device=device)
        opt.step()
        if average:
            with torch.no_grad():
                for m, q in zip(mean, model.parameters()):
                    m.mul_(0.9).add_(q, alpha=0.1)
        return loss, size

    def measure(x, y):
        with torch.no_grad():
            return F.cross_entropy(model(x), y)

    made = []
    if compile and not module:
        made = [compile(f) for f in (accumulated, update, step, measure)]
        accumulated, update, step, measure = made
    numbers = []
    sets = [batches(size=size) for size in sizes]
    for i in range(steps):
        x, y = (t.to(device) for t in sets[i % len(sets)][i % 8])
        if freeze and i == steps // 2:
            model.a.requires_grad_(False)
            model.a.weight.grad = model.a.bias.grad = None
        if accumulate > 1 or module:
            numbers.append(accumulated(x, y).item())
            if (i + 1) % accumulate == 0:
                update()
        else:
            numbers += [t.item() for t in step(x, y)]
        if evaluate and i % 3 == 2:
            model.eval()
            numbers.append(measure(x, y).item())
            model.train()
        if schedule:
            schedule_.step()
    for t in (*model.parameters(), *model.buffers(), *mean):
        numbers.append(t.detach().double().sum().item())
    train.compiled = made if not module or not compile else [forward._compiled]
    return np.array(numbers)


#: How they train.
HOWS = [
    dict(),
    dict(optimizer="SGD", momentum=0.9),
    dict(optimizer="AdamW", weight_decay=0.1, amsgrad=True),
    dict(optimizer="RMSprop", centered=True),
    dict(optimizer="Adagrad"),
    dict(optimizer="NAdam"),
    dict(optimizer="Adamax"),
    dict(optimizer="RAdam"),
    dict(optimizer="Adadelta"),
    dict(optimizer="ASGD"),
    dict(optimizer="Rprop"),
    dict(p=0.3),
    dict(norm=True),
    dict(clip=True),
    dict(schedule=True),
    dict(accumulate=3),
    dict(average=True),
    dict(freeze=True),
    dict(evaluate=True, norm=True, p=0.2),
    dict(sizes=(16, 8)),
    dict(module=True, p=0.1, norm=True),
    dict(module=True, accumulate=2),
]


def name_of(how):
    """A name for a way to train."""
    return ", ".join(f"{k}={v}" for k, v in how.items()) or "plain"


def in_threads(work, count):
    """`work(i)` for each i below `count`, each in a thread of its own, all at once."""
    threads = [threading.Thread(target=work, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

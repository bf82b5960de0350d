"""What compiled steps leave behind, and what they find: attributes, scaled losses, optimizers that look at values."""

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.errors import CaptureError
from flambeau.nn import functional as F
from tests.optimizer_interruptions import INTERRUPTIONS, trained
from tests.xla.test_compile import by_xla, programs

DEVICES = pytest.mark.parametrize("device", ["xla", "cpu"])


@DEVICES
def test_tensors_that_a_step_leaves_in_attributes(device):
    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.last = None

        def forward(self, x):
            y = self.layer(x)
            self.last = y.detach() * 2
            return y

    module = Noting().to(device)
    compiled = by_xla(module)
    for i in range(6):
        y = compiled(torch.full((2, 3), float(i), device=device))
        assert torch.equal(module.last, y.detach() * 2) and module.last.device == y.device
    assert programs(compiled._compiled) == 1


@DEVICES
def test_a_tensor_that_is_read_and_replaced_goes_from_step_to_step(device):
    class Decaying(nn.Module):
        def __init__(self):
            super().__init__()
            self.h = torch.zeros(2, device=device)
            self.register_buffer("mean", torch.zeros((), device=device))

        def forward(self, x):
            self.h = self.h * 0.5 + x
            self.mean = 0.5 * self.mean + 0.5 * self.h.mean()
            return self.h * 2 + self.mean

    def run(compile):
        module, kept = Decaying(), []
        forward = compile(module)
        found = [forward(torch.ones(2, device=device))[0].item() for _ in range(7) if kept.append(module.h) is None]
        return found, [h[0].item() for h in kept], module.mean.item()

    assert run(by_xla) == run(lambda module: module)


@DEVICES
def test_one_pack_of_gradients_for_programs_that_take_turns(device):
    """Gradients begun by one program, added to by another, used by a third."""

    def run(compile, device):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)).to(device)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)

        def add(x):
            loss = model(x).square().sum()
            loss.backward()
            return loss

        def update():
            optimizer.step()
            optimizer.zero_grad()

        add, update = compile(add), compile(update)
        found = []
        for i in range(18):
            found.append(add(torch.randn(5, 4).to(device)).item())
            if i % 2:  # also looked at
                found += [p.grad.sum().item() for p in model.parameters()]
            if i % 3 == 2:
                update()
        return found

    np.testing.assert_allclose(run(by_xla, device), run(lambda f: f, "cpu"), 2e-5, 1e-6)


def scaled(compile, device, optimizer):
    """What a training with scaled losses leaves, some of whose steps overflow."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).to(device)
    optimizer = getattr(torch.optim, optimizer)(model.parameters(), lr=1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**17, growth_interval=3)
    factor = torch.ones((), device=device)

    @compile
    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        scaler.scale(loss * factor).backward()
        scaler.unscale_(optimizer)
        norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss, norm

    found = []
    for i in range(14):
        factor.fill_(float("inf") if i in (0, 1, 5, 6, 10) else 1.0)
        loss, norm = step(torch.randn(8, 3).to(device), torch.randn(8, 1).to(device))
        count = optimizer.state[model[0].weight].get("step", torch.zeros(()))
        found.append([
            loss.item(), norm.item() if np.isfinite(norm.item()) else -1.0, scaler.get_scale(),
            scaler.state_dict()["_growth_tracker"], count.item(), *(p.sum().item() for p in model.parameters()),
        ])  # fmt: skip
    return found, step


@DEVICES
@pytest.mark.parametrize("optimizer", ["AdamW", "SGD"])
def test_scaled_losses(device, optimizer):
    want, _ = scaled(lambda f: f, "cpu", optimizer)
    have, step = scaled(by_xla, device, optimizer)
    np.testing.assert_allclose(have, want, 1e-5, 1e-6)
    assert programs(step) == 1
    assert len({tuple(row[2:4]) for row in want}) > 3  # the scale grew and shrank


def test_scaled_losses_whose_scale_is_set_outside():
    w = nn.Parameter(torch.ones(2, device="xla"))
    optimizer, scaler = torch.optim.SGD([w], 0.1), torch.amp.GradScaler("cpu")

    @by_xla
    def step():
        scaler.scale((w * w).sum()).backward()
        scaler.step(optimizer)

    with pytest.raises(CaptureError, match=r"call update\(\) in the compiled function too"):
        for _ in range(3):
            step()
            scaler.update()


@DEVICES
def test_lbfgs_takes_a_compiled_closure(device):
    def run(compile, device, whole=False):
        torch.manual_seed(0)
        model = nn.Linear(3, 1).to(device)
        x, y = torch.randn(8, 3).to(device), torch.randn(8, 1).to(device)
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")

        def closure():
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            return loss

        if whole:
            return compile(lambda: optimizer.step(closure))
        closure = compile(closure)
        return [optimizer.step(closure).item() for _ in range(5)]

    np.testing.assert_allclose(run(by_xla, device), run(lambda f: f, "cpu"), 1e-4, 1e-6)
    refused = run(by_xla, device, whole=True)
    with pytest.raises(CaptureError, match=r"closure = torch.compile\(closure\)"):
        for _ in range(3):
            refused()


@DEVICES
@pytest.mark.parametrize("name", ["Adam", "AdamW", "RAdam", "NAdam"])
def test_a_number_that_becomes_one_is_no_other_program(name, device):
    """After many steps nothing is left of Adam's correction of young means: its factor is 1 to the last digit."""

    def losses(compile, device):
        torch.manual_seed(0)
        net = nn.Linear(3, 2).to(device)
        optimizer = getattr(torch.optim, name)(net.parameters(), lr=0.01)
        x = torch.randn(4, 3).to(device)

        @compile
        def step(x):
            optimizer.zero_grad()
            loss = net(x).square().mean()
            loss.backward()
            optimizer.step()
            return loss

        found = []
        for i in range(12):
            if i == 6:
                for state in optimizer.state.values():
                    state["step"].fill_(50_000)
            found.append(step(x).item())
        return found, step

    (want, _), (have, step) = losses(lambda f: f, "cpu"), losses(by_xla, device)
    np.testing.assert_allclose(have, want, 1e-5)
    assert programs(step) == 1 + (name == "RAdam")  # whose warm-up is over


def test_gradients_that_another_program_packs():
    """What a program writes by itself may lie in a pack of another one's meanwhile."""
    torch.manual_seed(0)

    def values(compile, device):
        w = nn.Parameter(torch.ones(3, device=device))
        scale = nn.Parameter(torch.full((3,), 2.0, device=device), requires_grad=False)

        @compile
        def back(x):
            w.grad = None
            (w * x).sum().backward()

        @compile
        def read():
            return w.grad * scale

        found = []
        for i in range(8):
            back(torch.full((3,), float(i), device=device))
            found.append(read().tolist())
        return found

    assert values(by_xla, "xla") == values(lambda f: f, "cpu")


@pytest.mark.parametrize("name, what", [
    *(("Adam", what) for what in INTERRUPTIONS),
    *((name, what) for name in ("SGD", "RAdam", "NAdam", "ASGD") for what in ("learning rate", "saved and loaded")),
])  # fmt: skip
def test_numbers_known_ahead_give_way_to_what_happens(name, what):
    """An update's numbers are computed for many steps at once, until something changes."""

    def make(net):
        more = {"momentum": 0.9} if name == "SGD" else {}
        return getattr(torch.optim, name)(net.parameters(), lr=0.01, **more)

    def between(turn, optimizer, net):
        if turn in (20, 85):
            INTERRUPTIONS[what](optimizer, net)

    sides = [trained(compile, device, make, between, 90) for compile, device in ((lambda f: f, "cpu"), (by_xla, "xla"))]
    (want, counts), (have, mine) = sides
    np.testing.assert_allclose(have, want, 2e-5)
    assert mine == counts


@pytest.mark.parametrize("compile", [by_xla, torch.compile])
def test_a_group_that_joins(compile):
    def losses(compile, device):
        def make(net):
            return torch.optim.AdamW(net[0].parameters(), lr=0.01)

        def between(turn, optimizer, net):
            if turn == 12:
                optimizer.add_param_group({"params": net[2].parameters(), "lr": 0.02})

        return trained(compile, device, make, between, 30)

    (want, counts), (have, mine) = losses(lambda f: f, "cpu"), losses(compile, "xla")
    np.testing.assert_allclose(have, want, 2e-5)
    assert mine == counts == [30, 30, 18, 18]


def test_arguments_on_another_device_are_another_program():
    compiled = by_xla(lambda a: a * 2 + 1)
    for device in ("xla", "cpu", "xla", "cpu"):
        for _ in range(3):
            found = compiled(torch.arange(3.0).to(device))
            assert found.device.type == device and found.tolist() == [1.0, 3.0, 5.0]


def test_three_steps_in_one_of_which_the_last_takes_another_course():
    """Counts are taken back in the order in which they were made, backwards."""

    def losses(compile, device):
        torch.manual_seed(0)
        w = torch.nn.Parameter(torch.ones(3).to(device))
        optimizer = torch.optim.RAdam([w], lr=0.1, betas=(0.9, 0.68))

        @compile
        def step():
            for _ in range(3):
                optimizer.zero_grad()
                loss = (w * w).sum()
                loss.backward()
                optimizer.step()
            return loss

        return [step().item() for _ in range(12)], optimizer.state[w]["step"].item()

    (want, count), (have, mine) = losses(lambda f: f, "cpu"), losses(by_xla, "xla")
    np.testing.assert_allclose(have, want, 2e-5)
    assert mine == count

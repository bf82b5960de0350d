"""A training step whose optimizer is meddled with between its calls."""

import flambeau as torch
from flambeau import nn


def _with_lists(group):
    """Betas in a list, which is changed in place the next time."""
    if isinstance(group["betas"], tuple):
        group["betas"] = list(group["betas"])
    else:
        group["betas"][0] = 0.5


INTERRUPTIONS = {
    "learning rate": lambda optimizer, net: optimizer.param_groups[0].update(lr=0.002),
    "weight decay": lambda optimizer, net: optimizer.param_groups[0].update(weight_decay=0.1),
    "betas in a list": lambda optimizer, net: _with_lists(optimizer.param_groups[0]),
    "maximize": lambda optimizer, net: optimizer.param_groups[0].update(maximize=True),
    "count": lambda optimizer, net: [s["step"].fill_(3.0) for s in optimizer.state.values() if "step" in s],
    "another count": lambda optimizer, net: [s.update(step=torch.tensor(3.0)) for s in optimizer.state.values()],
    "another list": lambda optimizer, net: optimizer.param_groups[0].update(params=list(net.parameters())),
    "saved and loaded": lambda optimizer, net: optimizer.load_state_dict(optimizer.state_dict()),
    "a step outside": lambda optimizer, net: optimizer.step(),
    "count of one": lambda optimizer, net: optimizer.state[net[2].weight]["step"].fill_(3.0),
    "count of the first": lambda optimizer, net: optimizer.state[net[0].weight].update(step=torch.tensor(3.0)),
    "moments of the first": lambda optimizer, net: optimizer.state[net[0].weight].update(
        {n: torch.zeros_like(v) for n, v in optimizer.state[net[0].weight].items() if v.dim()}
    ),
    "cleared": lambda optimizer, net: optimizer.state.clear(),
    "thawed": lambda optimizer, net: net[0].bias.requires_grad_(not net[0].bias.requires_grad),
    "frozen": lambda optimizer, net: net[0].bias.requires_grad_(False),
}


def trained(compile, device, make, between, steps):
    """The losses of training a small net, and the optimizer's counts after it.

    `make(net)` is the optimizer; `between(turn, optimizer, net)` is called before each step.
    """
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(device)
    optimizer = make(net)
    x = torch.randn(4, 3).to(device)

    @compile
    def step(x):
        optimizer.zero_grad()
        loss = (net(x) - 1).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    found = []
    for turn in range(steps):
        between(turn, optimizer, net)
        found.append(step(x).item())
    return found, [s["step"].item() for s in optimizer.state.values() if "step" in s]

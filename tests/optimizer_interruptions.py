"""What a program may do to its optimizer between the steps of a compiled training step."""

import flambeau as torch


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
    "frozen": lambda optimizer, net: net[0].bias.requires_grad_(False),
}

"""A critic with a penalty on its gradient's length: gradients of gradients; spectral norms; a second optimizer."""

import torch
import torch.nn as nn
from torch import autograd
from torch.autograd import Variable

torch.manual_seed(10)
generator = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 2))
critic = nn.Sequential(
    nn.Linear(2, 16), nn.Softplus(), nn.utils.spectral_norm(nn.Linear(16, 16)), nn.ELU(), nn.Linear(16, 1)
)
optimizer_G = torch.optim.RMSprop(generator.parameters(), lr=1e-3)
optimizer_D = torch.optim.Adam(critic.parameters(), lr=2e-3, betas=(0.0, 0.9), amsgrad=True)


def compute_gradient_penalty(D, real, fake):
    alpha = torch.rand(real.size(0), 1)
    between = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    scores = D(between)
    gradients = autograd.grad(outputs=scores, inputs=between, grad_outputs=torch.ones_like(scores), create_graph=True,
                              retain_graph=True, only_inputs=True)[0]  # fmt: skip
    return ((gradients.view(gradients.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()


angle = torch.rand(64) * 6.2832
data = torch.stack([angle.cos(), angle.sin()], 1)
for step in range(12):
    real = Variable(data[torch.randint(0, 64, (32,))].type(torch.FloatTensor))
    optimizer_D.zero_grad()
    fake = generator(torch.randn(32, 4))
    penalty = compute_gradient_penalty(critic, real.data, fake.data)
    d_loss = -critic(real).mean() + critic(fake.detach()).mean() + 10 * penalty
    d_loss.backward()
    optimizer_D.step()
    if step % 3 == 0:
        optimizer_G.zero_grad()
        g_loss = -critic(generator(torch.randn(32, 4))).mean()
        g_loss.backward()
        optimizer_G.step()
        print("[D loss: %.4f] [G loss: %.4f] [penalty: %.4f]" % (d_loss.item(), g_loss.item(), penalty.item()))
hessian = autograd.functional.hessian(lambda x: critic(x).sum(), data[0])
print(hessian.shape, f"{hessian.norm().item():.4f}")

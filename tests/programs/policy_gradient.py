"""REINFORCE and actor-critic on a pole that must be balanced, with distributions and a baseline."""

import collections
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical, Normal

SavedAction = collections.namedtuple("SavedAction", ["log_prob", "value"])
eps = np.finfo(np.float32).eps.item()


class Pole:
    """A cart with a pole, by Euler's method; states are position, speed, angle, turning speed."""

    def reset(self, seed):
        self.state = np.random.RandomState(seed).uniform(-0.05, 0.05, 4)
        return self.state.astype(np.float32)

    def step(self, action):
        x, v, angle, turn = self.state
        force = 10.0 if action == 1 else -10.0
        pushed = (force + 0.05 * turn**2 * math.sin(angle)) / 1.1
        turned = (9.8 * math.sin(angle) - math.cos(angle) * pushed) / (0.5 * (4 / 3 - 0.1 * math.cos(angle) ** 2 / 1.1))
        moved = pushed - 0.05 * turned * math.cos(angle) / 1.1
        self.state = np.array([x + 0.02 * v, v + 0.02 * moved, angle + 0.02 * turn, turn + 0.02 * turned])
        return self.state.astype(np.float32), 1.0, abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.21


class Policy(nn.Module):
    def __init__(self, critic):
        super().__init__()
        self.affine1 = nn.Linear(4, 16)
        self.dropout = nn.Dropout(p=0.0 if critic else 0.1)
        self.action_head = nn.Linear(16, 2)
        self.value_head = nn.Linear(16, 1) if critic else None
        self.saved_actions, self.rewards = [], []

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x) if self.value_head else None


def finish_episode(policy, optimizer):
    R, returns = 0, collections.deque()
    for r in policy.rewards[::-1]:
        R = r + 0.99 * R
        returns.appendleft(R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    losses = []
    for (log_prob, value), R in zip(policy.saved_actions, returns):
        if value is None:
            losses.append(-log_prob * R)
        else:
            losses.append(-log_prob * (R - value.item()) + F.smooth_l1_loss(value, R.reshape(1)))
    optimizer.zero_grad()
    loss = torch.stack([one.sum() for one in losses]).sum()
    loss.backward()
    optimizer.step()
    del policy.rewards[:], policy.saved_actions[:]
    return loss.item()


for critic in (False, True):
    torch.manual_seed(543)
    env, policy, running = Pole(), Policy(critic), 10
    optimizer = optim.Adam(policy.parameters(), lr=1e-2)
    for episode in range(6):
        state, total = env.reset(episode), 0
        for _ in range(60):
            probs, value = policy(torch.from_numpy(state).unsqueeze(0))
            m = Categorical(probs)
            action = m.sample()
            policy.saved_actions.append(SavedAction(m.log_prob(action), None if value is None else value[0]))
            state, reward, done = env.step(action.item())
            policy.rewards.append(reward)
            total += reward
            if done:
                break
        running = 0.05 * total + 0.95 * running
        loss = finish_episode(policy, optimizer)
        print(f"Episode {episode}\tLast reward: {total:.2f}\tAverage reward: {running:.2f}\tloss {loss:.3f}")

torch.manual_seed(1)
mean, log_std = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
ascent = optim.SGD([mean, log_std], lr=0.05)
for step in range(5):
    d = Normal(mean, log_std.exp())
    action = d.sample((64,))
    gain = -((action - torch.tensor([1.0, -0.5])) ** 2).sum(-1)
    loss = -(d.log_prob(action).sum(-1) * (gain - gain.mean())).mean() - 0.01 * d.entropy().sum()
    ascent.zero_grad()
    loss.backward()
    ascent.step()
    print(f"step {step} gain {gain.mean():.4f} mean {mean.tolist()[0]:.4f} {mean.tolist()[1]:.4f}")

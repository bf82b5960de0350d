"""Acting by learned values: a pole balanced by a network that learns from a memory of what it did, and a slow twin."""

import math
import random
from collections import deque, namedtuple
from itertools import count

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class Pole:
    """The cart and pole of Barto, Sutton and Anderson 1983."""

    def reset(self):
        self.state, self.steps = np.random.uniform(-0.05, 0.05, 4), 0
        return self.state.astype(np.float32)

    def step(self, action):
        x, v, angle, turn = self.state
        sine, cosine = math.sin(angle), math.cos(angle)
        push = ((10.0 if action == 1 else -10.0) + 0.05 * turn**2 * sine) / 1.1
        bend = (9.8 * sine - cosine * push) / (0.5 * (4 / 3 - 0.1 * cosine**2 / 1.1))
        speed = push - 0.05 * bend * cosine / 1.1
        self.state = self.state + 0.02 * np.array([v, speed, turn, bend])
        self.steps += 1
        over = abs(self.state[0]) > 2.4 or abs(self.state[2]) > 0.2095
        return self.state.astype(np.float32), 1.0, bool(over), self.steps >= 50


class Memory:
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, size):
        return random.sample(self.memory, size)

    def __len__(self):
        return len(self.memory)


class Values(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Linear(4, 64)
        self.layer2 = nn.Linear(64, 64)
        self.layer3 = nn.Linear(64, 2)

    def forward(self, x):
        return self.layer3(F.relu(self.layer2(F.relu(self.layer1(x)))))


def learn(policy, twin, memory, optimizer, size=24, gamma=0.99):
    if len(memory) < size:
        return None
    batch = Transition(*zip(*memory.sample(size), strict=True))
    alive = torch.tensor(tuple(s is not None for s in batch.next_state), dtype=torch.bool)
    values = policy(torch.cat(batch.state)).gather(1, torch.cat(batch.action))
    following = torch.zeros(size)
    with torch.no_grad():
        following[alive] = twin(torch.cat([s for s in batch.next_state if s is not None])).max(1).values
    loss = nn.SmoothL1Loss()(values, (following * gamma + torch.cat(batch.reward)).unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy.parameters(), 100)
    optimizer.step()
    return loss.item()


def main():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    env, memory, taken = Pole(), Memory(1000), 0
    policy, twin = Values(), Values()
    twin.load_state_dict(policy.state_dict())
    optimizer = optim.AdamW(policy.parameters(), lr=1e-3, amsgrad=True)
    for episode in range(8):
        state, loss = torch.from_numpy(env.reset()).unsqueeze(0), None
        for t in count(1):
            explore = random.random() < 0.05 + 0.85 * math.exp(-taken / 60)
            taken += 1
            if explore:
                action = torch.tensor([[random.randrange(2)]], dtype=torch.long)
            else:
                with torch.no_grad():
                    action = policy(state).max(1).indices.view(1, 1)
            seen, reward, over, cut = env.step(action.item())
            following = None if over else torch.tensor(seen).unsqueeze(0)
            memory.push(state, action, following, torch.tensor([reward]))
            state = following
            loss = learn(policy, twin, memory, optimizer)
            mine, theirs = policy.state_dict(), twin.state_dict()
            for key in mine:
                theirs[key] = mine[key] * 0.05 + theirs[key] * 0.95
            twin.load_state_dict(theirs)
            if over or cut:
                print(f"episode {episode}: {t} steps, loss {'-' if loss is None else f'{loss:.4f}'}")
                break


if __name__ == "__main__":
    main()

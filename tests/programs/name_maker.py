"""New names from old ones, letter by letter: a table of pairs, a perceptron, and a recurrent network by hand."""

from dataclasses import dataclass

import torch
import torch.nn as nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

NAMES = "anna emma olivia ava isabella sophia charlotte mia amelia harper evelyn abigail emily ella elizabeth".split()


@dataclass
class ModelConfig:
    block_size: int = 10
    vocab_size: int = 27
    n_embd: int = 8
    n_embd2: int = 12


class Names(Dataset):
    def __init__(self, words, chars):
        self.words, self.stoi, self.length = words, {c: i + 1 for i, c in enumerate(chars)}, max(map(len, words))

    def __len__(self):
        return len(self.words)

    def __getitem__(self, i):
        ids = torch.tensor([self.stoi[c] for c in self.words[i]], dtype=torch.long)
        x, y = torch.zeros(self.length + 1, dtype=torch.long), torch.zeros(self.length + 1, dtype=torch.long)
        x[1 : 1 + len(ids)] = ids
        y[: len(ids)] = ids
        y[len(ids) + 1 :] = -1
        return x, y


class Bigram(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(config.vocab_size, config.vocab_size))

    def forward(self, idx):
        return self.logits[idx]


class MLP(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.wte = config, nn.Embedding(config.vocab_size + 1, config.n_embd)
        self.mlp = nn.Sequential(
            nn.Linear(config.block_size * config.n_embd, config.n_embd2), nn.Tanh(),
            nn.Linear(config.n_embd2, config.vocab_size),
        )  # fmt: skip

    def forward(self, idx):
        embs = []
        for _ in range(self.config.block_size):
            embs.append(self.wte(idx))
            idx = torch.roll(idx, 1, 1)
            idx[:, 0] = self.config.vocab_size
        return self.mlp(torch.cat(embs, -1))


class Recurrent(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, config.n_embd2))
        self.wte = nn.Embedding(config.vocab_size, config.n_embd)
        self.gates = nn.Linear(config.n_embd + config.n_embd2, 2 * config.n_embd2)
        self.new = nn.Linear(config.n_embd + config.n_embd2, config.n_embd2)
        self.lm_head = nn.Linear(config.n_embd2, config.vocab_size)

    def forward(self, idx):
        emb, h, hiddens = self.wte(idx), self.start.expand((idx.size(0), -1)), []
        for i in range(idx.size(1)):
            r, z = F.sigmoid(self.gates(torch.cat([emb[:, i, :], h], 1))).chunk(2, -1)
            h = (1 - z) * h + z * F.tanh(self.new(torch.cat([emb[:, i, :], r * h], 1)))
            hiddens.append(h)
        return self.lm_head(torch.stack(hiddens, 1))


@torch.no_grad()
def generate(model, idx, count):
    for _ in range(count):
        probs = F.softmax(model(idx)[:, -1, :], dim=-1)
        idx = torch.cat((idx, torch.multinomial(probs, num_samples=1)), dim=1)
    return idx


chars = sorted(set("".join(NAMES)))
for kind in (Bigram, MLP, Recurrent):
    torch.manual_seed(3407)
    dataset = Names(NAMES, chars)
    model = kind(ModelConfig(dataset.length + 1, len(chars) + 1))
    sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=int(1e10))
    stream = iter(DataLoader(dataset, sampler=sampler, batch_size=8))
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-2, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    for step in range(31):
        X, Y = next(stream)
        logits = model(X)
        loss = F.cross_entropy(logits.view(-1, logits.size(-1)), Y.view(-1), ignore_index=-1)
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        if step % 10 == 0:
            print(f"{kind.__name__} step {step} | loss {loss.item():.4f}")
    rows = generate(model, torch.zeros(4, 1, dtype=torch.long), 6)[:, 1:].tolist()
    print(["".join(chars[c - 1] for c in (row[: row.index(0)] if 0 in row else row)) for row in rows])

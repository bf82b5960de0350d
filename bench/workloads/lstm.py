"""A character LSTM: vocabulary 65, embedding 64, hidden size 128, 16 sequences of 64 characters, Adam."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

VOCABULARY, LENGTH, BATCH = 65, 64, 16


class CharLSTM(nn.Module):
    def __init__(self, hidden=128):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, hidden, batch_first=True)
        self.head = nn.Linear(hidden, VOCABULARY)

    def forward(self, tokens):
        states, _ = self.lstm(self.embedding(tokens))
        return self.head(states)


def make(wrap=lambda train: train):
    torch.manual_seed(0)
    model = CharLSTM()
    text = [torch.randint(0, VOCABULARY, (BATCH, LENGTH + 1)) for _ in range(8)]
    batches = itertools.cycle([(t[:, :-1], t[:, 1:]) for t in text])
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    def train(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x).reshape(-1, VOCABULARY), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)

    def step():
        return train(*next(batches))

    return step

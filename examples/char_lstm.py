"""A character LSTM that learns a rhyme by heart and recites it. ``flambeau run examples/char_lstm.py [STEPS]``"""

import sys

import torch
import torch.nn.functional as F
from live import Training
from torch import nn

TEXT = """Twinkle, twinkle, little star,
How I wonder what you are!
Up above the world so high,
Like a diamond in the sky.
"""


class CharLSTM(nn.Module):
    def __init__(self, vocabulary, width=64):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, tokens, state=None):
        out, state = self.lstm(self.embedding(tokens), state)
        return self.head(out), state


def recite(model, letters, length):
    """Feed the model its own most likely next letter, from the text's first letter on."""
    token = torch.tensor([[letters.index(TEXT[0])]])
    state, said = None, TEXT[0]
    with torch.no_grad():
        for _ in range(length - 1):
            logits, state = model(token, state)
            token = logits[:, -1].argmax(dim=-1, keepdim=True)
            said += letters[token.item()]
    return said


def main(steps):
    torch.manual_seed(0)
    letters = sorted(set(TEXT))
    tokens = torch.tensor([[letters.index(c) for c in TEXT]])
    model = CharLSTM(len(letters))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    with Training(steps, "character LSTM") as show:
        for _ in range(steps):
            logits, _ = model(tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            show(loss.item())
    print(recite(model, letters, len(TEXT)))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)

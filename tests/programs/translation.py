"""Digits written as words: an encoder and a decoder with attention, teacher forcing, packed sequences."""

import random

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import optim
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

WORDS = "zero one two three four five six seven eight nine".split()
SOS, EOS, PAD = 10, 11, 12


class EncoderRNN(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.embedding = nn.Embedding(13, hidden, padding_idx=PAD)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.join = nn.Linear(2 * hidden, hidden)

    def forward(self, input, lengths):
        packed = pack_padded_sequence(self.embedding(input), lengths, batch_first=True, enforce_sorted=False)
        output, hidden = self.gru(packed)
        output, _ = pad_packed_sequence(output, batch_first=True)
        return self.join(output), self.join(torch.cat([hidden[0], hidden[1]], -1)).unsqueeze(0)


class AttnDecoderRNN(nn.Module):
    def __init__(self, hidden, dropout_p=0.1):
        super().__init__()
        self.embedding = nn.Embedding(13, hidden)
        self.Wa, self.Ua, self.Va = nn.Linear(hidden, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, 1)
        self.gru = nn.GRU(2 * hidden, hidden, batch_first=True)
        self.out, self.dropout = nn.Linear(hidden, 13), nn.Dropout(dropout_p)

    def forward(self, token, hidden, memory, mask):
        query = hidden.permute(1, 0, 2)
        scores = self.Va(torch.tanh(self.Wa(query) + self.Ua(memory))).squeeze(2).masked_fill(mask, float("-inf"))
        weights = F.softmax(scores, dim=-1).unsqueeze(1)
        context = torch.bmm(weights, memory)
        output, hidden = self.gru(torch.cat((self.dropout(self.embedding(token)), context), dim=2), hidden)
        return self.out(output), hidden, weights


random.seed(9)
torch.manual_seed(9)
pairs = []
for _ in range(24):
    digits = [random.randrange(10) for _ in range(random.randint(2, 5))]
    pairs.append((torch.tensor(digits), torch.tensor([9 - d for d in reversed(digits)] + [EOS])))
source = pad_sequence([a for a, _ in pairs], batch_first=True, padding_value=PAD)
target = pad_sequence([b for _, b in pairs], batch_first=True, padding_value=PAD)
lengths = torch.tensor([len(a) for a, _ in pairs])
encoder, decoder = EncoderRNN(16), AttnDecoderRNN(16)
parameters = [*encoder.parameters(), *decoder.parameters()]
optimizer = optim.Adam(parameters, lr=0.01)
criterion = nn.NLLLoss(ignore_index=PAD)
for epoch in range(1, 9):
    optimizer.zero_grad()
    memory, hidden = encoder(source, lengths)
    token, outputs = torch.full((24, 1), SOS), []
    forced = random.random() < 0.5
    for i in range(target.size(1)):
        out, hidden, weights = decoder(token, hidden, memory, source == PAD)
        outputs.append(out)
        token = target[:, i : i + 1] if forced else out.topk(1)[1].squeeze(-1).detach()
    loss = criterion(F.log_softmax(torch.cat(outputs, 1), -1).flatten(0, 1), target.flatten())
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    print(f"{epoch} ({epoch / 8:.0%}) loss {loss.item():.4f} norm {norm.item():.4f} forced {forced}")
decoder.eval()
with torch.no_grad():
    memory, hidden = encoder(source[:1], lengths[:1])
    token, said = torch.full((1, 1), SOS), []
    for _ in range(4):
        out, hidden, weights = decoder(token, hidden, memory, source[:1, : memory.size(1)] == PAD)
        token = out.argmax(-1)
        said.append(WORDS[token.item()] if token.item() < 10 else str(token.item()))
print([WORDS[d] for d in source[0].tolist() if d < 10], "->", said, f"{weights.max().item():.3f}")

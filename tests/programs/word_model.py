"""A language model of words, recurrent of three kinds and with attention: states carried over, gradients clipped."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F

TEXT = "the cat sat on the mat and the dog lay by the door while the bird sang of the sun and the moon <eos> " * 24


class RNNModel(nn.Module):
    def __init__(self, kind, ntoken, ninp, nhid, nlayers, dropout=0.2, tie_weights=False):
        super().__init__()
        self.ntoken, self.nhid, self.nlayers, self.kind = ntoken, nhid, nlayers, kind
        self.drop = nn.Dropout(dropout)
        self.encoder = nn.Embedding(ntoken, ninp)
        self.rnn = getattr(nn, kind)(ninp, nhid, nlayers, dropout=dropout)
        self.decoder = nn.Linear(nhid, ntoken)
        if tie_weights:
            self.decoder.weight = self.encoder.weight
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, input, hidden):
        output, hidden = self.rnn(self.drop(self.encoder(input)), hidden)
        return F.log_softmax(self.decoder(self.drop(output)).view(-1, self.ntoken), dim=1), hidden

    def init_hidden(self, bsz):
        weight = next(self.parameters())
        zeros = weight.new_zeros(self.nlayers, bsz, self.nhid)
        return (zeros, zeros.clone()) if self.kind == "LSTM" else zeros


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=50):
        super().__init__()
        position = torch.arange(0, max_len, dtype=torch.float).unsqueeze(1)
        div_term = torch.exp(torch.arange(0, d_model, 2).float() * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, d_model)
        pe[:, 0::2] = torch.sin(position * div_term)
        pe[:, 1::2] = torch.cos(position * div_term)
        self.register_buffer("pe", pe.unsqueeze(0).transpose(0, 1))

    def forward(self, x):
        return x + self.pe[: x.size(0), :]


class TransformerModel(nn.Transformer):
    def __init__(self, ntoken, ninp, nhead, nhid, nlayers):
        super().__init__(d_model=ninp, nhead=nhead, dim_feedforward=nhid, num_encoder_layers=nlayers, dropout=0.1)
        self.pos_encoder = PositionalEncoding(ninp)
        self.input_emb = nn.Embedding(ntoken, ninp)
        self.ninp = ninp
        self.decoder = nn.Linear(ninp, ntoken)

    def forward(self, src):
        mask = torch.log(torch.tril(torch.ones(len(src), len(src))))
        output = self.encoder(self.pos_encoder(self.input_emb(src) * math.sqrt(self.ninp)), mask=mask)
        return F.log_softmax(self.decoder(output), dim=-1).view(-1, self.decoder.out_features)


def repackage_hidden(h):
    return h.detach() if isinstance(h, torch.Tensor) else tuple(repackage_hidden(v) for v in h)


words = sorted(set(TEXT.split()))
ids = torch.tensor([words.index(w) for w in TEXT.split()]).type(torch.int64)
data = ids.narrow(0, 0, len(ids) // 4 * 4).view(4, -1).t().contiguous()
for kind in ("RNN", "LSTM", "GRU", "Transformer"):
    torch.manual_seed(11)
    attention = kind == "Transformer"
    size = (len(words), 16, 2, 24, 2) if attention else (kind, len(words), 16, 16, 2, 0.2, kind == "LSTM")
    model = (TransformerModel if attention else RNNModel)(*size)
    criterion, lr = nn.NLLLoss(), 1.0 if attention else 4.0
    hidden = None if attention else model.init_hidden(4)
    model.train()
    for batch, i in enumerate(range(0, data.size(0) - 1, 12)):
        length = min(12, len(data) - 1 - i)
        source, target = data[i : i + length], data[i + 1 : i + 1 + length].view(-1)
        model.zero_grad()
        if attention:
            output = model(source)
        else:
            hidden = repackage_hidden(hidden)
            output, hidden = model(source, hidden)
        loss = criterion(output, target)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
        with torch.no_grad():
            for p in model.parameters():
                if p.grad is not None:
                    p.add_(p.grad, alpha=-lr)
        if batch % 4 == 0:
            print(f"{kind} {batch:2d} | loss {loss.item():5.3f} | ppl {math.exp(loss.item()):8.2f} | norm {norm:.3f}")
    model.eval()
    token, said = torch.tensor([[words.index("the")]]), ["the"]
    hidden = None if attention else model.init_hidden(1)
    with torch.no_grad():
        for _ in range(6):
            if attention:
                chances = model(token)[-1].exp()
            else:
                out, hidden = model(token, hidden)
                chances = out.squeeze().div(0.9).exp()
            chosen = torch.multinomial(chances, 1)[0]
            token = torch.cat([token, chosen.view(1, 1)], 0) if attention else token.fill_(chosen)
            said.append(words[chosen])
    print(" ".join(said))

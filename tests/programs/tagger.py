"""Words tagged by an LSTM with a conditional random field, trained by its likelihood and decoded by Viterbi's way."""

import torch
import torch.nn as nn
import torch.optim as optim

START, STOP, IMPOSSIBLE = "<start>", "<stop>", -10000.0
TAGS = {"B": 0, "I": 1, "O": 2, START: 3, STOP: 4}


class Tagger(nn.Module):
    def __init__(self, words, embedded=6, hidden=4):
        super().__init__()
        self.hidden = hidden
        self.embeddings = nn.Embedding(words, embedded)
        self.lstm = nn.LSTM(embedded, hidden // 2, bidirectional=True)
        self.scores = nn.Linear(hidden, len(TAGS))
        self.transitions = nn.Parameter(torch.randn(len(TAGS), len(TAGS)))
        self.transitions.data[TAGS[START], :] = IMPOSSIBLE
        self.transitions.data[:, TAGS[STOP]] = IMPOSSIBLE

    def emissions(self, sentence):
        state = (torch.randn(2, 1, self.hidden // 2), torch.randn(2, 1, self.hidden // 2))
        out, _ = self.lstm(self.embeddings(sentence).view(len(sentence), 1, -1), state)
        return self.scores(out.view(len(sentence), self.hidden))

    def beginning(self):
        first = torch.full((len(TAGS),), IMPOSSIBLE)
        first[TAGS[START]] = 0.0
        return first

    def partition(self, emissions):
        alpha = self.beginning()
        for row in emissions:
            alpha = torch.logsumexp(alpha.unsqueeze(0) + self.transitions + row.unsqueeze(1), dim=1)
        return torch.logsumexp(alpha + self.transitions[TAGS[STOP]], dim=0)

    def score(self, emissions, tags):
        total = torch.zeros(1)
        path = torch.cat([torch.tensor([TAGS[START]]), tags])
        for i, row in enumerate(emissions):
            total = total + self.transitions[path[i + 1], path[i]] + row[path[i + 1]]
        return total + self.transitions[TAGS[STOP], path[-1]]

    def loss(self, sentence, tags):
        emissions = self.emissions(sentence)
        return self.partition(emissions) - self.score(emissions, tags)

    def forward(self, sentence):
        best, back = self.beginning(), []
        for row in self.emissions(sentence):
            highest, came_from = (best.unsqueeze(0) + self.transitions).max(1)
            best = highest + row
            back.append(came_from.tolist())
        value, last = (best + self.transitions[TAGS[STOP]]).max(0)
        path = [last.item()]
        for came_from in reversed(back):
            path.append(came_from[path[-1]])
        return value, path[-2::-1]


def main():
    torch.manual_seed(1)
    text = [
        ("the wall street journal reported today that apple made money", "B I I I O O O B O O"),
        ("georgia tech is a university in georgia", "B I O O O O B"),
    ]
    words = {}
    for sentence, _ in text:
        for word in sentence.split():
            words.setdefault(word, len(words))
    data = [
        (torch.tensor([words[w] for w in s.split()]), torch.tensor([TAGS[t] for t in tags.split()])) for s, tags in text
    ]
    model = Tagger(len(words))
    optimizer = optim.SGD(model.parameters(), lr=0.05, weight_decay=1e-4)
    with torch.no_grad():
        print("before", model(data[0][0]))
    for epoch in range(8):
        for sentence, tags in data:
            model.zero_grad()
            loss = model.loss(sentence, tags)
            loss.backward()
            optimizer.step()
        print(epoch, loss)
    with torch.no_grad():
        print("after", model(data[0][0]), model.transitions[:2])


if __name__ == "__main__":
    main()

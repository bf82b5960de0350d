"""Nodes of a graph classified by convolution over neighbours and by attention to them; a sparse adjacency matrix."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

rng = np.random.default_rng(5)
labels = torch.from_numpy(rng.integers(0, 3, 40))
edges = torch.from_numpy(rng.integers(0, 40, (2, 300)))
edges = edges[:, (labels[edges[0]] == labels[edges[1]]) | (torch.arange(300) % 6 == 0)]
features = F.one_hot(labels, 3).float() * 0.5 + torch.from_numpy(rng.normal(size=(40, 3))).float()
features = torch.cat([features, torch.from_numpy(rng.normal(size=(40, 5))).float()], 1)
order = torch.from_numpy(rng.permutation(40))
idx_train, idx_test = order[:16], order[16:]


class GraphConv(nn.Module):
    def __init__(self, input_dim, output_dim, use_bias=False):
        super().__init__()
        self.kernel = nn.Parameter(torch.Tensor(input_dim, output_dim))
        nn.init.xavier_normal_(self.kernel)
        self.bias = None
        if use_bias:
            self.bias = nn.Parameter(torch.Tensor(output_dim))
            nn.init.zeros_(self.bias)

    def forward(self, x, adjacency):
        out = torch.mm(adjacency, torch.mm(x, self.kernel))
        return out if self.bias is None else out + self.bias


class GCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.gc1, self.gc2, self.dropout = GraphConv(8, 12), GraphConv(12, 3, True), nn.Dropout(0.3)

    def forward(self, x, adjacency):
        return F.log_softmax(self.gc2(self.dropout(F.relu(self.gc1(x, adjacency))), adjacency), dim=1)


class AttentionLayer(nn.Module):
    def __init__(self, in_features, out_features, n_heads, concat):
        super().__init__()
        self.n_heads, self.n_hidden, self.concat = n_heads, out_features // n_heads if concat else out_features, concat
        self.W = nn.Parameter(torch.empty(in_features, self.n_hidden * n_heads))
        self.a = nn.Parameter(torch.empty(n_heads, 2 * self.n_hidden, 1))
        nn.init.xavier_normal_(self.W)
        nn.init.xavier_normal_(self.a)

    def forward(self, h, adjacency):
        n = h.shape[0]
        h = torch.mm(h, self.W).view(n, self.n_heads, self.n_hidden).permute(1, 0, 2)
        source = torch.matmul(h, self.a[:, : self.n_hidden, :])
        target = torch.matmul(h, self.a[:, self.n_hidden :, :])
        e = F.leaky_relu(source + target.mT, 0.2)
        e = torch.where(adjacency > 0, e, -9e16 * torch.ones_like(e))
        attention = F.dropout(F.softmax(e, dim=-1), 0.2, training=self.training)
        out = torch.matmul(attention, h)
        return out.permute(1, 0, 2).reshape(n, -1) if self.concat else out.mean(dim=0)


class GAT(nn.Module):
    def __init__(self):
        super().__init__()
        self.gat1, self.gat2 = AttentionLayer(8, 12, 3, True), AttentionLayer(12, 3, 1, False)

    def forward(self, x, adjacency):
        return F.log_softmax(self.gat2(F.elu(self.gat1(x, adjacency)), adjacency), dim=1)


adjacency = torch.zeros(40, 40).index_put_((edges[0], edges[1]), torch.tensor(1.0))
adjacency = ((adjacency + adjacency.t()) > 0).float() + torch.eye(40)
adjacency.clamp_(max=1.0)
degree = adjacency.sum(1).pow(-0.5)
normalized = degree[:, None] * adjacency * degree[None, :]
for make, graph in ((GCN, normalized), (GAT, adjacency)):
    torch.manual_seed(13)
    model = make()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2, weight_decay=5e-4)
    for epoch in range(12):
        model.train()
        optimizer.zero_grad()
        loss = F.nll_loss(model(features, graph)[idx_train], labels[idx_train])
        loss.backward()
        optimizer.step()
        if (epoch + 1) % 4 == 0:
            model.eval()
            output = model(features, graph)
            right = output[idx_test].argmax(1).eq(labels[idx_test]).float().mean()
            test_loss = F.nll_loss(output[idx_test], labels[idx_test])
            print(f"{make.__name__} {epoch + 1:3d} loss {loss:.4f} test {test_loss:.4f} accuracy {right:.3f}")
    flow = torch.zeros(40, 3).scatter_add_(0, edges[0][:, None].expand(-1, 3), output.detach()[edges[1]])
    print(flow.abs().sum(), torch.bincount(edges[0], minlength=40).max())

"""A convolutional network learns to tell stripes from blobs: command line, loaders, schedule, test set, checkpoint."""

import argparse
import io

import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, 1)
        self.conv2 = nn.Conv2d(8, 16, 3, 1)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(256, 32)
        self.fc2 = nn.Linear(32, 4)

    def forward(self, x):
        x = F.relu(self.conv1(x))
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = torch.flatten(self.dropout1(x), 1)
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), dim=1)


def pictures(count):
    labels = torch.randint(0, 4, (count,))
    grid = torch.arange(12.0)
    waves = torch.stack([grid.mul(0.9).sin().expand(12, 12), grid.mul(0.9).sin()[:, None].expand(12, 12),
                         (grid + grid[:, None]).mul(0.7).cos(), -(grid - 6).square().div(9).exp().reciprocal().outer(
                             (grid - 6).square().div(9).exp().reciprocal())])  # fmt: skip
    return TensorDataset((waves[labels] + 0.3 * torch.randn(count, 12, 12)).unsqueeze(1), labels)


def train(args, model, device, loader, optimizer, epoch):
    model.train()
    for index, (data, target) in enumerate(loader):
        data, target = data.to(device), target.to(device)
        optimizer.zero_grad()
        loss = F.nll_loss(model(data), target)
        loss.backward()
        optimizer.step()
        if index % args.log_interval == 0:
            done = f"{index * len(data)}/{len(loader.dataset)}"
            print(f"Train Epoch: {epoch} [{done} ({100.0 * index / len(loader):.0f}%)]\tLoss: {loss.item():.4f}")


def test(model, device, loader):
    model.eval()
    total = correct = 0
    with torch.no_grad():
        for data, target in loader:
            output = model(data.to(device))
            total += F.nll_loss(output, target, reduction="sum").item()
            correct += output.argmax(dim=1, keepdim=True).eq(target.view_as(output.argmax(1, True))).sum().item()
    print(f"Test set: Average loss: {total / len(loader.dataset):.4f}, Accuracy: {correct}/{len(loader.dataset)}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--lr", type=float, default=0.2)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--log-interval", type=int, default=3)
    args = parser.parse_args([])
    torch.manual_seed(1)
    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")
    train_loader = DataLoader(pictures(160), batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(pictures(60), batch_size=40)
    model = Net().to(device)
    optimizer = optim.Adadelta(model.parameters(), lr=args.lr)
    scheduler = StepLR(optimizer, step_size=1, gamma=args.gamma)
    for epoch in range(1, args.epochs + 1):
        train(args, model, device, train_loader, optimizer, epoch)
        test(model, device, test_loader)
        scheduler.step()
        print("lr", scheduler.get_last_lr())
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    again = Net()
    print(again.load_state_dict(torch.load(file)), sum(p.numel() for p in again.parameters()))
    test(again, device, test_loader)


if __name__ == "__main__":
    main()

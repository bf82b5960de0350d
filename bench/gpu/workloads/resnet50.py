"""ResNet-50 (He et al. 2015), 224x224 images in batches of 256; SGD with momentum, autocast to bfloat16."""

import contextlib
import itertools

import torch
from torch import nn
from torch.nn import functional as F

from bench.gpu.workloads import Work


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.down = None
        if stride != 1 or inputs != outputs:
            self.down = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.down is None else self.down(x)))


class ResNet(nn.Module):
    def __init__(self, blocks, width, classes):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.pool = nn.MaxPool2d(3, 2, 1)
        stages, inputs = [], width
        for i, count in enumerate(blocks):
            for j in range(count):
                stages.append(Bottleneck(inputs, width << i, 2 if i and not j else 1))
                inputs = 4 * (width << i)
        self.stages = nn.Sequential(*stages)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.stages(self.pool(F.relu(self.bn1(self.conv1(x)))))
        return self.fc(x.mean((2, 3)))


def operations(model, image):
    """Floating-point operations of one image forward: two for each product of convolutions and the last layer."""
    counted = []

    def note(module, _, out):
        taken = module.weight.numel() if isinstance(module, nn.Linear) else module.weight[0].numel() * out.numel()
        counted.append(2 * taken)

    hooks = [m.register_forward_hook(note) for m in model.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    model.eval()
    with torch.no_grad():
        model(image)
    model.train()
    for hook in hooks:
        hook.remove()
    return sum(counted)


def make(wrap, device, tiny, precision="bfloat16"):
    torch.manual_seed(0)
    blocks, width, size, batch, classes = ((3, 4, 6, 3), 64, 224, 256, 1000)
    if tiny:
        blocks, width, size, batch, classes = ((1, 1, 1, 1), 8, 32, 4, 10)
    model = ResNet(blocks, width, classes)
    per_image = 3 * operations(model, torch.zeros(1, 3, size, size))
    model.to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 if tiny else 0.1, momentum=0.9, weight_decay=1e-4)
    batches = itertools.cycle([
        (torch.randn(batch, 3, size, size).to(device), torch.randint(0, classes, (batch,)).to(device)) for _ in range(2)
    ])  # fmt: skip
    if precision == "tf32":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True

    def lower():
        if precision == "bfloat16":
            return torch.autocast(device_type=device, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def train(x, y):
        optimizer.zero_grad()
        with lower():
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    train = wrap(train)
    return Work(lambda: train(*next(batches)), batch, "images", per_image * batch, precision)

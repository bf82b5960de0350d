"""Images from a folder and from MNIST's files, augmented, classified by a residual network whose head is replaced."""

import os
import struct
import tempfile
import warnings

import numpy as np
import torch
import torch.nn as nn
import torchvision
from torchvision import datasets, models, transforms
from torchvision.utils import make_grid, save_image

warnings.simplefilter("ignore")
torch.manual_seed(0)
rng = np.random.default_rng(0)
with tempfile.TemporaryDirectory() as root:
    for split, count in (("train", 6), ("val", 3)):
        for k, name in enumerate(("ants", "bees")):
            os.makedirs(f"{root}/{split}/{name}")
            for i in range(count):
                pixels = torch.from_numpy(rng.random((3, 40, 44))).float() * 0.5 + 0.4 * k
                save_image(pixels, f"{root}/{split}/{name}/{i}.png")
    raw = f"{root}/MNIST/raw"
    os.makedirs(raw)
    for part, count in (("train", 20), ("t10k", 8)):
        images, labels = rng.integers(0, 256, (count, 28, 28)), np.arange(count) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            with open(f"{raw}/{part}-{kind}-ubyte", "wb") as file:
                file.write(bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape))
                file.write(array.astype(np.uint8).tobytes())

    normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    steps = {
        "train": [
            transforms.RandomResizedCrop(32),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            normalize,
        ],  # fmt: skip
        "val": [transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor(), normalize],
    }
    image_datasets = {x: datasets.ImageFolder(os.path.join(root, x), transforms.Compose(steps[x])) for x in steps}
    dataloaders = {x: torch.utils.data.DataLoader(image_datasets[x], batch_size=4, shuffle=True) for x in steps}
    print({x: len(d) for x, d in image_datasets.items()}, image_datasets["train"].classes)

    net = models.resnet18(weights=None)
    for param in net.parameters():
        param.requires_grad = False
    net.fc = nn.Linear(net.fc.in_features, 2)
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.SGD(net.fc.parameters(), lr=0.001, momentum=0.9)
    for phase in ("train", "val"):
        net.train(phase == "train")
        for inputs, labels in dataloaders[phase]:
            with torch.set_grad_enabled(phase == "train"):
                outputs = net(inputs)
                loss = criterion(outputs, labels)
                if phase == "train":
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
            print(f"{phase} loss {loss.item():.4f} inputs {inputs.mean().item():.4f} labels {labels.tolist()}")

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    digits = datasets.MNIST(root, train=True, download=True, transform=transform)
    images, labels = next(iter(torch.utils.data.DataLoader(digits, batch_size=6)))
    grid = make_grid(images, nrow=3, normalize=True)
    print(images.shape, f"{images.std().item():.4f}", labels.tolist(), grid.shape, f"{grid.mean().item():.4f}")
    print(torchvision.__name__.split(".")[-1] in ("torchvision", "vision"), str(digits).splitlines()[:2])

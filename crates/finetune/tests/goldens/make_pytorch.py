"""Makes networks with batch or layer norms, alike in all hidden layers, and what PyTorch answers.

    pip install -r requirements.txt
    python make_pytorch.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is a network's output in f32, lowest
byte first, for the first 1,000 test images scaled by 1/255.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.manual_seed(1)
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    return np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28)


train, test = images("train-images-idx3-ubyte"), images("t10k-images-idx3-ubyte")[:1000]
labels = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]


def scaled(pixels):
    return torch.from_numpy(pixels.astype(np.float32) / 255)


for name, norm in [("batch", nn.BatchNorm1d), ("layer", nn.LayerNorm)]:
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 16),
        norm(16),
        nn.Tanh(),
        nn.Linear(16, 12),
        norm(12),
        nn.Tanh(),
        nn.Linear(12, 10),
    )
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for rows in torch.randperm(len(train)).split(128):
        optimizer.zero_grad()
        x, y = scaled(train[rows]), torch.from_numpy(labels[rows]).long()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        model.eval()(scaled(test)).numpy().astype("<f4").tofile(here / f"{name}.logits")
    torch.save(model.state_dict(), here / f"{name}.pt")

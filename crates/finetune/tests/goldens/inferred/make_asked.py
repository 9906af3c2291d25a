"""Makes files whose networks have to be asked for, and what PyTorch and Keras answer.

    pip install -r ../requirements.txt
    python make_asked.py

Each NAME.logits is a network's output in f32, lowest byte first, for five rows of five numbers: the
sines of 0, 1, 2 and so on.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
import torch
from keras import layers
from torch import nn
from torch.nn.functional import relu

torch.manual_seed(1)
keras.utils.set_random_seed(1)
random = np.random.default_rng(1)
here = Path(__file__).parent
WIDTH, OUTPUTS, ROWS = 5, 3, 5
rows = np.sin(np.arange(ROWS * WIDTH, dtype=np.float64)).astype(np.float32).reshape(ROWS, WIDTH)


def save(name, model):
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            for tensor, low, high in [
                (module.running_mean, -1, 1),
                (module.running_var, 0.3, 2.5),
                (module.weight, 0.3, 2),
                (module.bias, -1, 1),
            ]:
                nn.init.uniform_(tensor, low, high)
    with torch.no_grad():
        model.eval()(torch.from_numpy(rows)).numpy().astype("<f4").tofile(here / f"{name}.logits")
    torch.save(model.state_dict(), here / f"{name}.pt")


class Before(nn.Module):
    """Each norm stands before the layer of its number, and all are as wide as the input."""

    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm1d(WIDTH) for _ in range(2)])
        self.linears = nn.ModuleList([nn.Linear(WIDTH, n) for n in (WIDTH, WIDTH, OUTPUTS)])

    def forward(self, x):
        for linear, norm in zip(self.linears, self.norms):
            x = relu(linear(norm(x)))
        return self.linears[-1](x)


class Shared(nn.Module):
    """One PReLU stands behind both hidden layers."""

    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc3, self.act = nn.Linear(WIDTH, OUTPUTS), nn.PReLU(init=0.4)

    def forward(self, x):
        return self.fc3(self.act(self.fc2(self.act(self.fc1(x)))))


class Slopes(nn.Module):
    """Each unit has a slope of its own."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(WIDTH, 4), nn.PReLU(4), nn.Linear(4, 4), nn.PReLU(4), nn.Linear(4, OUTPUTS)
        )
        for slopes in (self.net[1], self.net[3]):
            nn.init.uniform_(slopes.weight, 0.1, 0.9)

    def forward(self, x):
        return self.net(x)


class Attributes(keras.Model):
    """Layers are attributes, by which the file is sorted; norms lack a scale or a shift."""

    def __init__(self):
        super().__init__()
        self.deep = layers.Dense(4)
        self.bn = layers.BatchNormalization(scale=False)
        self.even = layers.Dense(6)
        self.extra = layers.BatchNormalization()
        self.crown = layers.Dense(OUTPUTS)

    def call(self, x):
        x = keras.ops.relu(self.bn(self.deep(x)))
        return self.crown(keras.ops.relu(self.extra(self.even(x))))


def save_weights(name, model):
    model(rows)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(random.uniform(low, 1.0, weight.shape))
    model.predict(rows, verbose=0).astype("<f4").tofile(here / f"{name}.logits")
    whole = here / f"whole-{name}.weights.h5"
    model.save_weights(whole)
    # The same groups, arrays and attributes in less room.
    with h5py.File(whole) as old, h5py.File(here / f"{name}.weights.h5", "w", libver="latest") as new:

        def copy(path, item):
            if isinstance(item, h5py.Dataset):
                new.create_dataset(path, data=item[()])
            else:
                new.require_group(path).attrs.update(item.attrs)

        old.visititems(copy)
    whole.unlink()


save("before", Before())
save("shared", Shared())
save("slopes", Slopes())
save_weights("attributes", Attributes())
steps = [layers.Dense(4), layers.GroupNormalization(2), layers.ReLU(), layers.Dense(OUTPUTS)]
save_weights("group", keras.Sequential([layers.Input((WIDTH,)), *steps]))

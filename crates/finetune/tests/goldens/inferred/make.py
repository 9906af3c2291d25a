"""Makes state dicts that tell little of their networks, and what PyTorch and NumPy answer.

    pip install -r ../requirements.txt
    python make.py

Each NAME.logits is a network's output in f32, lowest byte first, for five rows of six (of five for
`swapped`) numbers: the sines of 0, 1, 2 and so on.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import relu

torch.manual_seed(1)
here = Path(__file__).parent
INPUTS, HIDDEN, OUTPUTS, ROWS = 6, 5, 3, 5


def rows(inputs):
    return np.sin(np.arange(ROWS * inputs, dtype=np.float64)).astype(np.float32).reshape(ROWS, inputs)


def save(name, model, inputs=INPUTS):
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
        model.eval()(torch.from_numpy(rows(inputs))).numpy().astype("<f4").tofile(here / f"{name}.logits")
    torch.save(model.state_dict(), here / f"{name}.pt")


class Words(nn.Module):
    """The norms' names are not in the order of their layers' in an alphabet."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = nn.Linear(INPUTS, HIDDEN), nn.BatchNorm1d(HIDDEN)
        self.body, self.body_norm = nn.Linear(HIDDEN, HIDDEN), nn.BatchNorm1d(HIDDEN)
        self.head = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        x = relu(self.stem_norm(self.stem(x)))
        return self.head(relu(self.body_norm(self.body(x))))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(INPUTS, HIDDEN)
        self.blocks = nn.ModuleList([nn.Linear(HIDDEN, HIDDEN) for _ in range(2)])
        self.head = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        x = relu(self.inp(x))
        for block in self.blocks:
            x = x + relu(block(x))
        return self.head(x)


class Deep(nn.Module):
    """Each block of two layers adds its input, and no name says so."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(INPUTS, HIDDEN)
        inner = [nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN)]
        self.mid = nn.ModuleList([nn.Sequential(*inner)])
        self.head = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        x = relu(self.inp(x))
        for block in self.mid:
            x = x + block(x)
        return self.head(x)


class Swapped(nn.Module):
    """Layers are made in another order than their numbers have."""

    def __init__(self):
        super().__init__()
        self.fc2, self.fc1 = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.fc3 = nn.Linear(HIDDEN, OUTPUTS)

    def forward(self, x):
        return self.fc3(relu(self.fc2(relu(self.fc1(x)))))


def after():
    hidden = [nn.Linear(INPUTS, HIDDEN), nn.ReLU(), nn.BatchNorm1d(HIDDEN)]
    return [*hidden, nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.BatchNorm1d(HIDDEN)]


save("words", Words())
save("residual", Residual())
save("deep", Deep())
save("swapped", Swapped(), HIDDEN)
save("after", nn.Sequential(*after(), nn.Linear(HIDDEN, OUTPUTS)))
save(
    "input",
    nn.Sequential(
        nn.BatchNorm1d(INPUTS),
        nn.Linear(INPUTS, HIDDEN),
        nn.BatchNorm1d(HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, OUTPUTS),
    ),
)
slopes = nn.PReLU(), nn.PReLU(init=-0.5)
hidden = [nn.Linear(INPUTS, HIDDEN), slopes[0], nn.Linear(HIDDEN, HIDDEN), slopes[1]]
save("prelu", nn.Sequential(*hidden, nn.Linear(HIDDEN, OUTPUTS)))

# As in networks written with NumPy alone: W x + b with columns, and x W + b with rows.
random = np.random.default_rng(1)
w1, b1 = random.normal(size=(HIDDEN, INPUTS)), random.normal(size=(HIDDEN, 1))
w2, b2 = random.normal(size=(OUTPUTS, HIDDEN)), random.normal(size=(OUTPUTS, 1))
np.savez(here / "column.npz", W1=w1, b1=b1, W2=w2, b2=b2)
np.savez(here / "row.npz", W1=w1.T, b1=b1.T, W2=w2.T, b2=b2.T)
outputs = w2 @ np.maximum(w1 @ rows(INPUTS).T + b1, 0) + b2
outputs.T.astype("<f4").tofile(here / "numpy.logits")

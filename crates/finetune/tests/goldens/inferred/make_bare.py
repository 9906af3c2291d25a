"""Makes networks with norms and slopes whose tensors tell little, and what PyTorch answers to five
rows of sines.

    pip install -r ../requirements.txt
    python make_bare.py

bare.pt has layer norms without a scale and a shift, and bare-some.pt one of two. mixed-slopes.pt has
slopes of PReLU behind two of three layers.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

here = Path(__file__).parent


def save(name, network):
    network.eval()
    rows = np.sin(np.arange(5 * 6)).astype(np.float32).reshape(5, 6)
    torch.save(network.state_dict(), here / f"{name}.pt")
    with torch.no_grad():
        network(torch.from_numpy(rows)).numpy().astype("<f4").tofile(here / f"{name}.logits")


def bare(width):
    return nn.LayerNorm(width, elementwise_affine=False)


torch.manual_seed(1)
whole = nn.LayerNorm(5)
nn.init.normal_(whole.weight)
nn.init.normal_(whole.bias)
save("bare", nn.Sequential(nn.Linear(6, 5), bare(5), nn.GELU(), nn.Linear(5, 3)))
first, second = nn.Linear(6, 5), nn.Linear(5, 5)
save(
    "bare-some",
    nn.Sequential(first, whole, nn.GELU(), second, nn.GELU(), bare(5), nn.Linear(5, 3)),
)
few, many = nn.PReLU(), nn.PReLU(5)
nn.init.constant_(few.weight, 0.6)
nn.init.uniform_(many.weight, 0.4, 1.4)
save(
    "mixed-slopes",
    nn.Sequential(
        nn.Linear(6, 4), few, nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), many, nn.Linear(5, 3)
    ),
)

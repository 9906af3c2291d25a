"""Makes sparse_adam.safetensors: 60 steps of PyTorch's SparseAdam on the vectors of terms, in float64.

Versions: Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0 (requirements.txt).
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torch.optim import Adam, SparseAdam

torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

TERMS, WIDTH, CLASSES, ROWS, BATCH, STEPS = 30, 4, 3, 40, 8, 60
# The epsilon is large, so that the place where it is added shows.
SETTINGS = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-2}


def rounded(tensor):
    """Rounded to float32, so that a test in float32 starts from the same numbers."""
    return tensor.float().double()


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(TERMS, WIDTH, mode="sum", sparse=True)
        self.bias = nn.Parameter(torch.zeros(WIDTH))
        self.layer = nn.Linear(WIDTH, CLASSES)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(rounded(parameter))

    def forward(self, rows):
        places = torch.cat([places for places, _ in rows])
        values = torch.cat([values for _, values in rows])
        starts = torch.tensor([0] + [len(places) for places, _ in rows]).cumsum(0)[:-1]
        sums = self.bag(places, starts, per_sample_weights=values)
        return self.layer(torch.relu(sums + self.bias))

    def saved(self, prefix):
        """As Fireclay has them; a matrix of the front stage is not transposed there."""
        return {
            f"{prefix}/front.0.weight": self.bag.weight.detach().T.clone().contiguous(),
            f"{prefix}/front.0.bias": self.bias.detach().clone(),
            f"{prefix}/layers.0.weight": self.layer.weight.detach().clone(),
            f"{prefix}/layers.0.bias": self.layer.bias.detach().clone(),
        }


rows = []
for row in range(ROWS):
    # Few rows have the last terms: most steps leave them as they are.
    count = int(torch.randint(0, 6, (1,)))
    places = (torch.rand(TERMS) * torch.arange(TERMS, 0, -1)).topk(count).indices.sort().values
    rows.append((places, rounded(torch.rand(count) + 0.1)))
classes = torch.randint(0, CLASSES, (ROWS,))

network = Bag()
tensors = network.saved("initial")
sparse = SparseAdam(list(network.bag.parameters()), **SETTINGS)
dense = Adam([network.bias, *network.layer.parameters()], **SETTINGS)
losses = []
for step in range(STEPS):
    start = BATCH * step % ROWS
    loss = F.cross_entropy(network(rows[start : start + BATCH]), classes[start : start + BATCH])
    sparse.zero_grad()
    dense.zero_grad()
    loss.backward()
    sparse.step()
    dense.step()
    losses.append(loss.detach())
tensors |= network.saved("last")
tensors["losses"] = torch.stack(losses)
tensors["starts"] = torch.tensor([0] + [len(places) for places, _ in rows]).cumsum(0)
tensors["places"] = torch.cat([places for places, _ in rows])
tensors["values"] = torch.cat([values for _, values in rows])
tensors["classes"] = classes
print(f"loss {losses[0]:.4f} at the first step, {losses[-1]:.4f} at the last")
save_file(tensors, Path(__file__).with_suffix(".safetensors"))

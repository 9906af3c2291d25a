"""Makes networks whose weights are kept in parts, and what PyTorch answers in evaluation.

    pip install -r requirements.txt
    python make.py

rows.f32 has 20 rows of 6 features; each NAME.f32 a network's 3 outputs for them, lowest byte first.
"""

import copy
import warnings
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

warnings.simplefilter("ignore")
torch.manual_seed(1)
here = Path(__file__).parent
rows = torch.randn(20, 6)
rows.numpy().astype("<f4").tofile(here / "rows.f32")
targets = torch.randint(0, 3, (20,))


def network(wrap):
    """6, 5, 5 and 3 units: one layer is square."""
    layers = [wrap(nn.Linear(a, b)) for a, b in [(6, 5), (5, 5), (5, 3)]]
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])


def fit(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), targets).backward()
        optimizer.step()
    return model.eval()


def save(name, model):
    torch.save(model.state_dict(), here / f"{name}.pt")
    with torch.no_grad():
        model(rows).numpy().astype("<f4").tofile(here / f"{name}.f32")


def pruned(layer):
    prune.random_unstructured(layer, "weight", 0.3)
    prune.random_unstructured(layer, "bias", 0.3)
    return layer


# PyTorch warns of the older functions, and files that they made are still there.
for name, wrap in [
    ("weight-old", nn.utils.weight_norm),
    ("weight-new", parametrizations.weight_norm),
    ("weight-inputs", lambda layer: parametrizations.weight_norm(layer, dim=1)),
    ("weight-all", lambda layer: nn.utils.weight_norm(layer, dim=None)),
    ("spectral-old", nn.utils.spectral_norm),
    ("spectral-new", parametrizations.spectral_norm),
    ("spectral-inputs", lambda layer: nn.utils.spectral_norm(layer, dim=1)),
    ("pruned", pruned),
    ("orthogonal", parametrizations.orthogonal),
]:
    model = fit(network(wrap))
    save(name, model)
    if name == "weight-old":
        safetensors.torch.save_file(model.state_dict(), here / "weight-old.safetensors", {"format": "pt"})
        removed = copy.deepcopy(model)
        for layer in removed[::2]:
            nn.utils.remove_weight_norm(layer)
        torch.save(removed.state_dict(), here / "weight-removed.pt")

# Of one layer with both, and a spectral norm whose matrix is not square in any layer.
both = network(lambda layer: prune.identity(nn.utils.weight_norm(layer), "bias"))
save("weight-and-pruned-bias", fit(both))
wide = nn.Sequential(*[nn.utils.spectral_norm(nn.Linear(a, b), dim=1) if i else m for m, i, a, b in [(None, 1, 6, 5), (nn.Tanh(), 0, 0, 0), (None, 1, 5, 3)]])
save("spectral-oblong-inputs", fit(wide))

"""Makes tabular.safetensors: logits of networks for tables, computed by PyTorch.

Embeddings of categories, periodic embeddings with a bias (PBLD), a learned scaling, the NTK
parametrisation and parametric activations as in RealMLP (Holzmueller et al. 2024, arXiv 2407.04491;
package pytabkit), and the members of TabM-mini (Gorishniy et al. 2025, arXiv 2410.24210; package
tabm).

Versions: Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0 (requirements.txt).
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)

BATCH = 32
ACTIVATIONS = {"relu": nn.ReLU(), "selu": nn.SELU(), "mish": nn.Mish()}
FRONT = [
    {"kind": "pass", "columns": 2},
    {"kind": "embedding", "levels": 7, "width": 3},
    {"kind": "periodic", "columns": 3, "frequencies": 5, "width": 4, "sigma": 0.1},
    {"kind": "embedding", "levels": 2, "width": 1},
]


def width(part):
    return part["width"] if part["kind"] != "pass" else 1


def columns(part):
    return part.get("columns", 1)


class Periodic(nn.Module):
    """Of each column: `[A cos(2 pi (w x) + b) + c, x]`."""

    def __init__(self, columns, frequencies, width, sigma):
        super().__init__()
        self.frequency = nn.Parameter(sigma * torch.randn(columns, frequencies))
        self.phase = nn.Parameter(torch.empty(columns, frequencies).uniform_(-math.pi, math.pi))
        self.weight = nn.Parameter(torch.randn(columns, width - 1, frequencies))
        self.bias = nn.Parameter(torch.randn(columns, width - 1))

    def forward(self, x):
        waves = torch.cos(2 * math.pi * (x[..., None] * self.frequency) + self.phase)
        embedded = torch.einsum("bcf,cof->bco", waves, self.weight) + self.bias
        return torch.cat([embedded, x[..., None]], dim=-1).flatten(1)


class Embedding(nn.Embedding):
    def forward(self, x):
        return super().forward(x[:, 0].long())


def front_module(part):
    if part["kind"] == "pass":
        return nn.Identity()
    if part["kind"] == "embedding":
        return Embedding(part["levels"], part["width"])
    return Periodic(part["columns"], part["frequencies"], part["width"], part["sigma"])


class Weight(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.weight = nn.Parameter(value)


class Network(nn.Module):
    def __init__(self, config):
        super().__init__()
        front = config["front"]
        inputs = config["input_shape"][0]
        if front:
            inputs = sum(columns(part) * width(part) for part in front)
        ensemble = config["ensemble"]
        self.config = config
        self.count = ensemble["members"] if ensemble else 1
        self.front = nn.ModuleList(map(front_module, front))
        if config["scaling"]:
            self.scaling = Weight(1 + torch.rand(inputs))
        if ensemble:
            self.members = Weight(torch.randn(self.count, inputs))
        widths = [inputs, *config["hidden"]]
        outputs = config["outputs"] * self.count
        self.layers = nn.ModuleList(map(nn.Linear, widths, [*config["hidden"], outputs]))
        if config["parametric"]:
            self.activations = nn.ModuleList(Weight(torch.rand(n)) for n in config["hidden"])

    def linear(self, layer, x):
        if self.config["parametrization"] == "ntk":
            return x @ layer.weight.T / math.sqrt(layer.in_features) + layer.bias
        return layer(x)

    def body(self, x):
        *hidden, output = self.layers
        for i, layer in enumerate(hidden):
            x = self.linear(layer, x)
            y = ACTIVATIONS[self.config["activation"]](x)
            x = x + (y - x) * self.activations[i].weight if self.config["parametric"] else y
        return self.linear(output, x)

    def embed(self, x):
        if not self.front:
            return x
        parts = torch.split(x, [columns(part) for part in self.config["front"]], dim=1)
        return torch.cat([module(part) for module, part in zip(self.front, parts)], dim=1)

    def forward(self, x):
        x = self.embed(x)
        if self.config["scaling"]:
            x = x * self.scaling.weight
        if self.config["ensemble"] is None:
            return self.body(x)
        # Each member has its own rows of the output layer.
        outputs = self.config["outputs"]
        members = [
            self.body(x * scale)[:, m * outputs : (m + 1) * outputs]
            for m, scale in enumerate(self.members.weight)
        ]
        members = torch.stack(members)
        average = self.config["ensemble"]["average"]
        if average == "softmax":
            return torch.softmax(members, -1).mean(0).log()
        if average == "sigmoid":
            return torch.logit(torch.sigmoid(members).mean(0))
        return members.mean(0)


def config(front=(), activation="relu", outputs=4, average=None, members=3, **other):
    ensemble = {"members": members, "average": average} if average else None
    inputs = sum(map(columns, front)) if front else 6
    usual = {"hidden": [9, 8], "scaling": False, "parametric": False, "parametrization": "standard"}
    return {
        "input_shape": [inputs],
        "front": list(front),
        "activation": activation,
        "outputs": outputs,
        "ensemble": ensemble,
        **usual,
        **other,
    }


REALMLP = {"scaling": True, "parametrization": "ntk"}
CASES = {
    "front": config(FRONT),
    "scaling": config(scaling=True),
    "ntk": config(activation="selu", parametrization="ntk"),
    "parametric": config(activation="mish", parametric=True),
    "realmlp-td-s": config(activation="selu", hidden=[16] * 3, **REALMLP),
    "realmlp-td": config(FRONT, "mish", 1, hidden=[16] * 3, parametric=True, **REALMLP),
    "tabm-classes": config(FRONT, average="softmax"),
    "tabm-labels": config(average="sigmoid", outputs=2, members=5),
    "tabm-values": config(FRONT, average="outputs", outputs=1),
}


def inputs(config):
    x = torch.empty(BATCH, config["input_shape"][0]).uniform_(-3, 3)
    at = 0
    for part in config["front"]:
        if part["kind"] == "embedding":
            x[:, at] = torch.randint(part["levels"], (BATCH,))
        at += columns(part)
    return x


def case(config):
    network = Network(config)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    tensors = {"input": inputs(config), **state}
    # Computed in float64 and rounded once at the end: the tolerance is wholly ours.
    network.double()
    with torch.no_grad():
        tensors["logits"] = network(tensors["input"].double())
    return {name: tensor.float().contiguous() for name, tensor in tensors.items()}


tensors = {f"{name}/{k}": v for name, c in CASES.items() for k, v in case(c).items()}
cases = [
    {"name": name, "config": {k: v for k, v in config.items() if v is not None}}
    for name, config in CASES.items()
]
path = Path(__file__).with_suffix(".safetensors")
save_file(tensors, path, metadata={"cases": json.dumps(cases)})
print(f"{path.name}: {len(cases)} cases")

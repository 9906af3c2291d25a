"""Makes forward.safetensors: logits of small networks, computed by PyTorch.

Versions: Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0 (requirements.txt).
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)

BATCH, INPUTS = 32, 20

ACTIVATIONS = {
    "identity": nn.Identity(),
    "relu": nn.ReLU(),
    "leaky-relu": nn.LeakyReLU(),
    "relu6": nn.ReLU6(),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "gelu": nn.GELU(),
    "gelu-tanh": nn.GELU(approximate="tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "hard-sigmoid": nn.Hardsigmoid(),
    "hard-swish": nn.Hardswish(),
    "hard-tanh": nn.Hardtanh(),
}
NORMS = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


class Network(nn.Module):
    """Hidden block: linear, norm, activation, then plus its input if residual; last a linear."""

    def __init__(self, config):
        super().__init__()
        widths = [INPUTS, *config["hidden"], config["outputs"]]
        self.layers = nn.ModuleList(map(nn.Linear, widths, widths[1:]))
        norm = NORMS.get(config["norm"])
        self.norms = nn.ModuleList(norm(width) for width in config["hidden"] if norm)
        self.activation = ACTIVATIONS[config["activation"]]
        self.residual = config["residual"]

    def forward(self, x):
        *hidden, output = self.layers
        for i, layer in enumerate(hidden):
            y = layer(x)
            if self.norms:
                y = self.norms[i](y)
            y = self.activation(y)
            x = x + y if self.residual and x.shape == y.shape else y
        return output(x)


def scramble(network):
    """Gives every parameter and statistic a value that would be missed if it were not used."""
    with torch.no_grad():
        for layer in network.layers:
            # Wide enough that sums reach the flat parts of relu6 and the hard functions.
            nn.init.normal_(layer.weight, std=1.7 / layer.in_features**0.5)
            nn.init.normal_(layer.bias)
        for norm in network.norms:
            nn.init.uniform_(norm.weight, 0.5, 3.0)
            nn.init.normal_(norm.bias)
            if isinstance(norm, nn.BatchNorm1d):
                nn.init.normal_(norm.running_mean)
                nn.init.uniform_(norm.running_var, 0.5, 9.0)


def config(activation, hidden=(24,), norm="none", residual=False, outputs=5):
    return {
        "input_shape": [INPUTS],
        "outputs": outputs,
        "hidden": list(hidden),
        "activation": activation,
        "dropout": 0.0,
        "input_dropout": 0.0,
        "norm": norm,
        "residual": residual,
        "initializer": "glorot-uniform",
    }


DEEP = (16, 16, 12)
CASES = {
    **{activation: config(activation) for activation in ACTIVATIONS},
    "no-hidden": config("relu", hidden=()),
    "deep": config("gelu", DEEP),
    "deep-batch": config("relu", DEEP, "batch"),
    "deep-layer": config("tanh", DEEP, "layer"),
    "residual": config("silu", DEEP, residual=True),
    "residual-batch": config("hard-swish", DEEP, "batch", residual=True),
    "residual-layer": config("leaky-relu", DEEP, "layer", residual=True),
    # The first hidden layer adds its input; the output layer does not, though it is as wide.
    "residual-everywhere": config("mish", (20, 20), "batch", residual=True, outputs=20),
}


def state(network, prefix=""):
    """The state by name; the count of batches seen is of no use with a fixed momentum."""
    named = network.state_dict().items()
    return {prefix + name: tensor.clone() for name, tensor in named if "num_batches" not in name}


def case(config):
    network = Network(config)
    scramble(network)
    tensors = {"input": torch.empty(BATCH, INPUTS).uniform_(-3, 3), **state(network)}
    # The parameters and inputs are those of float32, but everything is computed in float64 and
    # rounded once at the end: the golden is the exact answer, and the tolerance, wholly ours.
    network.double()
    x = tensors["input"].double()
    with torch.no_grad():
        tensors["logits"] = network.eval()(x)
        if config["norm"] == "batch":
            tensors["train_logits"] = network.train()(x)
            tensors |= {k: v for k, v in state(network, "after/").items() if "running" in k}
    return {name: tensor.float() for name, tensor in tensors.items()}


tensors = {f"{name}/{k}": v for name, c in CASES.items() for k, v in case(c).items()}
cases = [{"name": name, "config": config} for name, config in CASES.items()]
path = Path(__file__).with_suffix(".safetensors")
save_file(tensors, path, metadata={"cases": json.dumps(cases)})
print(f"{path.name}: {len(cases)} cases")

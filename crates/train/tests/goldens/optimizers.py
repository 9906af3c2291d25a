"""Makes optimizers.safetensors: 200 steps of each optimizer, computed by PyTorch in float64.

Versions: Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0, lion-pytorch 0.2.5
(requirements.txt).
"""

import inspect
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from lion_pytorch import Lion
from safetensors.torch import save_file
from torch import nn
from torch.optim import SGD, Adagrad, Adam, AdamW, Muon, RMSprop, _muon

torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

WIDTHS, ROWS, BATCH, STEPS = [6, 8, 7, 3], 64, 16, 200

# PyTorch's Newton-Schulz iteration rounds to bfloat16, which no other program repeats digit for
# digit. Its source is run again with float64 in place of bfloat16 and nothing else changed.
_source = inspect.getsource(_muon._zeropower_via_newtonschulz)
assert _source.count("torch.bfloat16") == 1
exec(_source.replace("torch.bfloat16", "torch.float64"), _muon.__dict__)


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(map(nn.Linear, WIDTHS, WIDTHS[1:]))

    def forward(self, x):
        *hidden, output = self.layers
        for layer in hidden:
            x = torch.tanh(layer(x))
        return output(x)


def rounded(tensor):
    """Rounded to float32, so that a test in float32 starts from the same numbers."""
    return tensor.float().double()


def decayed(network, decay, layers=slice(None)):
    """Parameter groups: weight decay for the weight matrices of these layers, none for biases."""
    weights = [layer.weight for layer in network.layers[layers]]
    biases = [layer.bias for layer in network.layers]
    return [
        {"params": weights, "weight_decay": decay},
        {"params": biases, "weight_decay": 0.0},
    ]


def optimizers(settings, network):
    """PyTorch's optimizers for these settings: two for Muon, else one."""
    s = dict(settings)
    name, lr, decay = s.pop("name"), s.pop("learning_rate"), s.pop("weight_decay")
    betas = (s.pop("beta1"), s.pop("beta2")) if "beta1" in s else None
    groups = decayed(network, decay)
    match name:
        case "sgd":
            return [SGD(groups, lr, **s)]
        case "adam":
            return [Adam(groups, lr, betas, eps=s["epsilon"])]
        case "adamw":
            return [AdamW(groups, lr, betas, eps=s["epsilon"])]
        case "rmsprop":
            return [RMSprop(groups, lr, eps=s.pop("epsilon"), **s)]
        case "adagrad":
            start = s["initial_accumulator"]
            return [Adagrad(groups, lr, eps=s["epsilon"], initial_accumulator_value=start)]
        case "lion":
            return [Lion(groups, lr, betas)]
        case "muon":
            # Muon for hidden weight matrices, AdamW for the output layer and all biases.
            # `epsilon` is AdamW's; that of the iteration stays at PyTorch's 1e-7.
            hidden = [layer.weight for layer in network.layers[:-1]]
            rest = decayed(network, decay, layers=slice(-1, None))
            muon = Muon(
                hidden,
                lr,
                weight_decay=decay,
                momentum=s["momentum"],
                nesterov=s["nesterov"],
                ns_steps=s["steps"],
            )
            return [muon, AdamW(rest, s["adam_learning_rate"], betas, eps=s["epsilon"])]


def sgd(rate, momentum=0.0, dampening=0.0, nesterov=False, decay=0.0):
    return {
        "name": "sgd",
        "learning_rate": rate,
        "momentum": momentum,
        "dampening": dampening,
        "nesterov": nesterov,
        "weight_decay": decay,
    }


def adam(rate, epsilon, beta1=0.9, beta2=0.999, decay=0.0, name="adam"):
    return {
        "name": name,
        "learning_rate": rate,
        "beta1": beta1,
        "beta2": beta2,
        "epsilon": epsilon,
        "weight_decay": decay,
    }


def rmsprop(rate, alpha=0.99, epsilon=1e-8, momentum=0.0, centered=False, decay=0.0):
    return {
        "name": "rmsprop",
        "learning_rate": rate,
        "alpha": alpha,
        "epsilon": epsilon,
        "momentum": momentum,
        "centered": centered,
        "weight_decay": decay,
    }


def adagrad(rate, epsilon=1e-10, start=0.0, decay=0.0):
    return {
        "name": "adagrad",
        "learning_rate": rate,
        "epsilon": epsilon,
        "initial_accumulator": start,
        "weight_decay": decay,
    }


def lion(rate, beta1=0.9, beta2=0.99, decay=0.0):
    return {
        "name": "lion",
        "learning_rate": rate,
        "beta1": beta1,
        "beta2": beta2,
        "weight_decay": decay,
    }


def muon(rate, momentum=0.95, nesterov=True, decay=0.1, steps=5, epsilon=1e-8):
    return {
        "name": "muon",
        "learning_rate": rate,
        "momentum": momentum,
        "nesterov": nesterov,
        "weight_decay": decay,
        "steps": steps,
        "adam_learning_rate": 3e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "epsilon": epsilon,
    }


# The usual epsilons are so small that a test in float32 would not see one in the wrong place; the
# cases named for it have one that shows.
OPTIMIZERS = {
    "sgd": sgd(0.1),
    "sgd-momentum": sgd(0.05, 0.9),
    "sgd-nesterov": sgd(0.05, 0.9, nesterov=True),
    "sgd-dampening": sgd(0.05, 0.9, dampening=0.1),
    "sgd-decay": sgd(0.05, 0.9, decay=1e-2),
    "sgd-clip-always": sgd(0.05, 0.9),
    "sgd-clip-sometimes": sgd(0.05, 0.9),
    "adam": adam(1e-3, 1e-7),
    "adam-fast": adam(1e-2, 1e-8),
    "adam-decay": adam(1e-2, 1e-8, decay=1e-2),
    "adam-epsilon": adam(1e-2, 1e-2, beta1=0.8, beta2=0.95),
    "adamw": adam(1e-3, 1e-8, decay=1e-2, name="adamw"),
    "adamw-epsilon": adam(1e-2, 1e-2, beta1=0.8, beta2=0.95, decay=0.5, name="adamw"),
    "rmsprop": rmsprop(1e-2),
    "rmsprop-momentum": rmsprop(1e-3, momentum=0.9),
    "rmsprop-centered": rmsprop(1e-2, centered=True),
    "rmsprop-epsilon": rmsprop(
        1e-2, alpha=0.9, epsilon=1e-2, momentum=0.5, centered=True, decay=1e-2
    ),
    "adagrad": adagrad(0.05),
    "adagrad-epsilon": adagrad(0.05, epsilon=1e-2, start=0.1, decay=1e-2),
    "lion": lion(1e-3),
    "lion-decay": lion(1e-3, beta1=0.95, beta2=0.98, decay=1.0),
    "muon": muon(0.02),
    "muon-epsilon": muon(0.01, 0.9, nesterov=False, decay=1.0, steps=3, epsilon=1e-2),
}
CLIPS = {"sgd-clip-always": 0.05, "sgd-clip-sometimes": 0.3}
CASES = [
    {"name": name, "optimizer": settings, "clip": CLIPS.get(name), "schedule": None}
    for name, settings in OPTIMIZERS.items()
]


def train(case, initial, data, classes):
    network = Network()
    network.load_state_dict(initial)
    steppers = optimizers(case["optimizer"], network)
    losses = []
    for step in range(STEPS):
        start = BATCH * step % ROWS
        batch = slice(start, start + BATCH)
        loss = F.cross_entropy(network(data[batch]), classes[batch])
        network.zero_grad()
        loss.backward()
        if case["clip"] is not None:
            nn.utils.clip_grad_norm_(network.parameters(), case["clip"])
        for stepper in steppers:
            stepper.step()
        losses.append(loss.detach())
    # The loss of a step is that of the weights before it.
    return {**network.state_dict(), "losses": torch.stack(losses)}


data = rounded(torch.randn(ROWS, WIDTHS[0]))
# A teacher, so that there is something to learn.
classes = (torch.sin(2 * data) @ torch.randn(WIDTHS[0], WIDTHS[-1])).argmax(1)
initial = {name: rounded(tensor) for name, tensor in Network().state_dict().items()}

tensors = {"data": data, "classes": classes}
tensors |= {f"initial/{name}": tensor for name, tensor in initial.items()}
for case in CASES:
    result = train(case, initial, data, classes)
    tensors |= {f"{case['name']}/{k}": v for k, v in result.items()}
    first, last = result["losses"][0], result["losses"][-1]
    print(f"{case['name']}: loss {first:.4f} at the first step, {last:.4f} at the last")

path = Path(__file__).with_suffix(".safetensors")
save_file(tensors, path, metadata={"cases": json.dumps(CASES)})
print(f"{path.name}: {len(CASES)} cases")

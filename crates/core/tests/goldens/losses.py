"""Makes losses.safetensors: losses and their gradients, computed by PyTorch.

Versions: Python 3.11, torch 2.15.0, numpy 2.4.6, safetensors 0.8.0 (requirements.txt).
"""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

torch.manual_seed(2026)
torch.use_deterministic_algorithms(True)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)

BATCH, OUTPUTS = 9, 6
# Not in order, not equally often, and every class at least once.
CLASSES = torch.tensor([3, 0, 5, 5, 1, 4, 2, 0, 5])
CLASS_WEIGHTS = [0.5, 1.0, 2.0, 0.25, 1.5, 3.0]


def rounded(tensor):
    """Rounded to float32, so that a test in float32 starts from the same numbers."""
    return tensor.float().double()


def cross_entropy(loss, logits, targets, reduction):
    weights = loss.get("class_weights")
    return F.cross_entropy(
        logits,
        targets,
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=loss["label_smoothing"],
        reduction=reduction,
    )


def binary_cross_entropy(loss, logits, targets, reduction):
    return F.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)


def mse(loss, logits, targets, reduction):
    return F.mse_loss(logits, targets, reduction=reduction)


def mae(loss, logits, targets, reduction):
    return F.l1_loss(logits, targets, reduction=reduction)


def huber(loss, logits, targets, reduction):
    return F.huber_loss(logits, targets, delta=loss["delta"], reduction=reduction)


FUNCTIONS = {
    "cross-entropy": cross_entropy,
    "binary-cross-entropy": binary_cross_entropy,
    "mse": mse,
    "mae": mae,
    "huber": huber,
}

LOSSES = {
    "cross-entropy": {"name": "cross-entropy", "label_smoothing": 0.0},
    "smoothing": {"name": "cross-entropy", "label_smoothing": 0.1},
    "weights": {"name": "cross-entropy", "label_smoothing": 0.0, "class_weights": CLASS_WEIGHTS},
    "both": {"name": "cross-entropy", "label_smoothing": 0.1, "class_weights": CLASS_WEIGHTS},
    "binary-cross-entropy": {"name": "binary-cross-entropy"},
    "mse": {"name": "mse"},
    "mae": {"name": "mae"},
    "huber": {"name": "huber", "delta": 0.7},
}


def targets_of(loss):
    match loss["name"]:
        case "cross-entropy":
            return CLASSES
        case "binary-cross-entropy":
            return torch.randint(0, 2, (BATCH, OUTPUTS)).double()
        case _:
            return rounded(torch.randn(BATCH, OUTPUTS))


def golden(loss, logits):
    function, targets = FUNCTIONS[loss["name"]], targets_of(loss)
    rows = function(loss, logits, targets, "none")
    logits.requires_grad_()
    mean = function(loss, logits, targets, "mean")
    mean.backward()
    return {
        "logits": logits.detach(),
        "classes" if targets is CLASSES else "values": targets.clone(),
        # One number per sample: several outputs are averaged.
        "rows": (rows.mean(1) if rows.dim() == 2 else rows).detach(),
        "mean": mean.detach().reshape(1),
        "gradient": logits.grad,
    }


def ordinary():
    return rounded(2 * torch.randn(BATCH, OUTPUTS))


def large():
    """Logits of up to ±1e4, where exp overflows; the first two rows are ties."""
    logits = rounded(torch.empty(BATCH, OUTPUTS).uniform_(-1e4, 1e4))
    logits[0], logits[1] = 1e4, -1e4
    return logits


cases, tensors = [], {}
for name, loss in LOSSES.items():
    variants = {name: ordinary()}
    if "cross-entropy" in loss["name"]:
        variants[f"{name}-large"] = large()
    for name, logits in variants.items():
        cases.append({"name": name, "loss": loss})
        tensors |= {f"{name}/{k}": v for k, v in golden(loss, logits).items()}

path = Path(__file__).with_suffix(".safetensors")
save_file(tensors, path, metadata={"cases": json.dumps(cases)})
print(f"{path.name}: {len(cases)} cases")

"""Reads the model file of format version 1 as a stranger would and predicts with PyTorch.

Writes the first 100 images of the MNIST test set and the logits that PyTorch computes for them from
the fixture's tensors, in float64 rounded to float32. Run it from any folder:

    python read_model.py MNIST_FOLDER

MNIST_FOLDER holds the plain file t10k-images-idx3-ubyte.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

here = Path(__file__).parent
fixture = here.parent / "fixtures" / "model-v1.safetensors"

images = np.fromfile(Path(sys.argv[1]) / "t10k-images-idx3-ubyte", dtype=np.uint8, offset=16)
pixels = images.reshape(-1, 784)[:100].astype(np.float32)

with safe_open(fixture, framework="pt") as file:
    document = json.loads(file.metadata()["fireclay"])
    layers = [
        (file.get_tensor(f"layers.{i}.weight").double(), file.get_tensor(f"layers.{i}.bias").double())
        for i in range(len(document["architecture"]["hidden"]) + 1)
    ]

assert document["version"] == 1
assert document["architecture"]["activation"] == "relu"
assert document["preprocessing"]["kind"] == "scale"

x = torch.from_numpy(pixels).double() * document["preprocessing"]["scale"]
for i, (weight, bias) in enumerate(layers):
    x = torch.nn.functional.linear(x, weight, bias)
    if i + 1 < len(layers):
        x = torch.relu(x)

save_file({"pixels": pixels, "logits": x.float().numpy()}, here / "model-v1-logits.safetensors")
print("accuracy is not checked here; first labels:", "".join(str(int(c)) for c in x.argmax(1)[:10]))

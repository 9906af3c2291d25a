"""Reads the fixture with named columns by docs/model-file.md alone, with NumPy, and writes the probabilities of
a few rows.

read_columns_v2.py, in this folder; needs the versions of requirements.txt.
"""

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open

here = Path(__file__).parent
with safe_open(here.parent / "fixtures" / "columns-v2.safetensors", "np") as file:
    document = json.loads(file.metadata()["fireclay"])
    tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}
assert document["version"] == 2 and "preprocessing" not in document
network = document["architecture"]
assert all(layer["activation"] == "relu" and layer["norm"] == "none" for layer in network["hidden"])

rows = [
    {"size": 6.0, "colour": "blue", "pixels": [0, 255]},
    {"size": None, "colour": "red", "pixels": [17, 3]},
    {"size": -2.5, "colour": "green", "pixels": [200, 90]},
    {"size": 3.0, "colour": None, "pixels": [1, 2]},
]


def encoded(value, takes):
    match takes["kind"]:
        case "dense":
            assert takes["preprocessing"]["kind"] == "scale" and len(value) == np.prod(takes["shape"])
            return [takes["preprocessing"]["scale"] * number for number in value]
        case "number":
            scaled = 0.0 if value is None else (value - takes["mean"]) / takes["deviation"]
            return [scaled] + [float(value is None)] * takes["missing"]
        case "category":
            places = [float(value == text) for text in takes["values"]]
            return places + [float(value is None)] * takes["missing"]
    raise ValueError(takes["kind"])


probabilities = []
for row in rows:
    x = np.array([n for field in document["input"]["fields"] for n in encoded(row[field["name"]], field["takes"])])
    assert x.shape == tuple(network["input_shape"])
    last = len(network["hidden"])
    for i in range(last + 1):
        x = tensors[f"layers.{i}.weight"] @ x + tensors[f"layers.{i}.bias"]
        x = np.maximum(x, 0) if i < last else x
    e = np.exp(x - x.max())
    probabilities.append((e / e.sum()).tolist())
(here / "columns-v2-probabilities.json").write_text(json.dumps(probabilities) + "\n")

"""Reads the fixture of version 2 by docs/model-file.md alone, with NumPy, and writes logits of a few rows.

read_model_v2.py, in this folder; needs the versions of requirements.txt.
"""

import json
import math
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

here = Path(__file__).parent
path = here.parent / "fixtures" / "model-v2.safetensors"
blob = path.read_bytes()
length = int.from_bytes(blob[:8], "little")
header = json.loads(blob[8 : 8 + length])
with safe_open(path, "np") as file:  # the library opens it too
    assert json.loads(file.metadata()["fireclay"])["version"] == 2
document = json.loads(header["__metadata__"]["fireclay"])
network, encodings = document["architecture"], document["encodings"]


def raw(name):
    entry = header[name]
    start, end = entry["data_offsets"]
    return blob[8 + length + start : 8 + length + end], entry["shape"]


def floats(name):
    data, shape = raw(name)
    return np.frombuffer(data, "<f4").reshape(shape).astype(np.float64)


def bits(row):
    return np.unpackbits(np.frombuffer(row, np.uint8), bitorder="little")


def matrix(name, outputs, inputs):
    if name not in encodings:
        return floats(name)
    data, _ = raw(name)
    kind = encodings[name]["kind"]
    if kind == "f16":
        return np.frombuffer(data, "<f2").reshape(outputs, inputs).astype(np.float64)
    if kind == "bf16":
        words = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return words.view(np.float32).reshape(outputs, inputs).astype(np.float64)
    rows = [data[i : i + len(data) // outputs] for i in range(0, len(data), len(data) // outputs)]
    if kind == "codebook":
        width, book = encodings[name]["bits"], floats(name + ".codebook")
        codes = [bits(row)[: inputs * width].reshape(inputs, width) @ (1 << np.arange(width)) for row in rows]
        return np.array([book[row] for row in codes])
    assert kind == "sparse", kind
    values, result = iter(floats(name + ".values")), np.zeros((outputs, inputs))
    for o, row in enumerate(rows):
        for i in np.flatnonzero(bits(row)[:inputs]):
            result[o, i] = next(values)
    return result


def norm(x, i, layer):
    weight, bias = floats(f"norms.{i}.weight"), floats(f"norms.{i}.bias")
    if layer["norm"] == "batch":
        mean, var = floats(f"norms.{i}.running_mean"), floats(f"norms.{i}.running_var")
    else:
        mean, var = x.mean(1, keepdims=True), x.var(1, keepdims=True)
    return (x - mean) / np.sqrt(var + layer["norm_epsilon"]) * weight + bias


def activation(x, layer):
    match layer["activation"]:
        case "gelu":
            return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        case "tanh":
            return np.tanh(x)
        case "leaky-relu":
            return np.where(x > 0, x, layer["leaky_slope"] * x)
    raise ValueError(layer["activation"])


def linear(x, i, outputs, has_bias):
    y = x @ matrix(f"layers.{i}.weight", outputs, x.shape[1]).T
    return y + floats(f"layers.{i}.bias") if has_bias else y


rows = np.random.default_rng(1).normal(size=(12, 6)).astype(np.float32) * 3
preprocessing = document["preprocessing"]
mean, deviation = (np.array(preprocessing[name]) for name in ("mean", "deviation"))
x = (rows - mean) * np.divide(1, deviation, out=np.zeros(6), where=deviation > 0)
read = []
for i, layer in enumerate(network["hidden"]):
    read.append(x)
    at = lambda place: layer["norm"] != "none" and layer["norm_position"] == place
    skip = layer.get("skip")
    add = lambda place: read[i + 1 - skip["span"]] if skip and skip["position"] == place else 0
    x = norm(x, i, layer) if at("input") else x
    x = linear(x, i, layer["width"], layer["bias"]) + add("before-norm")
    x = norm(x, i, layer) if at("before-activation") else x
    x = activation(x + add("before-activation"), layer)
    x = norm(x, i, layer) if at("after-activation") else x
    x = x + add("output")
logits = linear(x, len(network["hidden"]), network["outputs"], network["output_bias"])
save_file({"rows": rows, "logits": logits.astype(np.float32)}, here / "model-v2-logits.safetensors")

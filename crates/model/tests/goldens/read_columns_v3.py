"""Reads the fixture with columns in the encodings of version 3 by docs/model-file.md alone, with NumPy, and writes the
probabilities of a few rows.

read_columns_v3.py, in this folder; needs the versions of requirements.txt.
"""

import json
from datetime import datetime
from pathlib import Path
from statistics import NormalDist

import numpy as np
from safetensors import safe_open

here = Path(__file__).parent
with safe_open(here.parent / "fixtures" / "columns-v3.safetensors", "np") as file:
    document = json.loads(file.metadata()["fireclay"])
    tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}
assert document["version"] == 3 and "preprocessing" not in document
network = document["architecture"]
assert all(layer["activation"] == "relu" and layer["norm"] == "none" for layer in network["hidden"])

# A number, a truth value, a text and a date for every field that takes one.
rows = [
    {"number": 2.25, "boolean": False, "category": "b", "date": datetime(2024, 3, 1, 18)},
    {"number": -3.0, "boolean": True, "category": "c", "date": datetime(2024, 1, 15)},
    {"number": 12.5, "boolean": True, "category": "a", "date": None},
    {"number": None, "boolean": None, "category": None, "date": datetime(2024, 5, 1, 0, 0, 30)},
]


def standardized(x, takes):
    return (x - takes["mean"]) / takes["deviation"] if takes["deviation"] else 0.0


def rank(x, quantiles):
    ends = [quantiles[0], quantiles[-1]]
    if x <= ends[0] or x >= ends[1]:
        return float(x >= ends[1])
    equal = [i for i, quantile in enumerate(quantiles) if quantile == x]
    if equal:
        return np.mean(equal) / (len(quantiles) - 1)
    after = next(i for i, quantile in enumerate(quantiles) if quantile > x)
    a, b = quantiles[after - 1 : after + 1]
    return (after - 1 + (x - a) / (b - a)) / (len(quantiles) - 1)


def bins(x, edges):
    if len(edges) == 1:
        return [0.0]
    numbers = (x - np.array(edges[:-1])) / np.diff(edges)
    numbers[1:] = np.maximum(numbers[1:], 0)
    numbers[:-1] = np.minimum(numbers[:-1], 1)
    return numbers.tolist()


def scaled(x, takes):
    if "mean" in takes:
        return [standardized(x, takes)]
    scaling = takes["scaling"]
    match scaling["kind"]:
        case "none":
            return [x]
        case "robust":
            r = (x - scaling["median"]) / scaling["range"]
            return [r / np.sqrt(1 + (r / 3) ** 2)]
        case "min-max":
            return [(x - scaling["minimum"]) / (scaling["maximum"] - scaling["minimum"])]
        case "quantile":
            return [NormalDist().inv_cdf(min(max(rank(x, scaling["quantiles"]), 1e-7), 1 - 1e-7))]
        case "piecewise-linear":
            return bins(x, scaling["edges"])
    raise ValueError(scaling["kind"])


def number(x, takes):
    places = [0.0] * len(scaled(1.0, takes)) if x is None else scaled(x, takes)
    return places + [float(x is None)] * takes["missing"]


def category(text, takes):
    values = takes["values"]
    is_known = text in values
    place = values.index(text) if is_known else None
    match takes.get("encoding", "one-hot"):
        case "one-hot":
            return [float(text == value) for value in values] + [float(text is None)] * takes["missing"]
        case "one-hot-other":
            other = float(text is not None and not is_known)
            return [float(text == value) for value in values] + [other] + [float(text is None)] * takes["missing"]
        case "binary":
            return [[-1.0, 1.0][place] if is_known else 0.0]
        case "ordered":
            return [2 * place / (len(values) - 1) - 1, 0.0] if is_known else [0.0, 1.0]
        case "index":
            return [1.0 + place if is_known else 1.0 + len(values) if text is None else 0.0]
    raise ValueError(takes["encoding"])


def circle(share):
    return [np.sin(2 * np.pi * share), np.cos(2 * np.pi * share)]


def date(moment, takes):
    numbers = []
    for part in takes["parts"]:
        if moment is None:
            numbers += [0.0] * (1 if "mean" in part else 2)
            continue
        days = (moment - datetime(1970, 1, 1)).total_seconds() / 86400
        match part["part"]:
            case "days":
                numbers.append(standardized(days, part))
            case "year":
                numbers.append(standardized(moment.year, part))
            case "day":
                numbers.append(standardized(moment.day, part))
            case "month":
                numbers += circle((moment.month - 1) / 12)
            case "weekday":
                numbers += circle(moment.weekday() / 7)
            case "hour":
                numbers += circle(days % 1)
            case other:
                raise ValueError(other)
    return numbers + [float(moment is None)] * takes["missing"]


def boolean(is_true, takes):
    return [0.0 if is_true is None else 1.0 if is_true else -1.0]


encode = {"number": number, "boolean": boolean, "category": category, "date": date}
probabilities = []
for row in rows:
    fields = [field["takes"] for field in document["input"]["fields"]]
    x = np.array([n for takes in fields for n in encode[takes["kind"]](row[takes["kind"]], takes)])
    assert x.shape == tuple(network["input_shape"])
    last = len(network["hidden"])
    for i in range(last + 1):
        x = tensors[f"layers.{i}.weight"] @ x + tensors[f"layers.{i}.bias"]
        x = np.maximum(x, 0) if i < last else x
    e = np.exp(x - x.max())
    probabilities.append((e / e.sum()).tolist())
(here / "columns-v3-probabilities.json").write_text(json.dumps(probabilities) + "\n")

"""Writes the network of a Fireclay model as ONNX, and MNIST's test rows as raw float32.

make.py MODEL.safetensors IDX.zst OUT: OUT/model.onnx, from raw pixels to logits, and OUT/rows.f32.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import zstandard
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open

model, idx, out = map(Path, sys.argv[1:4])
with safe_open(model, "np") as file:
    document = json.loads(file.metadata()["fireclay"])
    tensors = {name: file.get_tensor(name) for name in file.keys()}
preprocessing, architecture = document["preprocessing"], document["architecture"]
assert preprocessing["kind"] == "scale" and architecture["activation"] == "relu", document
assert architecture["norm"] == "none" and not architecture["residual"], document

inputs = int(np.prod(architecture["input_shape"]))
initial = [numpy_helper.from_array(np.float32(preprocessing["scale"]), "scale")]
nodes, last = [helper.make_node("Mul", ["raw", "scale"], ["x"])], "x"
count = len(architecture["hidden"]) + 1
for i in range(count):
    weight, bias = f"layers.{i}.weight", f"layers.{i}.bias"
    initial += [numpy_helper.from_array(tensors[name], name) for name in (weight, bias)]
    result = "logits" if i + 1 == count else f"z{i}"
    nodes.append(helper.make_node("Gemm", [last, weight, bias], [result], transB=1))
    if i + 1 < count:
        nodes.append(helper.make_node("Relu", [result], [f"a{i}"]))
        last = f"a{i}"

value = helper.make_tensor_value_info
graph = helper.make_graph(
    nodes,
    "mlp",
    [value("raw", TensorProto.FLOAT, ["batch", inputs])],
    [value("logits", TensorProto.FLOAT, ["batch", architecture["outputs"]])],
    initial,
)
network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
onnx.checker.check_model(network)
out.mkdir(parents=True, exist_ok=True)
onnx.save(network, out / "model.onnx")

with zstandard.open(idx) as file:
    images = np.frombuffer(file.read(), np.uint8, offset=16)
images.astype("<f4").tofile(out / "rows.f32")

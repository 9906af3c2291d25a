"""Makes small ONNX files of odd but honest habits and, beside each, what onnxruntime answers.

    pip install -r requirements.txt
    python make_small.py

All take rows of four numbers, those of small/rows.f32. Each small/NAME.f32 is what the network of
small/NAME.onnx makes of them, in f32 with the lowest byte first: without labels, and of two classes
the probability of the second alone.
"""

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.manual_seed(1)
torch.set_num_threads(1)
folder = Path(__file__).parent / "small"
random = np.random.default_rng(1)
data = (random.normal(size=(200, 4)) * [1, 5, 0.2, 3] + [0, 2, -1, 9]).astype(np.float32)
classes = np.argmax(data @ random.normal(size=(4, 3)), 1)
rows = data[:6]
rows.astype("<f4").tofile(folder / "rows.f32")


def answer(name, columns=slice(None), path=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path or folder / f"{name}.onnx", options)
    shape = session.get_inputs()[0].shape
    kind = np.float64 if "double" in session.get_inputs()[0].type else np.float32
    samples = [rows[:, None, None]] if len(shape) == 4 else [rows]
    if shape[0] in (1, 4) or shape[-1] == 1:
        sizes = [1 if not isinstance(size, int) else size for size in shape]
        samples = [row.reshape(sizes) for row in rows]
    answers = []
    for sample in samples:
        found = session.run(None, {session.get_inputs()[0].name: sample.astype(kind)})[-1]
        if isinstance(found, list):
            found = np.array([list(probabilities.values()) for probabilities in found])
        answers.append(found if len(samples) == 1 else found.reshape(1, -1))
    np.concatenate(answers)[:, columns].astype("<f4").tofile(folder / f"{name}.f32")


def save(model, name):
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, folder / f"{name}.onnx")


# scikit-learn: scaling by feature, and classes that are no numbers from 0.
def classifier(scaler, labels):
    network = MLPClassifier((5,), max_iter=9, random_state=1)
    return make_pipeline(*([scaler] if scaler else []), network).fit(data, labels)


def regressor(targets):
    network = MLPRegressor(hidden_layer_sizes=(5,), max_iter=9, random_state=1)
    return make_pipeline(StandardScaler(), network).fit(data, targets)


names, first, plain = np.array(["oak", "elm", "größe"]), data[:1], {"zipmap": False}
gaps = classes * 10 - 5
save(to_onnx(classifier(StandardScaler(), gaps), first, options=plain), "gaps")
save(to_onnx(classifier(MinMaxScaler(), names[classes]), first), "texts")
save(to_onnx(classifier(None, names[classes]), first, options={"zipmap": "columns"}), "columns")
save(to_onnx(classifier(None, np.array([-1, 7])[classes % 2]), first, options=plain), "two")
save(to_onnx(classifier(None, classes == 1), first, options=plain), "truth")
twice = np.stack([classes == 0, classes != 1], 1).astype(int)
save(to_onnx(classifier(None, twice), first, options=plain), "many")
thrice = np.stack([classes == 0, classes != 1, data[:, 0] > 0], 1).astype(int)
several = MLPClassifier((6,), "tanh", max_iter=400, random_state=1).fit(data, thrice)
for name, zipmap in [("plain", False), ("maps", True), ("columns", "columns")]:
    named = {id(several): {"zipmap": zipmap}}
    save(to_onnx(several, first, options=named), f"several-{name}")
doubles = classifier(StandardScaler(with_std=False), classes)
save(to_onnx(doubles, first.astype(np.float64), options=plain), "doubles")
save(to_onnx(regressor(data[:, 0]), first), "regressor")
save(to_onnx(regressor(data[:, :2]), first), "regressors")
save(to_onnx(classifier(Normalizer(), classes), first, options=plain), "normalizer")
for name in ["gaps", "texts", "doubles"]:
    answer(name)
for name in ["two", "truth"]:
    answer(name, slice(1, None))
answer("many", slice(2, None))
answer("several-maps")
(folder / "several-maps.f32").rename(folder / "several.f32")
answer("regressor")
# Its graph lists the targets of all samples one after the other.
pairs = onnxruntime.InferenceSession(folder / "regressors.onnx").run(None, {"X": rows})[0]
pairs.reshape(-1, 2).astype("<f4").tofile(folder / "regressors.f32")


# PyTorch, by both exporters, and what ONNX Runtime makes of it.
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm, self.inner, self.last = nn.BatchNorm1d(6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.nn.functional.silu(self.first(x))
        x = x + self.second(torch.relu(self.norm(x)))
        y = self.third(x)
        y = y + torch.tanh(self.inner(y))
        return self.last(x - y)


class Scaled(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.deviation = nn.Parameter(torch.randn(4)), nn.Parameter(torch.rand(4) + 0.5)
        self.linear = nn.Linear(4, 3)

    def forward(self, x):
        return self.linear((x - self.mean) / self.deviation)


networks = {
    "residual": Residual(),
    "scaled": Scaled(),
    "slopes": nn.Sequential(
        nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 6), nn.PReLU(), nn.Linear(6, 3), nn.Tanh()
    ),
    "norms": nn.Sequential(
        nn.BatchNorm1d(4), nn.Linear(4, 6), nn.ReLU(), nn.BatchNorm1d(6), nn.Linear(6, 6),
        nn.SiLU(), nn.LayerNorm(6), nn.Linear(6, 3),
    ),
    "unflat": nn.Sequential(
        nn.Unflatten(1, (1, 4)), nn.Linear(4, 6), nn.GELU(), nn.Flatten(), nn.Linear(6, 3)
    ),
}  # fmt: skip
levels = onnxruntime.GraphOptimizationLevel
for name, network in networks.items():
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm1d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
            elif isinstance(layer, nn.PReLU):
                layer.weight.uniform_(-0.5, 0.5)
    for dynamo, kind in [(True, ""), (False, "-script")]:
        options = {"external_data": False, "dynamic_shapes": ({0: torch.export.Dim("batch")},)}
        if not dynamo:
            options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
            options["opset_version"] = 17
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            path = Path(place) / "model.onnx"
            sample = torch.from_numpy(rows)
            torch.onnx.export(network.eval(), (sample,), path, dynamo=dynamo, **options)
            save(onnx.load(path), name + kind)
    answer(name)
    if name == "norms":
        # Before version 17 of the operators, a layer norm is nine of them.
        with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
            path = Path(place) / "model.onnx"
            old = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}, "opset_version": 13}
            torch.onnx.export(network.eval(), (torch.from_numpy(rows),), path, dynamo=False, **old)
            save(onnx.load(path), "norms-13")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = levels.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / f"{name}-runtime.onnx")
    onnxruntime.InferenceSession(folder / f"{name}-script.onnx", options)

# Numbers in a file beside the model.
beside = onnx.load(folder / "scaled.onnx")
onnx.save(
    beside, folder / "beside.onnx", save_as_external_data=True, location="beside.onnx.data",
    size_threshold=0,
)  # fmt: skip


# Written by hand, as other programs write them.
def floats(*shape):
    return random.normal(size=shape).astype(np.float32)


def write(name, nodes, constants, shape, outputs=("y",), kinds=(TensorProto.FLOAT,), **metadata):
    tensors = [numpy_helper.from_array(np.asarray(value), key) for key, value in constants.items()]
    graph = helper.make_graph(
        [helper.make_node(*node[:3], **(node[3] if len(node) > 3 else {})) for node in nodes],
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, kind, ["A", "B"]) for name, kind in zip(outputs, kinds)],
        tensors,
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=sets, ir_version=8)
    helper.set_model_props(model, metadata)
    # How many dimensions labels have is not said rightly, and does not matter.
    onnx.checker.check_model(model)
    onnx.save(model, folder / f"{name}.onnx")


# The input of ACAS Xu: one sample in four dimensions, shifted by feature.
write(
    "shifted",
    [
        ("Sub", ["x", "means"], ["a"]), ("Flatten", ["a"], ["b"]), ("MatMul", ["b", "w"], ["c"]),
        ("Add", ["c", "d"], ["e"]), ("Relu", ["e"], ["f"]), ("MatMul", ["f", "v"], ["g"]),
        ("Add", ["u", "g"], ["y"]),
    ],
    {
        "means": floats(1, 1, 1, 4), "w": floats(4, 6), "d": floats(6), "v": floats(6, 3),
        "u": floats(1, 3),
    },
    [1, 1, 1, 4],
)  # fmt: skip
answer("shifted")
# Samples in columns: weights come first, biases are columns.
columns = {"w": floats(6, 4), "b": floats(6, 1), "v": floats(3, 6), "c": floats(3, 1)}
steps = [
    ("MatMul", ["w", "t"], ["z"]), ("Add", ["b", "z"], ["h"]), ("Tanh", ["h"], ["a"]),
    ("Gemm", ["v", "a", "c"], ["s"], {"alpha": 0.5, "beta": 2.0}),
    ("Softmax", ["s"], ["p"], {"axis": 0}), ("Transpose", ["p"], ["y"]),
]  # fmt: skip
write("turned", [("Transpose", ["x"], ["t"]), *steps], columns, ["N", 4])
write("column", [("Identity", ["x"], ["t"]), *steps[:-1], ("Identity", ["p"], ["y"])], columns, [4, 1])
columns["m"] = floats(4, 1)
write("column-shifted", [("Sub", ["x", "m"], ["t"]), *steps[:-1], ("Identity", ["p"], ["y"])], columns, [4, 1])
for name in ["turned", "column", "column-shifted"]:
    answer(name)
# A bias of one number.
for name, bias in [("scalar", np.float32(0.5)), ("one", floats(1)), ("one-by-one", floats(1, 1))]:
    write(
        f"bias-{name}",
        [("Gemm", ["x", "w", "c"], ["a"]), ("Relu", ["a"], ["b"]), ("Gemm", ["b", "v"], ["y"])],
        {"w": floats(4, 6), "c": bias, "v": floats(6, 3)},
        ["N", 4],
    )
    answer(f"bias-{name}")
# Labels in other ways than that of scikit-learn.
network = [("Gemm", ["x", "w"], ["a"]), ("Relu", ["a"], ["b"])]
weights = {"w": floats(4, 6), "v": floats(6, 3), "u": floats(6, 1)}
three, two = ("Gemm", ["b", "v"], ["y"]), ("Gemm", ["b", "u"], ["z"])
whole, text = TensorProto.INT64, TensorProto.STRING
write(
    "gathered",
    [*network, three, ("ArgMax", ["y"], ["i"], {"axis": 1, "keepdims": 0}), ("Gather", ["names", "i"], ["l"])],
    {**weights, "names": np.array(["a", "b", "c"], object)}, ["N", 4], ("l", "y"), (text, TensorProto.FLOAT),
)  # fmt: skip
keys = {"domain": "ai.onnx.ml", "keys_int64s": [0, 1, 2], "values_strings": ["a", "b", "c"]}
write(
    "encoded",
    [*network, three, ("ArgMax", ["y"], ["i"], {"axis": -1}), ("LabelEncoder", ["i"], ["l"], keys)],
    weights, ["N", 4], ("l", "y"), (text, TensorProto.FLOAT),
)  # fmt: skip
write(
    "from-one",
    [*network, three, ("ArgMax", ["y"], ["i"], {"axis": 1}), ("Add", ["i", "one"], ["l"])],
    {**weights, "one": np.int64(1)}, ["N", 4], ("l", "y"), (whole, TensorProto.FLOAT),
)  # fmt: skip
compared = [*network, two, ("Sigmoid", ["z"], ["y"]), ("Greater", ["y", "half"], ["t"])]
write(
    "threshold",
    [*compared, ("Cast", ["t"], ["i"], {"to": whole}), ("Gather", ["names", "i"], ["l"])],
    {**weights, "half": np.float32(0.5), "names": np.array([3, 8])}, ["N", 4], ("l", "y"),
    (whole, TensorProto.FLOAT),
)  # fmt: skip
write(
    "logit",
    [*network, two, ("Identity", ["z"], ["y"]), ("Greater", ["z", "zero"], ["t"]), ("Where", ["t", "yes", "no"], ["l"])],
    {**weights, "zero": np.float32(0), "yes": np.array(["in"], object), "no": np.array(["out"], object)},
    ["N", 4], ("l", "y"), (text, TensorProto.FLOAT),
)  # fmt: skip
write("named", [*network, three], weights, ["N", 4], class_names='["a", "b", "c"]')

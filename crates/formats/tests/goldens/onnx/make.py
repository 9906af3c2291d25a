"""Makes ONNX files with the exporters of PyTorch and scikit-learn and, beside them, what onnxruntime
answers.

    pip install -r requirements.txt
    python make.py FOLDER_OF_MNIST
    python make_keras.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is the output of a graph in f32, lowest
byte first, for the first 1,000 test images scaled by 1/255: logits where the graph ends with them,
log-probabilities of view and probabilities of scikit-learn's.
Keras has a program of its own, for PyTorch and TensorFlow do not go into one process.
"""

import contextlib
import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime import quantization
from skl2onnx import to_onnx
from sklearn.neural_network import MLPClassifier
from torch import nn

warnings.simplefilter("ignore")
logging.disable(logging.WARNING)
torch.manual_seed(1)
torch.set_num_threads(1)
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    pixels = np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28)
    return pixels.astype(np.float32) / 255


def labels(name):
    return np.fromfile(mnist / name, np.uint8)[8:].astype(np.int64)


train, classes = images("train-images-idx3-ubyte"), labels("train-labels-idx1-ubyte")
test = images("t10k-images-idx3-ubyte")[:1000]


def fit(model):
    optimizer = torch.optim.Adam(model.parameters())
    rows, targets = torch.from_numpy(train)[:, None], torch.from_numpy(classes)
    model.train()
    for batch in torch.randperm(len(rows)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows[batch]), targets[batch]).backward()
        optimizer.step()
    return model.eval()


def save(model, name):
    # Where the code of the exporting program lay is nobody's business.
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    onnx.save(model, here / f"{name}.onnx")


def export(model, name, dynamo, dynamic=True, size=28, **options):
    sample = torch.zeros(2, 1, size, size)
    if dynamo:
        options["external_data"] = False
        if dynamic:
            options["dynamic_shapes"] = ({0: torch.export.Dim("batch")},)
    elif dynamic:
        options |= {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        path = Path(folder) / "model.onnx"
        torch.onnx.export(model.eval(), (sample,), path, dynamo=dynamo, **options)
        save(onnx.load(path), name)


def answer(name, rows, output=0, column=slice(None)):
    session = onnxruntime.InferenceSession(here / f"{name}.onnx")
    answers = session.run(None, {session.get_inputs()[0].name: rows})
    answers[output][:, column].astype("<f4").tofile(here / f"{name}.logits")


# PyTorch: 784-32-10, by both exporters.
plain = fit(nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10)))
export(plain, "plain", dynamo=True)
export(plain, "plain-script", dynamo=False)
answer("plain", test[:, None])

# All that a network of dense layers has. One exporter folds the batch norm, an old version of the
# operators has no Gelu.
rich = nn.Sequential(
    nn.Flatten(),
    nn.Linear(784, 16),
    nn.BatchNorm1d(16),
    nn.GELU(),
    nn.Dropout(0.2),
    nn.Linear(16, 12, bias=False),
    nn.LayerNorm(12),
    nn.SiLU(),
    nn.Linear(12, 10),
)
fit(rich)
export(rich, "rich", dynamo=False)
export(rich, "rich-17", dynamo=False, opset_version=17)
export(rich, "rich-dynamo", dynamo=True)
answer("rich", test[:, None])


# Shapes and numbers that the graph computes from others.
class View(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        x = (x - 0.1307) / 0.3081
        return torch.log_softmax(self.fc(x.view(x.shape[0], -1)), 1)


view = fit(View(784, 10))
export(view, "view", dynamo=False)
export(view, "view-fixed", dynamo=True, dynamic=False)
answer("view", test[:, None])

# Every activation, each after a layer that keeps the numbers in range.
functions = [
    nn.ReLU(), nn.LeakyReLU(0.2), nn.ReLU6(), nn.ELU(0.5), nn.SELU(), nn.GELU(),
    nn.GELU(approximate="tanh"), nn.SiLU(), nn.Mish(), nn.Sigmoid(), nn.Tanh(), nn.Softplus(),
    nn.Softsign(), nn.Hardsigmoid(), nn.Hardswish(), nn.Hardtanh(), nn.Hardtanh(-2, 3),
]  # fmt: skip
steps = [nn.Flatten(), nn.Linear(784, 8)]
for function in functions:
    steps += [function, nn.Linear(8, 8), nn.BatchNorm1d(8)]
activations = fit(nn.Sequential(*steps, nn.Linear(8, 10)))
export(activations, "activations", dynamo=True)
export(activations, "activations-12", dynamo=False, opset_version=12)
answer("activations", test[:, None])

# scikit-learn: probabilities, and labels made of them.
network = MLPClassifier((16,), max_iter=1, random_state=1).fit(train.reshape(-1, 784), classes)
rows = test.reshape(-1, 784)
save(to_onnx(network, rows[:1], options={"zipmap": False}), "sklearn")
save(to_onnx(network, rows[:1]), "sklearn-zipmap")
save(to_onnx(network, rows[:1].astype(np.float64), options={"zipmap": False}), "sklearn-double")
answer("sklearn", rows, output=1)
binary = MLPClassifier((4,), max_iter=1, random_state=1).fit(rows, np.arange(1000) % 2)
save(to_onnx(binary, rows[:1], options={"zipmap": False}), "sklearn-binary")
answer("sklearn-binary", rows, output=1, column=1)


# Small enough for every byte to matter.
tiny = nn.Sequential(
    View(4, 3), nn.BatchNorm1d(3), nn.GELU(), nn.Linear(3, 3), nn.LayerNorm(3), nn.SiLU(), nn.Linear(3, 2)
)  # fmt: skip
export(tiny, "tiny", dynamo=True, size=2)
export(tiny, "tiny-17", dynamo=False, size=2, opset_version=17)
rows = np.arange(24, dtype=np.float32).reshape(6, 4)
network = MLPClassifier((2,), max_iter=1, random_state=1).fit(rows, [0, 1, 2] * 2)
save(to_onnx(network, rows[:1]), "tiny-sklearn")


# What must be refused.
class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.fc(x.flatten(1))
        return x + torch.softmax(x, 1)


small = nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Dropout(0.2))
export(nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten()), "conv", dynamo=True, size=2)
export(Residual(), "residual", dynamo=False, size=2)
training = {"training": torch.onnx.TrainingMode.TRAINING}
export(small, "training", dynamo=False, size=2, **training)
export(small, "small", dynamo=True, size=2)
onnx.save(
    onnx.load(here / "small.onnx"),
    here / "external.onnx",
    save_as_external_data=True,
    location="external.data",
    size_threshold=0,
)
(here / "external.data").unlink()
quantization.quantize_dynamic(here / "small.onnx", here / "quantised.onnx")
(here / "small.onnx").unlink()
options = onnxruntime.SessionOptions()
options.optimized_model_filepath = str(here / "optimised.onnx")
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
onnxruntime.InferenceSession(here / "tiny-17.onnx", options)

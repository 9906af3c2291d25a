"""Makes ONNX files with Keras, by way of tf2onnx, as make.py does with others."""

import logging
import os
import sys
import tempfile
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import keras
import numpy as np
import onnx
import onnxruntime
from keras import layers

logging.disable(logging.WARNING)
keras.utils.set_random_seed(1)
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    pixels = np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28)
    return pixels.astype(np.float32) / 255


train = images("train-images-idx3-ubyte")
classes = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:].astype(np.int64)
test = images("t10k-images-idx3-ubyte")[:1000]


def make(name, steps):
    start = [layers.Input((28, 28)), layers.Rescaling(2.0, -1.0), layers.Flatten()]
    model = keras.Sequential(start + steps)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(train, classes, 128, verbose=0)
    model.export(here / f"{name}.onnx", format="onnx", verbose=False)
    return model


def answer(name):
    session = onnxruntime.InferenceSession(here / f"{name}.onnx")
    answer = session.run(None, {session.get_inputs()[0].name: test})[0]
    answer.astype("<f4").tofile(here / f"{name}.logits")


make("keras", [layers.Dense(32, "relu"), layers.Dropout(0.2), layers.Dense(10)])
answer("keras")

# Those functions that onnxruntime can compute.
names = (
    "relu leaky_relu relu6 elu selu silu mish sigmoid tanh softplus softsign hard_sigmoid hard_silu "
    "hard_tanh"
)
steps = [layer for name in names.split() for layer in (layers.Dense(12), layers.Activation(name))]
make("keras-activations", [*steps, layers.Dense(10)])
answer("keras-activations")

# Its gelu becomes an operator that the standard lacks, so Keras itself answers, with logits.
gelu = make("keras-gelu", [layers.Dense(4, "gelu"), layers.Dense(10)])
gelu.predict(test, verbose=0).astype("<f4").tofile(here / "keras-gelu.logits")

# What must be refused: norms in parts.
make("keras-batch-norm", [layers.Dense(4), layers.BatchNormalization(), layers.Dense(10)])
make("keras-layer-norm", [layers.Dense(4), layers.LayerNormalization(), layers.Dense(10)])

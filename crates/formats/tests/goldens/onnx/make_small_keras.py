"""Makes small ONNX files with Keras' own exporter, which is tf2onnx, and what Keras answers.

    pip install -r requirements.txt
    python make_small_keras.py

It is a program of its own, for PyTorch and TensorFlow do not go into one process. Files are those of
make_small.py, which must have written small/rows.f32.
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np

# tf2onnx asks NumPy for a name that it has no more.
np.object = object
import keras
from keras import layers

keras.utils.set_random_seed(1)
folder = Path(__file__).parent / "small"
random = np.random.default_rng(1)
rows = np.fromfile(folder / "rows.f32", "<f4").reshape(-1, 4)


def save(model, name):
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(random.uniform(low, 1.0, weight.shape))
    answers = model.predict(rows, verbose=0)
    model.export(folder / f"{name}.onnx", format="onnx", verbose=False)
    answers.astype("<f4").tofile(folder / f"{name}.f32")


# A layer norm, slopes by feature, and a batch norm that is folded into an activation.
parts = [
    keras.Input((4,)), layers.Dense(6), layers.LayerNormalization(), layers.ReLU(6.0),
    layers.Dense(6), layers.PReLU(), layers.Dense(6, "gelu"), layers.BatchNormalization(),
    layers.Dense(6, "hard_sigmoid"), layers.Dense(3, "tanh"),
]  # fmt: skip
save(keras.Sequential(parts), "keras-parts")
start = keras.Input((4,))
x = layers.Dense(6, "relu")(start)
y = layers.LayerNormalization()(x)
x = layers.Add()([x, layers.LeakyReLU()(layers.Dense(6)(y))])
x = layers.BatchNormalization()(x)
save(keras.Model(start, layers.Dense(3, "softmax")(x)), "keras-residual")

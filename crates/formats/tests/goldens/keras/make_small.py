"""Makes small Keras files of odd but honest habits and, beside each, what Keras answers.

    pip install -r requirements.txt
    python make_small.py

All take rows of four numbers, those of small/rows.f32; each small/NAME.f32 is what Keras makes of
them, in f32 with the lowest byte first. small/keras1.h5 is written by h5py as Keras 1.2.2 does, which
no Python of today runs, and its answers are computed by NumPy.
"""

import json
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import h5py
import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
folder = Path(__file__).parent / "small"
random = np.random.default_rng(1)
rows = random.normal(size=(6, 4)).astype("<f4")
rows.tofile(folder / "rows.f32")


def save(model, name, loss, *kinds):
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.8
        weight.assign(random.uniform(low, 1.0, weight.shape))
    model.compile("sgd", loss)
    for kind in kinds or ["keras", "h5"]:
        model.save(folder / f"{name}.{kind}")
    model.predict(rows, verbose=0).astype("<f4").tofile(folder / f"{name}.f32")


def dense(units, activation=None, **options):
    return layers.Dense(units, activation, **options)


# Models within models, and layers that do nothing when a model answers.
block = keras.Sequential(
    [keras.Input((6,)), dense(6, "relu"), layers.BatchNormalization(), dense(6)], name="block"
)
start = keras.Input((4,))
stem = keras.Model(start, dense(6)(layers.Activation("tanh")(dense(5)(start))), name="stem")
nested = [
    keras.Input((4,)), layers.GaussianNoise(0.1), stem, layers.GaussianDropout(0.1), block,
    layers.AlphaDropout(0.1), layers.Identity(), layers.PReLU(), layers.ActivityRegularization(l2=0.1),
    layers.Reshape((1, 6)), layers.SpatialDropout1D(0.1), layers.Flatten(), dense(3, "softmax"),
]  # fmt: skip
save(keras.Sequential(nested), "nested", "sparse_categorical_crossentropy")

# Residual connections as layers and as operators, and one layer that is called twice.
start = keras.Input((4,), name="in")
relu = layers.ReLU()
x = relu(dense(6)(start))
x = layers.Add()([x, relu(dense(6)(x))])
x = x + dense(6)(dense(6, "tanh")(x))
y = dense(6, "silu")(x)
y = layers.Add()([dense(6)(y), y])
x = x - y
x = layers.LayerNormalization()(x * 0.5)
x = layers.Add()([x, block(x)])
save(keras.Model(start, dense(1, "sigmoid")(x)), "residual", "binary_crossentropy")

# Functions with constants, and norms where no layer of ours has one.
functions = [
    keras.Input((4,)), layers.BatchNormalization(), dense(6, keras.activations.leaky_relu),
    dense(6, layers.LeakyReLU(0.1)), layers.LayerNormalization(), dense(6), layers.LeakyReLU(),
    dense(6), layers.ELU(0.5), dense(6, "hard_sigmoid"), dense(6), layers.ReLU(max_value=1.5),
    layers.BatchNormalization(), dense(6), layers.PReLU(shared_axes=[1]), dense(2, "tanh"),
]  # fmt: skip
save(keras.Sequential(functions), "functions", "mse", "keras")

# Numbers of 16 bits, which the older kind of file does not name.
brain = [keras.Input((4,)), dense(5, "relu", dtype="bfloat16"), dense(2, dtype="bfloat16")]
brain = keras.Sequential(brain)
save(brain, "brain", "mse", "h5")
# The same weights without the rounding of each step.
w, b, v, c = [keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in brain.weights]
(np.maximum(rows @ w + b, 0) @ v + c).astype("<f4").tofile(folder / "brain.f32")

# What the loss tells of a linear end.
logits = keras.losses.BinaryCrossentropy(from_logits=True)
one = [keras.Input((4,)), dense(1)]
save(keras.Sequential(one), "logit", logits)
# What the loss makes of it.
answers = np.fromfile(folder / "logit.f32", "<f4")
(1 / (1 + np.exp(-answers))).astype("<f4").tofile(folder / "logit.f32")


# Keras 1.2.2.
def old(name, inputs, outputs, function, **more):
    config = {"name": name, "input_dim": inputs, "output_dim": outputs, "activation": function}
    config |= {"init": "glorot_uniform", "bias": True, "trainable": True, "W_regularizer": None}
    return {"class_name": "Dense", "config": config | more}


norm = {"name": "batchnormalization_1", "epsilon": 0.001, "mode": 0, "axis": -1, "momentum": 0.99}
config = [
    old("dense_1", 4, 5, "hard_sigmoid", batch_input_shape=[None, 4]),
    {"class_name": "BatchNormalization", "config": norm},
    {"class_name": "Dropout", "config": {"name": "dropout_1", "p": 0.5, "trainable": True}},
    {"class_name": "LeakyReLU", "config": {"name": "leakyrelu_1", "alpha": 0.30000001192092896}},
    old("dense_2", 5, 3, "softmax"),
]
arrays = {
    "dense_1": {"W": (4, 5), "b": (5,)},
    "batchnormalization_1": {"gamma": (5,), "beta": (5,), "running_mean": (5,), "running_std": (5,)},
    "dropout_1": {}, "leakyrelu_1": {}, "dense_2": {"W": (5, 3), "b": (3,)},
}  # fmt: skip
values = {}
with h5py.File(folder / "keras1.h5", "w", track_order=False) as file:
    file.attrs["keras_version"] = b"1.2.2"
    file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": config}).encode()
    file.attrs["training_config"] = json.dumps({"loss": "categorical_crossentropy"}).encode()
    weights = file.create_group("model_weights")
    weights.attrs["layer_names"] = [name.encode() for name in arrays]
    weights.attrs["backend"] = b"tensorflow"
    weights.attrs["keras_version"] = b"1.2.2"
    for layer, shapes in arrays.items():
        group = weights.create_group(layer)
        names = [f"{layer}_{name}:0" for name in shapes]
        group.attrs["weight_names"] = [name.encode() for name in names]
        for name, (short, shape) in zip(names, shapes.items()):
            # In spite of its name, running_std is a variance.
            low = 0.5 if short == "running_std" else -0.8
            values[layer, short] = random.uniform(low, 1.0, shape).astype("f4")
            group[name] = values[layer, short]
x = np.clip(0.2 * (rows @ values["dense_1", "W"] + values["dense_1", "b"]) + 0.5, 0, 1)
part = lambda name: values["batchnormalization_1", name].astype("f8")
x = (x - part("running_mean")) / np.sqrt(part("running_std") + 0.001) * part("gamma") + part("beta")
x = np.where(x < 0, 0.3 * x, x) @ values["dense_2", "W"] + values["dense_2", "b"]
x = np.exp(x) / np.exp(x).sum(1, keepdims=True)
x.astype("<f4").tofile(folder / "keras1.f32")

# A functional model that is called twice within another.
start = keras.Input((6,))
inner = keras.Model(start, dense(6, "relu")(dense(6)(start)), name="inner")
start = keras.Input((4,))
x = inner(dense(6, "relu")(start))
save(keras.Model(start, dense(2)(inner(x))), "twice", "huber", "keras")

"""Makes small/sums.keras, of differences, averages and the functions of keras.ops, and small/sums.f32,
what Keras answers for the rows of small/rows.f32; and small/lora.h5, whose LoRA is not merged.

    pip install -r requirements.txt
    python make_sums.py
"""

import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
from keras import layers, ops

keras.utils.set_random_seed(2)
folder = Path(__file__).parent / "small"
random = np.random.default_rng(2)
rows = np.fromfile(folder / "rows.f32", "<f4").reshape(-1, 4)

start = keras.Input((4,), name="in")
square = layers.Dense(4)
x = layers.Subtract()([square(start), start])
x = layers.Average()([ops.relu(square(x)), x])
x = square(x) - x
x = x - ops.gelu(square(x))
x = ops.gelu(x, approximate=False)
x = ops.leaky_relu(ops.negative(x), negative_slope=0.1)
x = ops.hard_tanh(ops.elu(x * 3.0, alpha=0.5))
x = ops.clip(ops.reshape(square(x), (-1, 4)), -0.5, 2.0)
x = ops.maximum(x, 0.0)
x = ops.hard_silu(x)
x = x + ops.hard_sigmoid(x)
model = keras.Model(start, layers.Dense(2)(x))
for weight in model.weights:
    weight.assign(random.uniform(-0.8, 1.0, weight.shape))
model.compile("sgd", "mse")
model.save(folder / "sums.keras")
model.predict(rows, verbose=0).astype("<f4").tofile(folder / "sums.f32")

model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="d")])
model.layers[0].enable_lora(1)
model.save(folder / "lora.h5")

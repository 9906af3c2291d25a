"""Makes a small model of Keras 2 whose layers are joined by operators, and what it answers.

    pip install tf_keras==2.21.0 tensorflow_cpu==2.21.0 numpy==2.4.6
    python make_operators.py

It takes the rows of ../keras/small/rows.f32; operators.f32 is the answer in f32, lowest byte first.
"""

import os
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
import tf_keras as keras
from tf_keras import layers

keras.utils.set_random_seed(1)
here = Path(__file__).parent
random = np.random.default_rng(1)
rows = np.fromfile(here.parent / "keras/small/rows.f32", "<f4").reshape(-1, 4)
block = [keras.Input((6,)), layers.Dense(6, activation="relu"), layers.Dense(6)]
block = keras.Sequential(block, name="block")
start = keras.Input((4,))
x = layers.Dense(6, activation=tf.nn.relu)(start)
x = x + layers.Dense(6)(x)
x = 2.0 - x * 0.5
x = x - layers.Dense(6, activation="hard_sigmoid")(x)
x = layers.Add()([x, block(tf.math.tanh(x))])
x = layers.LeakyReLU(alpha=0.1)(block(x))
model = keras.Model(start, layers.Dense(2)(x))
for weight in model.weights:
    weight.assign(random.uniform(-0.8, 1.0, weight.shape))
model.compile("sgd", "mse")
model.save(here / "operators.h5")
model.save(here / "operators.keras")
model.predict(rows, verbose=0).astype("<f4").tofile(here / "operators.f32")

"""Makes networks with batch norms, alike in all hidden layers, and what Keras answers.

    pip install -r requirements.txt
    python make_keras.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is a network's output in f32, lowest
byte first, for the first 1,000 test images, of raw pixels.
"""

import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers

keras.utils.set_random_seed(1)
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    return np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28)


train, test = images("train-images-idx3-ubyte"), images("t10k-images-idx3-ubyte")[:1000]
labels = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]

model = keras.Sequential([keras.Input((28, 28)), layers.Rescaling(1 / 255), layers.Flatten()])
for width in [16, 12]:
    model.add(layers.Dense(width, use_bias=False))
    model.add(layers.BatchNormalization(momentum=0.9))
    model.add(layers.Activation("gelu"))
    model.add(layers.Dropout(0.1))
model.add(layers.Dense(10, activation="softmax"))
model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy")
model.fit(train, labels, 128, 1, verbose=0)
model.save(here / "norms.keras")
model.layers[-1].activation = keras.activations.linear
before_softmax = model.layers[-1](
    keras.Model(model.inputs, model.layers[-2].output)(test.astype("float32"), training=False)
)
np.asarray(before_softmax).astype("<f4").tofile(here / "norms.logits")

# The statistics of each pixel, most of which are always black at the border.
normalization = layers.Normalization()
normalization.adapt(train.reshape(-1, 784).astype("float32"))
steps = [keras.Input((28, 28)), layers.Flatten(), normalization, layers.Dense(8, "tanh")]
model = keras.Sequential(steps + [layers.Dense(10)])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(1e-3), loss)
model.fit(train[:10000].astype("float32"), labels[:10000], 128, 1, verbose=0)
model.save(here / "normalization.keras")
answer = model(test.astype("float32"), training=False)
np.asarray(answer).astype("<f4").tofile(here / "normalization.logits")

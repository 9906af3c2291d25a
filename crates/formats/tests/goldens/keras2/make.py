"""Makes the files of Keras 2 (the package tf_keras) and, beside each, what it answers.

    pip install -r requirements.txt
    python make.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is the model's output in f32, lowest
byte first, for the first 1,000 test images scaled by 1/255.
"""

import sys
from pathlib import Path

import numpy as np
import tf_keras as keras
from tf_keras import layers

mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    return np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28).astype("float32") / 255


train = images("train-images-idx3-ubyte")
labels = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]
test = images("t10k-images-idx3-ubyte")[:1000]

keras.utils.set_random_seed(1)
model = keras.Sequential(
    [
        layers.Flatten(input_shape=(28, 28)),
        layers.Dense(16),
        layers.BatchNormalization(momentum=0.9),
        layers.LeakyReLU(),
        layers.Dense(16, activation="hard_sigmoid"),
        layers.Dropout(0.1),
        layers.Dense(10, activation="softmax"),
    ]
)
model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(train, labels, batch_size=128, epochs=1, verbose=2)
model.save(here / "sequential.h5")
model.save(here / "sequential.keras")
model.save_weights(here / "sequential-weights.h5")
model.predict(test, verbose=0).astype("<f4").tofile(here / "sequential.logits")

inputs = keras.Input((784,))
x = layers.Dense(8, activation="relu")(inputs)
functional = keras.Model(inputs, layers.Dense(10)(x))
functional.save(here / "functional.h5")
functional.predict(test.reshape(-1, 784), verbose=0).astype("<f4").tofile(here / "functional.logits")

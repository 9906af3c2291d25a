"""Makes the files of Keras 3 and, beside each, what Keras itself answers.

    pip install -r requirements.txt
    python make.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is the model's output in f32, lowest
byte first, for the first 1,000 test images scaled by 1/255.
"""

import os
import sys
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import h5py
import keras
import numpy as np
from keras import layers
from keras.src.legacy.saving import legacy_h5_format

mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    return np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 28, 28).astype("float32") / 255


train = images("train-images-idx3-ubyte")
labels = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]
test = images("t10k-images-idx3-ubyte")[:1000]


def fit(model, rate=0.1, logits=True):
    model.compile(
        # Plain SGD has no moments, which keeps the files small.
        keras.optimizers.SGD(rate),
        keras.losses.SparseCategoricalCrossentropy(from_logits=logits),
        metrics=["accuracy"],
    )
    flat = len(model.input_shape) == 2
    x = train.reshape(-1, 784) if flat else train
    model.fit(x, labels, batch_size=128, epochs=1, verbose=2)
    return model


def answer(model, name):
    x = test.reshape(-1, 784) if len(model.input_shape) == 2 else test
    np.asarray(model.predict(x, verbose=0)).astype("<f4").tofile(here / f"{name}.logits")


def save(model, name):
    model.save(here / f"{name}.keras")
    answer(model, name)


def copy(source, target, **options):
    """The same groups, attributes and arrays, the arrays stored as `options` say."""

    def visit(path, item):
        if isinstance(item, h5py.Group):
            made = target.require_group(path)
        else:
            packed = options if item.ndim else {}
            chunks = tuple(max(1, size // 3) for size in item.shape) if packed else None
            made = target.create_dataset(path, data=item[()], chunks=chunks, **packed)
        for key, value in item.attrs.items():
            made.attrs[key] = value

    source.visititems(visit)
    for key, value in source.attrs.items():
        target.attrs[key] = value


keras.utils.set_random_seed(1)
plain = fit(
    keras.Sequential(
        [keras.Input((28, 28)), layers.Flatten(), layers.Dense(32, "relu"), layers.Dense(10)]
    )
)
save(plain, "plain")
plain.save_weights(here / "plain.weights.h5")
plain.save(here / "plain.h5")
with h5py.File(here / "plain-weights.h5", "w") as file:
    legacy_h5_format.save_weights_to_hdf5_group(file, plain)
with h5py.File(here / "plain.weights.h5") as weights:
    with h5py.File(here / "chunked.weights.h5", "w") as file:
        copy(weights, file, compression="gzip", shuffle=True, fletcher32=True)
    with h5py.File(here / "latest.weights.h5", "w", libver="latest") as file:
        weights.copy("layers", file)
        weights.copy("vars", file)

keras.utils.set_random_seed(2)
rich = keras.Sequential(
    [
        keras.Input((28, 28)),
        layers.Rescaling(2.0, offset=-1.0),
        layers.Flatten(),
        layers.Dense(24, use_bias=False),
        layers.BatchNormalization(momentum=0.9),
        layers.Activation("relu"),
        layers.Dropout(0.1),
        layers.Dense(16, activation="gelu", name="second"),
        layers.BatchNormalization(momentum=0.9, scale=False, epsilon=1e-4),
        layers.Dense(16, activation="leaky_relu"),
        layers.ELU(alpha=0.7),
        layers.BatchNormalization(momentum=0.9, scale=False, center=False),
        layers.Dense(16, activation="hard_sigmoid"),
        layers.ReLU(max_value=6),
        layers.Dense(16),
        layers.LeakyReLU(negative_slope=0.15),
        layers.Dense(10),
        layers.Softmax(),
    ]
)
save(fit(rich, logits=False), "rich")
rich.save(here / "rich.h5")

keras.utils.set_random_seed(3)
normalization = layers.Normalization()
normalization.adapt(train.reshape(-1, 784)[:5000])
inputs = keras.Input((784,))
x = normalization(inputs)
x = layers.Dense(24, activation="tanh")(x)
x = layers.LayerNormalization(epsilon=1e-5)(x)
x = layers.Dense(16, activation="selu")(x)
x = layers.LayerNormalization(scale=False)(x)
x = layers.Dropout(0.2)(x)
x = layers.Dense(16, activation=layers.ReLU(negative_slope=0.25))(x)
x = layers.BatchNormalization(momentum=0.9, center=False)(x)
x = layers.Dense(16, activation="mish")(x)
functional = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
save(fit(functional, rate=0.05, logits=False), "functional")
functional.save(here / "functional.h5")

# Every other function once, in a chain of narrow layers.
keras.utils.set_random_seed(4)
names = """relu6 softplus softsign silu sigmoid tanh hard_silu hard_tanh elu selu gelu mish
    log_softmax""".split()
chain = [keras.Input((784,)), layers.Normalization(axis=None, mean=0.13, variance=0.09)]
for name in names:
    chain += [layers.Dense(8, activation=name), layers.BatchNormalization(momentum=0.9)]
save(fit(keras.Sequential(chain + [layers.Dense(10)])), "functions")

# Numbers of 16 bits, which all of these types have exactly: k / 32.
values = (np.arange(784 * 8).reshape(784, 8) % 97 - 48) / 32
for dtype in ["float16", "bfloat16"]:
    half = keras.Sequential([keras.Input((784,)), layers.Dense(8, "relu", dtype=dtype)])
    half.set_weights([values, values[0]])
    half.save_weights(here / f"{dtype}.weights.h5")

# Small ones, as a start for fuzzing and to be cut off anywhere.
keras.utils.set_random_seed(6)
tiny = keras.Sequential(
    [keras.Input((4,)), layers.Dense(3, "relu"), layers.BatchNormalization(), layers.Dense(2)]
)
tiny.save(here / "tiny.keras")
tiny.save(here / "tiny.h5")
tiny.save_weights(here / "tiny.weights.h5")

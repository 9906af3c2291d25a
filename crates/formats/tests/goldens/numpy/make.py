"""Makes the arrays of scikit-learn's networks and, beside each, what scikit-learn answers.

    pip install -r requirements.txt
    python make.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is `predict_proba` in f32, lowest byte
first, for the first 1,000 test images scaled by 1/255.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")  # One epoch does not converge.
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    return np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 784).astype("float32") / 255


train = images("train-images-idx3-ubyte")
labels = np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]
test = images("t10k-images-idx3-ubyte")[:1000]


def named(model):
    coefs = {f"coefs_{i}": c for i, c in enumerate(model.coefs_)}
    return coefs | {f"intercepts_{i}": b for i, b in enumerate(model.intercepts_)}


# In f64, as scikit-learn has it unless its data are of f32.
digits = MLPClassifier((32,), batch_size=128, max_iter=1, random_state=1)
digits.fit(train.astype("float64"), labels)
np.savez(
    here / "digits.npz",
    **named(digits),
    activation=digits.activation,
    out_activation_=digits.out_activation_,
    classes_=digits.classes_,
)
digits.predict_proba(test.astype("float64")).astype("<f4").tofile(here / "digits.logits")

names = np.where(labels % 2 == 0, "even", "odd")
binary = MLPClassifier((8, 6), "tanh", batch_size=128, max_iter=2, random_state=1).fit(train, names)
np.savez_compressed(
    here / "binary.npz",
    **named(binary),
    activation=binary.activation,
    out_activation_=binary.out_activation_,
    classes_=binary.classes_,
)
# The network has one output, the probability of the second class.
binary.predict_proba(test)[:, 1].astype("<f4").tofile(here / "binary.logits")
np.savez_compressed(here / "unnamed.npz", *binary.coefs_, *binary.intercepts_)

cells = np.arange(24).reshape(2, 3, 4)
for name, array in {
    "fortran": np.asfortranarray(cells / 8),
    "big-endian": (cells / 8).astype(">f4"),
    "half": (cells / 8).astype("<f2"),
    "integers": cells.astype(">i2"),
    "truth": cells % 2 == 0,
    "scalar": np.float64(0.125),
    "empty": np.zeros((0, 3), "float32"),
    "objects": np.array([[1], [2, 3]], dtype=object),
    "complex": cells.astype("complex64"),
    "fields": np.zeros(3, [("a", "<f4"), ("b", "<i4")]),
}.items():
    np.save(here / f"{name}.npy", array)

"""Makes a model whose Normalization has one mean and one variance for all features, adapted and not
given, and what Keras answers, as make.py does with others.

    pip install -r requirements.txt
    python make_adapted.py

The images are the first 1,000 test images, in ../mnist-1000.gz.
"""

import gzip
import os
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from keras import layers

here = Path(__file__).parent
pixels = np.frombuffer(gzip.decompress((here / "../mnist-1000.gz").read_bytes()), np.uint8)
images = pixels.reshape(-1, 28, 28).astype("float32") / 255

keras.utils.set_random_seed(7)
normalization = layers.Normalization(axis=None)
normalization.adapt(images)
steps = [keras.Input((28, 28)), normalization, layers.Flatten(), layers.Dense(6, "tanh")]
model = keras.Sequential(steps + [layers.Dense(3)])
model.save(here / "adapted.keras")
model.predict(images, verbose=0).astype("<f4").tofile(here / "adapted.logits")

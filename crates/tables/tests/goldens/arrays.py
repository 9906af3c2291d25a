"""Writes features and labels as arrays of NumPy and safetensors.

arrays.py, in this folder; needs the versions of requirements.txt.
"""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

here = Path(__file__).parent
features = np.arange(12, dtype=np.float32).reshape(4, 3) / 8
arrays = {"features": features, "label": np.array([3, -1, 2, 0], np.int64), "seen": np.array([1, 0, 1, 1], bool)}
np.save(here / "features.npy", features.astype(np.float64))
np.savez(here / "arrays.npz", **arrays)
np.savez_compressed(here / "packed.npz", **{**arrays, "features": features.astype(np.float16)})
save_file(arrays, here / "arrays.safetensors")

"""Makes small files of kinds that are named and not read.

    pip install -r requirements.txt
    python make.py
"""

import pickle
import warnings
from pathlib import Path

import joblib
import numpy as np
import scipy.io
import torch
from sklearn.neural_network import MLPClassifier

warnings.simplefilter("ignore")
here = Path(__file__).parent

x = np.random.default_rng(1).random((8, 2))
network = MLPClassifier((1,), max_iter=1).fit(x, x[:, 0] > 0.5)
network._optimizer = network._random_state = network._label_binarizer = None
joblib.dump(network, here / "sklearn.joblib")
joblib.dump(network, here / "sklearn-packed.joblib", compress=3)
for protocol in [0, 2, 5]:
    (here / f"sklearn{protocol}.pkl").write_bytes(pickle.dumps(network, protocol))
(here / "arrays.pkl").write_bytes(pickle.dumps({"w": np.ones((2, 2))}))
(here / "tensors.pkl").write_bytes(pickle.dumps({"w": torch.ones(2, 2)}))
scipy.io.savemat(here / "arrays.mat", {"w": np.ones((2, 2))})

linear = torch.nn.Linear(2, 2)
torch.export.save(torch.export.export(linear, (torch.ones(1, 2),)), here / "exported.pt2")
with torch.package.PackageExporter(here / "package.pt") as package:
    package.extern("torch.**")
    package.save_pickle("a", "b.pkl", linear.state_dict())

"""Makes small/like.onnx and small/bare.onnx, as `torch.onnx.export` writes them without its
optimiser, and what ONNX Runtime answers to small/rows.f32, in f32 with the lowest byte first.

    pip install -r requirements.txt
    python make_like.py
"""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

folder = Path(__file__).parent / "small"
torch.manual_seed(1)
rows = np.fromfile(folder / "rows.f32", "<f4").reshape(-1, 4)
networks = {
    "like": nn.Sequential(
        nn.Linear(4, 6), nn.Softplus(), nn.Linear(6, 6), nn.Hardtanh(-0.5, 2.0), nn.Linear(6, 6),
        nn.RMSNorm(6), nn.ELU(), nn.Linear(6, 5), nn.ReLU6(), nn.Linear(5, 3),
    ),
    "bare": nn.Sequential(
        nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False), nn.Tanh(), nn.Linear(6, 3)
    ),
}  # fmt: skip
nn.init.normal_(networks["like"][5].weight)
shapes = ({0: torch.export.Dim("batch")},)
for name, network in networks.items():
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        path = Path(place) / "model.onnx"
        torch.onnx.export(
            network.eval(), (torch.from_numpy(rows),), path, dynamo=True, optimize=False,
            external_data=False, dynamic_shapes=shapes,
        )  # fmt: skip
        model = onnx.load(path)
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    del model.graph.value_info[:]
    onnx.save(model, folder / f"{name}.onnx")
    session = onnxruntime.InferenceSession(folder / f"{name}.onnx")
    found = session.run(None, {session.get_inputs()[0].name: rows})[0]
    found.astype("<f4").tofile(folder / f"{name}.f32")

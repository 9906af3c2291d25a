"""Makes checkpoints of PyTorch: one network under many keys, and what else is saved beside weights.

    pip install -r requirements.txt
    python make_checkpoints.py

Each file has the same network of 5, 4 and 3 units, or says why it has not.
"""

import collections
import copy
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(1)
here = Path(__file__).parent


def save(name, what, **options):
    torch.save(what, here / f"{name}.pt", **options)


net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
ema = copy.deepcopy(net)
optimizer = torch.optim.Adam(net.parameters())
net(torch.ones(2, 5)).sum().backward()
optimizer.step()
state, steps = net.state_dict(), optimizer.state_dict()

# One network: under a key of any name, two levels down, and beside the state of its optimizer.
save("key-net", {"net": state, "acc": 0.5, "epoch": 3})
save("key-nested", {"state": {"model": state, "opt": steps}, "step": 1})
save("key-pair", (state, steps, 7))
save("key-list", {"nets": [state], "optimizers": [steps]})
save("key-same", {"model": state, "state_dict": state})
save(
    "key-lightning",
    {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": {f"model.{name}": tensor for name, tensor in state.items()},
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"EarlyStopping": {"best_score": torch.tensor(0.5), "wait_count": 0}},
        "optimizer_states": [steps],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"width": 4, "rate": 1e-3},
    },
)

# Several, of which one has to be chosen, and one in several parts.
save("several", {"model": state, "ema": ema.state_dict(), "optimizer": steps, "epoch": 3})
save("parts", {"first": net[0].state_dict(), "second": net[2].state_dict()})
save("flat-parts", {f"{who}.{name}": tensor for who, of in [("actor", net), ("critic", ema)] for name, tensor in of.state_dict().items()})

# What wraps a network.
average = torch.optim.swa_utils.AveragedModel(net)
average.update_parameters(net)
save("average", average.state_dict())
save("sharded", {f"_fsdp_wrapped_module.{name.replace('.', '._fsdp_wrapped_module.')}": tensor for name, tensor in state.items()})

# All that torch.load(weights_only=True) reads, beside a state dictionary, and plain data besides.
tagged = nn.Parameter(state["0.weight"].clone())
tagged.owner = "somebody"
noted = state["0.bias"].clone()
noted.note = 3
beside = {
    "bytes": b"a\xff",
    "bytearray": bytearray(b"\x00\xfe"),
    "set": {1, 2},
    "complex": 1 - 2j,
    "size": torch.Size([1, 28, 28]),
    "device": torch.device("cuda:1"),
    "layout": torch.strided,
    "scheme": torch.per_channel_affine,
    "dtypes": [torch.float8_e4m3fn, torch.complex64, torch.quint8, torch.uint3, torch.int7],
    "counts": collections.Counter("abba"),
    "ordered": collections.OrderedDict(a=1),
    "large": -(2**900),
    "flags": (True, False, None),
    "text": "half a character: \ud800",
    "types": [torch.Tensor, nn.Parameter],
    "storage": torch.ones(3).untyped_storage(),
    "sparse": torch.eye(2).to_sparse(),
    "rows": torch.eye(2).to_sparse_csr(),
    "quantised": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
    "meta": torch.ones(2, device="meta"),
    "imaginary": torch.ones(2, dtype=torch.complex64),
    "small": torch.ones(2).to(torch.float8_e5m2),
}
state_with_attributes = {**state, "0.weight": tagged, "0.bias": noted}
weights = {"weights": state_with_attributes, **beside}
save("data", weights)
save("legacy-data", {**weights, "rows": 0, "small": 0}, _use_new_zipfile_serialization=False)
torch.load(here / "data.pt", weights_only=True)
more = {
    "frozen": frozenset([1]),
    "nothing": b"",
    "default": collections.defaultdict(list, a=[1]),
    "slice": slice(1, 2),
    "range": range(3),
    "queue": collections.deque([1, 2]),
    "scalar": np.float64(0.5),
    "dtype": np.dtype("f4"),
    "array": np.ones((2, 2)),
    "path": Path("a"),
    "type": int,
}
save("more-data", {"weights": state, **more})
for protocol in [3, 4, 5]:
    save(f"protocol{protocol}-data", {**weights, **more}, pickle_protocol=protocol)

# What is none of it.
Point = collections.namedtuple("Point", "x y")
Point.__module__ = "__main__"
save("namedtuple", {"weights": state, "point": Point(1, 2)})
save("arrays", {name: tensor.numpy() for name, tensor in state.items()})
save("meta", nn.Linear(2, 2, device="meta").state_dict())
save("nested", {"weight": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])})
save("eighth", {"weight": torch.ones(2, 2).to(torch.float8_e4m3fn)})

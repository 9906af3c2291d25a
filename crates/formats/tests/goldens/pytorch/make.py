"""Makes files of PyTorch and of safetensors and, beside them, what PyTorch itself answers.

    pip install -r requirements.txt
    python make.py FOLDER_OF_MNIST

FOLDER_OF_MNIST holds the four raw IDX files. Each NAME.logits is a network's output in f32, lowest
byte first, for the first 1,000 test images scaled by 1/255.
"""

import copy
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

warnings.simplefilter("ignore")
torch.manual_seed(1)
torch.set_num_threads(1)
mnist, here = Path(sys.argv[1]), Path(__file__).parent


def images(name):
    pixels = np.fromfile(mnist / name, np.uint8)[16:].reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.astype(np.float32) / 255)


train = images("train-images-idx3-ubyte")
labels = torch.from_numpy(np.fromfile(mnist / "train-labels-idx1-ubyte", np.uint8)[8:]).long()
test = images("t10k-images-idx3-ubyte")[:1000]


def fit(model, optimizer):
    model.train()
    for rows in torch.randperm(len(train)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(train[rows]), labels[rows]).backward()
        optimizer.step()
    return model.eval()


def answer(model, name):
    with torch.no_grad():
        model.eval()(test).numpy().astype("<f4").tofile(here / f"{name}.logits")


# 784-32-10, in both formats of torch.save and as safetensors.
plain = nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))
fit(plain, torch.optim.Adam(plain.parameters()))
answer(plain, "plain")
torch.save(plain.state_dict(), here / "plain.pt")
torch.save(plain.state_dict(), here / "legacy.pth", _use_new_zipfile_serialization=False)
safetensors.torch.save_file(plain.state_dict(), here / "plain.safetensors", {"format": "pt"})

# All that a network of dense layers has, by an nn.Sequential and by another protocol of pickle.
rich = nn.Sequential(
    nn.Flatten(),
    nn.Linear(784, 16),
    nn.BatchNorm1d(16),
    nn.ReLU(),
    nn.Dropout(0.1),
    nn.Linear(16, 12, bias=False),
    nn.LayerNorm(12),
    nn.GELU(),
    nn.Linear(12, 10),
)
fit(rich, torch.optim.Adam(rich.parameters()))
answer(rich, "rich")
torch.save(rich.state_dict(), here / "rich.pt")
torch.save(rich.state_dict(), here / "protocol5.pt", pickle_protocol=5)
safetensors.torch.save_file(rich.state_dict(), here / "rich.safetensors")


# One small network in the ways that checkpoints have it.
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 8)
        self.fc2 = nn.Linear(8, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x.flatten(1))))


small = Net()
optimizer = torch.optim.Adam(small.parameters())
scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 4])
fit(small, optimizer)
scheduler.step()
answer(small, "small")
checkpoint = {
    "epoch": 3,
    "arch": "small",
    "state_dict": small.state_dict(),
    "best": 0.93,
    "optimizer": optimizer.state_dict(),
    "scheduler": scheduler.state_dict(),
    "rng": torch.get_rng_state(),
    "device": torch.device("cpu"),
    "dtype": torch.float32,
    "shape": torch.Size([1, 28, 28]),
    "seed": 2**70,
    "flags": (True, False, None, -1, 300, 70000, 1.5),
}
torch.save(checkpoint, here / "checkpoint.pt")
torch.save(
    {"model": small.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3},
    here / "legacy-checkpoint.pth",
    _use_new_zipfile_serialization=False,
)
torch.save({"model_state_dict": dict(small.named_parameters())}, here / "parameters.pt")
wrapped = nn.DataParallel(torch.compile(copy.deepcopy(small)))
torch.save(wrapped.state_dict(), here / "wrapped.pt")

# The same numbers as views: of one flat buffer, and with the weights' axes the other way round.
state = small.state_dict()
flat = torch.cat([torch.zeros(3), state["fc1.weight"].t().flatten(), state["fc1.bias"]])
odd = torch.stack([state["fc2.bias"], torch.full((10,), torch.nan)], 1).flatten()
views = OrderedDict()
views["fc1.weight"] = flat[3 : 3 + 6272].view(784, 8).t()
views["fc1.bias"] = flat[3 + 6272 :]
views["fc2.weight"] = state["fc2.weight"].t().contiguous().t()
views["fc2.bias"] = odd[::2]
views["tied.weight"] = views["fc2.weight"]
views["ones"] = torch.ones(1).expand(3, 4)
views["empty"] = torch.zeros(0, 5)
views["scalar"] = torch.tensor(7.5)
views["cube"] = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)
torch.save(views, here / "views.pt")
torch.save(views, here / "legacy-views.pth", _use_new_zipfile_serialization=False)

# Fewer bits, and every type of numbers.
for name, dtype in [("half", torch.float16), ("bfloat16", torch.bfloat16)]:
    short = copy.deepcopy(small).to(dtype)
    torch.save(short.state_dict(), here / f"{name}.pt")
    answer(short.float(), name)
names = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool uint16 uint32 uint64"
types = {name: torch.tensor([0, 1, 100]).to(getattr(torch, name)) for name in names.split()}
torch.save(types, here / "types.pt")
legacy = {"_use_new_zipfile_serialization": False}
torch.save(types, here / "legacy-types.pth", **legacy)
torch.save(types, here / "legacy-protocol4.pth", pickle_protocol=4, **legacy)
safetensors.torch.save_file(types, here / "types.safetensors", {"format": "pt", "made by": "make.py"})

# What must be refused: more than tensors and plain data.
linear = nn.Linear(2, 2)
torch.save(linear, here / "module.pt")
# Made without source text, which the legacy format would store with the path it was found at.
Bare = type("Bare", (nn.Module,), {"__module__": "__main__"})
torch.save(Bare(), here / "legacy-module.pth", _use_new_zipfile_serialization=False)
torch.jit.script(linear).save(here / "script.pt")
torch.save({"state_dict": linear.state_dict(), "best": np.float64(0.5)}, here / "numpy-scalar.pt")
torch.save({"weight": torch.eye(3).to_sparse()}, here / "sparse.pt")
torch.save({"weight": torch.zeros(2, dtype=torch.complex64)}, here / "complex.pt")
torch.save({"weight": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, here / "quantised.pt")
torch.save(torch.ones(2), here / "tensor.pt")
torch.save([torch.ones(2)], here / "list.pt")
torch.save({"epoch": 1}, here / "no-tensors.pt")
safetensors.torch.save_file(
    {"w": torch.ones(2).to(torch.float8_e4m3fn)}, here / "float8.safetensors"
)

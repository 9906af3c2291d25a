"""Makes ONNX graphs of what has to be folded, and beside each what PyTorch answers.

    pip install -r requirements.txt
    python make.py

`rows.f32` holds 16 rows of 4 features, each NAME.f32 two outputs for each of them, lowest byte first.
"""

from pathlib import Path

import torch
from torch import nn

here = Path(__file__).parent
torch.manual_seed(1)


class Block(nn.Module):
    """The usual block of residual networks: two layers, the sum, and then the activation."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 6)
        self.norms = nn.ModuleList([nn.BatchNorm1d(5), nn.BatchNorm1d(6)])

    def forward(self, x):
        y = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(x + self.norms[1](self.second(y)))


networks = {
    "norms": nn.Sequential(
        nn.BatchNorm1d(4),
        nn.Linear(4, 6),
        nn.Tanh(),
        nn.BatchNorm1d(6),
        nn.Linear(6, 5, bias=False),
        nn.BatchNorm1d(5),
        nn.Tanh(),
        nn.Linear(5, 2),
        nn.BatchNorm1d(2),
    ),
    "slopes": nn.Sequential(
        nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 5), nn.LeakyReLU(0.2), nn.Linear(5, 2)
    ),
    "blocks": nn.Sequential(nn.Linear(4, 6), nn.ReLU(), Block(), Block(), nn.Linear(6, 2)),
}
rows = torch.randn(16, 4)
rows.numpy().astype("<f4").tofile(here / "rows.f32")
for name, network in networks.items():
    for part in network.modules():
        if isinstance(part, nn.BatchNorm1d):
            nn.init.uniform_(part.weight, -2, 2)
            nn.init.normal_(part.bias)
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.2, 2)
        if isinstance(part, nn.PReLU):
            nn.init.uniform_(part.weight, -0.5, 1.5)
    network.eval()
    torch.onnx.export(
        network,
        (rows,),
        here / f"{name}.onnx",
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "rows"}, "y": {0: "rows"}},
        dynamo=False,
    )
    with torch.no_grad():
        network(rows).numpy().astype("<f4").tofile(here / f"{name}.f32")

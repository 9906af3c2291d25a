"""Makes a file of norms before slopes that differ, and what PyTorch answers.

    pip install -r ../requirements.txt
    python make_bent.py

bent.logits is the network's output in f32, lowest byte first, for five rows of five numbers: the
sines of 0, 1, 2 and so on.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.manual_seed(2)
here = Path(__file__).parent
WIDTH, OUTPUTS, ROWS = 5, 3, 5
rows = np.sin(np.arange(ROWS * WIDTH, dtype=np.float64)).astype(np.float32).reshape(ROWS, WIDTH)

model = nn.Sequential(
    nn.Linear(WIDTH, 4, bias=False),
    nn.BatchNorm1d(4),
    nn.PReLU(init=0.3),
    nn.Linear(4, 4, bias=False),
    nn.BatchNorm1d(4),
    nn.PReLU(init=0.6),
    nn.Linear(4, OUTPUTS, bias=False),
)
for norm in (model[1], model[4]):
    nn.init.uniform_(norm.running_mean, -1, 1)
    nn.init.uniform_(norm.running_var, 0.3, 2.5)
    nn.init.uniform_(norm.weight, 0.3, 2)
    nn.init.uniform_(norm.bias, -1, 1)
with torch.no_grad():
    answers = model.eval()(torch.from_numpy(rows)).numpy()
answers.astype("<f4").tofile(here / "bent.logits")
torch.save(model.state_dict(), here / "bent.pt")

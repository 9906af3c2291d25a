"""Makes networks of which each layer is another, and beside each what its program answers.

    pip install -r requirements.txt
    python make.py
    python make.py keras

`rows.f32` holds 16 rows of 4 features, each NAME.f32 two outputs for each of them, lowest byte first.
mixed.pt, mixed.safetensors and mixed.onnx are one network, and so are functions.pt and functions.npz.
mixed.toml says of the first what its tensors do not; it is not made here. mixed.keras is a network of
the same kind with other numbers. rms.pt, rms.onnx and rms-18.onnx, with norms of many operators, are
one network, and rms.keras is another. Keras has a run of its own, for it and PyTorch do not go into
one process.
"""

import os
import sys
from pathlib import Path

import numpy as np

here = Path(__file__).parent


def numbers(values, name):
    np.asarray(values).astype("<f4").tofile(here / f"{name}.f32")


def of_torch():
    import safetensors.torch
    import torch
    from torch import nn

    torch.manual_seed(1)

    class Mixed(nn.Module):
        """A norm before and behind activations and on what a layer reads, two skip connections."""

        def __init__(self):
            super().__init__()
            self.stem, self.stem_norm = nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6)
            self.fc1_norm, self.fc1 = nn.LayerNorm(6, eps=1e-6), nn.Linear(6, 5)
            self.fc2 = nn.Linear(5, 6, bias=False)
            self.fc3, self.fc3_norm = nn.Linear(6, 6), nn.BatchNorm1d(6, eps=1e-3)
            self.fc4 = nn.Linear(6, 3)
            self.head = nn.Linear(3, 2, bias=False)

        def forward(self, x):
            x = nn.functional.gelu(self.stem_norm(self.stem(x)))
            x = torch.relu(x + self.fc2(torch.tanh(self.fc1(self.fc1_norm(x)))))
            x = x + self.fc3_norm(nn.functional.leaky_relu(self.fc3(x), 0.2))
            return self.head(nn.functional.silu(self.fc4(x)))

    mixed = Mixed()
    for part in mixed.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.LayerNorm)):
            nn.init.uniform_(part.weight, -2, 2)
            nn.init.normal_(part.bias)
        if isinstance(part, nn.BatchNorm1d):
            nn.init.normal_(part.running_mean)
            nn.init.uniform_(part.running_var, 0.2, 2)
    mixed.eval()
    rows = torch.randn(16, 4)
    numbers(rows, "rows")
    torch.save(mixed.state_dict(), here / "mixed.pt")
    safetensors.torch.save_file(mixed.state_dict(), here / "mixed.safetensors")
    torch.onnx.export(
        mixed,
        (rows,),
        here / "mixed.onnx",
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "rows"}, "y": {0: "rows"}},
        dynamo=False,
    )
    functions = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 5), nn.PReLU(5),
        nn.Linear(5, 2),
    )  # fmt: skip
    nn.init.uniform_(functions[5].weight, 0.1, 1.5)
    rms = nn.Sequential(
        nn.Linear(4, 6), nn.RMSNorm(6, eps=1e-6), nn.SiLU(), nn.Linear(6, 5),
        nn.RMSNorm(5, eps=1e-6), nn.Tanh(), nn.Linear(5, 2),
    )  # fmt: skip
    for part in [rms[1], rms[4]]:
        nn.init.uniform_(part.weight, -2, 2)
    torch.save(rms.state_dict(), here / "rms.pt")
    torch.onnx.export(
        rms.eval(),
        (rows,),
        here / "rms.onnx",
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        dynamo=True,
        opset_version=23,
        external_data=False,
    )
    torch.onnx.export(
        rms,
        (rows,),
        here / "rms-18.onnx",
        input_names=["x"],
        output_names=["y"],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        dynamo=True,
        opset_version=18,
        external_data=False,
    )
    # A name of its own tells slopes of PReLU from the scale of a norm.
    state = {name.replace("5.", "4.prelu."): x for name, x in functions.state_dict().items()}
    torch.save(state, here / "functions.pt")
    np.savez(here / "functions.npz", **{name: x.numpy() for name, x in state.items()})
    with torch.no_grad():
        numbers(mixed(rows), "mixed")
        numbers(functions(rows), "functions")
        numbers(rms(rows), "rms")


def of_keras():
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    from keras import layers

    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    x = layers.Dense(6, use_bias=False)(inputs)
    x = layers.Activation("gelu")(layers.BatchNormalization(epsilon=1e-4)(x))
    y = layers.Dense(5, "tanh")(layers.LayerNormalization(epsilon=1e-6)(x))
    y = layers.Dropout(0.25)(y)
    x = layers.ReLU()(layers.Add()([x, layers.Dense(6, use_bias=False)(y)]))
    y = layers.LeakyReLU(negative_slope=0.2)(layers.Dense(6)(x))
    x = layers.Add()([x, layers.BatchNormalization()(y)])
    x = layers.Dense(3, "silu")(x)
    model = keras.Model(inputs, layers.Dense(2, use_bias=False)(x))
    save(model, "mixed")
    steps = [keras.Input((4,)), layers.Dense(6), layers.RMSNormalization(), layers.ReLU()]
    steps += [layers.RMSNormalization(epsilon=1e-3), layers.Dense(5, "tanh"), layers.Dense(2)]
    save(keras.Sequential(steps), "rms")


def save(model, name):
    random = np.random.default_rng(1)
    for variable in model.variables:
        if "seed" in variable.name:
            continue
        least = 0.2 if "variance" in variable.name else -1.0
        variable.assign(random.uniform(least, 1.5, variable.shape))
    model.save(here / f"{name}.keras")
    rows = np.fromfile(here / "rows.f32", "<f4").reshape(16, 4)
    numbers(model(rows, training=False), f"{name}-keras")


of_keras() if "keras" in sys.argv else of_torch()

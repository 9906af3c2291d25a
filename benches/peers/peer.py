"""Trains an MLP on MNIST with one of the peers and prints one JSON document.

    peer.py PEER DATA --batch N --epochs N --hidden 128 [--whole]

PEER: keras, torch, jax, sklearn; or `limits`, what the machine can do.
DATA: a folder with train-images, train-labels, test-images and test-labels, raw bytes.

Each is written the way a person would who wants it fast: the data set is one array in memory, Adam
has Keras' settings, pixels are float32 in [0, 1], weights are Glorot-uniform. Only whole epochs
after the first are timed. --whole instead does what the default run of `train` does, to be timed
from outside: five epochs and an evaluation, nothing else.
"""
import argparse
import json
import os
import resource
import time

p = argparse.ArgumentParser()
p.add_argument("peer", choices=["keras", "torch", "jax", "sklearn", "limits"])
p.add_argument("data")
p.add_argument("--batch", type=int, default=32)
p.add_argument("--epochs", type=int, default=4)
p.add_argument("--hidden", default="128")
p.add_argument("--rows", type=int, default=55000)
p.add_argument("--whole", action="store_true")
a = p.parse_args()
THREADS = len(os.sched_getaffinity(0))
HIDDEN = [int(width) for width in a.hidden.split(",")]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import numpy as np

clock = time.perf_counter


def read(name, width):
    raw = np.fromfile(os.path.join(a.data, name), dtype=np.uint8)
    return raw.reshape(-1, width) if width > 1 else raw


x = read("train-images", 784)[: a.rows].astype(np.float32) / np.float32(255)
y = read("train-labels", 1)[: a.rows]
x_test = read("test-images", 784).astype(np.float32) / np.float32(255)
y_test = read("test-labels", 1)


def keras():
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(THREADS)
    tf.config.threading.set_inter_op_parallelism_threads(THREADS)
    import keras
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(width, activation="relu") for width in HIDDEN]
    model = keras.Sequential([keras.Input((784,)), *layers, keras.layers.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    seconds = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.start = clock()

        def on_epoch_end(self, epoch, logs=None):
            seconds.append(clock() - self.start)

    model.fit(x, y, batch_size=a.batch, epochs=a.epochs, callbacks=[Clock()], verbose=0)
    return seconds, float(model.evaluate(x_test, y_test, batch_size=1000, verbose=0)[1]), keras.__version__


def torch():
    import torch
    torch.manual_seed(1)
    torch.set_num_threads(THREADS)
    sizes = [784, *HIDDEN, 10]
    layers = []
    for before, after in zip(sizes, sizes[1:]):
        linear = torch.nn.Linear(before, after)
        torch.nn.init.xavier_uniform_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
        layers += [linear, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    inputs, classes = torch.from_numpy(x), torch.from_numpy(y.astype(np.int64))
    seconds = []
    for _ in range(a.epochs):
        start = clock()
        for rows in torch.randperm(len(inputs)).split(a.batch):
            optimizer.zero_grad(set_to_none=True)
            loss(model(inputs[rows]), classes[rows]).backward()
            optimizer.step()
        seconds.append(clock() - start)
    with torch.no_grad():
        found = model(torch.from_numpy(x_test)).argmax(1).numpy()
    return seconds, float((found == y_test).mean()), torch.__version__


def jax():
    import jax
    import jax.numpy as jnp
    import optax
    sizes = [784, *HIDDEN, 10]
    keys = jax.random.split(jax.random.key(1), len(sizes))
    glorot = jax.nn.initializers.glorot_uniform()
    weights = [(glorot(k, (m, n)), jnp.zeros(n)) for k, m, n in zip(keys, sizes, sizes[1:])]
    optimizer = optax.adam(1e-3, eps=1e-7)

    def forward(weights, x):
        for w, b in weights[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = weights[-1]
        return x @ w + b

    def loss(weights, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(forward(weights, x), y).mean()

    inputs, classes = jnp.asarray(x), jnp.asarray(y.astype(np.int32))

    def step(state, rows):
        weights, memory = state
        gradient = jax.grad(loss)(weights, inputs[rows], classes[rows])
        update, memory = optimizer.update(gradient, memory)
        return (optax.apply_updates(weights, update), memory), None

    # The fastest way that JAX has: the whole epoch is one compiled program.
    unroll = 4 if a.batch <= 64 else 1
    epoch = jax.jit(lambda state, order: jax.lax.scan(step, state, order, unroll=unroll)[0], donate_argnums=0)
    one = jax.jit(lambda state, rows: step(state, rows)[0], donate_argnums=0)
    state, rng, seconds = (weights, optimizer.init(weights)), np.random.default_rng(1), []
    whole = len(x) // a.batch * a.batch
    for _ in range(a.epochs):
        start = clock()
        order = rng.permutation(len(x)).astype(np.int32)
        state = epoch(state, order[:whole].reshape(-1, a.batch))
        if whole < len(x):
            state = one(state, order[whole:])
        jax.block_until_ready(state)
        seconds.append(clock() - start)
    found = np.asarray(jax.jit(forward)(state[0], x_test)).argmax(1)
    return seconds, float((found == y_test).mean()), jax.__version__


def sklearn():
    import warnings
    import sklearn
    from sklearn.neural_network import MLPClassifier
    warnings.filterwarnings("ignore")
    model = MLPClassifier(HIDDEN, solver="adam", alpha=0.0, batch_size=a.batch, learning_rate_init=1e-3,
                          epsilon=1e-7, max_iter=1, random_state=np.random.RandomState(1))
    seconds = []
    for _ in range(a.epochs):
        start = clock()
        model.partial_fit(x, y, classes=np.arange(10))
        seconds.append(clock() - start)
    return seconds, float(model.score(x_test, y_test)), sklearn.__version__


def limits():
    """The best times of what a step can not do without, on all cores."""
    import torch
    torch.set_num_threads(THREADS)

    def best(run, seconds=1.0):
        times, end = [], clock() + seconds
        while clock() < end or len(times) < 5:
            start = clock()
            run()
            times.append(clock() - start)
        return min(times)

    m, b = torch.randn(1024, 1024), torch.randn(1024, 1024)
    out = torch.empty(1024, 1024)
    peak = 2 * 1024**3 / best(lambda: torch.mm(m, b, out=out), 2.0)
    batch, w, d = torch.randn(a.batch, 784), torch.randn(784, 128), torch.randn(a.batch, 128)
    forward, gradient = torch.empty(a.batch, 128), torch.empty(784, 128)
    parameters = torch.nn.Parameter(torch.randn(784 * 128 + 128 + 128 * 10 + 10))
    parameters.grad = torch.randn_like(parameters) * 1e-3
    adam = torch.optim.Adam([parameters], lr=1e-3, eps=1e-7, fused=True)
    return {
        "gflops": peak / 1e9,
        "forward_us": 1e6 * best(lambda: torch.mm(batch, w, out=forward)),
        "weights_us": 1e6 * best(lambda: torch.mm(batch.T, d, out=gradient)),
        "adam_us": 1e6 * best(adam.step),
        "version": torch.__version__,
    }


if a.whole:
    a.epochs = 5
if a.peer == "limits":
    document = limits()
else:
    seconds, accuracy, version = {"keras": keras, "torch": torch, "jax": jax, "sklearn": sklearn}[a.peer]()
    timed = sorted(seconds[1:] or seconds)
    document = {
        "samples_per_s": len(x) / timed[len(timed) // 2],
        "accuracy": accuracy,
        "version": version,
    }
document["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(document))

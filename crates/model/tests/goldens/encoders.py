"""Writes encoders.json: columns of training rows, values, and their encodings by scikit-learn, or by the formulas of
the papers where scikit-learn has none.

encoders.py, in this folder; needs the versions of requirements.txt.
"""

import json
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

random = np.random.default_rng(15)
columns = {
    "normal": random.normal(10, 3, 40).round(3),
    "skewed": np.exp(random.normal(0, 2, 60)).round(4),
    "ties": random.integers(0, 5, 50).astype(float),
    "few": np.array([3.0, -1.0, 4.0, 1.5, -9.0, 2.5, 6.0]),
    "mostly equal": np.array([2.0] * 30 + [5.0, -3.0, 2.5]),
    "far": (1.7e9 + random.integers(0, 10**6, 30)).astype(float),
    "many": random.gamma(2, 50, 1300).round(1),
}


def column(values):
    return np.asarray(values, float).reshape(-1, 1)


def robust(training, values):
    scaler = RobustScaler().fit(column(training))
    lower, upper = np.percentile(training, [25, 75])
    if lower == upper:
        # As RealMLP has it; scikit-learn divides by 1.
        r = (values - np.median(training)) / ((training.max() - training.min()) / 2)
    else:
        r = scaler.transform(column(values))[:, 0]
    return (r / np.sqrt(1 + (r / 3) ** 2)).reshape(-1, 1)


def quantile(training, values):
    count = min(1000, len(training))
    encoder = QuantileTransformer(n_quantiles=count, output_distribution="normal", subsample=None)
    return encoder.fit(column(training)).transform(column(values))


def piecewise_linear(training, values, bins=48):
    """PiecewiseLinearEncoding of rtdl_num_embeddings 0.0.12, with its bins of quantiles."""
    edges = np.unique(np.quantile(training, np.linspace(0, 1, bins + 1)))
    x = (column(values) - edges[:-1]) / np.diff(edges)
    if len(edges) > 2:
        first, middle, last = x[:, :1].clip(max=1), x[:, 1:-1].clip(0, 1), x[:, -1:].clip(min=0)
        x = np.concatenate([first, middle, last], 1)
    return x


encodings = {
    "standardize": lambda t, v: StandardScaler().fit(column(t)).transform(column(v)),
    "robust": robust,
    "quantile": quantile,
    "min-max": lambda t, v: MinMaxScaler().fit(column(t)).transform(column(v)),
    "piecewise-linear": piecewise_linear,
    "none": lambda t, v: column(v),
}
numbers = []
for name, training in columns.items():
    least, greatest = training.min(), training.max()
    spread = greatest - least
    inside = [*training[:6], *np.quantile(training, [0.1, 0.33, 0.5, 0.77]), least, greatest]
    values = np.array([*inside, least - spread, least - 0.01, greatest + 0.01, greatest + spread])
    for encoding, encode in encodings.items():
        encoded = encode(training, values)
        numbers.append({"column": name, "encoding": encoding, "values": values.tolist(), "encoded": encoded.tolist()})

colours = ["red", "blue", None, "green", "blue", "red", "Éire", "blue", "zinc", "red"]
values = ["blue", "zinc", "Éire", "violet", "red"]


def objects(texts):
    return np.array(texts, object).reshape(-1, 1)


def one_hot(**options):
    encoder = OneHotEncoder(sparse_output=False, **options).fit(objects(colours))
    return encoder.transform(objects([*values, None]))


def spaced(order):
    encoder = OrdinalEncoder(categories=[order], handle_unknown="use_encoded_value", unknown_value=-1)
    place = encoder.fit(objects(order)).transform(objects(values))[:, 0]
    number = np.where(place < 0, 0, 2 * place / (len(order) - 1) - 1)
    return [[n, float(p < 0)] for n, p in zip(number, place)] + [[0.0, 1.0]]


def index():
    texts = sorted({text for text in colours if text}, key=lambda text: text.encode())
    encoder = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=len(texts)
    ).fit(objects(colours))
    return (1 + encoder.transform(objects([*values, None]))).tolist()


order = ["red", "blue", "zinc", "green"]
# scikit-learn counts missing ones like a text; with three of them they keep a place of their own.
colours += [None, None]
rare = one_hot(handle_unknown="infrequent_if_exist", min_frequency=2)
categories = [
    {"encoding": "one-hot", "least": 1, "encoded": one_hot(handle_unknown="ignore").tolist()},
    # With the place of other texts before that of missing ones.
    {"encoding": "one-hot-other", "least": 2, "encoded": rare[:, [0, 1, 3, 2]].tolist()},
    {"encoding": "index", "least": 1, "encoded": index()},
    {"encoding": "ordered", "order": order, "encoded": spaced(order)},
]

texts = ["2024-02-29", "2023-12-31 23:59:30", "2021-07-04T06:30", "1999-01-01T12:00:00+02:00", "2024-02-29 18:00"]
moments = [datetime.fromisoformat(text) for text in texts]
moments = [m if m.tzinfo else m.replace(tzinfo=timezone.utc) for m in moments]
moments = [m.astimezone(timezone.utc) for m in moments]


def standard(part):
    part = np.array(part, float)
    return (part - part.mean()) / part.std()


def circle(share):
    angle = 2 * np.pi * np.array(share, float)
    return [np.sin(angle), np.cos(angle)]


day = 86400
parts = [
    standard([m.timestamp() / day for m in moments]),
    standard([m.year for m in moments]),
    *circle([(m.month - 1) / 12 for m in moments]),
    standard([m.day for m in moments]),
    *circle([m.weekday() / 7 for m in moments]),
    *circle([(m.timestamp() % day) / day for m in moments]),
]
dates = {"format": "year-month-day", "values": texts, "encoded": np.array(parts).T.tolist()}

golden = {
    "columns": {name: values.tolist() for name, values in columns.items()},
    "numbers": numbers,
    "texts": colours,
    "values": values,
    "categories": categories,
    "dates": dates,
}
(Path(__file__).parent / "encoders.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n")

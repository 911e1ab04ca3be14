"""How well scores of features foretell which path a real probe does best on, for the runs of a study with paths.

For every task each path is judged by all scores on the training images, and by logistic regression on all training
images, tested on the test images. Reads the features that evaluate_run.py kept and writes fidelity.json beside them.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from evaluate_run import probe
from scipy.stats import kendalltau
from tqdm import tqdm

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError
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
            if file.stem not in done:
                with np.load(file) as kept:
                    features = {key: kept[key].astype(np.float32 if kept[key].ndim == 2 else int) for key in kept}
                done[file.stem] = judge(features, args.scores, f"{folder.name} {file.stem}")
                write_json(out, done)  # a run that is stopped goes on after its last task
        print(folder, *(f"{name}: {text}" for name, text in summary([done]).items()), sep="\n  ")


def judge(features: Mapping[str, np.ndarray], scores: Iterable[str], label: str) -> dict[str, dict[str, float]]:
    """By path, the value of every score and the accuracy of the probe."""
    paths = [key.removesuffix("/train") for key in features if key.endswith("/train")]
    paths = [path for path in paths if path not in (FULL, "labels")]
    judges = {name: build_score(COMPARED.get(name, name)) for name in scores}
    found = {}
    for path in tqdm(paths, desc=label, unit="path"):
        rows, labels = features[f"{path}/train"], features["labels/train"]
        found[path] = {name: judge(rows, labels).value for name, judge in judges.items()}
        found[path]["probe"] = probe(features, path)
    return found


def summary(runs: Iterable[Mapping[str, Mapping[str, Mapping[str, float]]]]) -> dict[str, str]:
    """By score, mean and standard error over tasks and runs of Kendall's tau and of the regret in points.

    Where kNN is among the scores, also of how much more the regret is than its own, on the same tasks and runs.
    """
    rows: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        for paths in run.values():
            probes = np.array([values["probe"] for values in paths.values()])
            names = [name for name in next(iter(paths.values())) if name != "probe"]
            for name in names:
                values = np.array([entry[name] for entry in paths.values()])
                rows.setdefault(name, []).append(fidelity(values, probes))
            # What any path by chance gives: the regret of a score that knows nothing.
            rows.setdefault("chance", []).append((0.0, float(probes.max() - probes.mean())))
    found = {}
    for name, pairs in rows.items():
        means, errors = np.mean(pairs, axis=0), np.std(pairs, axis=0) / np.sqrt(len(pairs))
        found[name] = f"tau {means[0]:.3f} +- {errors[0]:.3f}, regret {means[1]:.2f} +- {errors[1]:.2f}"
        if name != _DEFAULT and _DEFAULT in rows:
            more = np.array([own[1] - default[1] for own, default in zip(pairs, rows[_DEFAULT], strict=True)])
            found[name] += f", {more.mean():+.2f} +- {more.std() / np.sqrt(len(more)):.2f} against {_DEFAULT}"
    return found


def fidelity(values: np.ndarray, probes: np.ndarray) -> tuple[float, float]:
    """Kendall's tau, and how much the best probe is better than that of the path with the best score.

    Where a score is the same for all paths, tau is 0.
    """
    tau = float(kendalltau(values, probes).statistic)
    return 0.0 if np.isnan(tau) else tau, float(probes.max() - probes[values.argmax()])


if __name__ == "__main__":
    cli.run(main)

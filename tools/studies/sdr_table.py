"""Table, pictures and file hashes of the small-scale SDR study, out of the files that its runs left.

Fills the part of DOC between <!-- results --> and <!-- /results -->, and writes knn.png, transfer.png, commands.sh and
files.json (SHA-256 of every checkpoint, split and result) beside it. Runs that are missing are left out and named.
"""

import argparse
import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from matplotlib.figure import Figure
from sdr_variants import SPLITS, TASKS, VARIANTS, Variant

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import load_state_dict, read_json
from mmssl_dynamic.writing import write_json, write_stream, write_text

START, END = "<!-- results -->", "<!-- /results -->"
COLOURS = {"full": "#5f6b73", "routed": "#c44e52", "hindsight": "#b8c0c8"}
LABELS = {"full": "full network", "routed": "routed path", "hindsight": "best path in hindsight"}


@dataclass
class Run:
    """Figures of one training: accuracies in percent by task.

    Attributes:
        knn: By kind of network: ``full``, ``routed`` (chosen on the training images) and ``hindsight`` (the best one
            on the test images, which nobody could have chosen).
        transfer: The same for logistic regression, without ``hindsight``.
        params: Of the network that a task gets.
        files: What the figures come from.
    """

    seed: int
    params: int = 0
    knn: dict[str, dict[str, float]] = field(default_factory=dict)
    transfer: dict[str, dict[str, float]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def read_run(variant: Variant, folder: Path, seed: int) -> Run | None:
    """The figures of a run; ``None`` if some are missing."""
    kind = "routing" if variant.paths else "knn"
    name = "routing.json" if variant.paths else "results.json"
    pairs = {t: (folder / kind / t / name, folder / "transfer" / t / "results.json") for t in TASKS}
    if not all(file.is_file() for pair in pairs.values() for file in pair):
        return None
    run = Run(seed, files=[file for pair in pairs.values() for file in pair] + sorted(folder.glob("*.pth")))
    for task, (near, far) in pairs.items():
        scores = {s["network"]: s["score"] for s in read_json(far, "transfer result")["scores"]}
        record = read_json(near, "kNN result")
        if variant.paths:
            ranking, chosen = record["subnets"], record["best"]
            tested = {s["name"]: s["test_accuracy"] for s in ranking}
            full = record["full"]["test_accuracy"]
            near_by = {"full": full, "routed": tested[chosen], "hindsight": max(tested.values())}
            far_by = {"full": scores["full"], "routed": scores[chosen]}
            run.params = min(s["params"] for s in ranking)
        else:
            (network,) = record["networks"]
            near_by = {"full": network["top1"]}
            (far_by_full,) = scores.values()
            far_by = {"full": far_by_full}
            run.params = network["params"] - (pruned_weights(folder) if variant.needs else 0)
        for table, values in ((run.knn, near_by), (run.transfer, far_by)):
            for key, value in values.items():
                table.setdefault(key, {})[task] = value
    return run


def pruned_weights(folder: Path) -> int:
    """Zeros among the convolutions of the backbone."""
    (checkpoint,) = folder.glob("*.pth")
    state = load_state_dict(checkpoint)
    return sum(int((v == 0).sum()) for k, v in state.items() if k.startswith("backbone.") and v.ndim == 4)


def mean(values: Sequence[float]) -> float:
    """Of at least one value."""
    return sum(values) / len(values)


def spread(values: Sequence[float]) -> str:
    """Mean over seeds, and the range."""
    if not values:
        return ""
    return f"{mean(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def over_seeds(runs: list[Run], pick: Callable[[Run], dict[str, float] | None]) -> list[float]:
    """The mean over tasks of each seed."""
    return [mean(list(values.values())) for run in runs if (values := pick(run)) is not None]


def markdown(results: dict[Variant, list[Run]]) -> Iterator[str]:
    """The tables."""
    head = ["training", "parameters", "kNN, full", "kNN, routed", "kNN, best in hindsight"]
    head += ["logistic regression, full", "logistic regression, routed"]
    yield "Mean accuracy over the six tasks in percent, mean over seeds and range.\n"
    yield row(head)
    yield row(["---"] * len(head))
    for variant, runs in results.items():
        columns = [over_seeds(runs, lambda r, k=k: r.knn.get(k)) for k in ("full", "routed", "hindsight")]
        columns += [over_seeds(runs, lambda r, k=k: r.transfer.get(k)) for k in ("full", "routed")]
        yield row([variant.label, f"{runs[0].params:,}", *map(spread, columns)])
    for title, attribute in (("kNN", "knn"), ("Logistic regression", "transfer")):
        yield f"\n{title}, the routed network where there is one, every seed:\n"
        yield row(["training", "seed", *TASKS])
        yield row(["---"] * (2 + len(TASKS)))
        for variant, runs in results.items():
            for run in runs:
                table = getattr(run, attribute)
                values = table.get("routed", table["full"])
                yield row([variant.label, str(run.seed), *(f"{values[task]:.1f}" for task in TASKS)])


def row(cells: Sequence[str]) -> str:
    """A line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def picture(results: dict[Variant, list[Run]], attribute: str, title: str) -> Figure:
    """Mean accuracy of every training: a dot for each seed, a line for their mean."""
    kinds = [k for k in COLOURS if any(k in getattr(run, attribute) for runs in results.values() for run in runs)]
    figure = Figure(figsize=(7.6, 1.2 + 0.46 * len(results)), layout="constrained")
    axes = figure.subplots()
    for place, runs in enumerate(results.values()):
        for index, kind in enumerate(kinds):
            values = over_seeds(runs, lambda r, k=kind: getattr(r, attribute).get(k))
            if values:
                y = place + 0.22 * (index - (len(kinds) - 1) / 2)
                axes.plot(values, [y] * len(values), "o", color=COLOURS[kind], markersize=6, alpha=0.85)
                axes.plot([mean(values)] * 2, [y - 0.11, y + 0.11], color=COLOURS[kind], linewidth=2.5)
    for kind in kinds:
        axes.plot([], [], "o", color=COLOURS[kind], label=LABELS[kind])
    axes.set_yticks(range(len(results)), [variant.label for variant in results])
    axes.invert_yaxis()
    for line in range(1, len(results)):
        axes.axhline(line - 0.5, color="#e4e8eb", linewidth=0.8)
    axes.set_xlabel("mean accuracy over six tasks (%)")
    axes.set_title(title)
    axes.grid(axis="x", color="#dde2e6", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=len(kinds), fontsize=9, frameon=False)
    return figure


def digest(file: Path) -> str:
    """SHA-256 of a file."""
    sha = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", metavar="DIR", help="--out of tools/studies/sdr_study.py")
    parser.add_argument("--doc", required=True, metavar="FILE", help="Markdown file to fill")
    args = parser.parse_args()
    study, doc = Path(args.study).resolve(), Path(args.doc)
    text = doc.read_text(encoding="utf-8") if doc.is_file() else ""
    if START not in text or END not in text:
        raise ConfigError(f"--doc {doc} needs the lines {START} and {END}; the tables go between them.")
    seeds = sorted(int(folder.name.removeprefix("seed")) for folder in study.glob("seed*"))
    results: dict[Variant, list[Run]] = {}
    for variant in VARIANTS:
        runs = {seed: read_run(variant, study / f"seed{seed}" / variant.name, seed) for seed in seeds}
        print(*(f"missing: {variant.name}, seed {seed}\n" for seed, run in runs.items() if run is None), sep="", end="")
        if found := [run for run in runs.values() if run is not None]:
            results[variant] = found
    if not results:
        raise ConfigError(f"{study} holds no finished run; run tools/studies/sdr_study.py first.")
    before, after = text.split(START)[0], text.split(END)[1]
    body = "\n".join(markdown(results))
    write_text(doc, f"{before}{START}\n{body}\n{END}{after}")
    folder = doc.with_suffix("")
    folder.mkdir(exist_ok=True)
    for kind, title in (("knn", "Weighted kNN, k = 200"), ("transfer", "Logistic regression")):
        write_stream(folder / f"{kind}.png", partial(picture(results, kind, title).savefig, format="png", dpi=130))
    shutil.copyfile(study / "commands.sh", folder / "commands.sh")
    files = [file for runs in results.values() for run in runs for file in run.files]
    files += [study / f"seed{seed}" / f"{split.name}.npz" for seed in seeds for split in SPLITS]
    write_json(folder / "files.json", {str(f.relative_to(study)): digest(f) for f in sorted(files) if f.is_file()})
    print(f"wrote {doc}, and knn.png, transfer.png, commands.sh and files.json in {folder}")


if __name__ == "__main__":
    cli.run(main)

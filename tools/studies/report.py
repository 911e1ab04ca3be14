"""Table, comparisons and pictures of what is finished of a study."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from comparison import Accuracies, Difference, difference
from distance import rank_correlation, read_distances
from fidelity import USES, summary
from matplotlib.figure import Figure
from runs import PUBLISHED, Folders, Unit
from where import figure as where_figure
from where import gains

from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import atomic_path, write_json

#: What a run is judged by: the network that a task gets.
_KINDS = ("full", "routed", "hindsight")
Results = dict[str, dict[int, dict[str, Any]]]
"""``tasks`` of ``results.json`` by run and seed."""


def write_report(study: Any, units: Sequence[Unit], folders: Folders) -> str:
    """Write ``report.md``, its figures (``*.png``) and ``files.json`` into the study's folder.

    Returns:
        The text of the report.
    """
    starts = {unit.run.name: unit.run.start for unit in units}
    results = with_chosen(read_results(units, folders, getattr(study, "SMALL", ())), study.COMPARISONS, starts)
    comparisons = list(compare(study.COMPARISONS, results, "knn"))
    others = {metric: list(compare(study.COMPARISONS, results, metric)) for metric in ("probe", "knn-200")}
    labels = {unit.run.group or unit.run.name: unit.run.label for unit in units}
    minutes = training_minutes(units, folders)
    lines = [*_markdown(results, labels, minutes, comparisons, others)]
    lines += [*_where(study, results, folders), *_distance(study, units, results, folders)]
    lines += _fidelity(units, folders)
    text = "\n".join(lines) + "\n"
    folders.out.mkdir(parents=True, exist_ok=True)
    with atomic_path(folders.out / "report.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    if comparisons:
        _save(_difference_figure(comparisons), folders, "differences.png")
        _save(_accuracy_figure(results), folders, "accuracies.png")
    if headline := {name: results[name] for name in getattr(study, "HEADLINE", ()) if name in results}:
        _save(_accuracy_figure(headline), folders, "headline.png")
    write_json(folders.out / "files.json", hashes(units, folders))
    return text


def read_results(units: Sequence[Unit], folders: Folders, small: Sequence[str] = ()) -> Results:
    """Of all finished runs.

    The runs of single domains (``oracle_...``) are one, ``oracle``. The networks of a group are ``GROUP, NETWORK``
    each, and ``GROUP, small`` the mean of those in ``small``, as far as all of them are there. Of paths of several
    widths, the network is what a task gets at a width.
    """
    found: Results = {}
    for unit in units:
        file = unit.result(folders)
        if not file.is_file():
            continue
        read = read_json(file, "result")["tasks"]
        if unit.run.group is None:
            name = unit.run.name.split("_")[0] if unit.run.tasks else unit.run.name
            found.setdefault(name, {}).setdefault(unit.seed, {}).update(read)
            continue
        members = {
            task: scores.get("widths") or {network: {"full": entry} for network, entry in scores["networks"].items()}
            for task, scores in read.items()
        }
        for network in {network: None for of_task in members.values() for network in of_task}:
            of_one = {task: of_task[network] for task, of_task in members.items()}
            found.setdefault(f"{unit.run.group}, {network}", {})[unit.seed] = of_one
    for group in {unit.run.group: None for unit in units if unit.run.group is not None}:
        means = _means([found.get(f"{group}, {network}", {}) for network in small])
        if means:
            found[f"{group}, small"] = means
    return found


def with_chosen(results: Results, comparisons: Sequence[tuple[str, str]], starts: Mapping[str, str | None]) -> Results:
    """The results with ``RUN, chosen`` behind every run for which it is compared.

    It is what a task gets where the network that SDR's paths started from is a candidate, too.

    Args:
        results: Of all runs.
        comparisons: Of the study.
        starts: By run, the one that it started from.
    """
    compared = {side for pair in comparisons for side in pair}
    found: Results = {}
    for name, by_seed in results.items():
        found[name] = by_seed
        if (chosen := f"{name}, chosen") not in compared:
            continue
        start = results.get(starts[name] or "", {})
        if both := sorted(set(by_seed) & set(start)):
            found[chosen] = {s: {t: _chosen(by_seed[s][t], start[s][t]) for t in by_seed[s]} for s in both}
    return found


def _chosen(scores: dict[str, Any], start: dict[str, Any]) -> dict[str, Any]:
    """The routed path, or the full network or the start where it does better on the training images."""
    candidates = (scores["routed"], scores["full"], start["full"])
    return {"full": scores["full"], "routed": max(candidates, key=lambda entry: entry["select"])}


def _means(networks: Sequence[dict[int, dict[str, Any]]]) -> dict[int, dict[str, Any]]:
    """The mean network, of those that a task gets, for the seeds that all of them have."""
    if not networks:
        return {}
    means: dict[int, dict[str, Any]] = {}
    for seed in sorted(set.intersection(*(set(by_seed) for by_seed in networks))):
        means[seed] = {}
        for task, scores in networks[0][seed].items():
            kind = "routed" if "routed" in scores else "full"
            entries = [by_seed[seed][task][kind] for by_seed in networks]
            metrics = [metric for metric, value in entries[0].items() if not isinstance(value, str)]
            means[seed][task] = {kind: {m: float(np.mean([entry[m] for entry in entries])) for m in metrics}}
    return means


def training_minutes(units: Sequence[Unit], folders: Folders) -> dict[str, float]:
    """Minutes of training of each run, or of all of a group together: the mean over the seeds that have all of them."""
    spent: dict[str, dict[int, list[float | None]]] = {}
    for unit in units:
        done, timings = unit.result(folders).is_file(), unit.folder(folders) / "seconds.json"
        seconds = read_json(timings, "timings").get("train.py", 0.0) if done and timings.is_file() else None
        by_seed = spent.setdefault(unit.run.group or unit.run.name, {})
        by_seed.setdefault(unit.seed, []).append(seconds)
    whole = {
        name: [sum(s for s in found if s is not None) for found in by_seed.values() if None not in found]
        for name, by_seed in spent.items()
    }
    return {name: float(np.mean(sums)) / 60 for name, sums in whole.items() if sums}


def accuracies(results: Results, name: str, kind: str, metric: str) -> Accuracies:
    """Of one kind of network; for ``'routed'``, the full one where a run has no paths."""
    found: dict[tuple[str, int], float] = {}
    for seed, tasks in results.get(name, {}).items():
        for task, scores in tasks.items():
            entry = scores.get(kind) or (scores["full"] if kind == "routed" else None)
            if entry is not None and metric in entry:
                found[task, seed] = entry[metric]
    return found


def compare(
    comparisons: Sequence[tuple[str, str]], results: Results, metric: str
) -> Iterator[tuple[str, str, Difference]]:
    """The statements of a study as far as there are runs for them, by the network that a task gets."""
    for one, other in comparisons:
        found = difference(accuracies(results, one, "routed", metric), accuracies(results, other, "routed", metric))
        if found is not None:
            yield one, other, found


def hashes(units: Sequence[Unit], folders: Folders) -> dict[str, str]:
    """SHA-256 of every checkpoint, split and result; of what other machines have made, as an earlier report has it."""
    report = folders.out / "files.json"
    known: dict[str, str] = read_json(report, "report") if report.is_file() else {}
    found = {}
    for unit in units:
        if unit.result(folders).is_file():
            folder, elsewhere = unit.folder(folders), PUBLISHED in read_json(unit.result(folders), "result")
            for file in (unit.checkpoint(folders), *sorted(folder.glob("*.npz")), unit.result(folders)):
                name = str(file.relative_to(folders.out))
                if file.is_file() and not elsewhere:
                    found[name] = hashlib.sha256(file.read_bytes()).hexdigest()
                elif name in known:
                    found[name] = known[name]
    return found


def _markdown(
    results: Results,
    labels: dict[str, str],
    minutes: dict[str, float],
    comparisons: Sequence[Any],
    others: dict[str, Sequence[Any]],
) -> Iterator[str]:
    yield "Mean over tasks of the test accuracy in percent, mean over seeds (number of seeds). Minutes are those of the"
    yield "training, without its start's, as a clock on the wall showed them: other work on the machine makes them"
    yield "longer. Of networks trained alone, they are those of all of them together.\n"
    head = ["training", "seeds", "kNN, full", "kNN, routed", "kNN, best in hindsight", "probe, full", "probe, routed"]
    head += ["kNN of 200, full", "kNN of 200, routed", "minutes"]
    rows = []
    for name, by_seed in results.items():
        group, _, network = name.partition(", ")
        label = labels.get(group, "SimSiam, base and its share of the steps on each task's own domain")
        label = f"{label}: {network}" if network else label
        columns = [_mean(results, name, kind, "knn") for kind in _KINDS]
        columns += [_mean(results, name, kind, metric) for metric in ("probe", "knn-200") for kind in _KINDS[:2]]
        columns.append(f"{minutes[group]:.0f}" if group in minutes else "")
        rows.append([f"{label} (`{name}`)", str(len(by_seed)), *columns])
    yield from _table(head, rows)
    yield "\nPaired differences over tasks and seeds, of the network that a task gets (the routed path, or all of a"
    yield "plain network), in points with a bootstrap interval of 95 %; bold where it leaves out 0.\n"
    by_metric = [{(one, other): found for one, other, found in pairs} for pairs in others.values()]
    rows = []
    for one, other, found in comparisons:
        more = [_interval(pairs[one, other]) if (one, other) in pairs else "" for pairs in by_metric]
        rows.append([f"`{one}` - `{other}`", _interval(found), f"{100 * found.better:.0f} %", *more])
    yield from _table(["", "kNN", "tasks better", "probe", "kNN of 200"], rows)
    tasks = sorted({task for by_seed in results.values() for scores in by_seed.values() for task in scores})
    yield "\nkNN of the network that a task gets, mean over seeds:\n"
    rows = []
    for name in results:
        of_one = accuracies(results, name, "routed", "knn")
        cells = [[value for (t, _), value in of_one.items() if t == task] for task in tasks]
        rows.append([f"`{name}`", *(f"{np.mean(cell):.1f}" if cell else "" for cell in cells)])
    yield from _table(["training", *tasks], rows)


def _where(study: Any, results: Results, folders: Folders) -> Iterator[str]:
    """On which tasks a run gains, and ``where.png``, where the study names a run of single domains to hold it against.

    ``study.WHERE``: names of the run of single domains, of the run that is looked at, and of the one both are compared
    with.
    """
    names = getattr(study, "WHERE", None)
    if names is None or (found := gains(*(accuracies(results, name, "routed", "knn") for name in names))) is None:
        return
    _, run, baseline = names
    _save(where_figure(found, run, baseline), folders, "where.png")
    yield f"\nWhere a task's own domain gains by itself, `{run}` gains: over tasks, the gains of the two over"
    yield f"`{baseline}` have a correlation of {found.correlation:.2f}."


def _distance(study: Any, units: Sequence[Unit], results: Results, folders: Folders) -> Iterator[str]:
    """Whether a run gains with a domain's distance.

    ``study.DISTANCE``: name of the run whose features measure it, and pairs of runs, the second the baseline.
    """
    if not hasattr(study, "DISTANCE"):
        return
    source, pairs = study.DISTANCE
    files = [unit.folder(folders) / "features.npy" for unit in units if unit.run.name == source]
    found = [read_distances(file) for file in files if file.is_file()]
    said = []
    for run, baseline in pairs:
        both = [accuracies(results, name, "routed", "knn") for name in (run, baseline)]
        if (value := rank_correlation(found, *both)) is not None:
            said.append(f"{value:.2f} for `{run}` over `{baseline}`")
    if said:
        yield f"\nA domain's distance from the others (Fréchet, by the features of `{source}`) and what its task gains"
        yield f"have a rank correlation, over tasks, of {', '.join(said)}."


def _fidelity(units: Sequence[Unit], folders: Folders) -> Iterator[str]:
    """How well scores foretold the best path, a table for each run that tools/studies/fidelity.py has judged."""
    judged: dict[str, list[Any]] = {}
    for unit in units:
        if (file := unit.folder(folders) / "fidelity.json").is_file():
            judged.setdefault(unit.run.name, []).append(read_json(file, "fidelity"))
    for name, runs in judged.items():
        yield f"\nScores of the paths of `{name}`, {len(runs)} seeds, mean ± standard error over tasks and seeds:"
        yield "Kendall's tau with the test accuracy, the regret in points of it, and how much more that is than kNN.\n"
        by_use = [summary(runs, use) for use in USES]
        heads = [f"{label}: {column}" for label in USES.values() for column in ("tau", "regret", "more than kNN")]
        yield from _table(
            ["score", *heads], [[score, *(c for found in by_use for c in found[score])] for score in by_use[0]]
        )


def _mean(results: Results, name: str, kind: str, metric: str) -> str:
    if kind == "routed" and not any("routed" in s for tasks in results[name].values() for s in tasks.values()):
        return ""
    found = accuracies(results, name, kind, metric)
    return f"{np.mean(list(found.values())):.2f}" if found else ""


def _interval(found: Difference) -> str:
    text = f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
    return f"**{text}**" if found.low > 0 or found.high < 0 else text


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Markdown of a table, without the columns that no row has anything in."""
    kept = [column for column in range(len(head)) if any(row[column] for row in rows)]
    for cells in (head, ["---"] * len(head), *rows):
        yield "| " + " | ".join(cells[column] for column in kept) + " |"


def _difference_figure(comparisons: Sequence[tuple[str, str, Difference]]) -> Figure:
    """An interval for each comparison."""
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(comparisons)), layout="constrained")
    axes = figure.subplots()
    rows = range(len(comparisons))[::-1]
    for row, (_, _, found) in zip(rows, comparisons):
        colour = "#c44e52" if found.low > 0 else "#4c72b0" if found.high < 0 else "#8c8c8c"
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2)
        axes.plot([found.mean], [row], "o", color=colour)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(list(rows), [f"{one} - {other}" for one, other, _ in comparisons])
    figure.supxlabel("difference in kNN accuracy, points (95 % interval over tasks and seeds)", fontsize="medium")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _accuracy_figure(results: Results) -> Figure:
    """Mean accuracy of each run's networks, a dot for each seed."""
    figure = Figure(figsize=(8, 0.8 + 0.35 * len(results)), layout="constrained")
    axes = figure.subplots()
    colours = {"full": "#5f6b73", "routed": "#c44e52", "hindsight": "#b8c0c8"}
    words = {"full": "full network", "routed": "routed path", "hindsight": "best path in hindsight"}
    rows = range(len(results))[::-1]
    for kind, colour in colours.items():
        points = []
        for row, by_seed in zip(rows, results.values()):
            for tasks in by_seed.values():
                values = [scores[kind]["knn"] for scores in tasks.values() if kind in scores]
                if values:
                    points.append((np.mean(values), row))
        if points:
            axes.scatter(*zip(*points), color=colour, label=words[kind], zorder=2)
    axes.set_yticks(list(rows), list(results))
    axes.set_xlabel("mean kNN accuracy over tasks (%)")
    axes.grid(axis="x", linewidth=0.4)
    axes.legend(frameon=False, fontsize="small")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def _save(figure: Figure, folders: Folders, name: str) -> None:
    with atomic_path(folders.out / name) as temporary:
        figure.savefig(temporary, dpi=120)

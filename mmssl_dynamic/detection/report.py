"""The page of a routing for detection: AP of the candidates, what was saved, and what may have been lost."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from mmssl_dynamic.routing.result import RoutingResult
from mmssl_dynamic.version import __version__
from mmssl_dynamic.visualization.report import HtmlReport
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.routing_report import dropped_table

_ENOUGH = 4  # candidates for a correlation to say anything


@dataclass(frozen=True)
class CandidateFigures:
    """What the report shows.

    Attributes:
        result: The ranking.
        precision: AP, AP50 and AP75 by kind (boxes, masks), of every candidate of the last round.
        preference: Accuracy of candidates on cut-out objects in percent; empty without a short list.
        shortlist: How the short list was made.
        exported: What was exported, in a sentence.
        snippet: Lines of Python that load it.
        full_cost: Iterations that fine-tuning every sub-network to the end would take.
        cost: Iterations that were trained.
        classes: AP of every class in percent, of the kind that was chosen by, of every candidate of the last round;
            ``None`` for a class that no object has.
    """

    result: RoutingResult
    precision: Mapping[str, Mapping[str, Mapping[str, float]]]
    preference: Mapping[str, float]
    shortlist: str
    exported: str
    snippet: str
    full_cost: int
    cost: int
    classes: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def write_detection_report(figures: CandidateFigures, path: str | os.PathLike[str], command: str | None = None) -> Path:
    """Write the page, and its figure as PNG and SVG beside it."""
    result = figures.result
    page = HtmlReport(f"Routing for detection: {result.task}")
    page.text(
        f"Chosen: {result.best.name}, {result.protocol['metric']} {result.best.select_accuracy:.1f} "
        f"({result.best.gain_over_full:+.1f} over the full network) after {result.protocol['iterations']} iterations. "
        f"{figures.exported}"
    )
    drawn = candidate_bars(result)
    save_figure(drawn, Path(path).parent / "candidates")
    page.figure(drawn, "AP of the candidates after the last round, on the detector's validation set")
    kinds = list(next(iter(figures.precision.values())))
    header = ["candidate", *(f"{name} of {kind}" for kind in kinds for name in ("AP", "AP50", "AP75"))]
    order = [*(score.name for score in result.subnets), result.full.name]
    rows: list[list[object]] = [
        [name, *(value for kind in kinds for value in figures.precision[name][kind].values())]
        for name in dict.fromkeys(order)
    ]
    page.table(header, rows, marked=[0])
    page.text("To load what was exported:")
    page.code(figures.snippet.strip())
    _classes(page, figures)
    page.section("What was saved, and what may have been lost")
    page.text(*_balance(figures))
    dropped_table(page, result, ["left out", "measured there, %", "iterations", "why"], "left out")
    page.section("How it was made")
    if command:
        page.code(command)
    page.text(
        f"mmssl_dynamic {__version__}, python {platform.python_version()}, torch {torch.__version__}. "
        f"Weights {result.weights_fingerprint[:16]}. {result.cost['seconds']} s.",
        note=True,
    )
    page.facts(result.protocol, summary="The protocol: everything that a repetition needs to know")
    return page.save(path)


def _classes(page: HtmlReport, figures: CandidateFigures) -> None:
    """AP of every class, of the chosen sub-network and of the full network."""
    best, full = figures.result.best.name, figures.result.full.name
    chosen, whole = figures.classes.get(best, {}), figures.classes.get(full, {})
    if not chosen:
        return
    page.section("Average precision of each class")
    rows: list[list[object]] = []
    for name, value in chosen.items():
        other = whole.get(name)
        known = value is not None and other is not None
        gain = f"{value - other:+.1f}" if known else "-"  # type: ignore[operator]
        rows.append([name, "-" if value is None else value, "-" if other is None else other, gain])
    page.table(["class", best, full, "gain"], rows)
    page.text("In percent, on the detector's validation set; - where no object of it is of the class.", note=True)


def candidate_bars(result: RoutingResult) -> Figure:
    """AP of every candidate, best first, and of the full network as a line."""
    names = [score.name for score in result.subnets]
    figure = Figure(figsize=(6.4, 1.4 + 0.28 * len(names)), layout="constrained")
    axes = figure.subplots()
    rows = np.arange(len(names))
    colours = ["#c44e52", *["#4878a8"] * (len(names) - 1)]
    axes.barh(rows, [score.select_accuracy for score in result.subnets], height=0.7, color=colours)
    axes.axvline(result.full.select_accuracy, color="black", linewidth=1, label="full network")
    axes.set_yticks(rows, names, family="monospace", fontsize="small")
    axes.invert_yaxis()
    axes.set_xlabel(str(result.protocol["metric"]))
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def rank_correlation(first: list[float], second: list[float]) -> float:
    """Spearman's: 1 when both order the same, 0 when they have nothing to do with each other."""
    a, b = (np.argsort(np.argsort(values)).astype(float) for values in (first, second))
    return float(np.corrcoef(a, b)[0, 1])


def _balance(figures: CandidateFigures) -> list[str]:
    result = figures.result
    share = 100 * figures.cost / figures.full_cost
    sentences = [
        f"{figures.cost} iterations were trained, {share:.0f} % of the {figures.full_cost} that fine-tuning every "
        f"sub-network for {result.protocol['iterations']} takes."
    ]
    if not result.dropped:
        return [*sentences, "Every sub-network was trained to the end, so nothing was lost."]
    sentences.append(
        f"{len(result.dropped)} sub-networks were not trained to the end. One of them may be better than the chosen "
        "one; by how much cannot be known without training it."
    )
    both = [score for score in result.subnets if score.name in figures.preference]
    if len(both) >= _ENOUGH:
        order = rank_correlation(
            [figures.preference[score.name] for score in both], [score.select_accuracy for score in both]
        )
        sentences.append(
            f"Among the {len(both)} candidates of the last round the order of the short list ({figures.shortlist}) and "
            f"that by AP have a rank correlation of {order:+.2f}: near 1 the short list can be trusted, near 0 it was "
            "no better than chance."
        )
    return sentences

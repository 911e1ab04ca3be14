"""The page of a detector's evaluation: AP, AP of every class, and pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmssl_dynamic.detection.prediction_pictures_hook import PredictionPicturesHook
from mmssl_dynamic.visualization.report import HtmlReport


def write_evaluation_report(record: Mapping[str, Any], hook: PredictionPicturesHook, path: Path) -> None:
    """Write the page.

    Args:
        record: What ``results.json`` holds.
        hook: What drew pictures.
        path: The page.
    """
    report = HtmlReport(f"Detection: {Path(record['config']).stem}")
    report.section("Average precision")
    report.table(["", "AP", "AP50", "AP75"], [[what, *values.values()] for what, values in record["AP"].items()])
    report.text(
        "In percent, at its best 100. AP is the mean over overlaps of 0.50 to 0.95 in steps of 0.05; AP50 and AP75 are "
        "at 0.50 and 0.75."
    )
    report.text(
        f"{record['images']} images of {', '.join(record['data'])}, checkpoint {record['checkpoint']} "
        f"(weights {record['weights_fingerprint'][:12]}).",
        note=True,
    )
    if record["classes"]:
        report.section("Average precision of each class")
        kinds = list(record["classes"])
        rows = [
            [name, *(_shown(record["classes"][kind].get(name)) for kind in kinds)]
            for name in next(iter(record["classes"].values()))
        ]
        report.table(["class", *(f"AP of {kind}" for kind in kinds)], rows)
        report.text("In percent; - where no object of the test set is of the class.", note=True)
    if hook.files:
        report.section("What it finds")
        report.text(f"Left the annotations, right the predictions that score at least {hook.score_thr:g}.")
        for file in hook.files:
            report.figure(file, file.stem)
    report.save(path)


def _shown(value: float | None) -> float | str:
    return "-" if value is None else value

"""The study of tasks and budgets on a mixed pool: slimmable paths at once, against SDR then slimming, and DSPNet alone.

The pool, tasks, base and split of the study ``domains``; 16 paths at half, three quarters and all of the base's width.
For every width a task gets the path that routing chooses at it. All arms start from the base and train about as long:

* both at once: a step trains a path of SDR at its three widths;
* SDR then slimming: the paths at their whole width alone, then all widths of them;
* DSPNet alone: three widths of one path, on all images, by the sandwich rule on SimSiam.

The networks of a width have the same shape in all arms, and all start as the base's most important channels.
"""

from __future__ import annotations

from domains import LOW, SIMSIAM, SPLITS, prepare
from runs import Run

__all__ = ["COMPARISONS", "SMALL", "STAGES", "prepare"]

PATHS = "sdr_slimmable/small_scale/sdr-slimmable_r18-narrow_16path_domains.py"
ONE_PATH = "sdr_slimmable/small_scale/sdr-slimmable_r18-narrow_1path_domains.py"
WIDTHS = ("w0.5", "w0.75", "w1.0")
#: What "small networks" are in the report.
SMALL = WIDTHS[:-1]
#: A step of each arm in steps of the base, means over the phases, loading counted: step_costs.py on an idle core, five
#: rounds.
COST_BOTH, COST_SDR, COST_SLIMMING, COST_ONE = 2.29, 1.51, 2.66, 2.14
#: Epochs that take as long, within 5.3 %: of both at once, of SDR and of slimming after it, of DSPNet alone.
BOTH, FIRST, THEN, ALONE = 10, 6, 5, 11

STAGES = (
    (
        Run("simsiam10", "SimSiam with one path's network, 10 epochs (base)", SIMSIAM, 10, splits=SPLITS[:1]),
        Run(
            "both10",
            "paths and widths at once",
            PATHS,
            BOTH,
            COST_BOTH,
            "simsiam10",
            True,
            "cluster16",
            options=LOW,
            group="both10",
        ),
        Run(
            "one11",
            "DSPNet alone",
            ONE_PATH,
            ALONE,
            COST_ONE,
            "simsiam10",
            True,
            options=LOW,
            group="one11",
        ),
    ),
    (
        Run(
            "sdr6",
            "SDR, its paths narrowed without training",
            PATHS,
            FIRST,
            COST_SDR,
            "simsiam10",
            True,
            "cluster16",
            options=(*LOW, "num_networks=1"),
            group="sdr6",
        ),
        Run(
            "sdr6+5",
            "SDR then slimming",
            PATHS,
            THEN,
            COST_SLIMMING,
            "sdr6",
            split="cluster16",
            options=(*LOW, "phase_lengths=[0,0,1]"),
            group="sdr6+5",
        ),
    ),
)
#: The first two are the statements of the study, named before any of its runs was made: for a task and a budget, what
#: comes out of one training of both is better than DSPNet's network of the size, and than SDR's paths slimmed later.
COMPARISONS = (
    ("both10, small", "one11, small"),
    ("both10, small", "sdr6+5, small"),
    *((f"both10, {width}", f"one11, {width}") for width in WIDTHS),
    *((f"both10, {width}", f"sdr6+5, {width}") for width in WIDTHS),
    *((f"sdr6+5, {width}", f"sdr6, {width}") for width in WIDTHS),
)

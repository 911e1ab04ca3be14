"""The study of a mixed pool once more, larger, for a machine with a card: more images, and longer trainings on them.

Up to 1,744 images of each of the nine domains, which eight of them have (steel has 797), batches of 256 whose colours
change on the card; networks, splits and tasks of the study ``domains``.
"""

from __future__ import annotations

import domains
from runs import Folders, Run

__all__ = ["COMPARISONS", "STAGES", "prepare"]

IMAGES = 1744
EPOCHS = 30
#: Of SimSiam in the time of EPOCHS of SDR, whose step costs 1.8 times as much.
EQUAL_TIME = round(1.8 * EPOCHS)
# As in the smaller study, with a batch of images at least.
SPLITS = tuple((name, (*arguments, "--min-size", "256")) for name, arguments in domains.SPLITS)
SIMSIAM = "sdr/small_scale/simsiam_r18-narrow_domains_large.py"
SDR16 = "sdr/small_scale/sdr_r18-narrow_16path_domains_large.py"
# Trained on, a network begins with two fifths of the step of a random one, as in the smaller study.
LOW = ("optim_wrapper.optimizer.lr=0.04",)


def _started(name: str, label: str, *options: str, split: str | None = "cluster16") -> Run:
    """SDR from the base run's weights."""
    return Run(name, label, SDR16, EPOCHS, 1.8, "simsiam", True, split, options=(*LOW, *options))


STAGES = (
    (
        Run("simsiam", f"SimSiam, {EPOCHS} epochs (base of the runs below)", SIMSIAM, EPOCHS, splits=SPLITS),
        _started("sdr", f"SDR for {EPOCHS} epochs after the base, started from it"),
        Run("simsiam_more", f"SimSiam, base and {EPOCHS} epochs more", SIMSIAM, EPOCHS, start="simsiam", options=LOW),
        Run(
            "simsiam_time",
            f"SimSiam, base and {EQUAL_TIME} epochs more",
            SIMSIAM,
            EQUAL_TIME,
            start="simsiam",
            options=LOW,
        ),
        _started("sdr_random", "SDR started from the base, images split at random", split="random16"),
        _started(
            "sdr_all",
            "SDR started from the base, all images for every path",
            "train_dataloader.dataset.subnet_data=full",
            split=None,
        ),
        _started("sdr_half", "SDR started from the base, W_0 in half of the steps", "full_share=0.5"),
    ),
)
#: As in the study ``domains``: the first is the statement, named before any run was made.
COMPARISONS = (
    ("sdr", "simsiam_more"),
    ("sdr", "simsiam_time"),
    ("sdr", "sdr_random"),
    ("sdr", "sdr_all"),
    ("sdr_random", "sdr_all"),
    ("sdr_half", "sdr"),
    ("sdr_half", "simsiam_more"),
)


def prepare(folders: Folders) -> None:
    """Unpack the pool and all tasks.

    Raises:
        ConfigError: an archive is missing.
    """
    domains.prepare(folders, IMAGES)

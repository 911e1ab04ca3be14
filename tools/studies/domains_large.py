"""The study of a mixed pool once more, larger, for a machine with a card: more images, and longer trainings on them.

Up to 1,744 images of each of the nine domains, which eight of them have (steel has 797), batches of 256 whose colours
change on the card; networks, splits and tasks of the study ``domains``.
"""

from __future__ import annotations

import domains
from runs import Folders, Run

__all__ = ["COMPARISONS", "STAGES", "prepare"]

IMAGES = 1744
#: Of SimSiam's half of the schedule, and of SDR's.
EPOCHS = 30
#: Of SimSiam in the time of both halves.
EQUAL_TIME = round((1 + domains.SDR_COST) * EPOCHS)
# As in the smaller study, with a batch of images at least.
SPLITS = tuple((name, (*arguments, "--min-size", "256")) for name, arguments in domains.SPLITS)
SIMSIAM = "sdr/small_scale/simsiam_r18-narrow_domains_large.py"
SDR16 = "sdr/small_scale/sdr_r18-narrow_16path_domains_large.py"
# Where a cosine from 0.1 is after half of its epochs.
REST = ("optim_wrapper.optimizer.lr=0.05",)


def _rest(name: str, label: str, *options: str, split: str | None = "cluster16") -> Run:
    """SDR for the second half of SimSiam's schedule."""
    return Run(name, label, SDR16, EPOCHS, domains.SDR_COST, "first_half", True, split, options=(*REST, *options))


STAGES = (
    (
        Run(
            "first_half",
            f"SimSiam, the first {EPOCHS} of {2 * EPOCHS} epochs",
            SIMSIAM,
            EPOCHS,
            splits=SPLITS,
            options=(f"schedule_epochs={2 * EPOCHS}",),
        ),
        _rest("sdr", f"SDR for the other {EPOCHS} epochs, one schedule for both"),
        Run("simsiam", f"SimSiam, {2 * EPOCHS} epochs at once", SIMSIAM, 2 * EPOCHS),
        Run("simsiam_time", f"SimSiam, {EQUAL_TIME} epochs at once: the time of both", SIMSIAM, EQUAL_TIME),
        _rest("sdr_random", "the same, images split at random", split="random16"),
        _rest(
            "sdr_all",
            "the same, all images for every path",
            "train_dataloader.dataset.subnet_data=full",
            split=None,
        ),
        _rest("sdr_nokd", "the same without SiamKD", "model.distillation=None"),
    ),
)
#: The first is the statement, named before any run was made.
COMPARISONS = (
    ("sdr, chosen", "simsiam"),
    ("sdr, chosen", "simsiam_time"),
    ("sdr", "simsiam"),
    ("sdr", "sdr_random"),
    ("sdr", "sdr_all"),
    ("sdr_random", "sdr_all"),
    ("sdr_nokd", "sdr"),
)


def prepare(folders: Folders) -> None:
    """Unpack the pool and all tasks.

    Raises:
        ConfigError: an archive is missing.
    """
    domains.prepare(folders, IMAGES)

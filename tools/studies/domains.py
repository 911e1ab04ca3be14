"""The study of a mixed pool: does SDR help on images of nine domains, against SimSiam of equal steps and equal time?

700 images of each domain, 48 px, a ResNet-18 of 3/8 of the usual width and 16 paths of exactly its size; kNN on a
labelled task of every domain.
"""

from __future__ import annotations

import tarfile
from collections.abc import Sequence
from pathlib import Path

from runs import Folders, Run

from mmssl_dynamic.errors import ConfigError

DOMAINS = ("aerial", "art", "characters", "leaves", "mri", "plankton", "scenes", "sketch", "steel")
TASKS = (
    *("aerial_7cls", "art_7cls", "characters_8cls", "leaves_12cls", "mri_4cls", "plankton_12cls"),
    *("scenes_6cls", "sketch_5cls", "steel_6cls"),
)
IMAGES = 700  # of each domain, the first by name, so that all weigh the same
SIMSIAM = "sdr/small_scale/simsiam_r18-narrow_domains.py"
WIDE = "sdr/small_scale/simsiam_r18-narrow_domains_wide.py"
SDR16 = "sdr/small_scale/sdr_r18-narrow_16path_domains.py"
SDR4 = "sdr/small_scale/sdr_r18-narrow_4path_domains.py"

SPLITS = (
    ("cluster16", ("--num-clusters", "16")),
    ("cluster4", ("--num-clusters", "4")),
    ("random16", ("--num-clusters", "16", "--method", "random")),
)
# Trained on, a network begins with a smaller step than a random one.
LOW = ("optim_wrapper.optimizer.lr=0.02",)
# Where a cosine from 0.05 is after half of its epochs.
REST = ("optim_wrapper.optimizer.lr=0.025",)
#: Of a step of SDR in steps of SimSiam, mean over its phases: step_costs.py on an idle core.
SDR_COST = 1.52
# Without the zeros that end every block at first.
NONZERO = ("model.backbone.zero_init_residual=False",)
# W_0 begins as the plain network, too, not its paths alone.
SCALED = ("model.init_cfg.duplicates=scaled",)
# Of SDR, one at a time.
OPTIONS = ("half", "at_once", "rarity", "balanced", "scaled", "nokd")


def _started(name: str, label: str, *options: str, config: str = SDR16, split: str | None = "cluster16") -> Run:
    """SDR for 10 epochs from the base run's weights."""
    return Run(name, label, config, 10, SDR_COST, "simsiam10", True, split, options=(*LOW, *options))


def _first(
    epochs: int, *splits: tuple[str, tuple[str, ...]], end: str = "", label: str = "", options: Sequence[str] = ()
) -> Run:
    """SimSiam for the first half of a schedule; ``end`` of the run's name, and of its label, where it has options."""
    name, label = f"simsiam{epochs}of{2 * epochs}{end}", f"SimSiam, the first {epochs} of {2 * epochs} epochs{label}"
    options = (f"schedule_epochs={2 * epochs}", *options)
    return Run(name, label, SIMSIAM, epochs, splits=(SPLITS[0], *splits), options=options)


def _rest(name: str, label: str, *options: str, epochs: int = 10, split: str = "cluster16", end: str = "") -> Run:
    """SDR for the second half of SimSiam's schedule, that of :func:`_first` with the same ``end``."""
    start = f"simsiam{epochs}of{2 * epochs}{end}"
    return Run(name, label, SDR16, epochs, SDR_COST, start, True, split, options=(*REST, *options))


STAGES = (
    (
        Run("simsiam10", "SimSiam, 10 epochs (base of the runs below)", SIMSIAM, 10, splits=SPLITS),
        Run("simsiam10+10", "SimSiam, base and 10 epochs more", SIMSIAM, 10, start="simsiam10", options=LOW),
        Run("simsiam10+18", "SimSiam, base and 18 epochs more", SIMSIAM, 18, start="simsiam10", options=LOW),
        _started("sdr10+10", "SDR for 10 epochs after the base, started from it"),
    ),
    (
        _started("sdr10+10_random", "SDR started from the base, images split at random", split="random16"),
        _started(
            "sdr10+10_all",
            "SDR started from the base, all images for every path",
            "train_dataloader.dataset.subnet_data=full",
            split=None,
        ),
        _started("sdr10+10_4paths", "SDR started from the base, 4 paths", config=SDR4, split="cluster4"),
    ),
    (
        Run("simsiam20", "SimSiam, 20 epochs at once", SIMSIAM, 20),
        _first(10, ("balanced16", ("--num-clusters", "16", "--assign", "balanced"))),
        _rest("sdr10of20+10", "SDR for the other 10 of the 20 epochs, one schedule for both"),
        Run("simsiam28", "SimSiam, 28 epochs at once", SIMSIAM, 28),
    ),
    (
        Run("simsiam25", "SimSiam, 25 epochs at once: the time of 10 and SDR's 10", SIMSIAM, 25),
        Run("simsiam40", "SimSiam, 40 epochs at once", SIMSIAM, 40),
        _first(20),
        _rest("sdr20of40+20", "SDR for the other 20 of the 40 epochs, one schedule for both", epochs=20),
        Run("simsiam50", "SimSiam, 50 epochs at once: the time of 20 and SDR's 20", SIMSIAM, 50),
    ),
    (
        # As the demo begins; SimSiam's own networks begin with blocks that do nothing.
        Run("simsiam20-nonzero", "SimSiam, 20 epochs at once, no block zero at first", SIMSIAM, 20, options=NONZERO),
        _first(10, end="-nonzero", label=", no block zero at first", options=NONZERO),
        _rest("sdr10of20+10-nonzero", "SDR for the other 10 of these 20 epochs", end="-nonzero"),
        _rest(
            "sdr10of20+10-nonzero_scaled",
            "SDR for the other 10 of these 20 epochs, duplicates scaled",
            *SCALED,
            end="-nonzero",
        ),
    ),
    (
        Run("sdr10", "SDR for 10 epochs from random weights", SDR16, 10, SDR_COST, split="cluster16"),
        Run("wide20", "SimSiam of the super-network's width, 20 epochs", WIDE, 20, 2.0),
    ),
    tuple(
        # A ninth of the steps of 10 epochs of the pool: all domains together have as many as the run that trained on.
        Run(
            f"oracle_{domain}",
            "SimSiam, base and its share of the steps on the task's own domain",
            SIMSIAM,
            11,
            1 / 9.8,
            "simsiam10",
            pool=domain,
            tasks=(task,),
            options=(*LOW, "default_hooks.checkpoint.interval=11"),
        )
        for domain, task in zip(DOMAINS, TASKS)
    ),
    (
        _rest("sdr10of20+10_half", "the same with W_0 in half of the steps", "full_share=[0.5,0.5,0.5]"),
        _rest("sdr10of20+10_at_once", "the same with all paths from the first step on", "phase_lengths=[0,0,1]"),
        _rest("sdr10of20+10_rarity", "the same, rarely drawn groups at a higher rate", "rarity_power=0.5"),
        _rest("sdr10of20+10_balanced", "the same with clusters of nearly equal size", split="balanced16"),
        _rest("sdr10of20+10_scaled", "the same, duplicates scaled", *SCALED),
        _rest("sdr10of20+10_nokd", "the same without SiamKD", "model.distillation=None"),
        Run(
            "simsiam10+10_lr05",
            "SimSiam, base and 10 epochs more at the rate of a new run",
            SIMSIAM,
            10,
            start="simsiam10",
        ),
    ),
)
#: What is compared in the report: (name, minus). The first is the statement of the study, named before any of its runs
#: was made; the others are looked at without a correction for their number.
COMPARISONS = (
    ("sdr10+10", "simsiam10+10"),
    ("sdr10+10", "simsiam10+18"),
    ("sdr10+10", "simsiam20"),
    ("sdr10+10", "simsiam28"),
    ("sdr10of20+10", "simsiam20"),
    ("sdr10of20+10, chosen", "simsiam20"),
    ("sdr10of20+10", "simsiam25"),
    ("sdr10of20+10, chosen", "simsiam25"),
    ("sdr10of20+10, chosen", "simsiam28"),
    ("sdr10of20+10", "simsiam28"),
    ("sdr20of40+20", "simsiam40"),
    ("sdr20of40+20, chosen", "simsiam40"),
    ("sdr20of40+20, chosen", "simsiam50"),
    ("sdr10of20+10-nonzero", "simsiam20-nonzero"),
    ("sdr10of20+10-nonzero, chosen", "simsiam20-nonzero"),
    ("sdr10of20+10-nonzero_scaled", "sdr10of20+10-nonzero"),
    ("sdr10of20+10-nonzero_scaled, chosen", "simsiam20-nonzero"),
    ("simsiam20-nonzero", "simsiam20"),
    ("sdr10of20+10-nonzero, chosen", "sdr10of20+10, chosen"),
    ("sdr10+10, chosen", "simsiam10+10"),
    ("sdr10of20+10", "sdr10+10"),
    ("sdr10+10", "sdr10+10_random"),
    ("sdr10+10", "sdr10+10_all"),
    ("sdr10+10_random", "sdr10+10_all"),
    ("sdr10+10", "sdr10+10_4paths"),
    *((f"sdr10of20+10_{option}", "sdr10of20+10") for option in OPTIONS),
    ("sdr10+10", "sdr10"),
    ("sdr10", "simsiam10"),
    ("wide20", "simsiam20"),
    ("sdr10+10", "wide20"),
    ("oracle", "simsiam10+10"),
    ("oracle", "sdr10+10"),
)
#: What README shows: equal steps and equal time, for 20 and for 40 epochs.
HEADLINE = (
    "simsiam20",
    "simsiam25",
    "simsiam10of20",
    "sdr10of20+10",
    "sdr10of20+10, chosen",
    "simsiam40",
    "simsiam50",
    "simsiam20of40",
    "sdr20of40+20",
    "sdr20of40+20, chosen",
)
#: Where SDR gains: of each task, against what its own domain alone gives.
WHERE = ("oracle", "sdr10+10", "simsiam10+10")
#: Whether it gains with the distance of a domain: the features that measure it, and what is compared.
DISTANCE = (
    "simsiam10",
    (("sdr10+10", "simsiam10+10"), ("sdr10of20+10, chosen", "simsiam20"), ("sdr20of40+20, chosen", "simsiam40")),
)


def prepare(folders: Folders, images: int | None = None) -> None:
    """Unpack the pool's first images of each domain and all tasks.

    Args:
        folders: Of the study.
        images: Of each domain, fewer where it has no more; ``IMAGES`` when left out.

    Raises:
        ConfigError: an archive is missing.
    """
    images = IMAGES if images is None else images
    archives = [folders.data / f"{name}.tar.gz" for name in ("pool", *TASKS)]
    missing = next((file for file in archives if not file.is_file()), None)
    if missing is not None:
        raise ConfigError(f"--data has no {missing.name}; give the folder with the archives of the domains.")
    done = folders.out / "images" / "unpacked.txt"
    if done.is_file():
        return
    with tarfile.open(archives[0]) as archive:
        members = sorted((m for m in archive.getmembers() if m.name.endswith(".jpg")), key=lambda m: m.name)
        for domain in DOMAINS:
            own = [m for m in members if Path(m.name).parts[1] == domain]
            archive.extractall(folders.pool.parent, own[:images], filter="data")
    for file in archives[1:]:
        with tarfile.open(file) as archive:
            own = [m for m in archive.getmembers() if m.name.split("/")[0] in ("train", "test")]
            archive.extractall(folders.tasks / file.name.removesuffix(".tar.gz"), own, filter="data")
    done.write_text(f"{images} images of each domain\n")

"""The trainings of the small-scale SDR study: what each is called, and how it differs from the others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "sdr" / "small_scale"
TASKS = (
    "caltech101_40cls",
    "cat_dog_2cls",
    "clothing_10cls",
    "dtd_10cls",
    "flower_photos_5cls",
    "stanford_cars_40cls",
)


@dataclass(frozen=True)
class Variant:
    """One row of the study.

    Args:
        name: Folder of its runs.
        label: What the table calls it.
        config: In configs/sdr/small_scale.
        clusters: Which split its sub-networks train on; ``None`` for networks without paths.
        needs: The variant whose pruned weights it starts from.
        subset: ``'a'`` or ``'b'``, the half of the images that it trains on (SDR Sec. 3).
    """

    name: str
    label: str
    config: str
    clusters: str | None = None
    needs: str | None = None
    subset: str | None = None

    @property
    def paths(self) -> bool:
        """Whether there are sub-networks to route among."""
        return self.clusters is not None


@dataclass(frozen=True)
class Split:
    """Arguments of tools/cluster.py."""

    name: str
    arguments: tuple[str, ...]


SPLITS = (
    Split("sinkhorn16", ("--num-clusters", "16")),
    Split("random16", ("--num-clusters", "16", "--method", "random")),
    Split("hierarchy16", ("--num-clusters", "16", "--hierarchy", "1", "1", "4", "4")),
    Split("sinkhorn4", ("--num-clusters", "4")),
)
BASE = Variant("simsiam", "SimSiam", "simsiam_r18-narrow.py")
SDR = Variant("cluster16", "SDR, 16 paths, clusters, SiamKD", "sdr_r18-narrow_16path.py", "sinkhorn16")
VARIANTS = (
    BASE,
    SDR,
    Variant("random16", "SDR, random splits", "sdr_r18-narrow_16path.py", "random16"),
    Variant("full16", "SDR, all images for every path", "sdr_r18-narrow_16path_full-data.py", "sinkhorn16"),
    Variant("l2_16", "SDR, L2 distillation", "sdr_r18-narrow_16path_l2.py", "sinkhorn16"),
    Variant("cluster4", "SDR, 4 paths", "sdr_r18-narrow_4path.py", "sinkhorn4"),
    Variant("wide", "SimSiam, as wide as the super-network", "simsiam_r18-narrow_wide.py"),
    Variant("pruned", "the same, pruned to a sub-network's size", "simsiam_r18-narrow_pruned.py", needs="wide"),
    Variant("hierarchy16", "SDR, similar clusters on similar paths", "sdr_r18-narrow_16path.py", "hierarchy16"),
    Variant("subset_a", "SimSiam, Subset-A (things)", "simsiam_r18-narrow_subset-a.py", subset="a"),
    Variant("subset_b", "SimSiam, Subset-B (organisms)", "simsiam_r18-narrow_subset-b.py", subset="b"),
)

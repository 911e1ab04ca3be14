"""Presets: which config, and which of its options, suit a folder of images, so that nobody has to write one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError

PathLike = str | os.PathLike[str]

SIZES = ("small", "base")
ALGORITHMS = ("sdr", "dspnet", "simsiam", "byol")
_CONFIGS = {
    ("small", "sdr"): "sdr/sdr_simsiam_r18_16path_custom_small",
    ("small", "dspnet"): "dspnet/dspnet_r18_custom_small",
    ("small", "simsiam"): "sdr/simsiam_r18_custom_small",
    ("small", "byol"): "dspnet/byol_r18_custom_small",
    ("base", "sdr"): "sdr/sdr_simsiam_r50_16path_custom",
    ("base", "dspnet"): "dspnet/dspnet_r50_custom",
    ("base", "simsiam"): "sdr/simsiam_r50_custom",
    ("base", "byol"): "dspnet/byol_r50_custom",
}
#: Images that a small training sees, and the epochs that it has for it at least and at most: our reading of "tens of
#: minutes on two cores".
_IMAGES_SEEN, _LEAST_EPOCHS, _MOST_EPOCHS = 128_000, 10, 200
#: Option of the learning rate.
RATE = "optim_wrapper.optimizer.lr"
# Rate of what starts from trained weights, in the config's own: of weights alone, and after a schedule that has come
# further down than to this.
_RATE_FROM_WEIGHTS = {"small": 0.02, "base": 0.01}


@dataclass(frozen=True)
class Preset:
    """A size and an algorithm.

    Attributes:
        size: ``'small'``: 64 px and a narrow ResNet-18, for two cores and tens of minutes. ``'base'``: 224 px and
            ResNet-50, for a GPU and hours.
        algorithm: ``'sdr'``, ``'dspnet'``, or what they build on alone: ``'simsiam'``, ``'byol'``.
    """

    size: str = "small"
    algorithm: str = "sdr"

    def __post_init__(self) -> None:
        for option, value, known in (("preset", self.size, SIZES), ("algorithm", self.algorithm, ALGORITHMS)):
            if value not in known:
                raise ConfigError(f"--{option} {value} is unknown; choose one of {', '.join(known)}.")

    @property
    def config(self) -> Path:
        """The config file."""
        return config_file(_CONFIGS[self.size, self.algorithm])

    def work_dir(self, data: PathLike) -> Path:
        """Where logs and checkpoints go, unless told otherwise."""
        return Path("work_dirs") / f"{self.algorithm}_{self.size}_{Path(data).resolve().name}"

    def check(self, data: PathLike, clusters: PathLike | None = None, init_from: PathLike | None = None) -> None:
        """Refuse what the arguments of :meth:`options` alone tell.

        Raises:
            ConfigError: SDR has no clusters, or an algorithm has what it cannot use.
        """
        if self.algorithm == "sdr" and clusters is None:
            raise ConfigError(
                f"SDR needs clusters of the images: `mmssl-dynamic pipeline --data {data}` makes them and does all the "
                "rest; or train --algorithm simsiam, run extract-features and cluster, and give --clusters FILE."
            )
        if self.algorithm != "sdr" and clusters is not None:
            raise ConfigError(f"--clusters has no effect with --algorithm {self.algorithm}; leave it out.")
        if self.algorithm in ("simsiam", "byol") and init_from is not None:
            raise ConfigError(
                f"--init-from is for super-networks; start {self.algorithm} from weights by --cfg-options "
                "load_from=FILE."
            )

    def options(
        self,
        data: PathLike,
        clusters: PathLike | None = None,
        init_from: PathLike | None = None,
        auto_scale_lr: bool = False,
    ) -> dict[str, Any]:
        """Options of the config for a folder of images.

        Args:
            data: The folder, of any structure; packed ones, too.
            clusters: Clusters of its images, for SDR, whose number is that of the paths.
            init_from: Weights to start from, of SimSiam's or BYOL's training with the same preset. SDR goes on with the
                learning rate that the training had there, if its schedule was not at its end.
            auto_scale_lr: Whether the rate will be scaled to the batch size, as that of ``init_from`` was.

        Raises:
            DataError: the folder holds no images.
            ConfigError: as :meth:`check`.
            ArtifactError: the clusters cannot be read, or their number is none of paths.
        """
        from mmssl_dynamic.datasets.packed_folders import count_images

        self.check(data, clusters, init_from)
        count = count_images(data)
        found: dict[str, Any] = {"data_root": str(data)}
        if self.size == "small":
            found["max_epochs"] = min(_MOST_EPOCHS, max(_LEAST_EPOCHS, round(_IMAGES_SEEN / count)))
        if clusters is not None:
            found.update(self._paths(clusters))
        if init_from is not None:
            found["init_from"] = str(init_from)
            if self.algorithm == "sdr":
                found[RATE] = self._rate(init_from, auto_scale_lr)
        return found

    def _rate(self, init_from: PathLike, auto_scale_lr: bool) -> float:
        """Learning rate that goes on from weights."""
        from mmssl_dynamic.loading import last_rate, load_config

        own = float(load_config(self.config).optim_wrapper.optimizer.lr)
        last = last_rate(init_from)
        if last is None or last.share * own < _RATE_FROM_WEIGHTS[self.size]:
            return _RATE_FROM_WEIGHTS[self.size]
        # The rate of the checkpoint has been scaled, and would be a second time.
        return last.share * own if auto_scale_lr else last.rate

    def _paths(self, clusters: PathLike) -> dict[str, Any]:
        from mmssl_dynamic.clusters import Clusters

        groups = stage_groups(Clusters.load(clusters).num_clusters)
        found: dict[str, Any] = {"clusters_file": str(clusters), "stage_groups": groups}
        if self.size == "small" and groups.count(4) > 1:
            # Our reading. Drawn as seldom as each of many paths, the full network has too few of a few thousand steps.
            found["full_share"] = 0.5
        return found


def stage_groups(num_paths: int) -> tuple[int, ...]:
    """Groups of the four stages of a network with so many paths.

    Raises:
        ConfigError: there is no such number of paths.
    """
    split = next((stages for stages in range(1, 5) if 4**stages == num_paths), None)
    if split is None:
        raise ConfigError(f"a preset has 4, 16, 64 or 256 paths, not {num_paths}; cluster with --num-clusters auto.")
    return (1,) * (4 - split) + (4,) * split

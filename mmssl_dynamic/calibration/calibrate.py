"""BatchNorm statistics of sub-networks, pooled exactly (SDR Sec. 5.1, after once-for-all: 2,000 images suffice).

A super-network has no running statistics that fit a sub-network: its channels saw other inputs, from other data.
Before use, images of D_i run through sub-network i, and :mod:`~mmssl_dynamic.calibration.moments` pools what its
BatchNorm layers see.

Dimensions: N images of a batch, C channels, H W height and width, K clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from mmssl_dynamic.calibration.bn_bank import KINDS, STEM, BNBank, prefix_members, prefix_name, prefixes, stage_of
from mmssl_dynamic.calibration.moments import Batches, pooled_statistics
from mmssl_dynamic.calibration.sample import CalibrationImages, draw_images
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.models.backbones import BNStatistics, SDRResNet, StaticResNet, SuperNetwork
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.subnets import FULL, PathSpace, split_width

#: Whose images the statistics of a path come from.
SOURCES = ("cluster", "all", "mix")


def calibrate_path(net: SuperNetwork, name: str, batches: Batches) -> BNStatistics:
    """Statistics of one sub-network, from images of its own D_i. ``net`` is not changed.

    Args:
        net: The super-network.
        name: Name of the sub-network; for ``'full'`` the images are those of D_0.
        batches: Image tensors (N, 3, H, W) or batches of ``ImageBatches``, on the device of ``net``.

    Raises:
        SubnetError: there is no such sub-network.
        DataError: as :func:`pooled_statistics`.
    """
    return pooled_statistics(net.static(name), batches)


def calibrate_prefixes(
    net: SDRResNet,
    batches_of: Callable[[str], Batches],
    names: Sequence[str] | None = None,
    processes: Processes | None = None,
) -> dict[str, BNStatistics]:
    """Statistics of stages that all paths with the same prefix share.

    Stages before the last of a prefix run in evaluation mode under the statistics of *their* prefix, as they will when
    the sub-network is used.

    Args:
        net: The super-network. It is not changed.
        batches_of: Images for a prefix: of the union of the D_i of all paths that begin with it, of D_0 for the stem.
        names: Paths whose prefixes are wanted. Defaults to all.
        processes: Those that share the prefixes of a stage out; every one gets the statistics of all.

    Returns:
        By prefix (``'stem'``, ``'0'``, ``'0-3'``, ...), the statistics of the layers of its last stage.
    """
    wanted = None if names is None else [key for key in map(net.space.check, names) if key != FULL]
    members, processes = prefix_members(net.space, wanted), processes or Processes()
    found: dict[str, BNStatistics] = {}
    for stage in range(-1, net.num_stages):  # a stage's statistics need those of the stages before it
        level = [(prefix, member) for prefix, (own, member) in members.items() if own == stage]
        share = [level[index] for index in processes.share(len(level))]
        measured = {prefix: _stage_statistics(net, name, stage, found, batches_of(prefix)) for prefix, name in share}
        found.update(_together(measured, processes))
    return found


def _together(measured: dict[str, BNStatistics], processes: Processes) -> dict[str, BNStatistics]:
    """The statistics that all processes have measured, in each of them, on the CPU where they are several."""
    if processes.count == 1:
        return measured
    own = {
        name: {layer: (mean.cpu(), var.cpu()) for layer, (mean, var) in statistics.items()}
        for name, statistics in measured.items()
    }
    return {name: statistics for part in processes.gathered(own) for name, statistics in part.items()}


def _stage_statistics(
    net: SDRResNet, path: str, stage: int, earlier: Mapping[str, BNStatistics], batches: Batches
) -> BNStatistics:
    """Statistics of one stage of a path, under those of the stages before it."""
    twin = net.static(path)
    for before in range(-1, stage):
        load_statistics(twin, earlier[prefix_name(path, before)])
    layers = [n for n, m in twin.named_modules() if isinstance(m, _BatchNorm) and stage_of(n) == stage]
    return pooled_statistics(twin, batches, _up_to(twin, stage), layers)


def _up_to(twin: StaticResNet, last: int) -> Callable[[Tensor], Tensor]:
    def run(images: Tensor) -> Tensor:
        x = twin.stem(images)
        for stage in range(last + 1):
            x = twin.stage(stage, x)
        return x

    return run


def load_statistics(twin: nn.Module, statistics: BNStatistics) -> None:
    """Put statistics into the running buffers of a network of plain modules."""
    for layer, (mean, var) in statistics.items():
        norm = twin.get_submodule(layer)
        assert isinstance(norm, _BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)


def calibrate_bank(
    net: SuperNetwork,
    data: CalibrationImages,
    clusters: Clusters | None,
    bn: Sequence[str] | None = None,
    images: int = 2000,
    batch_size: int = 200,
    seed: int = 0,
    source: str | None = None,
    progress: bool = True,
    processes: Processes | None = None,
) -> BNBank:
    """Statistics of every sub-network, each from a random sample of its own images.

    Args:
        net: The super-network; runs on its device and is not changed.
        data: The pre-training images.
        clusters: The subsets D_i; ``None`` when every sub-network trained on all images.
        bn: Which kinds to make: ``'path'``, ``'prefix'`` or both; all that the network has when left out. ``'full'``
            is always part of it.
        images: Images per sub-network or prefix; a smaller subset is used whole.
        batch_size: Images per batch, of which the statistics normalise during the calibration.
        seed: Of the sample. A sub-network's sample does not depend on which others are calibrated.
        source: Whose images a path's statistics come from. ``'cluster'``: its own, as the paper says. ``'all'``: those
            of D_0. ``'mix'``: half and half. Its own where there are clusters, when left out.
        progress: Show a bar with the time left.
        processes: Those that share the sub-networks out; every one gets the whole bank.

    Raises:
        ConfigError: an impossible option.
        ArtifactError: clusters of another data set or number, or too few images in one.
    """
    paths = isinstance(net.space, PathSpace)
    bn = (KINDS if paths else ("path",)) if bn is None else bn
    if not bn or not set(bn) <= set(KINDS):
        raise ConfigError(f"bn={tuple(bn)} must name 'path', 'prefix' or both.")
    if "prefix" in bn and not paths:
        raise ConfigError("a slimmable network has no prefix statistics; leave 'prefix' out of bn.")
    if images < 2 or batch_size < 2:
        raise ConfigError(f"images={images} and batch_size={batch_size} must be at least 2 to have a variance.")
    source = check_source(source, clusters is not None and paths)
    draw = _Sampler(net, data.dataset, clusters if source != "all" else None, images, seed, source == "mix")
    entries = [("path", FULL)]
    if "path" in bn:
        entries += [("path", key) for key in net.space.keys if key != FULL]
    if "prefix" in bn:
        assert isinstance(net.space, PathSpace)
        entries += [("prefix", name) for name in prefixes(net.space)]
    samples = {(kind, name): draw(kind, name) for kind, name in entries}
    processes, device = processes or Processes(), next(net.parameters()).device
    how = {"seed": seed, "batch_size": batch_size, "source": source, "transforms": data.transforms}
    bank = BNBank.of(net, **how, images={k: {} for k in KINDS})
    for (kind, name), indices in samples.items():
        bank.meta["images"][kind][name] = len(indices)

    with tqdm(
        total=sum(map(len, samples.values())) // processes.count,  # about this process's share
        desc="BN statistics",
        unit="img",
        disable=not progress,
        smoothing=0.05,
    ) as bar:

        def batches(kind: str, name: str) -> Iterator[Tensor]:
            bar.set_postfix_str(f"{kind} {name}", refresh=False)
            for part in data.batches(samples[kind, name], batch_size, device):
                for batch in part:
                    yield batch.images
                    bar.update(len(batch.images))

        of_paths = [name for kind, name in entries if kind == "path"]
        own = [of_paths[index] for index in processes.share(len(of_paths))]
        measured = {name: calibrate_path(net, name, batches("path", name)) for name in own}
        bank.path.update(_together(measured, processes))
        if "prefix" in bn:
            assert isinstance(net, SDRResNet)
            bank.prefix = calibrate_prefixes(net, lambda prefix: batches("prefix", prefix), processes=processes)
    return bank


def check_source(source: str | None, clusters: bool) -> str:
    """Whose images statistics come from.

    Args:
        source: What was asked for.
        clusters: Whether there are clusters of the paths.

    Raises:
        ConfigError: it is not one of :data:`SOURCES`, or needs clusters.
    """
    if source is None:
        return "cluster" if clusters else "all"
    if source not in SOURCES:
        raise ConfigError(f"source='{source}' must be one of {', '.join(SOURCES)}.")
    if source != "all" and not clusters:
        raise ConfigError(f"source='{source}' is of the images of clusters, and the sub-networks have none; use 'all'.")
    return source


class _Sampler:
    """Which images calibrate which sub-network or prefix."""

    def __init__(
        self, net: SuperNetwork, dataset: Any, clusters: Clusters | None, images: int, seed: int, mix: bool
    ) -> None:
        self.mix = mix
        self.paths = net.space.paths if isinstance(net.space, PathSpace) else ()
        self.images, self.seed = images, seed
        self.num_images = len(dataset)
        self.source = "the data set"
        self.assignment: NDArray[np.int32] | None = None
        if clusters is not None and self.paths:
            from mmssl_dynamic.datasets.names import sample_names

            clusters.check_paths(len(self.paths))
            self.assignment, self.source = clusters.align(sample_names(dataset)), clusters.source

    def __call__(self, kind: str, name: str) -> list[int]:
        """Indices into the data set, in random order. All widths of a path take the same images."""
        name, _ = split_width(name)
        whole = name in (FULL, STEM)
        candidates = np.arange(self.num_images)
        if not whole and self.assignment is not None:
            below = [i for i, p in enumerate(self.paths) if f"{p}-".startswith(f"{name}-")]
            candidates = np.flatnonzero(np.isin(self.assignment, below))
        if len(candidates) < 2:
            raise ArtifactError(
                f"{self.source} has {len(candidates)} images for the BatchNorm statistics of '{name}', which need at "
                "least two; cluster anew into larger clusters."
            )
        # The stem takes the sample of W_0: both stand for D_0, and then have the same statistics.
        stream = FULL if whole else f"{kind}/{name}"
        if whole or not self.mix:
            return draw_images(candidates, self.images, self.seed, stream)
        own = draw_images(candidates, max(1, self.images // 2), self.seed, stream)
        others = np.setdiff1d(np.arange(self.num_images), own)
        both = [*own, *draw_images(others, len(own), self.seed, f"{stream}/all")]
        return draw_images(np.array(both), len(both), self.seed, f"{stream}/mix")

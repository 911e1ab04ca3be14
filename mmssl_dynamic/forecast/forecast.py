"""A forecast of a training: its cost by phase, and what it needs of machine, disk and clusters."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import nn

from mmssl_dynamic.calibration.bn_bank import prefix_members, stage_of
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.packed_folders import count_images
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.forecast.cards import usual_utilisation
from mmssl_dynamic.forecast.loader import sample_and_rate
from mmssl_dynamic.forecast.machine import Machine
from mmssl_dynamic.forecast.schedule import Phase, phases_of
from mmssl_dynamic.forecast.step_cost import Cost, FakeModel
from mmssl_dynamic.loading import need
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.subnets import FULL, PathSpace

IMAGENET = 1_281_167  # training images
_GIB = 2**30
# States that an optimiser keeps of every weight, by the beginning of its name in lower case.
_STATES = {"adam": 2, "lamb": 2, "sgd": 1, "lars": 1}


@dataclass(frozen=True)
class PhaseForecast:
    """A phase of the training.

    Attributes:
        name: For people.
        steps: How many.
        networks: How many networks its steps draw from.
        macs: Multiply-accumulates of a step over all GPUs, on average.
        launches: Operations that a processor starts on each GPU in a step, on average.
        enough_images: Of a card in a step, from which on it computes longer than the processor takes to start that.
        hours: Of the whole phase.
        images_per_second: That the loaders of all GPUs have to make.
    """

    name: str
    steps: int
    networks: int
    macs: float
    launches: float
    enough_images: int
    hours: float
    images_per_second: float


@dataclass(frozen=True)
class Forecast:
    """What a training will take.

    Attributes:
        config: Its file.
        machine: Where.
        images: N, of the data set.
        epochs: How often it goes through them.
        batch: Images of a step, on all GPUs.
        parameters: Weights by network: of the backbone's full network, of its smallest one, of all that is trained.
        phases: Its parts.
        memory_gib: Most that one GPU holds, counted; see :meth:`table` for what is not.
        checkpoint_gib: Size of a checkpoint.
        bank_mib: Size of the BN bank; 0 where there is none.
        images_per_core: Training images that a core makes in a second.
        smallest_cluster: Images of the smallest cluster; ``None`` where networks do not have images of their own.
        clusters_counted: Whether that is from the clusters file, or N over the number of paths.
    """

    config: str
    machine: Machine
    images: int
    epochs: int
    batch: int
    parameters: Mapping[str, int]
    phases: list[PhaseForecast]
    memory_gib: float
    checkpoint_gib: float
    bank_mib: float
    images_per_core: float
    smallest_cluster: int | None = None
    clusters_counted: bool = field(default=False)

    @property
    def macs(self) -> float:
        """Of the whole training."""
        return sum(phase.macs * phase.steps for phase in self.phases)

    @property
    def hours(self) -> float:
        """Of the whole training."""
        return sum(phase.hours for phase in self.phases)

    @property
    def cores(self) -> float:
        """That the loaders need in the phase that goes through images fastest."""
        return max(phase.images_per_second for phase in self.phases) / self.images_per_core

    @property
    def waiting(self) -> list[PhaseForecast]:
        """Phases in which a card waits for the launches of its operations."""
        return [phase for phase in self.phases if phase.enough_images > self.batch // self.machine.gpus]

    @property
    def clusters_suffice(self) -> bool:
        """Whether every cluster has a batch of images."""
        return self.smallest_cluster is None or self.smallest_cluster >= self.batch

    def record(self) -> dict[str, Any]:
        """As plain data, with the sums."""
        sums = {
            "macs": self.macs,
            "hours": self.hours,
            "gpu_hours": self.hours * self.machine.gpus,
            "cores": self.cores,
        }
        return {**asdict(self), **sums}

    def table(self) -> str:
        """For people."""
        machine = self.machine
        precision = "16-bit activations" if machine.amp else "single precision"
        weights = ", ".join(f"{name} {count / 1e6:.1f} M" for name, count in self.parameters.items())
        lines = [
            f"{self.images:,} images, {self.epochs} epochs, batches of {self.batch:,}",
            f"weights: {weights}",
            f"{'':<12}{'steps':>10}  {'networks':>8}  {'GMACs an image':>14}  {'launches':>8}  {'images/s':>9}  "
            f"{'hours':>8}",
        ]
        for phase in self.phases:
            lines.append(
                f"{phase.name:<12}{phase.steps:>10,}  {phase.networks:>8}  {phase.macs / self.batch / 1e9:>14.1f}  "
                f"{phase.launches:>8,.0f}  {phase.images_per_second:>9,.0f}  {_shown(phase.hours):>8}"
            )
        lines += [
            f"{_shown(self.hours)} hours, {_shown(self.hours * machine.gpus)} GPU hours on {machine.gpus} x "
            f"{machine.card} at {100 * (machine.utilisation or 0):g} % of the peak, {precision}",
            *self._waiting_lines(),
            f"loaders: {ceil(self.cores)} cores ({self.images_per_core:.0f} images/s each)",
            f"memory of a GPU: {self.memory_gib:.1f} GiB (weights, gradients, optimiser, and the activations that "
            "autograd saves; without cuDNN's work space and fragments)",
            f"on disk: {self.checkpoint_gib:.2f} GiB a checkpoint, {self.bank_mib:.0f} MiB of BatchNorm statistics",
        ]
        if self.smallest_cluster is not None:
            known = "smallest cluster" if self.clusters_counted else "clusters, if all are of a size"
            verdict = "enough for a batch" if self.clusters_suffice else f"too few for a batch of {self.batch:,}"
            lines.append(f"{known}: {self.smallest_cluster:,} images, {verdict}")
        return "\n".join(lines)

    def _waiting_lines(self) -> list[str]:
        if not self.waiting:
            return []
        names = ", ".join(phase.name for phase in self.waiting)
        enough = max(phase.enough_images for phase in self.waiting)
        own = self.batch // self.machine.gpus
        remedy = f"give a card {enough:,} images in place of {own:,} to keep it busy"
        if enough * self.machine.gpus > self.images:
            remedy = f"{own:,} such images keep no card busy, so slower ones take as long"
        return [f"cards wait for launches ({self.machine.launch_microseconds:g} us each) in {names}: {remedy}"]


def _shown(hours: float) -> str:
    """With as many digits as mean something, in small trainings, too."""
    return f"{hours:,.0f}" if hours >= 100 else f"{hours:.1f}" if hours >= 1 else f"{hours:.2g}"


def forecast(config: Config, machine: Machine | None = None, images: int | None = None) -> Forecast:
    """Count what a training takes.

    Args:
        config: Pre-training config.
        machine: Where it is to run.
        images: N; those in ``data_root`` or the clusters file where these are there, and ImageNet's for a data set of
            that type, when left out.

    Raises:
        ConfigError: the config names no training, or nobody knows N.
    """
    need(config, "model", "train_dataloader", "train_cfg")
    machine = machine or Machine()
    views, rate = sample_and_rate(config, 0.0 if machine.images_per_core else 1.0)
    fake = FakeModel(config, views)
    utilisation = machine.utilisation if machine.utilisation is not None else usual_utilisation(fake.model)
    machine = replace(machine, utilisation=utilisation)
    clusters = _clusters(config)
    count = images or _images(config, clusters)
    batch, epochs = config.train_dataloader.batch_size * machine.gpus, int(config.train_cfg.get("max_epochs") or 0)
    if epochs < 1:
        raise ConfigError(f"config {config.filename} has no train_cfg.max_epochs, so its length is not known; add it.")
    if count < batch:
        raise ConfigError(f"{count} images are fewer than a batch of {batch}; give fewer --gpus or more --images.")
    phases = phases_of(config, fake.model, epochs * (count // batch), epochs)
    costs = {name: fake.cost(name) for name in dict.fromkeys(name for phase in phases for name in phase.trained)}
    space = getattr(getattr(fake.model, "backbone", None), "space", None)
    paths = space.num_paths if isinstance(space, PathSpace) else 0
    own = paths > 0 and _dataset(config).get("subnet_data", "cluster") == "cluster"
    smallest = None
    if own:
        smallest = count // paths if clusters is None else int(min(clusters.sizes))
    return Forecast(
        str(config.filename),
        machine,
        count,
        epochs,
        batch,
        _parameters(fake.model),
        [_of_phase(phase, costs, batch, machine) for phase in phases if phase.steps],
        _memory(config, fake, costs, machine),
        fake.weight_bytes / _GIB + _states(config) * fake.trained_bytes / _GIB,
        _bank_bytes(fake.model) / 2**20,
        machine.images_per_core or rate,
        smallest,
        own and clusters is not None,
    )


def _of_phase(phase: Phase, costs: Mapping[str, Cost], batch: int, machine: Machine) -> PhaseForecast:
    """A processor starts operations while the card computes those before them, so the slower of the two counts."""
    an_image = sum(times * costs[name].macs for name, times in phase.trained.items())
    launches = sum(times * costs[name].launches for name, times in phase.trained.items())
    starting, computing = launches * machine.launch_microseconds / 1e6, batch * an_image / machine.rate()
    enough = ceil(starting / computing * batch / machine.gpus)
    seconds = max(starting, computing)
    return PhaseForecast(
        phase.name,
        phase.steps,
        phase.networks,
        batch * an_image,
        launches,
        enough,
        phase.steps * seconds / 3600,
        batch / seconds,
    )


def _memory(config: Config, fake: FakeModel, costs: Mapping[str, Cost], machine: Machine) -> float:
    """GiB of one GPU: gradients twice where several average them, in buckets."""
    activations = max(cost.activation_bytes for cost in costs.values()) * config.train_dataloader.batch_size
    copies = 1 + (machine.gpus > 1) + _states(config)
    return (fake.weight_bytes + copies * fake.trained_bytes + activations * (0.5 if machine.amp else 1.0)) / _GIB


def _states(config: Config) -> int:
    optimizer = (config.get("optim_wrapper") or {}).get("optimizer") or {}
    kind = str(optimizer.get("type", "SGD")).split(".")[-1].lower()
    known = next((count for name, count in _STATES.items() if kind.startswith(name)), 2)
    return 0 if kind == "sgd" and not optimizer.get("momentum") else known


def _parameters(model: nn.Module) -> dict[str, int]:
    found = {}
    backbone = getattr(model, "backbone", None)
    if isinstance(backbone, SuperNetwork):
        names = backbone.subnets
        found["full network"] = backbone.num_parameters(FULL)
        if len(names) > 1:
            found["smallest network"] = min(backbone.num_parameters(name) for name in (names[0], names[-1]))
    elif backbone is not None:
        found["backbone"] = sum(parameter.numel() for parameter in backbone.parameters())
    found["trained in all"] = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return found


def _bank_bytes(model: nn.Module) -> int:
    """Mean and variance, 4 bytes each, of every channel of every entry of the bank."""
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, SuperNetwork):
        return 0
    space = backbone.space

    def channels(name: str) -> dict[str, int]:
        layers = backbone.batch_norms(name)
        with backbone.subnet(name):
            return {layer: module.channels.size for layer, module in layers.items()}

    if not isinstance(space, PathSpace):
        return 8 * sum(sum(channels(name).values()) for name in space.keys)
    total = sum(channels(FULL).values())
    if space.paths:
        path = channels(space.paths[0])  # all have the same shape
        total += space.num_paths * sum(path.values())
        for stage, _ in prefix_members(space).values():
            total += sum(count for layer, count in path.items() if stage_of(layer) == stage)
    return 8 * total


def _dataset(config: Config) -> Mapping[str, Any]:
    return config.train_dataloader.get("dataset") or {}


def _clusters(config: Config) -> Clusters | None:
    file = _dataset(config).get("clusters_file") or config.get("clusters_file")
    return Clusters.load(file) if file is not None and Path(file).is_file() else None


def _images(config: Config, clusters: Clusters | None) -> int:
    if clusters is not None:
        return len(clusters.names)
    dataset: Any = _dataset(config)
    while dataset.get("dataset") is not None:
        dataset = dataset["dataset"]
    root = dataset.get("data_root") or config.get("data_root")
    if root is not None and os.path.isdir(root):
        return count_images(str(root))
    if str(dataset.get("type")).split(".")[-1] == "ImageNet":
        return IMAGENET
    raise ConfigError(f"the images of config {config.filename} are not there ({root}); give their number: --images.")

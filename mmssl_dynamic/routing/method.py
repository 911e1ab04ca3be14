"""Which sub-networks a router evaluates on all images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from torch import nn

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.knn import KNNProtocol
from mmssl_dynamic.loading import load_backbone, loaded, normalisation_of
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.routing.cluster_router import ClusterGuidedRouter
from mmssl_dynamic.routing.halving_router import SuccessiveHalvingRouter
from mmssl_dynamic.routing.knn_router import KNNRouter
from mmssl_dynamic.routing.result import RoutingResult
from mmssl_dynamic.routing.router import Router
from mmssl_dynamic.routing.scores import KNN

PathLike = str | os.PathLike[str]

METHODS = ("knn", "cluster", "halving")


@dataclass(frozen=True)
class RoutingMethod:
    """Which sub-networks are evaluated on all images.

    Attributes:
        name: ``'knn'``: all of them. ``'cluster'``: those whose clusters the task's images fall into most.
            ``'halving'``: the winners of rounds on few images.
        clusters: Clusters file, for ``'cluster'``; for the others it only adds pictures to the report.
        base_config, base_checkpoint: Config, or its file, and checkpoint of the network whose features were clustered,
            for ``'cluster'``.
        candidates: Sub-networks that ``'cluster'`` evaluates.
        factor, finalists, least_images: See :class:`~mmssl_dynamic.routing.SuccessiveHalvingRouter`.
        score: By what they are ranked, see :class:`~mmssl_dynamic.routing.Router`.
        protocol: How images are classified.
    """

    name: str = "knn"
    clusters: PathLike | None = None
    base_config: PathLike | Config | None = None
    base_checkpoint: PathLike | None = None
    candidates: int = 16
    factor: int = 4
    finalists: int = 4
    least_images: int | None = None
    score: str = KNN
    protocol: KNNProtocol = KNNProtocol()

    def __post_init__(self) -> None:
        if self.name not in METHODS:
            raise ConfigError(f"--method {self.name} is unknown; use one of {', '.join(METHODS)}.")
        if self.name == "cluster":
            for key in ("clusters", "base_config", "base_checkpoint"):
                if getattr(self, key) is None:
                    raise ConfigError(f"--method cluster needs --{key.replace('_', '-')}.")

    def base(self, normalisation: Normalisation, device: torch.device) -> nn.Module:
        """The network whose features were clustered.

        Raises:
            ConfigError: it takes images that are normalised in another way than those of the task.
        """
        assert self.base_config is not None
        assert self.base_checkpoint is not None
        config = loaded(self.base_config)
        if not (own := normalisation_of(config)).agrees(normalisation):
            raise ConfigError(
                f"--base-config {config.filename} normalises images with {own.record()} and the super-network's "
                f"config with {normalisation.record()}; give the base network that the super-network's clusters are "
                "from, or route with --method knn."
            )
        return load_backbone(config, self.base_checkpoint, device)

    def router(
        self, net: SDRResNet, bank: BNBank, normalisation: Normalisation, bn: str = "path", **options: Any
    ) -> Router:
        """The router.

        Args:
            net: The super-network.
            bank: Its BN bank.
            normalisation: Of the images.
            bn: ``'path'`` or ``'prefix'``: which statistics of the bank.
            options: As of :class:`~mmssl_dynamic.routing.Router`.

        Raises:
            UserError: the base network, of ``'cluster'``, cannot be used with it.
        """
        options = {"score": self.score, "protocol": self.protocol, **options}
        if self.name == "cluster":
            assert self.clusters is not None
            base = self.base(normalisation, next(net.parameters()).device)
            clusters = Clusters.load(self.clusters)
            return ClusterGuidedRouter(
                net, bank, bn, clusters=clusters, base=base, candidates=self.candidates, **options
            )
        if self.name == "halving":
            return SuccessiveHalvingRouter(
                net,
                bank,
                bn,
                factor=self.factor,
                finalists=self.finalists,
                least_images=self.least_images,
                **options,
            )
        return KNNRouter(net, bank, bn, **options)


@dataclass(frozen=True)
class RoutingOutput:
    """What is written beside a ranking.

    Args:
        format: Of the exported winner, see :mod:`mmssl_dynamic.export.formats`; the verb's own when left out:
            ``'mmpretrain'``, or ``'mmdet'`` in routing for detection.
        references: Rankings of all sub-networks on the same tasks, for the regret of a faster method.
        command: The command line, for the report.
    """

    format: str | None = None
    references: Sequence[RoutingResult] = ()
    command: str | None = None

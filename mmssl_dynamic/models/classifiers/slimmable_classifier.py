"""Supervised training of slimmable networks: sandwich rule and in-place distillation (DSPNet Sec. 0.B, US-Nets).

In a step n networks are trained: the largest on the labels, the others on what the largest predicts.
N images, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from mmpretrain.models.classifiers import ImageClassifier
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.backbones.super_network import build_super_network
from mmssl_dynamic.models.heads import ElasticLinearHead
from mmssl_dynamic.models.sandwich import SandwichTraining
from mmssl_dynamic.registry import MODELS, mmpretrain_scope
from mmssl_dynamic.subnets import FULL

SUBNET_SCORES = "subnet_scores"
"""Field of a predicted data sample: the probabilities (K,) by every network's name."""


@dataclass
class SoftTargets:
    """What the largest network predicts in this step: log-probabilities (N, K), without gradient."""

    log_probabilities: Tensor | None = None


@MODELS.register_module()
class SlimmableImageClassifier(SandwichTraining, ImageClassifier):
    """Image classifier over a slimmable super-network; all networks share one linear head.

    With a backbone of one network this is mmpretrain's ``ImageClassifier``. Which networks a step trains says
    :class:`mmssl_dynamic.engine.SandwichHook`. Before an evaluation every network needs BatchNorm statistics: from
    switchable BatchNorm (the backbone's ``switchable_bn``) or :class:`mmssl_dynamic.engine.CalibrateBNHook`.

    Args:
        backbone: Config of the super-network. Its ``init_cfg`` of type ``Pretrained`` starts the training from the
            weights of DSPNet, or of BYOL on the largest network.
        head: Config of :class:`~mmssl_dynamic.models.heads.ElasticLinearHead` (the default ``type``);
            ``in_channels`` follows from the backbone.
        neck: Config of the pooling in between.
        kwargs: Those of mmpretrain's ``ImageClassifier``, such as ``data_preprocessor`` and ``train_cfg``.

    Raises:
        ConfigError: the backbone is not a super-network.
    """

    backbone: SuperNetwork
    head: ElasticLinearHead

    @mmpretrain_scope()
    def __init__(self, backbone: dict, head: dict, neck: dict | None = None, **kwargs: Any) -> None:
        network = build_super_network(backbone, "SlimmableImageClassifier")
        features = network.feature_channels
        head = {"type": "mmssl_dynamic.ElasticLinearHead", "in_channels": features.total, **head}
        super().__init__(network, neck or dict(type="GlobalAveragePooling"), head, **kwargs)
        self.head.connect(features)

    def ordered(self, names: Sequence[str]) -> Sequence[str]:
        """The largest network first: the others learn from what it predicts."""
        return sorted(names, key=lambda name: not self._is_largest(name))

    def _is_largest(self, name: str) -> bool:
        return self.backbone.space.check(name) == FULL

    def begin_step(self, inputs: Tensor, data_samples: Any) -> SoftTargets:
        """Nothing yet: the largest network's pass fills it in."""
        return SoftTargets()

    def scores(self, name: str, inputs: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> scores (N, K) of one network, before the softmax."""
        with self.backbone.subnet(name):
            return self.head(self.extract_feat(inputs))

    def network_loss(self, name: str, inputs: Tensor, data_samples: Any, shared: SoftTargets) -> dict[str, Tensor]:
        """The labels' loss of the largest network, ``loss_distill`` of any other.

        Raises:
            ConfigError: the largest network has not been trained before in this step.
        """
        scores = self.scores(name, inputs)
        if self._is_largest(name):
            shared.log_probabilities = F.log_softmax(scores.detach().float(), dim=1)
            return self.head.label_loss(scores, data_samples)
        if shared.log_probabilities is None:
            raise ConfigError(
                f"network '{name}' has nothing to learn from: in-place distillation needs the largest one, "
                f"'{self.backbone.subnets[-1]}', among the networks of every step."
            )
        # In-place distillation (US-Nets Sec. 3.3). The gradient is that of the cross-entropy with soft labels.
        prediction = F.log_softmax(scores.float(), dim=1)
        loss = F.kl_div(prediction, shared.log_probabilities, reduction="batchmean", log_target=True)
        return {"loss_distill": loss}

    def loss(self, inputs: Tensor, data_samples: Any) -> dict[str, Tensor]:
        """Losses of all networks of this step in one graph; :meth:`train_step` needs less memory.

        Args:
            inputs: (N, 3, H, W).
            data_samples: Of every image, with its label.
        """
        return self.summed_loss(inputs, data_samples)

    def predict(self, inputs: Tensor, data_samples: Any = None, **kwargs: Any) -> list[Any]:
        """Predictions of every network.

        Args:
            inputs: (N, 3, H, W).
            data_samples: Of every image; made here when left out.
            kwargs: Not used; mmpretrain's interface has them.

        Returns:
            Data samples: ``pred_label`` and ``pred_score`` are the largest network's, ``subnet_scores`` maps the name
            of every network to its probabilities (K,).

        Raises:
            MissingStatisticsError: in evaluation mode, if a network has no BatchNorm statistics.
        """
        scores = {name: self.scores(name, inputs) for name in self.backbone.subnets}
        samples = self.head.predictions(scores[self.backbone.subnets[-1]], data_samples)
        probabilities = {name: F.softmax(values.float(), dim=1) for name, values in scores.items()}
        for index, sample in enumerate(samples):
            sample.set_field({name: values[index] for name, values in probabilities.items()}, SUBNET_SCORES)
        return samples

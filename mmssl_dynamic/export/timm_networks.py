"""Networks of timm with the shapes of sub-networks, which load an export of any PyTorch format.

They are timm's own classes with other widths, so that everything that timm offers for those works: dropout and
stochastic depth, layer-wise learning rates, gradient checkpointing, feature maps. Needs timm.
N batch, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from timm.layers import Linear, SelectAdaptivePool2d
from timm.models._features import FeatureGetterNet  # which timm's own models with such features import, too
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import BasicBlock, Bottleneck, ResNet
from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.families import MobileNetV3Architecture, ResNetArchitecture
from mmssl_dynamic.export.families.mobilenet_v3 import timm_options
from mmssl_dynamic.export.load_export import PREFIX
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import own_names, rename, timm_layers
from mmssl_dynamic.models.backbones.mobilenet_v3_trunk import BN_EPS

_MOMENTUM = 0.01  # of BatchNorm in every MobileNetV3 here
_TRAINED_EPS = "trained_bn_eps"


class _LoadsExports(nn.Module):
    """Takes exports wherever its own checkpoints are taken.

    An export has no classifier: that of the model stays as it is, also when loading strictly.
    """

    # TorchScript reads annotations of attributes here and knows few of Python's types: there are none.
    classifier_name = ""

    def finish(self) -> None:
        """Remember which layers there were before any is pruned away; called last of all."""
        self._complete = frozenset(self.state_dict())

    def weights_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """An export's weights under the names of this model; weights of this model unchanged."""
        raise NotImplementedError

    def accept(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """:meth:`weights_from` without layers that were pruned away, and with the classifier of now if it lacks one."""
        weights = self.weights_from(state)
        own = self.state_dict()
        pruned = self._complete - set(own)
        head = {key: tensor for key, tensor in own.items() if key.startswith(f"{self.classifier_name}.")}
        if not set(weights) & set(head):
            weights.update(head)
        return {key: tensor for key, tensor in weights.items() if key not in pruned}

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        own = {key: state_dict.pop(key) for key in list(state_dict) if key.startswith(prefix)}
        accepted = self.accept({key.removeprefix(prefix): tensor for key, tensor in own.items()})
        state_dict.update({prefix + key: tensor for key, tensor in accepted.items()})
        super()._load_from_state_dict(state_dict, prefix, *args)


class SubnetResNet(_LoadsExports, ResNet):
    """timm's ResNet with the widths, blocks and stem of a sub-network.

    Args:
        architecture: The sub-network's; its ``in_channels`` take no part.
        num_classes: Of the classifier; 0 returns pooled features (N, C).
        in_chans: Channels of the images.
        kwargs: Of timm's ``ResNet``: ``global_pool``, ``drop_rate``, ``drop_path_rate``, ``output_stride``, ...

    Raises:
        ConfigError: the stem has an odd number of channels, which timm's class cannot have.
    """

    classifier_name = "fc"

    def __init__(
        self, architecture: ResNetArchitecture, num_classes: int = 0, in_chans: int = 3, **kwargs: Any
    ) -> None:
        if architecture.stem_channels % 2:
            raise ConfigError(
                f"timm's ResNet cannot have a stem of {architecture.stem_channels} channels, an odd number."
            )
        # timm's plain stem has 64 channels. Of the deep one the width can be chosen, and what follows is built for it.
        kind: Any = {"basic": BasicBlock, "bottleneck": Bottleneck}[architecture.block]
        super().__init__(
            kind,
            architecture.blocks,
            num_classes=num_classes,
            in_chans=in_chans,
            channels=architecture.stage_channels,
            stem_type="deep",
            stem_width=architecture.stem_channels // 2,
            **kwargs,
        )
        weight = next(self.parameters())
        place: dict[str, Any] = {"device": weight.device, "dtype": weight.dtype}
        conv = nn.Conv2d(in_chans, architecture.stem_channels, 7, stride=2, padding=3, bias=False, **place)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        self.add_module("conv1", conv)
        self.finish()

    def weights_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """ResNets have the same names in all formats."""
        return _without_prefix(state)


class SubnetMobileNetV3(_LoadsExports, MobileNetV3):
    """timm's MobileNetV3 with the widths of a sub-network, and pooling followed by the classifier.

    timm's own puts a convolution, ``conv_head``, behind the pooling. No pre-training has seen it, so it is left out
    and ``num_classes=0`` returns what was trained. BatchNorm has the constants it was trained with, which timm's
    MobileNetV3 has not.

    Args:
        architecture: The sub-network's; its ``in_channels`` take no part.
        num_classes: Of the classifier; 0 returns pooled features (N, C).
        in_chans: Channels of the images.
        global_pool: timm's name of the pooling; ``''`` for none.
        kwargs: Of timm's ``MobileNetV3``: ``drop_rate``, ``drop_path_rate``, ...
    """

    classifier_name = "classifier"

    def __init__(
        self,
        architecture: MobileNetV3Architecture,
        num_classes: int = 0,
        in_chans: int = 3,
        global_pool: str = "avg",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            **timm_options(architecture),
            num_classes=0,
            in_chans=in_chans,
            global_pool=global_pool,
            norm_layer=partial(nn.BatchNorm2d, eps=BN_EPS, momentum=_MOMENTUM),
            **kwargs,
        )
        self.architecture = architecture
        self.conv_head = nn.Identity()
        self.act2 = nn.Identity()
        self.reset_classifier(num_classes, global_pool)
        # Exports in the format timm have timm's names, too, and variances for its eps: this tells ours from those.
        self.register_buffer(_TRAINED_EPS, torch.tensor(BN_EPS))
        self.finish()

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """A new classifier; the pooling stays unless ``global_pool`` names another."""
        weight, kept = self.conv_stem.weight, self.global_pool.pool_type
        self.num_classes = num_classes
        self.global_pool = SelectAdaptivePool2d(pool_type=kept if global_pool is None else global_pool)
        self.flatten = nn.Flatten(1) if self.global_pool.pool_type else nn.Identity()
        self.head_hidden_size = self.num_features * self.global_pool.feat_mult()
        place = {"device": weight.device, "dtype": weight.dtype}
        self.classifier = Linear(self.head_hidden_size, num_classes, **place) if num_classes else nn.Identity()

    def weights_from(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Names and variances of this model."""
        if _TRAINED_EPS in state:
            return dict(state)
        own = own_names(_without_prefix(state), self.architecture.arch)
        return {**rename(own, timm_layers(self.architecture.arch)), _TRAINED_EPS: torch.tensor(BN_EPS)}


class SubnetFeatures(FeatureGetterNet):
    """What ``features_only=True`` gives: images to a list of feature maps; it loads exports like the model inside."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        inside = f"{prefix}model."
        if not any(key.startswith(inside) for key in state_dict):
            for key in [key for key in state_dict if key.startswith(prefix)]:
                state_dict[inside + key.removeprefix(prefix)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _without_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(PREFIX): tensor for key, tensor in state.items()}

"""A sub-network straight out of the super-network's checkpoint, where no export has been written."""

from __future__ import annotations

import torch
from torch import nn

from mmssl_dynamic.calibration.bn_bank import BNBank
from mmssl_dynamic.errors import ConfigError, MissingStatisticsError
from mmssl_dynamic.models.backbones import StaticNetwork, SuperNetwork
from mmssl_dynamic.models.backbones.pretrained import load_backbone_weights
from mmssl_dynamic.registry import MODELS, WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class PretrainedSubnet:
    """Initialises a backbone that was built with ``subnet`` from its super-network.

    Args:
        checkpoint: Of the pre-training.
        bank: Its BN bank. Not needed where the checkpoint holds the sub-network's statistics: of the full network, and
            of every network of a switchable one.
        bn: ``'path'`` or ``'prefix'``: which statistics of the bank.

    Example:
        >>> backbone = dict(
        ...     type='mmssl_dynamic.SDRResNet', depth=50, subnet='0-3-1-2', out_indices=(0, 1, 2, 3),
        ...     init_cfg=dict(
        ...         type='mmssl_dynamic.PretrainedSubnet', checkpoint='epoch_200.pth', bank='bn_bank.safetensors'))
    """

    def __init__(self, checkpoint: str, bank: str | None = None, bn: str = "path") -> None:
        self.checkpoint, self.bank, self.bn = checkpoint, bank, bn

    def __call__(self, module: nn.Module) -> None:
        """Set all weights and statistics of ``module``.

        Raises:
            ConfigError: ``module`` is no sub-network that was built alone.
            ArtifactError: the checkpoint does not fit the backbone's options, or the bank the checkpoint.
            MissingStatisticsError: there are no statistics of the sub-network.
        """
        origin = module.origin if isinstance(module, StaticNetwork) else None
        if origin is None:
            raise ConfigError(
                f"init_cfg of type PretrainedSubnet is for one sub-network, and {type(module).__name__} was built "
                "without one; give it subnet=NAME."
            )
        name = origin.subnet
        with torch.random.fork_rng(devices=[]):  # other parts of a model start as they do with an export
            net: SuperNetwork = MODELS.build(origin.config)
        load_backbone_weights(net, self.checkpoint)
        if self.bank is not None:
            BNBank.load(self.bank).apply(net, [name], self.bn)
        elif not net.has_bn_statistics(name):
            raise MissingStatisticsError(
                f"checkpoint {self.checkpoint} holds no BatchNorm statistics of sub-network '{name}'; give "
                "init_cfg=dict(bank=...) with the bank that tools/calibrate_bn.py writes."
            )
        module.load_state_dict(net.static(name).state_dict(), strict=True)

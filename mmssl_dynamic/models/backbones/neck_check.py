"""A neck whose ``in_channels`` do not fit the backbone is refused when the model is built, with the right numbers.

A sub-network's channels are unlike a stock network's, so nearly everyone who puts one into a detector gets them wrong
at first, and torch says so in the middle of a training step, in terms of convolutions. A hook in the config, or a check
in our own command line, would help only those who use it. But PyTorch calls a registered function whenever a module
becomes part of another one: there a model can be seen to have both its backbone and its neck, in any detector, under
any tool and in a notebook, and nobody has to ask for it.
"""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.super_network import is_super_network
from mmssl_dynamic.models.backbones.trunk import Trunk


def watch_necks() -> None:
    """From now on refuse models with a backbone of this package and a neck that does not fit it."""
    register_module_module_registration_hook(_on_registration)


def _on_registration(model: nn.Module, name: str, part: nn.Module | None) -> None:
    if name == "neck":
        backbone, neck = model._modules.get("backbone"), part
    elif name == "backbone":
        backbone, neck = part, model._modules.get("neck")
    else:
        return
    if isinstance(backbone, Trunk) and isinstance(neck, nn.Module) and not is_super_network(backbone):
        check_neck(backbone, neck)


def check_neck(backbone: Any, neck: Any) -> None:
    """Compare a neck's list ``in_channels``, as FPN and its kin have it, with the channels of the feature maps.

    Of several necks that run one after another the first one counts. A neck without such a list is left alone.

    Raises:
        ConfigError: they differ; the message has the right numbers.
    """
    first = neck[0] if isinstance(neck, nn.Sequential) and len(neck) else neck
    named, found = getattr(first, "in_channels", None), list(backbone.out_channels)
    # YOLO's necks count from the deepest feature map.
    if not isinstance(named, list | tuple) or list(named) in (found, found[::-1]):
        return
    name = "" if getattr(backbone, "fixed", None) is None else f" '{backbone.fixed}'"
    raise ConfigError(
        f"neck.in_channels={list(named)} of {type(first).__name__} does not fit the backbone: "
        f"{type(backbone).__name__}{name} with out_indices={tuple(backbone.out_indices)} gives {found}; set "
        f"in_channels={found} or choose other out_indices."
    )

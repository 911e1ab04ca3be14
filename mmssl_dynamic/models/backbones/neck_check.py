"""A neck whose ``in_channels`` do not fit the backbone is refused when the model is built, with the right numbers.

A sub-network's channels are unlike a stock network's, so nearly everyone who puts one into a detector gets them wrong
at first, and torch says so in the middle of a training step, in terms of convolutions. A hook in the config, or a check
in our own command line, would help only those who use it. But PyTorch calls a registered function whenever a module
becomes part of another one: there a model can be seen to have both its backbone and its neck, in any detector, under
any tool and in a notebook, and nobody has to ask for it.

The function is registered while there are networks that it could be about, and no longer.
"""

from __future__ import annotations

import weakref
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook
from torch.utils.hooks import RemovableHandle

from mmssl_dynamic.errors import ConfigError


class _Watch:
    """The networks whose necks are checked, and PyTorch's hook as long as there are any."""

    def __init__(self) -> None:
        self._networks: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._alive = 0
        self._handle: RemovableHandle | None = None

    def add(self, network: nn.Module) -> None:
        if self._handle is None:
            self._handle = register_module_module_registration_hook(self._on_registration)
        self._alive += 1
        self._networks.add(network)
        weakref.finalize(network, self._one_less).atexit = False

    def _one_less(self) -> None:
        self._alive -= 1
        if not self._alive and self._handle is not None:
            self._handle.remove()
            self._handle = None

    def _on_registration(self, model: nn.Module, name: str, part: nn.Module | None) -> None:
        if name == "neck":
            backbone, neck = model._modules.get("backbone"), part
        elif name == "backbone":
            backbone, neck = part, model._modules.get("neck")
        else:
            return
        if isinstance(neck, nn.Module) and isinstance(backbone, nn.Module) and backbone in self._networks:
            check_neck(backbone, neck)


_WATCH = _Watch()


def watch_necks_of(network: nn.Module) -> None:
    """From now on refuse models with this network as their backbone and a neck that does not fit it."""
    _WATCH.add(network)


def check_neck(backbone: Any, neck: Any) -> None:
    """Compare a neck's list ``in_channels``, as FPN and its kin have it, with the channels of the feature maps.

    Of several necks that run one after another the first one counts. A neck without such a list is left alone.

    Args:
        backbone: A :class:`~mmssl_dynamic.models.StaticNetwork`.
        neck: The neck of the same model.

    Raises:
        ConfigError: they differ; the message has the right numbers.
    """
    first = neck[0] if isinstance(neck, nn.Sequential) and len(neck) else neck
    named, found = getattr(first, "in_channels", None), list(backbone.out_channels)
    # YOLO's necks count from the deepest feature map.
    if not isinstance(named, list | tuple) or list(named) in (found, found[::-1]):
        return
    raise ConfigError(
        f"neck.in_channels={list(named)} of {type(first).__name__} does not fit the backbone: "
        f"{backbone.label()} with out_indices={tuple(backbone.out_indices)} gives {found}; set "
        f"in_channels={found} or choose other out_indices."
    )

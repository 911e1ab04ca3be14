"""Magnitude pruning to a number of weights: the lottery-ticket control of SDR's Table 3 (after Frankle and Carbin)."""

from __future__ import annotations

from torch import nn
from torch.nn.utils import prune

from mmssl_dynamic.errors import ConfigError


def prunable(net: nn.Module) -> list[tuple[nn.Module, str]]:
    """The weights that pruning may remove: those of convolutions and linear layers, not biases or norms."""
    return [(module, "weight") for module in net.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def prune_by_magnitude(net: nn.Module, num_weights: int) -> dict[str, float]:
    """Set the smallest weights of all layers together to zero, until ``num_weights`` parameters are left.

    Args:
        net: Backbone; its biases and norm layers count but stay.
        num_weights: Parameters to keep, those of a sub-network, say.

    Returns:
        The share of each layer's weights that is left.

    Raises:
        ConfigError: the network is not larger, or what cannot be pruned is.
    """
    total = sum(p.numel() for p in net.parameters())
    candidates = sum(getattr(module, name).numel() for module, name in prunable(net))
    if not total - candidates < num_weights < total:
        raise ConfigError(
            f"pruning to {num_weights:,} parameters is not possible: the backbone has {total:,}, of which "
            f"{total - candidates:,} always stay; give a number between them."
        )
    # Over all layers at once: layers need not keep the same share.
    prune.global_unstructured(prunable(net), pruning_method=prune.L1Unstructured, amount=total - num_weights)
    left = {}
    for key, module in net.named_modules():
        if prune.is_pruned(module) and hasattr(module, "weight_mask"):
            left[key] = float(module.weight_mask.mean())
            prune.remove(module, "weight")  # plain weights with zeros: keys stay what every loader expects
    return left


def num_nonzero(net: nn.Module) -> int:
    """Parameters without the zeros in what :func:`prunable` names."""
    total = sum(p.numel() for p in net.parameters())
    return total - sum(int((getattr(module, name) == 0).sum()) for module, name in prunable(net))

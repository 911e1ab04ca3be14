"""What slimmable backbones share: rounded widths, prefixes, switchable BatchNorm, and checkpoints of their own."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.models.elastic import Channels, Selection
from mmssl_dynamic.subnets import SlimmableSpace

SWITCHABLE = (None, "statistics", "all")


def make_divisible(channels: float, divisor: int = 8) -> int:
    """The multiple of ``divisor`` nearest to ``channels``, at least ``divisor`` and 90 % of ``channels``.

    The rounding of MobileNets, as in torchvision, timm and mmpretrain.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def prefix(channels: Channels, size: int) -> Selection | None:
    """The first ``size`` channels; ``None`` for all of them."""
    return None if size == channels.total else Selection(channels.total, ((0, size),))


def check_switchable(switchable_bn: str | None) -> str | None:
    """Return a valid ``switchable_bn``.

    Raises:
        ConfigError: it is none.
    """
    if switchable_bn not in SWITCHABLE:
        raise ConfigError(f"switchable_bn={switchable_bn!r} must be None, 'statistics' or 'all'.")
    return switchable_bn


def check_any_width(any_width: bool, switchable_bn: str | None) -> bool:
    """Return a valid ``any_width``.

    Raises:
        ConfigError: a word, or together with switchable BatchNorm, which has statistics of listed networks alone.
    """
    if isinstance(any_width, str):
        raise ConfigError(f"any_width={any_width!r} must be True or False.")
    if any_width and switchable_bn is not None:
        raise ConfigError(
            f"any_width=True has networks that are on no list, and switchable_bn='{switchable_bn}' keeps statistics of "
            "listed ones; leave one of them out."
        )
    return bool(any_width)


def switches_of(space: SlimmableSpace, switchable_bn: str | None) -> tuple[str, ...]:
    """The networks with BatchNorm statistics of their own; the full one has the layers' running buffers."""
    return () if switchable_bn is None else space.names[:-1]


def remember_networks(net: nn.Module, space: SlimmableSpace) -> None:
    """Keep widths and depths beside the weights, as buffer ``switches``, and refuse weights of other ones.

    Args:
        net: The super-network.
        space: Its widths and depths; of paths, the widths that each of them has.
    """
    rows = [[w, *b] for w in space.widths for b in space.blocks] if space.blocks else list(space.widths)
    net.register_buffer("switches", torch.tensor(rows, dtype=torch.float64))
    net.any_width = space.any_width  # type: ignore[assignment]
    net.register_load_state_dict_pre_hook(_check_loaded)


def _check_loaded(module: Any, state: dict[str, Tensor], prefix: str, *_: Any) -> None:
    trained = state.get(f"{prefix}switches")
    check_networks(module.switches, trained, "the checkpoint", module.any_width)
    if trained is not None:
        state[f"{prefix}switches"] = module.switches


def check_networks(own: Tensor, trained: Tensor | None, source: str, any_width: bool = False) -> None:
    """Refuse weights of a slimmable network that was trained with other widths or depths, whose shapes may fit.

    Weights of the largest network alone (BYOL's of Sec. 0.B) are not refused.

    Args:
        own: Buffer ``switches`` of the backbone, one row per network.
        trained: The same of the weights; ``None`` for those of a plain network.
        source: Where the weights come from, for the message.
        any_width: Whether the backbone has every width of its range: lists may differ between smallest and largest.

    Raises:
        ArtifactError: they differ.
    """
    if trained is None:
        return
    one, other = own.cpu().double(), trained.cpu().double()
    if any_width and one.ndim == other.ndim and one.shape[1:] == other.shape[1:]:
        one, other = (_corners(rows) for rows in (one, other))
    one = one[-1:] if len(other) == 1 else one
    if one.shape != other.shape or not torch.allclose(one, other, rtol=5e-3):  # also when kept in half precision
        raise ArtifactError(
            f"{source} was trained with the networks {trained.tolist()} (width, blocks) and not with those of the "
            f"config, {own.tolist()}; correct the backbone's options."
        )


def _corners(rows: Tensor) -> Tensor:
    """Smallest and largest network of a list."""
    return rows[[0, -1]] if len(rows) > 1 else rows


def with_switches(state: dict[str, Tensor], own: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """What a checkpoint without switchable BatchNorm leaves open: no statistics yet, the shared affine for all.

    Raises:
        ArtifactError: sub-networks of the checkpoint have affine parameters for which the backbone has no place.
    """
    extra = next((name for name in state if name.endswith("switch_weight") and name not in own), None)
    if extra is not None:
        raise ArtifactError(
            f"checkpoint {source} has affine parameters of every sub-network ('{extra}'); set switchable_bn='all' in "
            "the backbone's options."
        )
    filled = {**state, "switches": own["switches"]}
    for name, value in own.items():
        layer, _, part = name.partition("switch_")
        if name in state or not part:
            continue
        shared = state.get(f"{layer}{part}") if part in ("weight", "bias") else None
        fits = shared is not None and shared.shape == value.shape[1:]
        filled[name] = shared.expand_as(value) if shared is not None and fits else value
    return filled

"""SDRResNet: a ResNet whose stages split their channels into a shared part and individual groups (SDR Sec. 4.2).

In a stage of width W all blocks act alike: ``shared_ratio * W`` channels are shared by all sub-networks, the rest
forms G individual groups. A sub-network uses the shared channels and one individual group of every stage; the
residual stream splits the same way. The stem is not split, and the full network W_0 uses all channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.models.backbones.layers import ElasticLayers
from mmssl_dynamic.models.backbones.resnet_trunk import ResNetTrunk, architecture
from mmssl_dynamic.models.backbones.static_resnet import StaticResNet
from mmssl_dynamic.models.backbones.super_network import SuperNetwork
from mmssl_dynamic.models.backbones.trunk import Trunk
from mmssl_dynamic.models.elastic import ActiveSubnet, Channels, Selection
from mmssl_dynamic.models.elastic.channels import Range
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.subnets import FULL, PathSpace, parse_path

_BASE = (64, 128, 256, 512)
# Our reading of the paper's sizes (super-network 56.3 M, sub-network 22.6 M), for four groups and half of the
# channels shared: no plain scaling of ResNet-50 gives both. These give 58.1 M and 22.7 M; (104, 200, 400, 800) gives
# 57.4 M and 22.4 M, but costs 7 % more multiply-adds per step of Algorithm 1 and suits vector units less
# (tools/benchmarks/sdr_step.py --stage-channels compares).
_ENLARGED = (96, 192, 384, 832)


@MODELS.register_module()
class SDRResNet(SuperNetwork, ResNetTrunk):
    """Super-network of SDR.

    With ``subnet`` it is one of its sub-networks alone, a :class:`StaticResNet`.

    Args:
        depth: 18, 34, 50 or 101.
        stage_channels: Width W of every stage (the mid channels of its blocks). By default a split stage is enlarged
            so that a sub-network is about as wide as the ordinary ResNet, and an unsplit one is the ordinary width.
        stage_groups: Individual groups G of every stage; 1 leaves the stage unsplit. ``(1, 1, 1, 4)`` gives 4 paths,
            ``(1, 1, 4, 4)`` 16, ``(1, 4, 4, 4)`` 64 and ``(4, 4, 4, 4)`` 256.
        shared_ratio: Share of a split stage's channels that all sub-networks use.
        stem_channels: Channels of the stem, which is not split.
        in_channels: Channels of the images.
        norm_cfg: ``dict(type='BN')`` or ``dict(type='SyncBN')``; any norm of OpenMMLab with ``subnet``.
        subnet: Build only this sub-network (``'0-3-1-2'`` or ``'full'``), out of plain modules, as detectors want it.
        kwargs: ``out_indices``, ``frozen_stages``, ``norm_eval``, ``with_cp``, ``zero_init_residual`` and ``init_cfg``
            of :class:`~mmssl_dynamic.models.backbones.resnet_trunk.ResNetTrunk`.

    Raises:
        ConfigError: widths that cannot be split into the groups.
        SubnetError: ``subnet`` is none of this network.

    Example:
        >>> net = SDRResNet(depth=50)
        >>> with net.subnet('0-3-1-2'):
        ...     (features,) = net(images)
        >>> twin = net.static('0-3-1-2')
    """

    space: PathSpace

    def __init__(
        self,
        depth: int,
        stage_channels: Sequence[int] | None = None,
        stage_groups: Sequence[int] = (4, 4, 4, 4),
        shared_ratio: float = 0.5,
        stem_channels: int = 64,
        in_channels: int = 3,
        norm_cfg: dict | None = None,
        *,
        subnet: None = None,
        **kwargs: Any,
    ) -> None:
        if len(tuple(stage_groups)) != 4:
            raise ConfigError(f"stage_groups={tuple(stage_groups)} must hold four numbers, one per stage.")
        block, counts = architecture(depth)
        self.depth = depth
        self.space = self._space(tuple(stage_groups))
        self.shared_ratio, self.stem_channels, self.in_channels = shared_ratio, stem_channels, in_channels
        self.stage_channels = tuple(
            stage_channels if stage_channels is not None else default_stage_channels(stage_groups, shared_ratio)
        )
        self.expansion = block.expansion
        self._check_split()
        self._active = ActiveSubnet()
        self._stages = [
            (Channels(width, self._active), Channels(width * self.expansion, self._active))
            for width in self.stage_channels
        ]
        self._stems: list[tuple[Tensor, Selection | None, Tensor]] | None = None
        self._stem = Channels(stem_channels, self._active)
        images = Channels(in_channels, self._active)
        super().__init__(ElasticLayers(norm_cfg), block, counts, images, self._stem, self._stages, **kwargs)

    def _space(self, stage_groups: tuple[int, ...]) -> PathSpace:
        """The sub-networks."""
        return PathSpace(stage_groups)

    def _check_split(self) -> None:
        if len(self.stage_channels) != 4:
            raise ConfigError(f"stage_channels={self.stage_channels} must hold four widths, one per stage.")
        if not 0 < self.shared_ratio < 1:
            raise ConfigError(f"shared_ratio={self.shared_ratio} must lie between 0 and 1.")
        for stage, (width, groups) in enumerate(zip(self.stage_channels, self.space.stage_groups)):
            if groups == 1:
                continue
            self._check_first_shortcut(stage)
            shared, rest = _split(width, self.shared_ratio)
            if shared < 1 or rest < groups or rest % groups:
                raise ConfigError(
                    f"stage {stage} of width {width} has {rest} channels beside its {shared} shared ones, which "
                    f"{groups} groups cannot share evenly; choose a multiple of "
                    f"{round(groups / (1 - self.shared_ratio))} in stage_channels."
                )

    def _check_first_shortcut(self, stage: int) -> None:
        """The first stage projects its shortcut only where it puts out more or fewer channels than the stem.

        Super-network and sub-network must agree on it, or one of them has a layer that the other lacks.
        """
        if stage == 0:
            width, groups = self.stage_channels[0], self.space.stage_groups[0]
            shared, rest = _split(width, self.shared_ratio)
            full, part = width * self.expansion, (shared + rest // groups) * self.expansion
            if self.stem_channels in (full, part):
                raise ConfigError(
                    f"stem_channels={self.stem_channels} must differ from the first stage's {full} channels and from "
                    f"the {part} of a sub-network; change stem_channels or stage_channels[0]."
                )

    @contextmanager
    def shared_stem(self) -> Iterator[None]:
        """Run the stem once for each batch of images inside the block, whichever paths look at it.

        The stem is not split, and in training mode its BatchNorm takes the statistics of the batch: it gives every
        sub-network the same, to the bit, unless it is narrower in one. Only passes without gradients take what an
        earlier pass computed, and none that updates running statistics.
        """
        outer, self._stems = self._stems, []
        try:
            yield
        finally:
            self._stems = outer

    def stem(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) -> (N, C, H / 4, W / 4)."""
        if self._stems is None:
            return self._stem_itself(x)
        tracks = self._active.track_statistics and self.active == FULL
        if not torch.is_grad_enabled() and not tracks:
            wanted = self._stem.active
            known = next((out for images, kept, out in self._stems if images is x and kept == wanted), None)
            if known is not None:
                return known
        out = self._stem_itself(x)
        self._stems.append((x, self._stem.active, out.detach()))
        return out

    def _stem_itself(self, x: Tensor) -> Tensor:
        return self._run(Trunk.stem, x, slice(self.stem_parts))

    def behind_stem(self, x: Tensor):  # type: ignore[no-untyped-def]
        """What :meth:`stem` gave -> what :meth:`forward` returns."""
        return self._run(Trunk.behind_stem, x, slice(self.stem_parts, None))

    def forward(self, x: Tensor):  # type: ignore[no-untyped-def]
        """Images (N, 3, H, W) -> one (N, C, H / stride, W / stride) for each of ``out_indices``, as a tuple."""
        # Two graphs where there are any: which passes share a stem is known when they run.
        return self.behind_stem(self.stem(x))

    def _parts(self, stage: int, index: int) -> tuple[Range, ...]:
        """The mid channels of a path in a stage: shared ones, then those of an individual group; all if unsplit."""
        width, groups = self.stage_channels[stage], self.space.stage_groups[stage]
        if groups == 1:
            return ((0, width),)
        shared, rest = _split(width, self.shared_ratio)
        unit = rest // groups
        return ((0, shared), (shared + index * unit, shared + (index + 1) * unit))

    def _stage_selections(self, name: str) -> list[Selection | None]:
        """The selected mid channels of every stage: shared + one individual group (SDR Fig. 3)."""
        self.space.check(name)
        if name == FULL:
            return [None] * self.num_stages
        return [
            None if groups == 1 else Selection(width, self._parts(stage, index))
            for stage, (index, width, groups) in enumerate(
                zip(parse_path(name), self.stage_channels, self.space.stage_groups)
            )
        ]

    def selections(self, name: str) -> list[tuple[Channels, Selection | None]]:
        """Mid and output channels of every stage."""
        selected: list[tuple[Channels, Selection | None]] = []
        for (mid, out), selection in zip(self._stages, self._stage_selections(name)):
            selected.append((mid, selection))
            selected.append((out, None if selection is None else selection.scaled(self.expansion)))
        return selected

    def plain_twin(self, name: str, **options: Any) -> StaticResNet:
        """A :class:`StaticResNet` of the sub-network's widths."""
        mids = [w if s is None else s.size for w, s in zip(self.stage_channels, self._stage_selections(name))]
        return StaticResNet(self.depth, mids, self.stem_channels, self.in_channels, **options)

    def shape(self) -> dict[str, Any]:
        """Depth, widths and groups."""
        return {
            "depth": self.depth,
            "stage_channels": list(self.stage_channels),
            "stage_groups": list(self.space.stage_groups),
            "shared_ratio": self.shared_ratio,
            "stem_channels": self.stem_channels,
            "in_channels": self.in_channels,
        }


def _split(width: int, shared_ratio: float) -> tuple[int, int]:
    """Shared channels and the rest."""
    shared = round(width * shared_ratio)
    return shared, width - shared


def default_stage_channels(stage_groups: Sequence[int], shared_ratio: float = 0.5) -> tuple[int, ...]:
    """Widths that make a sub-network about as wide as the ordinary ResNet; unsplit stages stay ordinary."""
    widths = []
    for base, enlarged, groups in zip(_BASE, _ENLARGED, stage_groups):
        if groups == 1:
            widths.append(base)
        elif groups == 4 and shared_ratio == 0.5:
            widths.append(enlarged)
        else:
            # Of a width W the sub-network uses shared + rest / G; find the unit for which that is the base width.
            unit = max(1, round(base * (1 - shared_ratio) / (shared_ratio * groups + 1 - shared_ratio)))
            widths.append(round(unit * groups / (1 - shared_ratio)))
    return tuple(widths)

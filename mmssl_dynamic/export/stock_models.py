"""Building the models that an exported file has to load into, apart from the super-network."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import Any

from torch import Tensor, nn

from mmssl_dynamic.export.architecture import SubnetArchitecture
from mmssl_dynamic.models.backbones.resnet_trunk import STRIDES
from mmssl_dynamic.models.backbones.resnet_trunk import architecture as blocks_of


def torchvision_resnet(
    architecture: SubnetArchitecture | Mapping[str, Any] | None = None,
    *,
    depth: int = 50,
    stage_channels: tuple[int, int, int, int] = (64, 128, 256, 512),
    stem_channels: int = 64,
    in_channels: int = 3,
) -> nn.Module:
    """The ResNet of torchvision with the widths of a sub-network, without classifier (``fc`` is the identity).

    Args:
        architecture: A :class:`SubnetArchitecture` or the content of an export's sidecar; or give the rest by hand.
        depth: 18, 34, 50 or 101.
        stage_channels: Mid channels of the stages.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.

    Returns:
        ``torchvision.models.ResNet`` with random weights; images (N, 3, H, W) -> features (N, D). An export in the
        format ``torchvision`` loads into it strictly.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    if architecture is None:
        architecture = SubnetArchitecture(depth, stage_channels, stem_channels, in_channels)
    elif not isinstance(architecture, SubnetArchitecture):
        architecture = SubnetArchitecture.from_sidecar(architecture)
    own_block, counts = blocks_of(architecture.depth)
    block = Bottleneck if own_block.expansion == 4 else BasicBlock
    model = ResNet(block, list(counts))
    model.conv1 = nn.Conv2d(architecture.in_channels, architecture.stem_channels, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(architecture.stem_channels)
    model.inplanes = architecture.stem_channels
    for i, (width, count, stride) in enumerate(zip(architecture.stage_channels, counts, STRIDES), start=1):
        # torchvision's constructor knows doubling widths only; its own stage builder knows any.
        setattr(model, f"layer{i}", model._make_layer(block, width, count, stride=stride))
    model.fc = nn.Identity()
    return model


def torchvision_snippet(architecture: SubnetArchitecture, weights: str) -> str:
    """Python lines that build and load an export with torchvision alone."""
    own_block, counts = blocks_of(architecture.depth)
    block = "Bottleneck" if own_block.expansion == 4 else "BasicBlock"
    load = (
        f"safetensors.torch.load_file({weights!r})"
        if weights.endswith(".safetensors")
        else f"torch.load({weights!r}, weights_only=True)"
    )
    stem = architecture.stem_channels
    return "\n".join(
        [
            f"net = torchvision.models.ResNet({block} := torchvision.models.resnet.{block}, {list(counts)})",
            f"net.conv1 = torch.nn.Conv2d({architecture.in_channels}, {stem}, 7, stride=2, padding=3, bias=False)",
            f"net.bn1, net.inplanes, net.fc = torch.nn.BatchNorm2d({stem}), {stem}, torch.nn.Identity()",
            *(
                f"net.layer{i} = net._make_layer({block}, {width}, {count}, stride={stride})"
                for i, (width, count, stride) in enumerate(zip(architecture.stage_channels, counts, STRIDES), start=1)
            ),
            f"net.load_state_dict({load}, strict=True)",
        ]
    )


def mmpretrain_resnet(architecture: SubnetArchitecture, checkpoint: str, prefix: str | None) -> nn.Module | None:
    """The stock ResNet of mmpretrain, loaded from a file by mmengine; ``None`` if its widths cannot be had there."""
    if architecture.base_channels is None:
        return None
    from mmpretrain.models import ResNet

    pretrained = {"type": "Pretrained", "checkpoint": checkpoint, **({"prefix": prefix} if prefix else {})}
    model = ResNet(
        architecture.depth,
        in_channels=architecture.in_channels,
        stem_channels=architecture.stem_channels,
        base_channels=architecture.base_channels,
        out_indices=(0, 1, 2, 3),
        init_cfg=pretrained,
    )
    with quiet_mmengine():
        model.init_weights()
    return model


def stage_outputs(model: Any, images: Tensor) -> list[Tensor]:
    """Outputs of the four stages of any ResNet with stock attribute names, each (N, C, H, W)."""
    x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
    outputs = []
    for i in range(1, 5):
        x = getattr(model, f"layer{i}")(x)
        outputs.append(x)
    return outputs


@contextmanager
def quiet_mmengine() -> Iterator[None]:
    """Keep mmengine from announcing what it loads and listing every parameter that it initialises."""
    from mmengine.logging import MMLogger

    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)

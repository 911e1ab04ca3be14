"""The format ``torchvision``: keys of torchvision's own classes without their classifier."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.architecture import (
    Architecture,
    Four,
    MobileNetV3Architecture,
    ResNetArchitecture,
)
from mmssl_dynamic.export.base import Format, Outputs, Reading, Source, chained, reading, resnet_outputs, torch_lines
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models.backbones.mobilenet_v3_keys import rename, restore, torchvision_layers
from mmssl_dynamic.models.backbones.resnet_trunk import STRIDES


def torchvision_resnet(
    architecture: ResNetArchitecture | Mapping[str, Any] | None = None,
    *,
    depth: int | None = None,
    block: str | None = None,
    blocks: Four | None = None,
    stage_channels: Four = (64, 128, 256, 512),
    stem_channels: int = 64,
    in_channels: int = 3,
) -> nn.Module:
    """The ResNet of torchvision with the widths and blocks of a sub-network, without classifier (``fc`` is identity).

    Args:
        architecture: A :class:`ResNetArchitecture` or the content of an export's sidecar; or give the rest by hand.
        depth: 18, 34, 50 (when nothing says otherwise) or 101.
        block: ``'basic'`` or ``'bottleneck'``, with ``blocks`` and instead of ``depth``.
        blocks: Blocks of every stage.
        stage_channels: Mid channels of the stages.
        stem_channels: Channels of the stem.
        in_channels: Channels of the images.

    Returns:
        ``torchvision.models.ResNet`` with random weights; images (N, 3, H, W) -> features (N, D). An export in the
        format ``torchvision`` loads into it strictly.

    Raises:
        ConfigError: options that make no ResNet.
        ArtifactError: the sidecar of something else.
    """
    from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

    if isinstance(architecture, Mapping):
        architecture = ResNetArchitecture.from_sidecar(architecture)
    elif architecture is None and block is None and blocks is None:
        options = {"stem_channels": stem_channels, "in_channels": in_channels}
        architecture = ResNetArchitecture.of_depth(50 if depth is None else depth, stage_channels, **options)
    elif architecture is None:
        if block is None or blocks is None or depth is not None:
            raise ConfigError("a ResNet needs its depth, or both block ('basic' or 'bottleneck') and blocks per stage.")
        architecture = ResNetArchitecture(block, blocks, stage_channels, stem_channels, in_channels)
    kind = {"basic": BasicBlock, "bottleneck": Bottleneck}[architecture.block]
    model: Any = ResNet(kind, list(architecture.blocks))
    model.conv1 = nn.Conv2d(architecture.in_channels, architecture.stem_channels, 7, stride=2, padding=3, bias=False)
    model.bn1 = nn.BatchNorm2d(architecture.stem_channels)
    model.inplanes = architecture.stem_channels
    stages = zip(architecture.stage_channels, architecture.blocks, STRIDES)
    for i, (width, count, stride) in enumerate(stages, start=1):
        # torchvision's constructor knows doubling widths only; its own stage builder knows any.
        setattr(model, f"layer{i}", model._make_layer(kind, width, count, stride=stride))
    model.fc = nn.Identity()
    return model


def torchvision_mobilenet_v3(architecture: MobileNetV3Architecture | Mapping[str, Any]) -> nn.Module:
    """``torchvision.models.mobilenet_v3_large`` or ``_small`` of a sub-network's width, without classifier.

    Args:
        architecture: A :class:`MobileNetV3Architecture` or the content of an export's sidecar.

    Returns:
        ``torchvision.models.MobileNetV3`` with random weights whose ``classifier`` is the identity; images
        (N, 3, H, W) -> pooled features (N, D). An export in the format ``torchvision`` loads into it strictly.

    Raises:
        ArtifactError: the sidecar of something else.
    """
    import torchvision

    if isinstance(architecture, Mapping):
        architecture = MobileNetV3Architecture.from_sidecar(architecture)
    model: Any = getattr(torchvision.models, f"mobilenet_v3_{architecture.arch}")(width_mult=architecture.width)
    if architecture.in_channels != 3:
        stem = architecture.shape.stem
        model.features[0][0] = nn.Conv2d(architecture.in_channels, stem, 3, stride=2, padding=1, bias=False)
    model.classifier = nn.Identity()
    return model


class TorchvisionFormat(Format):
    """Loads strictly into torchvision's ResNet with ``fc``, or MobileNetV3 with ``classifier``, set to the identity."""

    def tensors(self, source: Source) -> dict[str, Tensor]:
        """ResNets have torchvision's keys from the start."""
        if isinstance(source.architecture, ResNetArchitecture):
            return source.state
        return rename(source.state, torchvision_layers(source.architecture.arch))

    def restored(self, tensors: Mapping[str, Tensor], architecture: Architecture) -> dict[str, Tensor]:
        """The same the other way round."""
        if isinstance(architecture, ResNetArchitecture):
            return dict(tensors)
        return restore(tensors, torchvision_layers(architecture.arch))

    def read(self, source: Source, path: Path) -> Iterable[Reading]:
        """Into torchvision's class, strictly."""
        label, model = _build(source.architecture)
        model.load_state_dict(load_state_dict(path), strict=True)
        resnet = isinstance(source.architecture, ResNetArchitecture)
        yield reading(label, model, resnet_outputs if resnet else _features)

    def usage(self, source: Source, target: Path) -> str:
        """Python lines that need torchvision alone."""
        resnet = isinstance(source.architecture, ResNetArchitecture)
        lines = _resnet_lines(source.architecture) if resnet else _mobilenet_lines(source.architecture)  # type: ignore[arg-type]
        return torch_lines(source, target, lines)


def _build(architecture: Architecture) -> tuple[str, nn.Module]:
    if isinstance(architecture, ResNetArchitecture):
        return "torchvision's ResNet", torchvision_resnet(architecture)
    label = f"torchvision's mobilenet_v3_{architecture.arch}(width_mult={architecture.width!r})"
    return label, torchvision_mobilenet_v3(architecture)


def _features(model: Any, images: Tensor) -> Outputs:
    return chained(list(model.features), images)


def _resnet_lines(architecture: ResNetArchitecture) -> list[str]:
    block = {"basic": "BasicBlock", "bottleneck": "Bottleneck"}[architecture.block]
    stem = architecture.stem_channels
    stages = zip(architecture.stage_channels, architecture.blocks, STRIDES)
    return [
        f"net = torchvision.models.ResNet({block} := torchvision.models.resnet.{block}, {list(architecture.blocks)})",
        f"net.conv1 = torch.nn.Conv2d({architecture.in_channels}, {stem}, 7, stride=2, padding=3, bias=False)",
        f"net.bn1, net.inplanes, net.fc = torch.nn.BatchNorm2d({stem}), {stem}, torch.nn.Identity()",
        *(
            f"net.layer{i} = net._make_layer({block}, {width}, {count}, stride={stride})"
            for i, (width, count, stride) in enumerate(stages, start=1)
        ),
    ]


def _mobilenet_lines(architecture: MobileNetV3Architecture) -> list[str]:
    images, stem = architecture.in_channels, architecture.shape.stem
    conv = f"net.features[0][0] = torch.nn.Conv2d({images}, {stem}, 3, stride=2, padding=1, bias=False)"
    return [
        f"net = torchvision.models.mobilenet_v3_{architecture.arch}(width_mult={architecture.width!r})",
        *([conv] if images != 3 else []),
        "net.classifier = torch.nn.Identity()",
    ]

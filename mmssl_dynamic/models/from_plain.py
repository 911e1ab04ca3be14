"""Super-networks that start from a plain network's weights instead of random ones.

The network that clustering needs is trained anyway, and most people have a checkpoint: training need not begin with
nothing. In SDR's super-network the shared channels of a split stage start as the first channels of the plain network's
stage, and every individual group as a copy of the rest, so that at the start **each path is the plain network**.
Under equal data copies would stay equal for ever; their clusters drive them apart. In a slimmable super-network the
**largest network is the plain one**, its channels sorted so that the narrower ones begin with the most important.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import initialize
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.elastic import ElasticLayer, Selection
from mmssl_dynamic.models.elastic.spread import Sources, spread
from mmssl_dynamic.models.importance import importance_order
from mmssl_dynamic.registry import WEIGHT_INITIALIZERS
from mmssl_dynamic.subnets import FULL, PathSpace, PathWidthSpace

_TYPE = "mmssl_dynamic.FromPlain"
DUPLICATES = ("copied", "scaled")
_REMEDIES = {
    "path": "correct depth, stem_channels, stage_channels and shared_ratio, so that a path is the plain network",
    "largest": "correct the widths and depths, so that the largest network is the plain one",
}
_HEADS_REMEDY = "correct the config, or leave projector and predictor random (init_cfg.heads=False)"
# Classifiers of stock checkpoints, whose keys lie beside those of the backbone.
_CLASSIFIERS = ("fc.", "classifier.", "head.")


_Part = tuple[str, nn.Module, dict[str, Tensor], str]
"""Name, module, weights for it, and what it is called in messages."""


@WEIGHT_INITIALIZERS.register_module()
class FromPlain:
    """``init_cfg`` of an algorithm, or of its backbone alone, that starts it from a plain network.

    The checkpoint is loaded strictly, and nothing in it is executed. It is a run of SimSiam or BYOL (``backbone.``,
    ``neck.``, ``head.``), whose projector and predictor come along, or a stock ResNet or MobileNetV3 of torchvision,
    timm or mmpretrain. A path of SDR, or the largest network of a slimmable one, must have the widths of the plain one.

    Args:
        init_from: File with the weights; ``None``, for an algorithm, starts from random ones.
        duplicates: What a layer that reads a split stage does with the copies of one channel. ``'copied'``: every
            copy gets the weights of the channel, so that each path is the plain network, and the full network sees
            the individual channels G times as strongly. ``'scaled'``: a G-th of them, so that the full network is the
            plain network, and a path sees its individual channels too weakly.
        heads: Whether projector and predictor come along where the checkpoint has them.
        sort: Whether the channels of a slimmable network, or of slimmable paths, are sorted by importance, the L1 norm
            of the weights that read them, as in once-for-all. Otherwise narrower networks begin with the first ones.

    Example:
        >>> model = dict(
        ...     type='mmssl_dynamic.SDR',
        ...     init_cfg=dict(type='mmssl_dynamic.FromPlain', init_from='work_dirs/simsiam/epoch_200.pth'))
    """

    def __init__(
        self, init_from: str | None = None, duplicates: str = "copied", heads: bool = True, sort: bool = True
    ) -> None:
        if duplicates not in DUPLICATES:
            raise ConfigError(f"duplicates='{duplicates}' must be 'copied' or 'scaled'.")
        self.init_from, self.duplicates, self.heads, self.sort = init_from, duplicates, heads, sort

    def __call__(self, module: nn.Module) -> None:
        """Set the weights and running statistics of ``module``.

        Raises:
            ConfigError: ``module`` has no super-network.
            ArtifactError: the checkpoint cannot be read or is of another architecture.
        """
        net = module if isinstance(module, SuperNetwork) else getattr(module, "backbone", None)
        if net is None or not isinstance(net, SuperNetwork):
            raise ConfigError(f"init_cfg of type FromPlain is for super-networks, not for {type(module).__name__}.")
        if self.init_from is None and module is net:
            raise ConfigError(
                "init_cfg of type FromPlain needs init_from, a file with weights; give it or leave it out."
            )
        if self.init_from is None:
            return
        state = {key.removeprefix("module."): value for key, value in load_state_dict(self.init_from).items()}
        kind = "path" if isinstance(net.space, PathSpace) else "largest network"
        parts: list[_Part] = [
            ("backbone", net, net.own_names(_backbone_part(state)), f"{kind} of this {type(net).__name__}")
        ]
        for name in ("neck", "head") if module is not net and self.heads else ():
            own, weights = getattr(module, name, None), _part(state, f"{name}.")
            if own is not None and any(key in weights for key in own.state_dict()):
                parts.append((name, own, weights, f"{name} of this model"))
        with net.subnet(_like_plain(net)):
            expected = [dict(_active_shapes(part)) for _, part, _, _ in parts]
        for (_, _, weights, what), shapes in zip(parts, expected):  # all of them, before anything is set
            self._check(weights, shapes, what)
        sources = path_sources(net)
        if self.sort and _narrows(net):
            order = importance_order(net, parts[0][2], *((part, weights) for _, part, weights, _ in parts[1:]))
            sources = nested_sources(net, sources, order) if isinstance(net.space, PathWidthSpace) else order
        for _, part, weights, _ in parts:
            self._start(part, weights, sources)
        print_log(f"Start from {self.init_from}: {', '.join(name for name, *_ in parts)}.", logger="current")

    def _start(self, module: nn.Module, plain: dict[str, Tensor], sources: Sources) -> None:
        for name, layer in module.named_modules():
            own = _part(plain, f"{name}." if name else "")
            if isinstance(layer, ElasticLayer):
                spread(layer, own, sources, self.duplicates == "scaled")
            else:
                names = {n for n, _ in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))}
                layer.load_state_dict({n: own[n] for n in names if n in own}, strict=False)

    def _check(self, plain: Mapping[str, Tensor], expected: Mapping[str, torch.Size], what: str) -> None:
        """Refuse weights of another architecture."""
        remedy = next((text for start, text in _REMEDIES.items() if what.startswith(start)), _HEADS_REMEDY)
        for name, shape in expected.items():
            if name not in plain and not name.endswith("num_batches_tracked"):
                raise ArtifactError(f"checkpoint {self.init_from} lacks '{name}', which the {what} has; {remedy}.")
            if name in plain and plain[name].shape != shape:
                raise ArtifactError(
                    f"checkpoint {self.init_from} has '{name}' of shape {tuple(plain[name].shape)} where the {what} "
                    f"has {tuple(shape)}; {remedy}."
                )
        extra = next((name for name in plain if name not in expected), None)
        if extra is not None:
            raise ArtifactError(f"checkpoint {self.init_from} has '{extra}', which the {what} lacks; {remedy}.")


class StartsFromPlain:
    """Mixin for algorithms: applies ``init_cfg`` of type :class:`FromPlain` after all parts have been initialised.

    mmengine applies a module's own ``init_cfg`` before those of its parts, which would overwrite it.
    """

    init_cfg: Any

    def init_weights(self) -> None:
        """Initialise the parts, then load the plain network."""
        configs = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg] if self.init_cfg else []
        plain = [config for config in configs if config.get("type") == _TYPE]
        kept, self.init_cfg = self.init_cfg, [config for config in configs if config not in plain]
        try:
            super().init_weights()  # type: ignore[misc]  # of mmengine's BaseModule
        finally:
            self.init_cfg = kept
        initialize(self, plain)


def path_sources(net: SuperNetwork) -> Sources:
    """For every split activation of SDR's network, the channel of the plain network that each channel starts as."""
    found: dict[Any, Tensor] = {}
    for name in net.space.paths if isinstance(net.space, PathSpace) else ():
        for channels, selection in net.selections(name):
            if selection is not None:
                index = torch.cat([torch.arange(start, stop) for start, stop in selection.ranges])
                source = found.setdefault(channels, torch.full((channels.total,), -1))
                source[index] = torch.arange(len(index))
    return found


def nested_sources(net: SuperNetwork, whole: Sources, order: Sources) -> Sources:
    """Those of paths of several widths, the narrower of which begin with the most important channels.

    A narrower network takes the first channels of the shared part and the first of an individual group. The plain
    network's most important channels go where the narrowest network is, the next ones where the next one is wider.

    Args:
        net: SDR's super-network of several widths.
        whole: What :func:`path_sources` gave.
        order: The plain network's channels in descending order of importance, for the activations that are narrowed.
    """
    assert isinstance(net.space, PathWidthSpace)
    kept = [dict(net.selections(name)) for name in net.space.widths_of(_like_plain(net))]
    found = dict(whole)
    for channels, best in order.items():
        rows = [_indices(channels.total, selections[channels]) for selections in kept]
        nested = list(dict.fromkeys(index for row in rows for index in row))
        place = {index: position for position, index in enumerate(rows[-1])}
        starts = torch.empty_like(best)
        starts[[place[index] for index in nested]] = best
        found[channels] = starts[whole[channels]] if channels in whole else starts
    return found


def _indices(total: int, selection: Selection | None) -> list[int]:
    """The selected channels."""
    ranges = ((0, total),) if selection is None else selection.ranges
    return [index for start, stop in ranges for index in range(start, stop)]


def _narrows(net: SuperNetwork) -> bool:
    """Whether there are networks that are the first channels of others."""
    return not isinstance(net.space, PathSpace) or len(getattr(net.space, "widths", ())) > 1


def _like_plain(net: SuperNetwork) -> str:
    """A sub-network with the shape of the plain network."""
    return next(iter(net.space.paths), FULL) if isinstance(net.space, PathSpace) else FULL


def _active_shapes(module: nn.Module) -> Iterator[tuple[str, torch.Size]]:
    """Names and shapes of the active sub-network's weights and statistics, as a plain network has them."""
    for name, layer in module.named_modules():
        prefix = f"{name}." if name else ""
        if isinstance(layer, ElasticLayer):
            yield from ((prefix + key, value.shape) for key, value in layer.active_state().items())
        elif not isinstance(layer, SuperNetwork):  # whose own buffers describe the super-network
            own = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
            yield from ((prefix + key, value.shape) for key, value in own)


def _part(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _backbone_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the backbone alone."""
    if any(key.startswith("backbone.") for key in state):
        return _part(state, "backbone.")
    return {key: value for key, value in state.items() if not key.startswith(_CLASSIFIERS)}

"""A trained network that stays as it is and shows others its features: how small networks are trained with a large one.

N batch, D dimension of the teacher's features, H W height and width.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.teachers.sources import find_source

# Of images that tell D of a network that takes any size.
_PROBE = 64


@MODELS.register_module()
class FrozenTeacher(nn.Module):
    """Features of a network that is not trained, for :class:`~mmssl_dynamic.models.FeatureDistillation`.

    It never gets a gradient and stays in evaluation mode, whatever mode the model around it is in. Its weights are in
    no checkpoint: a resumed training builds it anew, and is refused another one by its fingerprint.

    Args:
        model: ``'timm/NAME'``; the file of an export, with its sidecar; the config of a network, such as
            ``dict(type='mmpretrain.ResNet', depth=50)``; or a module.
        checkpoint: File with its weights, of which nothing is executed. Of timm's networks timm's own when left out.
        mean: Of its images, pixels from 0 to 255, one value a channel. What timm or the export says when left out, else
            that of ImageNet.
        std: Likewise.
        to_rgb: Whether it takes RGB, in whose order ``mean`` and ``std`` are, or BGR.
        image_size: Side that views are resized to; as large as they come when left out. A teacher of 224 px images says
            little about views of 48 px.

    Raises:
        ConfigError: there is no such network, or an option cannot be.
        ArtifactError: its weights cannot be loaded.
    """

    fingerprint: Tensor

    def __init__(
        self,
        model: str | Mapping[str, Any] | nn.Module,
        checkpoint: str | os.PathLike[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        to_rgb: bool | None = None,
        image_size: int | None = None,
    ) -> None:
        super().__init__()
        if image_size is not None and (not isinstance(image_size, int) or image_size < 1):
            raise ConfigError(f"teacher.image_size={image_size!r} (teacher_size) must be a number of pixels.")
        source = find_source(model, checkpoint)
        network = source.network.requires_grad_(False)
        network.eval()
        # Inside of a list no parameter of it is found: by checkpoints, optimisers, wrappers and initialisers.
        self._hidden = [network]
        self.image_size = image_size or source.image_size
        self.to_rgb = source.to_rgb if to_rgb is None else to_rgb
        self._mean, self._std = (
            _three(given, name, own) for given, name, own in ((mean, "mean", source.mean), (std, "std", source.std))
        )
        digest = bytes.fromhex(weights_fingerprint(network.state_dict()))
        self.register_buffer("fingerprint", torch.tensor(list(digest), dtype=torch.uint8))
        # Until it is connected: pixels in its own order of channels.
        own_mean, own_std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self._mean, self._std))
        self._scale, self._shift, self._flip = 1 / own_std, -own_mean / own_std, False
        size = self.image_size or _PROBE
        self.out_channels = self(torch.zeros(1, 3, size, size)).shape[1]

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._hidden[0]

    def connect(self, preprocessor: nn.Module) -> None:
        """Undo what a model's data preprocessor does to its views before the teacher's own normalisation.

        Args:
            preprocessor: mmengine's or mmpretrain's, with ``mean`` and ``std`` or without normalisation.
        """
        own_mean, own_std = torch.tensor(self._mean).view(1, 3, 1, 1), torch.tensor(self._std).view(1, 3, 1, 1)
        mean, std = (getattr(preprocessor, name, None) for name in ("mean", "std"))
        rgb = bool(getattr(preprocessor, "_channel_conversion", False) or getattr(preprocessor, "to_rgb", False))
        self._flip = rgb != self.to_rgb  # image transforms give BGR
        if isinstance(mean, Tensor) and isinstance(std, Tensor):
            mean, std = mean.detach().float().view(1, -1, 1, 1).cpu(), std.detach().float().view(1, -1, 1, 1).cpu()
        else:
            mean, std = torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
        if self._flip:
            mean, std = (values.expand(1, 3, 1, 1).flip(1) for values in (mean, std))
        place = self._scale.device
        self._scale, self._shift = (std / own_std).to(place), ((mean - own_mean) / own_std).to(place)

    @torch.no_grad()
    def forward(self, view: Tensor) -> Tensor:
        """Features of a view as the model around gets it: (N, 3, H, W) -> (N, D)."""
        images = (view.flip(1) if self._flip else view).to(self._scale.dtype) * self._scale + self._shift
        if self.image_size is not None and images.shape[-2:] != (self.image_size,) * 2:
            images = F.interpolate(images, (self.image_size,) * 2, mode="bilinear", antialias=True)
        features = self.network(images)
        while isinstance(features, list | tuple):
            features = features[-1]
        if not isinstance(features, Tensor) or features.ndim not in (2, 4):
            shape = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
            raise ConfigError(
                f"teacher.model {type(self.network).__name__} gives {shape}, where features (N, D) or a feature map "
                "(N, D, H, W) are needed; wrap it in a module that does."
            )
        return features if features.ndim == 2 else features.mean((2, 3))

    def train(self, mode: bool = True) -> FrozenTeacher:
        """Stay in evaluation mode."""
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FrozenTeacher:
        """Moves and casts reach the network, too."""
        super()._apply(fn, recurse)
        self.network._apply(fn)
        self._scale, self._shift = fn(self._scale), fn(self._shift)
        return self

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        trained = state_dict.get(f"{prefix}fingerprint")
        if trained is not None and not torch.equal(trained.cpu(), self.fingerprint.cpu()):
            raise ArtifactError(
                "the checkpoint was written by a training with another teacher than this config's; give teacher.model "
                "and teacher.checkpoint of that training."
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def _three(given: Sequence[float] | None, name: str, own: tuple[float, float, float]) -> list[float]:
    values = [float(value) for value in (own if given is None else given)]
    if len(values) != 3 or name == "std" and min(values) <= 0:
        raise ConfigError(f"teacher.{name}={given} must be three numbers, one a channel.")
    return values

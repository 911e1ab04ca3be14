"""What an exported network takes: how a photograph becomes its input.

N images, H W height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.loading import normalisation_of
from mmssl_dynamic.records import RecordError, plain, read_record

KEY = "images"  # in the sidecar


@dataclass(frozen=True)
class InputImages:
    """How images are made ready for a network.

    Attributes:
        normalisation: Of their pixels.
        size: (H, W) in evaluation; ``None`` if the config's ``eval_pipeline`` does not fix it.
        short_side: What their short side is resized to before they are cropped to ``size``; ``None`` if they are not.
        interpolation: How they are resized.
        eval_pipeline: All transforms of evaluation, as plain data.
    """

    normalisation: Normalisation
    size: tuple[int, int] | None = None
    short_side: int | None = None
    interpolation: str | None = None
    eval_pipeline: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, config: Config) -> InputImages:
        """Those of a pre-training config.

        Raises:
            ConfigError: the config does not say how images are normalised.
        """
        pipeline = [plain(step) for step in config.get("eval_pipeline") or []]
        found: dict[str, Any] = {}
        for step in pipeline:
            kind = str(step.get("type")).split(".")[-1]
            if kind == "ResizeEdge" and step.get("edge", "short") == "short":
                found = {"short_side": step["scale"], "interpolation": step.get("interpolation", "bilinear")}
            elif kind == "CenterCrop":
                found["size"] = _pair(step["crop_size"])
            elif kind == "Resize" and not step.get("keep_ratio") and step.get("scale") is not None:
                width, height = _pair(step["scale"])  # mmcv's order
                found = {"size": (height, width), "interpolation": step.get("interpolation", "bilinear")}
        return cls(normalisation_of(config), **found, eval_pipeline=pipeline)

    @classmethod
    def from_sidecar(cls, sidecar: Mapping[str, Any]) -> InputImages:
        """Those of an export.

        Raises:
            ArtifactError: the sidecar does not say.
        """
        try:
            entry = sidecar.get(KEY)
            normalisation = read_record(Normalisation, entry, KEY)  # its fields stand beside the others
            return read_record(cls, {**entry, "normalisation": asdict(normalisation)}, KEY)  # type: ignore[dict-item]
        except RecordError as error:
            raise ArtifactError(
                f"this sidecar does not say how images are normalised ({error}); export the sub-network anew."
            ) from error

    def record(self) -> dict[str, Any]:
        """For the sidecar."""
        return {
            "channel_order": self.normalisation.channel_order,
            "pixel_range": [0, 255],
            **self.normalisation.record(),
            "size": None if self.size is None else list(self.size),
            "short_side": self.short_side,
            "interpolation": self.interpolation,
            "eval_pipeline": self.eval_pipeline,
        }

    def openmmlab(self) -> dict[str, Any]:
        """The ``data_preprocessor`` of a model of mmpretrain, whichever it is: a classifier knows its own type."""
        return self.normalisation.record()

    def mmdet(self) -> dict[str, Any]:
        """The ``data_preprocessor`` of a detector, to be merged with that of its config, which may pad masks too."""
        mean, std, to_rgb = self.normalisation.record().values()
        return {
            "type": "DetDataPreprocessor",
            "mean": mean,
            "std": std,
            "bgr_to_rgb": to_rgb,
            "pad_size_divisor": 32,
        }

    def lines(self, library: str, channels: int) -> list[str]:
        """Python lines that define ``normalise``.

        Args:
            library: ``'torch'`` or ``'numpy'``, of the arrays.
            channels: Of the images.
        """
        if channels != 3:
            return [f"# normalise the {channels} channels of the images as in pre-training"]
        mean, std = list(self.normalisation.mean), list(self.normalisation.std)
        kind, cast, numbers = {
            "torch": ("tensor", "images.float()", "torch.tensor({}).view(3, 1, 1)"),
            "numpy": ("array", "images.astype('float32')", "numpy.array({}, 'float32').reshape(3, 1, 1)"),
        }[library]
        order = cast if self.normalisation.to_rgb else cast.replace("images", "images[:, [2, 1, 0]]")
        comment = f"# uint8 {kind} (N, 3, H, W), RGB{self._of_size()}"
        if not self.normalisation.to_rgb:
            comment += "; the network takes BGR"
        return [
            f"def normalise(images):  {comment}",
            f"    return ({order} - {numbers.format(mean)}) / {numbers.format(std)}",
        ]

    def _of_size(self) -> str:
        if self.size is None:
            return ""
        resized = f", cropped out of images with a short side of {self.short_side}" if self.short_side else ""
        return f"; in evaluation {self.size[0]} x {self.size[1]}{resized}"


def _pair(size: Any) -> tuple[int, int]:
    first, second = (size, size) if isinstance(size, int) else size
    return int(first), int(second)

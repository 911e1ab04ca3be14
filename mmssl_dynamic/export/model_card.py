"""The model card of a published network: ``README.md`` with the fields that Hugging Face's hub reads at its top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mmssl_dynamic.budget import Cost
from mmssl_dynamic.export.hub_folder import HubModel
from mmssl_dynamic.export.input_images import InputImages
from mmssl_dynamic.export.load_export import Sidecar

_TAGS = ["timm", "image-feature-extraction", "self-supervised-learning", "mmssl-dynamic"]


@dataclass(frozen=True)
class Figure:
    """One accuracy of the network.

    Attributes:
        task: Name of the task.
        images: Which images it was measured on.
        percent: The accuracy.
        protocol: How it was measured, in words.
    """

    task: str
    images: str
    percent: float
    protocol: str


@dataclass(frozen=True)
class Card:
    """What a card tells.

    Attributes:
        name: Of the published model.
        license: SPDX name of the weights' licence.
        sidecar: Of the export.
        source: Where the export's weights come from: ``config`` and so on, as its sidecar has it.
        figures: Accuracies.
        cost: Of one image of the size that it takes.
    """

    name: str
    license: str
    sidecar: Sidecar
    source: Mapping[str, Any]
    figures: Sequence[Figure]
    cost: Cost

    def text(self, model: HubModel) -> str:
        """``README.md``."""
        data = ModelCardData(
            license=self.license,
            library_name="timm",
            pipeline_tag="image-feature-extraction",
            tags=_TAGS,
            model_name=self.name,
            eval_results=[_result(figure) for figure in self.figures] or None,
        )
        parts = [f"---\n{data.to_yaml()}\n---", f"# {self.name}", self._about(), self._use(model), self._images()]
        return "\n\n".join([*parts, self._figures(), self._origin()]) + "\n"

    def _about(self) -> str:
        height, width = self.sidecar.images.size or (224, 224)
        routed = self.source.get("routed_for")
        return (
            f"The sub-network `{self.sidecar.subnet}` of a super-network that was pre-trained without labels"
            + (f"; it was chosen for the task {routed}" if routed else "")
            + f". A {self.sidecar.architecture.family} without classifier: {self.cost.params / 1e6:.2f} M weights and "
            f"{self.cost.macs / 1e6:,.1f} M multiply-accumulates an image of {height} x {width} px."
        )

    def _use(self, model: HubModel) -> str:
        plugin = (
            ["import mmssl_dynamic.export.timm_models  # pip install 'mmssl-dynamic[timm]'"] if model.plugin else []
        )
        lines = [
            "import timm",
            *plugin,
            "",
            f'model = timm.create_model("local-dir:{self.name}", pretrained=True).eval()  # or "hf-hub:USER/NAME"',
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))",
            f"features = model(transform(image).unsqueeze(0))  # a PIL image -> (1, {model.config['num_features']})",
        ]
        return "## Use\n\n```python\n" + "\n".join(lines) + "\n```"

    def _images(self) -> str:
        images: InputImages = self.sidecar.images
        size = "any" if images.size is None else f"{images.size[0]} x {images.size[1]} px in evaluation"
        short = "" if images.short_side is None else f", out of images with a short side of {images.short_side} px"
        rows = {
            "colours": images.normalisation.channel_order.upper(),
            "size": size + short,
            "mean, of pixels from 0 to 255": ", ".join(f"{value:g}" for value in images.normalisation.mean),
            "standard deviation": ", ".join(f"{value:g}" for value in images.normalisation.std),
        }
        note = (
            ""
            if images.normalisation.to_rgb
            else "\n\nThe network takes BGR images, and timm's transforms give RGB: turn the channels round, "
            "`images.flip(1)`."
        )
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return f"## Images\n\n| | |\n| --- | --- |\n{table}{note}"

    def _figures(self) -> str:
        if not self.figures:
            return "## Figures\n\nNone were published with it."
        rows = [f"| {f.task} | {f.images} | {f.percent:.2f} | {f.protocol} |" for f in self.figures]
        head = "| task | images | accuracy (%) | protocol |\n| --- | --- | ---: | --- |"
        return "\n".join(["## Figures\n", head, *rows])

    def _origin(self) -> str:
        options = " ".join(f"{key}={_at_home(value)}" for key, value in (self.source.get("cfg_options") or {}).items())
        rows = {
            "pre-training config": f"`{Path(str(self.source.get('config') or 'unknown')).name}`",
            "options of it": f"`{options}`" if options else "none",
            "fingerprint of the weights": f"`{self.sidecar.weights_fingerprint}`",
            "licence": self.license,
        }
        table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
        return f"## Where it comes from\n\n| | |\n| --- | --- |\n{table}"


def _at_home(value: Any) -> Any:
    """A value of an option, without the folders of a machine that it may name."""
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _result(figure: Figure) -> EvalResult:
    return EvalResult(
        task_type="image-classification",
        dataset_type=figure.task,
        dataset_name=f"{figure.task} ({figure.images})",
        metric_type="accuracy",
        metric_value=round(figure.percent, 2),
        metric_name=figure.protocol,
    )

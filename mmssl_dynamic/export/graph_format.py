"""What the formats of whole graphs have in common: a runtime executes the file, from images to feature maps.

N images, C channels, H W height and width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.export.base import Format, Outputs, Reading, Source, random_images
from mmssl_dynamic.export.snippets import example_size

Run = Callable[[NDArray[Any]], list[NDArray[Any]]]
"""Images (N, C, H, W) float32 to the feature maps of the backbone's ``out_indices``."""

INPUT = "images"


class GraphFormat(Format):
    """A graph with the input ``images`` (N, C, H, W) and the outputs ``features_i``, for i in ``out_indices``.

    There are no weights to compare: what writes graphs folds BatchNorm into the convolutions.

    Args:
        batch_size: N of all images that the graph takes; any when left out.
        image_size: Their H and W; any when left out.
    """

    def __init__(self, batch_size: int | None = None, image_size: int | None = None) -> None:
        self.batch_size, self.image_size = batch_size, image_size

    def ready(self) -> None:
        """Refuse sizes that cannot be."""
        for name in ("batch_size", "image_size"):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and value > 0):
                raise ConfigError(f"an exported graph's {name} {value!r} must be a positive number.")

    def run(self, path: Path, threads: int = 0) -> Run:
        """Load the file into its runtime on the CPU.

        Args:
            path: The file.
            threads: That the runtime may use; as many as it likes when 0.
        """
        raise NotImplementedError

    def batches(self, source: Source) -> list[Tensor]:
        """Noise of two sizes, as far as the graph takes any."""
        counts = (2, 1) if self.batch_size is None else (self.batch_size,) * 2
        sizes = ((64, 64), (96, 96)) if self.image_size is None else ((self.image_size,) * 2,) * 2
        return [random_images(source, count, size) for count, size in dict.fromkeys(zip(counts, sizes))]

    def read(self, source: Source, path: Path, *more: Path) -> Iterable[Reading]:
        """Into its runtime."""
        run = self.run(path, 0, *more)

        def outputs(images: Tensor) -> Outputs:
            found = run(images.cpu().numpy())
            return {i: torch.from_numpy(array).to(images.device) for i, array in zip(source.twin.out_indices, found)}

        yield Reading(self.runtime, None, outputs)

    def usage(self, source: Source, target: Path) -> str:
        """Python lines that need :attr:`runtime` and numpy alone, to be run beside the file."""
        return self.snippet(source, Path(target.name))

    def example_shape(self, source: Source) -> tuple[int, int, int, int]:
        """(N, C, H, W) of an example's images."""
        height, width = example_size(source) if self.image_size is None else (self.image_size,) * 2
        return self.batch_size or 1, source.architecture.in_channels, height, width

    def outputs(self, source: Source) -> dict[str, Any]:
        """Names of the input and of the outputs, and what sizes they have, for the sidecar."""
        names, channels = output_names(source.twin), source.twin.out_channels
        found = [{"name": name, "channels": count} for name, count in zip(names, channels)]
        return {"input": INPUT, "outputs": found, "batch_size": self.batch_size, "image_size": self.image_size}


def output_lines(source: Source, found: str) -> list[str]:
    """Lines of Python that name the outputs of a graph and pool the last one.

    Args:
        source: What was exported.
        found: Expression of the list of them.
    """
    names, channels = output_names(source.twin), source.twin.out_channels
    left = ", ".join([*names, ""]).rstrip()  # with a comma behind a single one
    shapes = f"(N, {channels[0]}, H', W')" if len(names) == 1 else "(N, C, H', W') each"
    return [
        f"{left} = {found}  # {shapes}",
        f"features = {names[-1]}.mean((2, 3))  # (N, {channels[-1]}): pooled, as for kNN and classifiers",
    ]


def output_names(twin: Any) -> list[str]:
    """Of the feature maps that a backbone returns."""
    return [f"features_{index}" for index in twin.out_indices]

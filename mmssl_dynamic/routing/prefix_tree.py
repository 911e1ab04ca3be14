"""Features of many sub-networks over the same images, common beginnings computed once (SDR Sec. 4.3).

The features after stage s depend on the first s indices of a path alone, when the BatchNorm statistics of a stage are
those of its prefix. Walking the tree of prefixes depth-first, 256 paths need 4 + 16 + 64 + 256 = 340 stage runs
instead of 4 x 256 = 1,024.

Where paths have several widths, those of one width share their beginnings, and there is a tree for each width.

Images are taken in chunks: a chunk's stage outputs along one branch of the tree are what is held at a time. Within a
chunk the weights of a sub-network are gathered once, for all its batches.

Dimensions: N images, C channels, D feature dim.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from mmssl_dynamic.calibration.bn_bank import prefix_name
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.subnets import FULL, parse_path, split_width


def stage_runs(net: SDRResNet, names: Iterable[str], share: bool) -> int:
    """How often an image runs through a stage when the features of ``names`` are computed."""
    names = list(names)
    if not share:
        return net.num_stages * len(names)
    paths = [name for name in names if name != FULL]
    tree = {(stage, prefix_name(path, stage)) for path in paths for stage in range(net.num_stages)}
    return len(tree) + net.num_stages * (len(names) - len(paths))


class PathFeatures:
    """Computes the pooled features of several sub-networks.

    Args:
        net: The super-network, with the statistics of all ``names`` set.
        names: Sub-networks. ``'full'`` shares nothing with the others.
        share: Compute stages of common prefixes once. Only right if the statistics of a stage are equal for all paths
            with the same prefix (``BNBank.apply(net, names, bn='prefix')``); then the features are bitwise the same.
        memory_gib: Bound in GiB on the images and stage outputs held at a time, on the device of ``net``. What one
            batch needs on its way through a stage comes on top.
        on_stage: Called with the number of images after each stage run, for a progress bar.

    Attributes:
        runs: Stage runs so far, in images.
        image_size: (H, W) of the images seen last.

    Raises:
        SubnetError: there is no such sub-network.
        ConfigError: ``memory_gib`` is not positive.
    """

    def __init__(
        self,
        net: SDRResNet,
        names: Sequence[str],
        share: bool = True,
        memory_gib: float = 1.0,
        on_stage: Callable[[int], Any] | None = None,
    ) -> None:
        if not memory_gib > 0:
            raise ConfigError(f"memory_gib={memory_gib} must be positive.")
        for name in names:
            net.space.check(name)
        self.net, self.share, self.memory_gib = net, share, memory_gib
        paths = sorted({net.space.check(name) for name in names} - {FULL}, key=_tree_order)
        # Shared or not, the sub-networks come in the same order, and each batch has the same images.
        self.paths, self.alone = (paths, []) if share else ([], paths)
        self.trees = [list(group) for _, group in groupby(self.paths, key=_width)]
        if any(net.space.check(name) == FULL for name in names):
            self.alone.append(FULL)
        self.on_stage = on_stage or (lambda images: None)
        self.runs = 0
        self.image_size: tuple[int, ...] = (0, 0)

    def __call__(self, batches: Iterable[Any]) -> tuple[dict[str, Tensor], Tensor | None]:
        """Features and labels of all images.

        Args:
            batches: Batches of :class:`~mmssl_dynamic.datasets.batches.ImageBatches`.

        Returns:
            By name, features (N, D), float32 on the CPU; and labels (N,), or ``None`` if there are none.

        Raises:
            DataError: there are no images.
            MissingStatisticsError: a sub-network has no BatchNorm statistics.
        """
        parts: dict[str, list[Tensor]] = {name: [] for name in (*self.alone, *self.paths)}
        labels: list[Tensor | None] = []
        with eval_mode(self.net):
            for chunk in self._chunks(batches):
                labels += [batch.labels for batch in chunk]
                images = [batch.images for batch in chunk]
                self.image_size = tuple(images[0].shape[-2:])
                chunk.clear()
                for name in self.alone:
                    parts[name] += self._run_alone(name, images)
                for tree in self.trees:
                    with self.net.subnet(tree[0]):
                        if tree is self.trees[-1]:  # the images are not held any longer
                            stem = [self.net.stem(images.pop(0)) for _ in range(len(images))]
                        else:
                            stem = [self.net.stem(batch) for batch in images]
                    self._walk(0, tree, stem, parts)
        if not labels:
            raise DataError("there are no images to compute features of; check that no split is empty.")
        known = [label.cpu() for label in labels if label is not None]
        # One after the other: the parts of a sub-network go before the next one is joined.
        features = {name: torch.cat(parts.pop(name)) for name in list(parts)}
        return features, torch.cat(known) if len(known) == len(labels) else None

    def _run_alone(self, name: str, images: Sequence[Tensor]) -> list[Tensor]:
        """All stages of one sub-network for all batches of a chunk."""
        features = []
        with self.net.subnet(name):
            for batch in images:
                x = self.net.stem(batch)
                for stage in range(self.net.num_stages):
                    x = self._stage(stage, x)
                features.append(pool(x).float().cpu())
        return features

    def _walk(self, stage: int, paths: Sequence[str], inputs: list[Tensor], parts: dict[str, list[Tensor]]) -> None:
        """Run a stage for every index that occurs in ``paths``, and the stages below it.

        ``paths`` agree in their width and in all indices before ``stage``; ``inputs`` are the outputs of the stage
        before, batch by batch.
        """
        for _, group in groupby(paths, key=lambda path: prefix_name(path, stage)):
            below = list(group)
            # Any path below the prefix stands for it: the weights and statistics of this stage are the same.
            with self.net.subnet(below[0]):
                if stage == self.net.num_stages - 1:
                    parts[below[0]] += [pool(self._stage(stage, x)).float().cpu() for x in inputs]
                    continue
                outputs = [self._stage(stage, x) for x in inputs]
            self._walk(stage + 1, below, outputs, parts)

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        self.runs += len(x)
        out = self.net.stage(stage, x)
        self.on_stage(len(x))
        return out

    def _chunks(self, batches: Iterable[Any]) -> Iterator[list[Any]]:
        """Lists of batches, at least one each, whose images and stage outputs fit into the memory."""
        chunk: list[Any] = []
        per_image = 0
        held = 0
        for batch in batches:
            per_image = per_image or self._bytes_per_image(batch.images[:1])
            if chunk and (held + len(batch.images)) * per_image > self.memory_gib * 2**30:
                yield chunk
                chunk, held = [], 0
            chunk.append(batch)
            held += len(batch.images)
        if chunk:
            yield chunk

    def _bytes_per_image(self, image: Tensor) -> int:
        """Bytes held per image: itself or the stem's output, and the outputs of all stages but the last.

        Of the widest tree; with several of them the image stays for the next one.
        """
        total = image.nbytes
        if self.trees:
            widest = max((tree[0] for tree in self.trees), key=self.net.num_parameters)
            with self.net.subnet(widest):
                x = self.net.stem(image)
                total = max(total, x.nbytes) if len(self.trees) == 1 else total + x.nbytes
                for stage in range(self.net.num_stages - 1):
                    x = self.net.stage(stage, x)
                    total += x.nbytes
        return total


def _width(name: str) -> str:
    return split_width(name)[1]


def _tree_order(name: str) -> tuple[str, tuple[int, ...]]:
    """Sub-networks of a width together, in the order of their indices."""
    path, width = split_width(name)
    return width, parse_path(path)

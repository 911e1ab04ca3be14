"""Pooled features of many networks on disk: each image is read once for all of them, and never again.

N images, D feature dim.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from tqdm import tqdm

from mmssl_dynamic.datasets.batches import ImageBatches
from mmssl_dynamic.datasets.fingerprint import images_record, pipeline_fingerprint
from mmssl_dynamic.datasets.names import image_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.features.feature_file import features_sidecar, partial_path
from mmssl_dynamic.features.feature_store import FeatureStore
from mmssl_dynamic.features.networks import Network
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.result_cache import Key
from mmssl_dynamic.rows import Rows


class FeatureCache:
    """A folder of feature files, named after all that their features depend on.

    Args:
        folder: The folder.
        weights: Fingerprint of the checkpoint's backbone.
        normalisation: That of the pre-training.
        batch_size: Images per batch.
        num_workers: Loader processes.
        device: Of the networks.
        progress: Show bars with the time left.
        flush_seconds: How much work a kill may cost.
        again: Compute anew what is there from an earlier run.
    """

    def __init__(
        self,
        folder: Path,
        weights: str,
        normalisation: Normalisation,
        batch_size: int = 64,
        num_workers: int = 0,
        device: torch.device | str = "cpu",
        progress: bool = False,
        flush_seconds: float = 20.0,
        again: bool = False,
    ) -> None:
        self.folder, self.weights, self.normalisation = folder, weights, normalisation
        self.batch_size, self.num_workers, self.device = batch_size, num_workers, device
        self.progress, self.flush_seconds, self.again = progress, flush_seconds, again
        self._inputs: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    def compute(self, networks: Sequence[Network], images: Any, label: str) -> dict[str, Rows]:
        """Features of all images, by all networks in one pass over those that are not on disk yet.

        Args:
            networks: Held in memory together.
            images: The data set of the images, with its pipeline.
            label: Beginning of the files' names, and what stands before the bar.

        Returns:
            Memory-mapped rows (N, D) by the network's name.

        Raises:
            ArtifactError: features hold NaN, or the disk is full.
        """
        stores = {network.name: self._store(network, images, label) for network in networks}
        pending = [network for network in networks if not stores[network.name].finished]
        start = min((stores[network.name].done for network in pending), default=len(images))
        if start < len(images):
            self._extract(pending, stores, images, start, label)
        names = image_names(images) if pending else []
        sidecar = {"weights_fingerprint": self.weights, "names": names, "labels": None, "classes": None}
        return {name: store.finish({**sidecar, "subnet": name}).rows for name, store in stores.items()}

    def discard(self, network: Network, images: Any, label: str) -> None:
        """Delete the features of one network."""
        path = self._path(self._key(network, images), label)
        for file in (path, features_sidecar(path), partial_path(path)):
            file.unlink(missing_ok=True)

    def inputs(self, images: Any) -> dict[str, Any]:
        """What features depend on beside the network, by the names of a :class:`~mmssl_dynamic.result_cache.Key`.

        The images count as they were when this was first asked.
        """
        if images not in self._inputs:
            self._inputs[images] = {
                "images": images_record(images).state,
                "pipeline": pipeline_fingerprint(images),
                "normalisation": self.normalisation.record(),
                "precision": precision(self.device),
            }
        return dict(self._inputs[images])

    def _key(self, network: Network, images: Any) -> Key:
        own = {"sub-network": network.name, "weights": self.weights, **network.inputs()}
        return Key("features", {**own, **self.inputs(images)})

    def _path(self, key: Key, label: str) -> Path:
        return self.folder / f"{label.replace(' ', '_')}-{key.inputs['sub-network']}-{key.digest}.npy"

    def _store(self, network: Network, images: Any, label: str) -> FeatureStore:
        key = self._key(network, images)
        return FeatureStore(self._path(key, label), len(images), key, self.again, self.flush_seconds)

    def _extract(
        self,
        networks: Sequence[Network],
        stores: Mapping[str, FeatureStore],
        images: Any,
        start: int,
        label: str,
    ) -> None:
        """Append the rows from ``start``; a store that is ahead takes only those that it lacks."""
        left = range(start, len(images))
        batches = ImageBatches(images, self.normalisation, self.batch_size, self.num_workers, self.device, indices=left)
        ahead = {network.name: stores[network.name].done - start for network in networks}
        shown = f"{label}: features of {len(networks)} network{'s'[: len(networks) > 1]}"
        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(stores[network.name])
                stack.enter_context(eval_mode(network.backbone))
            bar = tqdm(total=len(images), initial=start, desc=shown, unit="img", disable=not self.progress, leave=False)
            stack.enter_context(bar)
            for batch in batches:
                for network, rows in _rows(networks, batch.images):
                    skip = min(ahead[network.name], len(rows))
                    ahead[network.name] -= skip
                    if skip < len(rows):
                        stores[network.name].append(rows[skip:])
                bar.update(len(batch.images))


def _rows(networks: Sequence[Network], images: torch.Tensor) -> Iterator[tuple[Network, Rows]]:
    """Features (B, D) of a batch by each network."""
    for network in networks:
        outputs = network.backbone(images)
        last = outputs[-1] if isinstance(outputs, (tuple, list)) else outputs
        rows = pool(last).float()
        if not bool(rows.isfinite().all()):
            raise ArtifactError(
                f"network '{network.name}' gives features with NaN or infinity; check its weights and BatchNorm "
                "statistics."
            )
        yield network, rows.cpu().numpy()

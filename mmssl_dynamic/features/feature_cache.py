"""Pooled features of many networks on disk: each image is read once for all of them, and never again.

N images, D feature dim.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from mmssl_dynamic.datasets.fingerprint import images_record, pipeline_fingerprint
from mmssl_dynamic.datasets.names import image_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.features.feature_file import Features, features_sidecar, names_text, partial_path
from mmssl_dynamic.features.feature_store import FeatureStore
from mmssl_dynamic.features.networks import Network
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.features.shared_batches import SharedBatches
from mmssl_dynamic.fingerprints import precision
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import Key
from mmssl_dynamic.rows import Rows


@dataclass(frozen=True)
class StoredRows:
    """Features of one network in a file, which is opened when they are needed: processes may hold few files open.

    Attributes:
        path: The file.
        shape: (N, D).
    """

    path: Path
    shape: tuple[int, int]

    @classmethod
    def of(cls, features: Features, path: Path) -> StoredRows:
        """What lies in a file."""
        return cls(path, (features.num_images, features.dim))

    def load(self) -> Rows:
        """The features, mapped from disk."""
        return Features.load(self.path).rows


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
        processes: Those that share the batches of images out; the first one writes.
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
        processes: Processes | None = None,
    ) -> None:
        self.folder, self.weights, self.normalisation = folder, weights, normalisation
        self.batch_size, self.num_workers, self.device = batch_size, num_workers, device
        self.progress, self.flush_seconds, self.again = progress, flush_seconds, again
        self.processes = processes or Processes()
        self._inputs: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()

    def compute(self, networks: Sequence[Network], images: Any, label: str) -> dict[str, StoredRows]:
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
        first = self.processes.first
        stores = {network.name: self._store(network, images, label) for network in networks if first}
        state = {name: (store.done, store.finished) for name, store in stores.items()}
        state = self.processes.told(state)
        pending = [network for network in networks if not state[network.name][1]]
        done = {network.name: state[network.name][0] for network in pending}
        if pending and min(done.values()) < len(images):
            self._extract(pending, stores, images, done, label)
        if first:
            names = names_text(image_names(images)) if pending else ""
            sidecar = {"weights_fingerprint": self.weights, "names": names, "labels": None, "classes": None}
            found = {
                name: StoredRows.of(store.finish({**sidecar, "subnet": name}), store.path)
                for name, store in stores.items()
            }
        self.processes.wait()
        if not first:
            paths = {network.name: self._path(self._key(network, images), label) for network in networks}
            found = {name: StoredRows.of(Features.load(path), path) for name, path in paths.items()}
        return found

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
        done: Mapping[str, int],
        label: str,
    ) -> None:
        """Append the rows that are not there; a store that is ahead takes only those that it lacks."""
        start = min(done.values())
        loading = self.normalisation, range(start, len(images)), self.batch_size, self.num_workers, self.device
        batches = SharedBatches(images, *loading, self.processes)
        ahead = {name: count - start for name, count in done.items()}
        shown = f"{label}: features of {len(networks)} network{'s'[: len(networks) > 1]}"

        def compute(pixels: torch.Tensor) -> list[np.ndarray]:
            return [_pooled(network.backbone, pixels) for network in networks]

        with ExitStack() as stack:
            for network in networks:
                stack.enter_context(eval_mode(network.backbone))
            for store in stores.values():
                stack.enter_context(store)
            bar = tqdm(total=len(images), initial=start, desc=shown, unit="img", disable=not self.progress, leave=False)
            stack.enter_context(bar)
            for positions, found in batches.results(compute, most=max(1, 8 // len(networks))):
                for network, rows in zip(networks, found):
                    _check_finite(network, rows)
                    skip = min(ahead[network.name], len(rows))
                    ahead[network.name] -= skip
                    if skip < len(rows):
                        stores[network.name].append(rows[skip:])
                bar.update(len(positions))


def _pooled(backbone: nn.Module, images: torch.Tensor) -> np.ndarray:
    """Features (B, D) of a batch."""
    outputs = backbone(images)
    last = outputs[-1] if isinstance(outputs, (tuple, list)) else outputs
    return pool(last).float().cpu().numpy()


def _check_finite(network: Network, rows: np.ndarray) -> None:
    if not np.isfinite(rows).all():
        raise ArtifactError(
            f"network '{network.name}' gives features with NaN or infinity; check its weights and BatchNorm statistics."
        )

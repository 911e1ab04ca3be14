"""Pooled backbone features of a whole data set, F of SDR Sec. 4.2, written to disk.

N images, C channels, H W, D feature dimension (here D = C).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
from torch import Tensor, nn
from tqdm import tqdm

from mmssl_dynamic.datasets.fingerprint import images_record, pipeline_fingerprint
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.errors import ArtifactError, ConfigError, SubnetError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.feature_file import Features, names_text
from mmssl_dynamic.features.feature_store import FeatureStore
from mmssl_dynamic.features.pooling import pool
from mmssl_dynamic.features.shared_batches import SharedBatches
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import (
    architecture_fingerprint,
    precision,
    running_statistics,
    statistics_fingerprint,
)
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.models.eval_mode import eval_mode
from mmssl_dynamic.outputs import check_output_file
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import Key, kept_line
from mmssl_dynamic.subnets import FULL


def write_features(
    backbone: nn.Module,
    dataset: Any,
    normalisation: Normalisation,
    out: str | os.PathLike[str],
    subnet: str = FULL,
    limit_images: int | None = None,
    execution: Execution | None = None,
    flush_seconds: float = 20.0,
    processes: Processes | None = None,
    kept: ImageKeeper | None = None,
) -> Features:
    """Write ``F.npy`` and ``F.json``, or go on where an earlier run stopped.

    Memory does not grow with N, apart from the image names. Whoever calls this sees to it that nobody else writes the
    file meanwhile, see :mod:`mmssl_dynamic.locks`.

    Args:
        backbone: a plain one or a super-network, on the device to compute on. Put in evaluation mode for the time of
            the call.
        dataset: a data set whose pipeline has no random transforms.
        normalisation: that of the network, see :func:`mmssl_dynamic.loading.normalisation_of`.
        out: ``F.npy``.
        subnet: sub-network of a super-network; a plain backbone has only ``'full'``.
        limit_images: take only so many images, evenly spaced over the data set.
        execution: batch size (64) and workers (0), whether to throw away what an earlier run wrote, and to show a bar.
        flush_seconds: how much work a kill may cost.
        processes: those that share the batches out; the first one writes. A run that was stopped may go on in more or
            fewer of them.
        kept: where decoded images wait for the next network.

    Returns:
        The memory-mapped features.

    Raises:
        ArtifactError: ``out`` holds features of other weights, images or anything else that they depend on, or the
            features are not finite.
        SubnetError: the backbone has no such sub-network.
        MissingStatisticsError: the sub-network has no BatchNorm statistics.
    """
    execution, processes = Execution.of(execution, launcher=True), processes or Processes()
    progress, device = execution.progress, next(backbone.parameters()).device
    check_output_file(out)
    names = sample_names(dataset)
    indices = _spaced(len(names), limit_images)
    chosen = names_text(names[i] for i in indices)
    elastic = isinstance(backbone, SuperNetwork)
    if not elastic and subnet != FULL:
        raise SubnetError(f"--subnet {subnet}: the config's backbone is a plain network; leave --subnet out.")
    statistics = backbone.bn_statistics(subnet) if elastic else running_statistics(backbone)  # type: ignore[operator]
    key = Key(
        "features",
        {
            "sub-network": subnet,
            "weights": weights_fingerprint(backbone.state_dict()),
            "BN statistics": statistics_fingerprint(statistics),
            "architecture": architecture_fingerprint(backbone),
            "images": images_record(dataset, indices).state,
            "pipeline": pipeline_fingerprint(dataset),
            "normalisation": normalisation.record(),
            "precision": precision(device),
        },
    )
    store = FeatureStore(out, len(indices), key, execution.again, flush_seconds) if processes.first else None
    if store is not None and store.finished and progress:
        print(kept_line(f"{store.path}: all features are", [store.kept], key), flush=True)
    elif store is not None and store.done and progress:
        print(f"{store.path}: {store.done} of {len(indices)} images were done before", flush=True)
    done = processes.told(0 if store is None else store.done)
    if done < len(indices):
        active: AbstractContextManager = backbone.subnet(subnet) if elastic else nullcontext()  # type: ignore[operator]
        bar = tqdm(total=len(indices), initial=done, desc="features", unit="img", disable=not progress)
        batches = SharedBatches(dataset, normalisation, indices[done:], *execution.loading, device, processes, kept)
        with bar, store or nullcontext(), eval_mode(backbone), active:
            for positions, rows in batches.results(_pooled(backbone)):
                assert store is not None
                _check_finite(rows, [names[i] for i in positions])
                store.append(rows)
                bar.update(len(rows))
    if store is not None:
        store.finish(
            {
                "weights_fingerprint": key.inputs["weights"],
                "subnet": subnet,
                "image_root": _image_root(dataset, names, indices[0]),
                "classes": _classes(dataset),
                "labels": _labels(dataset, indices),
                "names": chosen,
            }
        )
    processes.wait()
    return Features.load(out)


def _pooled(backbone: nn.Module) -> Callable[[Tensor], np.ndarray]:
    """What makes features (B, D) of a batch."""

    def compute(images: Tensor) -> np.ndarray:
        maps = backbone(images)
        last = maps[-1] if isinstance(maps, (tuple, list)) else maps  # (B, C, H, W)
        return pool(last).float().cpu().numpy()

    return compute


def _spaced(total: int, limit: int | None) -> list[int]:
    if limit is None or limit >= total:
        return list(range(total))
    if limit < 1:
        raise ConfigError(f"--limit-images {limit} must be at least 1.")
    return np.linspace(0, total - 1, limit).round().astype(int).tolist()


def _check_finite(rows: np.ndarray, names: list[str]) -> None:
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        raise ArtifactError(
            f"the features of '{names[bad[0]]}' hold NaN or infinity; the checkpoint's training has diverged: give "
            "another one."
        )


def _image_root(dataset: Any, names: Sequence[str], index: int) -> str | None:
    """The folder that names are relative to, for the montage."""
    sample = dataset.get_data_info(index)
    path = sample.get("img_path")
    if path is None or not os.fspath(path).replace(os.sep, "/").endswith(names[index]):
        return None
    return os.path.abspath(os.fspath(path)[: -len(names[index])] or ".")


def _labels(dataset: Any, indices: list[int]) -> list[int] | None:
    """One class per image, or None where some image has none or several."""
    labels = [dataset.get_data_info(i).get("gt_label") for i in indices]
    if not all(isinstance(label, (int, np.integer)) for label in labels):
        return None
    return [int(label) for label in labels]


def _classes(dataset: Any) -> list[str] | None:
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    return list(classes) if classes else None

"""A resumed training must be the one that wrote the checkpoint: its images, clusters, batches and draws."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, Runner

from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.subnet_batch_sampler import SubnetBatchSampler
from mmssl_dynamic.datasets.subnet_dataset import SubnetDataset
from mmssl_dynamic.engine.bf16_optim_wrapper import Bf16OptimWrapper
from mmssl_dynamic.engine.unwrap import passes_per_update
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.registry import HOOKS

_KEY = "mmssl_dynamic_training"
_SKETCH = 512  # names that two sets of images are compared by
_LEAST_COMMON = 0.25  # of all images of both sets, for one of them to be the other with some removed or added


@HOOKS.register_module()
class ResumeCheckHook(Hook):
    """Writes down what a training is, and refuses to resume another one.

    Our batch samplers draw what belongs to (seed, step) and give every process its part. With the same number of
    images per step a run goes on as if it had never stopped, on more or fewer processes; with another number, or with
    other clusters, phases and learning rates and the images of an epoch would be other ones.

    Where images were removed or added, a training goes on with the next epoch, and says so; where hardly any is the
    same, it is another training. It also says so where it goes on in another precision.
    :class:`~mmssl_dynamic.engine.runner.Runner` registers this hook by itself.
    """

    def __init__(self) -> None:
        self._data: dict[str, Any] | None = None
        self._written: dict[str, Any] = {}
        self._same_images = True

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Write it down."""
        sampler = runner.train_dataloader.batch_sampler
        checkpoint[_KEY] = {
            **_settings(runner),
            **self._data_of(runner),
            "length": _length(runner),
            "precision": _precision(runner),
            "steps_per_epoch": len(runner.train_dataloader),
            "draws": sampler.drawn(checkpoint["meta"]["iter"]) if isinstance(sampler, SubnetBatchSampler) else None,
        }

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare.

        Raises:
            ConfigError: another number of images per step or update, or another optimiser.
            DataError: other clusters, or images that the training cannot go on with.
        """
        if not runner._resume:  # weights alone fit any training
            return
        self._written = checkpoint.get(_KEY) or {}
        if not self._written:
            return
        now = _settings(runner)
        for key, remedy in _REMEDIES.items():
            if self._written[key] != now[key]:
                raise ConfigError(
                    f"the checkpoint was written with {self._written[key]} {key}, this run has {now[key]}; "
                    f"{remedy(self._written[key])}."
                )
        precision = _precision(runner)
        if self._written.get("precision", precision) != precision:
            runner.logger.warning(
                f"The checkpoint was written by a training in {self._written['precision']}, and this one goes on in "
                f"{precision}; --amp, and what kind of floats it takes, decides."
            )
        data = self._data_of(runner)
        if self._written["clusters"] != data["clusters"]:
            raise DataError(
                f"the checkpoint was written with {_named(self._written['clusters'])}, this run has "
                f"{_named(data['clusters'])}, and a path of SDR belongs to its cluster; give the clusters_file of the "
                f"training that is resumed, or {_ANEW}."
            )
        self._begin_epoch_anew(runner, checkpoint["meta"])
        if self._written["images"] != data["images"] or self._written["names"] != data["names"]:
            self._go_on_with_other_images(runner, checkpoint["meta"], data)

    def _begin_epoch_anew(self, runner: Runner, meta: dict) -> None:
        """Go back to where an epoch began, of a loader that knows no other place to begin."""
        start = meta["epoch"] * self._written["steps_per_epoch"]
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        if by_epoch and meta["iter"] != start and not hasattr(runner.train_dataloader.batch_sampler, "start_at"):
            runner.logger.warning(
                f"The checkpoint was written {meta['iter'] - start} steps into epoch {meta['epoch'] + 1}, which is "
                "trained anew: this train_dataloader cannot begin within an epoch, as one with "
                "batch_sampler=dict(type='mmssl_dynamic.ResumableBatchSampler') can."
            )
            meta["iter"] = start

    def _go_on_with_other_images(self, runner: Runner, meta: dict, data: dict[str, Any]) -> None:
        """Set the checkpoint's step to where the epochs it has trained would end with these images."""
        before, now = self._written["images"], data["images"]
        common = _share_in_common(self._written["sketch"], data["sketch"])
        differ = f"the checkpoint was written with {before} images, this run has {now}"
        if common is not None:
            differ += f", and {100 * common:.0f} % of all these are in both"
        if common is not None and common < _LEAST_COMMON:
            raise DataError(f"{differ}; give the images of the training that is resumed, or {_ANEW}.")
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            epochs, left = divmod(meta["iter"], self._written["steps_per_epoch"])
            if left:
                raise DataError(
                    f"{differ}, and it was written within an epoch, of which nobody can say what is left; give the "
                    f"images of the training that is resumed, or {_ANEW}."
                )
            meta.update(epoch=epochs, iter=epochs * len(runner.train_dataloader))
        self._same_images = False
        runner.logger.warning(f"Images differ: {differ}. The training goes on with these, from its next epoch on.")

    def before_train(self, runner: Runner) -> None:
        """Compare the networks that were drawn so far with those that this config draws.

        Raises:
            ConfigError: they differ.
        """
        sampler, drawn = runner.train_dataloader.batch_sampler, self._written.get("draws")
        if drawn is None or not isinstance(sampler, SubnetBatchSampler):
            return
        before, now = self._written["length"], _length(runner)
        if drawn == sampler.drawn(runner.iter) or (before == now and not self._same_images):
            return
        why = "set the phases, the paths and their shares as they were"
        if before != now:
            why = f"SDR's phases lie over the whole training, of {before} then and {now} now; set {before}, or {_ANEW}"
        raise ConfigError(
            f"the networks drawn in the {runner.iter} steps until the checkpoint are not those that this config draws: "
            f"{why}."
        )

    def _data_of(self, runner: Runner) -> dict[str, Any]:
        """Images and clusters; listed once, since that takes seconds for millions of images."""
        if self._data is None:
            dataset = runner.train_dataloader.dataset
            clusters = dataset.clusters if isinstance(dataset, SubnetDataset) else None
            names = _names(dataset)
            self._data = {
                "images": len(dataset),
                "names": None if names is None else _fingerprint(names),
                "sketch": None if names is None else _sketch(names),
                "clusters": None if clusters is None else [clusters.num_clusters, clusters.members_fingerprint],
            }
        return self._data


_ANEW = "begin a new training in another --work-dir, with the weights of this one by --cfg-options load_from=CHECKPOINT"


def _batch_remedy(written: int) -> str:
    processes = get_world_size()
    if written % processes:
        return f"use a number of processes that divides {written}"
    return f"set train_dataloader.batch_size={written // processes}"


# What a training must have as it had it, and how it is set.
_REMEDIES = {
    "images per step": _batch_remedy,
    "passes per update": lambda written: f"set optim_wrapper.accumulative_counts={written}",
    "as its optimiser": lambda written: f"set optim_wrapper.optimizer.type='{written}'",
}


def _settings(runner: Runner) -> dict[str, Any]:
    sampler = runner.train_dataloader.batch_sampler
    total = getattr(sampler, "total_batch", None)
    return {
        "images per step": int(sampler.batch_size) * get_world_size() if total is None else int(total),
        "passes per update": passes_per_update(runner),
        "as its optimiser": type(getattr(runner.optim_wrapper, "optimizer", runner.optim_wrapper)).__name__,
    }


def _precision(runner: Runner) -> str:
    """Floats that networks are computed in, by torch's name; of several optimisers, each kind once."""
    wrapper = runner.optim_wrapper
    wrappers = list(wrapper.values()) if isinstance(wrapper, OptimWrapperDict) else [wrapper]
    return " and ".join(sorted({_precision_of(each) for each in wrappers}))


def _precision_of(wrapper: OptimWrapper) -> str:
    if isinstance(wrapper, AmpOptimWrapper):
        return str(wrapper.cast_dtype or torch.float16).removeprefix("torch.")  # a card's own is float16
    return "bfloat16" if isinstance(wrapper, Bf16OptimWrapper) else "float32"


def _length(runner: Runner) -> str:
    """Length of the training, as its config says it."""
    by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
    return f"max_epochs={runner.max_epochs}" if by_epoch else f"max_iters={runner.max_iters}"


def _names(dataset: Any) -> Sequence[str] | None:
    """Names of the images; ``None`` of a data set that does not list them, or one twice."""
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset  # of a data set that seeds or repeats another one
    if not hasattr(dataset, "get_data_info"):
        return None
    try:
        return sample_names(dataset)
    except DataError:
        return None


def _fingerprint(names: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(names).encode("utf-8", "surrogateescape")).hexdigest()


def _sketch(names: Sequence[str]) -> list[int]:
    """The smallest hashes of names: a sample that is the same one of the same names in any set (bottom-k sketch)."""
    hashes = [hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=7).digest() for name in names]
    return sorted(int.from_bytes(digest, "big") for digest in hashes)[:_SKETCH]


def _share_in_common(one: list[int] | None, other: list[int] | None) -> float | None:
    """Estimated share of the images of both sets that is in both."""
    if one is None or other is None:
        return None
    union = np.union1d(one, other)[:_SKETCH]
    return float(np.isin(union, np.intersect1d(one, other)).mean())


def _named(clusters: list | None) -> str:
    return "no clusters" if clusters is None else f"{clusters[0]} clusters (fingerprint {clusters[1][:8]})"

"""One candidate of routing for detection: a sub-network fine-tuned in a detector for some iterations, and its AP.

Run as a module with a job file, it does one job in a process of its own: ``python -m
mmssl_dynamic.detection.candidate JOB``.
"""

from __future__ import annotations

import ast
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook

from mmssl_dynamic import cli
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.detection.average_precision import average_precision
from mmssl_dynamic.detection.detector import prepare_detection
from mmssl_dynamic.engine.checkpoints import go_on_if_begun
from mmssl_dynamic.engine.launch import build_runner
from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fingerprints import fingerprint
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.models.backbones import SuperNetwork
from mmssl_dynamic.records import read_record
from mmssl_dynamic.registry import MODELS, default_scope_kept
from mmssl_dynamic.result_cache import Kept, Key, ResultCache
from mmssl_dynamic.writing import write_text

#: What messages call the folder of a candidate.
CANDIDATE_FOLDER = "candidate folder"
# Options of a backbone that belong to the detector, and not to the pre-training.
_DETECTOR_OPTIONS = ("out_indices", "frozen_stages", "norm_cfg", "norm_eval")
# What in a detector's config can change no result.
_SILENT = ("work_dir", "log_level", "log_processor", "visualizer", "vis_backends", "launcher", "resume", "train_cfg")
_SILENT_HOOKS = ("timer", "logger", "checkpoint", "visualization")


@dataclass(frozen=True)
class _Finished:
    """What a candidate leaves behind: AP, AP50 and AP75 by kind, the seconds it took, and AP of the classes by kind."""

    AP: dict[str, dict[str, float]]
    seconds: float
    classes: dict[str, dict[str, float | None]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CandidateJob:
    """What is needed to fine-tune and evaluate one candidate.

    Attributes:
        name: Name of the sub-network.
        iterations: Of fine-tuning; a candidate that was trained for fewer goes on from there.
        folder: Of all candidates; each has a folder of its own for every set of inputs, with checkpoints and results.
        backbone: Config of the sub-network's backbone, without weights.
        in_channels: Channels of its feature maps, for the neck.
        checkpoint, bank, bn: Of the super-network, see :class:`~mmssl_dynamic.export.PretrainedSubnet`.
        det_config: Config of the detector; its backbone is replaced.
        det_options: Overrides of its values.
        seed: Of everything random, the same for all candidates.
        inputs: Everything else that the result depends on, by the names of a :class:`~mmssl_dynamic.result_cache.Key`.
    """

    name: str
    iterations: int
    folder: str
    backbone: dict[str, Any]
    in_channels: list[int]
    checkpoint: str
    bank: str | None
    bn: str
    det_config: str
    det_options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    inputs: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        """What the result depends on."""
        return self._key(self.iterations)

    @property
    def work_dir(self) -> Path:
        """Its checkpoints and results; a training for more iterations goes on in it from one for fewer."""
        return Path(self.folder) / f"{self.name}-{self._key('any').digest}"

    def _key(self, iterations: int | str) -> Key:
        own = {"sub-network": self.name, "iterations": iterations, "seed": self.seed}
        return Key("detection candidate", {**self.inputs, **own})

    @property
    def _cache(self) -> ResultCache[dict[str, Any]]:
        return ResultCache(self.work_dir, lambda record: asdict(read_record(_Finished, record)))

    def write(self, file: Path) -> None:
        """Write the job for another process, as Python literals: transforms tell tuples from lists, and JSON does not.

        Args:
            file: The job file.
        """
        write_text(file, repr(asdict(self)))

    @classmethod
    def read(cls, file: str | Path) -> CandidateJob:
        """Read a job."""
        return cls(**ast.literal_eval(Path(file).read_text(encoding="utf-8")))

    def finished(self) -> Kept[dict[str, Any]] | None:
        """AP by kind and the seconds, if that was found before."""
        return self._cache.load(self.key, f"result_{self.iterations}")

    def keep(self, record: Mapping[str, Any]) -> None:
        """Keep a result.

        Args:
            record: ``AP`` by kind, ``seconds``, and perhaps AP of the ``classes`` by kind.
        """
        self._cache.save(self.key, f"result_{self.iterations}", record)


def detector_fingerprint(detector: Config) -> str:
    """Fingerprint of everything in a detector's config that can change a candidate's result.

    Its backbone is replaced. The folders of images are part of it: a candidate is trained again where they moved.
    """
    config = detector.to_dict()
    config["model"].pop("backbone", None)
    for hook in _SILENT_HOOKS:
        (config.get("default_hooks") or {}).pop(hook, None)
    return fingerprint({key: value for key, value in config.items() if key not in _SILENT}, "the detector's config")


def detector_backbone(net: SuperNetwork, name: str, det_config: Config) -> tuple[dict[str, Any], list[int]]:
    """The backbone config of a sub-network inside of a detector, and the channels of its feature maps.

    What belongs to the detector (which maps it reads, what is frozen, its norm layers) is taken from its config.
    """
    config = net.config(name)
    given = det_config.model.get("backbone") or {}
    config.update({key: given[key] for key in _DETECTOR_OPTIONS if key in given})
    plain = {**config, "norm_cfg": dict(type="BN")}
    return _as_json(config), list(MODELS.build(plain).out_channels)


def candidate_config(job: CandidateJob) -> Config:
    """The detector's config with the candidate as its backbone, stopped early.

    The learning rate is that of the full schedule: warmed up, and not yet decayed. Schedules by epochs are left out,
    since their first steps lie far beyond.

    Raises:
        UserError: as :func:`~mmssl_dynamic.detection.detector.prepare_detection`.
    """
    config = prepare_detection(job.det_config, cfg_options=job.det_options, training=False, work_dir=str(job.work_dir))
    source = dict(type="mmssl_dynamic.PretrainedSubnet", checkpoint=job.checkpoint, bank=job.bank, bn=job.bn)
    config.model.backbone = {**job.backbone, "init_cfg": source}
    if "in_channels" in (config.model.get("neck") or {}):
        config.model.neck.in_channels = job.in_channels
    config.train_cfg = dict(type="IterBasedTrainLoop", max_iters=job.iterations, val_interval=job.iterations)
    config.train_dataloader.sampler = dict(type="InfiniteSampler", shuffle=True)
    schedules = config.get("param_scheduler") or []
    schedules = schedules if isinstance(schedules, list) else [schedules]
    config.param_scheduler = [entry for entry in schedules if not entry.get("by_epoch", True)]
    config.setdefault("default_hooks", {})
    config.default_hooks.checkpoint = dict(
        type="CheckpointHook", by_epoch=False, interval=max(1, min(200, job.iterations)), max_keep_ckpts=1
    )
    config.log_processor = dict(by_epoch=False)
    config.randomness = dict(seed=job.seed)
    go_on_if_begun(config)
    config.setdefault("log_level", "WARNING")
    config.runner_type = "mmssl_dynamic.Runner"
    return config


@default_scope_kept()
def run_candidate(job: CandidateJob) -> dict[str, Any]:
    """Fine-tune and evaluate, unless that has been done; returns AP by kind (boxes, masks), seconds, AP of the classes.

    Raises:
        LockedError: another process trains it.
        UserError: anything that does not fit.
    """
    known = job.finished()
    if known is not None:
        return known.value
    # A candidate outlives the process that started it if that one is killed: the next run must not train beside it.
    with locked_folder(job.work_dir, CANDIDATE_FOLDER, instead="--out"):
        known = job.finished()
        return _trained(job) if known is None else known.value


def _trained(job: CandidateJob) -> dict[str, Any]:
    """Fine-tune and evaluate."""
    from mmssl_dynamic.detection.class_metrics import evaluate_classes, split_classes  # imports mmdet

    start = time.monotonic()
    _check_statistics(job)
    config = candidate_config(job)
    evaluate_classes(config, "val")
    runner = build_runner(config)
    kept = _KeepMetrics()
    runner.register_hook(kept)
    runner.train()
    # A run that was stopped between its last checkpoint and its evaluation has only that left.
    metrics = kept.metrics if kept.metrics is not None else runner.val_loop.run()
    metrics, classes = split_classes(metrics, runner.val_dataloader.dataset.metainfo.get("classes") or ())
    seconds = round(time.monotonic() - start, 1)
    record = {"AP": average_precision(metrics), "seconds": seconds, "classes": classes}
    job.keep(record)
    return record


def _check_statistics(job: CandidateJob) -> None:
    """Refuse a bank that was written anew since the routing began: the result would be kept for other statistics.

    Raises:
        ArtifactError: it was.
    """
    if job.bank is None:
        return
    if BNBank.load(job.bank).statistics_fingerprint([job.name], job.bn) != job.inputs["BN statistics"]:
        raise ArtifactError(
            f"BN bank {job.bank} was written anew since the routing began, with other statistics of {job.name}; run "
            "again, and candidates are trained with these."
        )


class _KeepMetrics(Hook):
    """Holds what the validation after the last iteration found."""

    metrics: dict[str, float] | None = None

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Take the metrics."""
        self.metrics = metrics


def _as_json(node: Any) -> Any:
    """As JSON gives it back: tuples are lists."""
    if isinstance(node, dict):
        return {str(key): _as_json(value) for key, value in node.items()}
    return [_as_json(value) for value in node] if isinstance(node, list | tuple) else node


def _main() -> None:
    run_candidate(CandidateJob.read(sys.argv[1]))


if __name__ == "__main__":
    cli.run(_main)

"""Detectors with sub-networks as backbones, from mmdet configs: what ``tools/train_det.py`` and ``test_det.py`` do.

The configs are mmdet's, and mmdet's own tools run them as well. What is added here are one sentence instead of a
traceback where files are missing, an evaluation that refuses weights which do not fit, and a report with pictures.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process

from mmssl_dynamic.detection.average_precision import average_precision, check_evaluators
from mmssl_dynamic.detection.class_names import check_class_option
from mmssl_dynamic.detection.data_check import check_detection_data
from mmssl_dynamic.detection.evaluation_report import write_evaluation_report
from mmssl_dynamic.detection.prediction_pictures_hook import PredictionPicturesHook
from mmssl_dynamic.detection.pretrained_weights import check_weights
from mmssl_dynamic.engine.launch import build_runner, prepare_config
from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from mmssl_dynamic.fileio import load_state_dict, weights_fingerprint
from mmssl_dynamic.loading import load_config, need
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.outputs import check_output_folder
from mmssl_dynamic.records import plain
from mmssl_dynamic.registry import default_scope_kept
from mmssl_dynamic.result_file import ResultFile
from mmssl_dynamic.version import __version__

FILE = ResultFile("detection", 1, "tools/test_det.py")
PathLike = str | os.PathLike[str]
_SPLITS = ("train", "val", "test")
_PLAIN_LOADING = {"type", "backend_args", "_scope_"}


def prepare_detection(
    path: PathLike, *, cfg_options: dict[str, Any] | None = None, training: bool = True, **options: Any
) -> Config:
    """The config of a detector, with the command line's options merged into it.

    ``data_root=...`` reaches the annotation files of the evaluators, too.

    Args:
        path: Config file.
        cfg_options: Overrides of its values.
        training: Whether the weights of the pre-training are needed.
        options: Of :func:`~mmssl_dynamic.engine.launch.prepare_config`: ``work_dir``, ``resume``, ``launcher`` and
            ``options``.

    Raises:
        ConfigError: mmdet or the operators of mmcv are missing, or the config cannot do what an option asks for.
        DataError: an annotation file is missing or has other classes or, for a training, annotations or images cannot
            be used.
        ArtifactError: the weights of the backbone are missing.
    """
    _need_mmdet()
    config = prepare_config(path, cfg_options=cfg_options, **options)
    check_class_option(config.get("classes"))
    _move_annotations(load_config(path), config, cfg_options or {})
    _check_annotations(config, _SPLITS if training else ("test",))
    _load_images_alike(config)
    if training:
        check_weights(config, path)
        check_data(config, _SPLITS)
    return config


def check_data(config: Config, splits: Sequence[str]) -> None:
    """Look at the annotations and images of some splits, in the first process alone.

    Raises:
        UserError: see :func:`~mmssl_dynamic.detection.data_check.check_detection_data`.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    loaders = {f"{split}_dataloader": config.get(f"{split}_dataloader") or {} for split in splits}
    sets = [(name, node) for name, loader in loaders.items() for node in _datasets(loader.get("dataset"))]
    check_detection_data(sets, config.get("classes"))


def _load_images_alike(config: Config) -> None:
    """Let detectors read images as the pre-training does: a file of which a part is lost is refused, not grey there."""

    def replace(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("type") in ("LoadImageFromFile", "mmcv.LoadImageFromFile") and set(node) <= _PLAIN_LOADING:
                node.update(type="mmssl_dynamic.LoadImage", whole=True)
            for child in node.values():
                replace(child)
        elif isinstance(node, list | tuple):
            for child in node:
                replace(child)

    for split in _SPLITS:
        replace((config.get(f"{split}_dataloader") or {}).get("dataset"))


@default_scope_kept()
@locks_folder()
def evaluate_detector(
    path: PathLike,
    checkpoint: PathLike,
    out: PathLike | None = None,
    *,
    work_dir: PathLike | None = None,
    show_dir: str | None = None,
    pictures: int = 8,
    score_thr: float = 0.3,
    launcher: str = "none",
    cfg_options: dict[str, Any] | None = None,
) -> dict[str, dict[str, float]]:
    """Evaluate a trained detector on the config's test set.

    Args:
        path: Config of the detector.
        checkpoint: Of its training.
        out: Folder for ``results.json``, ``report.html`` and the pictures in it; the work dir when left out.
        work_dir: Folder of logs; ``out`` when left out, and without that as in training.
        show_dir: Folder, below the work dir and the time of the start, that every image is drawn into.
        pictures: Images to draw, 0 for none.
        score_thr: Predictions to draw, by their score.
        launcher: As in training.
        cfg_options: Overrides of the config.

    Returns:
        AP, AP50 and AP75 of boxes and masks, see :func:`~mmssl_dynamic.detection.average_precision`.

    Raises:
        ArtifactError: the checkpoint is missing or does not fit the config.
        ConfigError: the config's evaluator reports no AP, or its classes are not the detector's.
        UserError: as :func:`prepare_detection`.
    """
    if out is not None:
        check_output_folder(out)
    logs = work_dir if work_dir is not None else out
    config = prepare_detection(
        path, cfg_options=cfg_options, training=False, work_dir=None if logs is None else str(logs), launcher=launcher
    )
    folder = Path(config.work_dir if out is None else out)
    need(config, "test_dataloader", "test_evaluator", "test_cfg")
    check_data(config, ("test",))
    check_evaluators(evaluators(config, "test"), "test")
    if show_dir is not None:
        _draw_all(config, show_dir)
    from mmssl_dynamic.detection.class_metrics import evaluate_classes, split_classes  # imports mmdet

    evaluator = plain(config.test_evaluator)
    evaluate_classes(config, "test")
    state = load_state_dict(checkpoint)
    config.load_from, config.resume = str(checkpoint), False
    runner = build_runner(config)
    _check_fits(bare_model(runner.model).state_dict(), state, checkpoint)
    hook = PredictionPicturesHook(str(folder / "pictures"), max(pictures, 1), score_thr)
    if pictures > 0:
        runner.register_hook(hook)
    _check_classes(runner)
    metrics, by_class = split_classes(runner.test(), runner.test_dataloader.dataset.metainfo.get("classes") or ())
    found = average_precision(metrics, any("segm" in entry.get("metric", ()) for entry in evaluators(config, "test")))
    if is_main_process():
        record = {
            "AP": found,
            "classes": by_class,
            "metrics": metrics,
            "evaluator": evaluator,
            "data": [str(file) for file in _annotations(config, "test")],
            "images": len(runner.test_dataloader.dataset),
            "config": str(path),
            "cfg_options": plain(cfg_options or {}),
            "checkpoint": str(checkpoint),
            "weights_fingerprint": weights_fingerprint(state),
            "mmssl_dynamic": __version__,
        }
        FILE.save(folder / "results.json", record)
        write_evaluation_report(record, hook, folder / "report.html")
    return found


def _draw_all(config: Config, folder: str) -> None:
    """What mmdet's ``tools/test.py --show-dir`` does."""
    hook = (config.get("default_hooks") or {}).get("visualization")
    if hook is None:
        raise ConfigError(
            "--show-dir needs the hook that draws: default_hooks.visualization.type=DetVisualizationHook."
        )
    hook.draw, hook.test_out_dir = True, folder


def _check_classes(runner: Any) -> None:
    """Refuse a data set with other classes than the detector, which ends the evaluation after the whole test.

    As mmdet's ``NumClassCheckHook``, which looks at training and validation alone.
    """
    classes = runner.test_dataloader.dataset.metainfo.get("classes")
    for name, module in bare_model(runner.model).named_modules():
        own = getattr(module, "num_classes", None)
        if name.endswith("bbox_head") and classes is not None and own is not None and own != len(classes):
            raise ConfigError(
                f"the test set has {len(classes)} classes and the detector's {name} {own}; set "
                f"model.{name}.num_classes, or give the data set that the detector was trained for."
            )


def _need_mmdet() -> None:
    for module in ("mmdet", "mmcv._ext"):
        if find_spec("mmcv") is None or find_spec(module) is None:
            raise ConfigError(
                "detection needs mmdet, and mmcv with operators in place of mmcv-lite; run `pip install -r "
                "requirements/mmcv.txt -r requirements/mmdet.txt`, or `make setup-test` in a checkout."
            )


def _datasets(node: Any) -> Iterator[dict[str, Any]]:
    """The data sets with annotation files inside of a loader's, which may be repeated or concatenated."""
    if isinstance(node, list | tuple):
        for child in node:
            yield from _datasets(child)
    elif isinstance(node, dict):
        if node.get("ann_file"):
            yield node
        yield from _datasets(node.get("dataset"))
        yield from _datasets(node.get("datasets"))


def _annotations(config: Config, split: str) -> list[str]:
    """Annotation files of a split."""
    loader = config.get(f"{split}_dataloader") or {}
    return [os.path.join(node.get("data_root") or "", node["ann_file"]) for node in _datasets(loader.get("dataset"))]


def evaluators(config: Config, split: str) -> list[Any]:
    """Configs of the metrics of a split."""
    found = config.get(f"{split}_evaluator") or []
    return list(found) if isinstance(found, list | tuple) else [found]


def _move_annotations(before: Config, config: Config, options: dict[str, Any]) -> None:
    """Let an evaluator read the annotations of its data set also after these were moved by an option.

    mmdet's configs write the same file into both; what was the same stays the same, unless an option says otherwise.
    """
    for split in ("val", "test"):
        if any(key.startswith(f"{split}_evaluator") for key in options):
            continue
        old, new = _annotations(before, split), _annotations(config, split)
        for evaluator in evaluators(config, split):
            file = evaluator.get("ann_file")
            if len(old) == len(new) == 1 and file and os.path.normpath(file) == os.path.normpath(old[0]):
                evaluator["ann_file"] = new[0]


def _check_annotations(config: Config, splits: tuple[str, ...]) -> None:
    for split in splits:
        named = [(f"{split}_dataloader", file) for file in _annotations(config, split)]
        named += [
            (f"{split}_evaluator", entry["ann_file"]) for entry in evaluators(config, split) if entry.get("ann_file")
        ]
        for what, file in named:
            if "://" not in file and not Path(file).is_file():
                raise DataError(
                    f"{what} needs {file}, which does not exist; give the folder of your data with "
                    f"--cfg-options data_root=... (now {config.get('data_root')}), or correct the config."
                )


def _check_fits(own: dict[str, torch.Tensor], state: dict[str, torch.Tensor], source: PathLike) -> None:
    """Refuse what mmengine would load in parts, since the AP of a half-initialised detector is worth nothing."""
    wrong = next((name for name in own if name not in state or state[name].shape != own[name].shape), None)
    if wrong is not None:
        found = "is missing" if wrong not in state else f"has shape {tuple(state[wrong].shape)}"
        raise ArtifactError(
            f"checkpoint {source} is not of this detector: '{wrong}' {found}, where the config's has "
            f"{tuple(own[wrong].shape)}; give a checkpoint that tools/train_det.py wrote for this config."
        )

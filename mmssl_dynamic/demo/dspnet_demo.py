"""DSPNet's idea in minutes: one pre-training of six networks, each alone beside it, kNN, cost, exports, a report.

The base is SimSiam in place of the paper's BYOL, which learns less in minutes. Every step is the one that the command
lines in ``tools/`` run, at a size that two cores finish while a person waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from tqdm import tqdm

from mmssl_dynamic.apis.calibrate import calibrate
from mmssl_dynamic.apis.evaluate import Comparison, evaluate
from mmssl_dynamic.apis.export import ALL, export
from mmssl_dynamic.calibration import CalibrationPlan
from mmssl_dynamic.calibration.bn_bank import BANK_FILE
from mmssl_dynamic.demo.dspnet_report import write_dspnet_report
from mmssl_dynamic.demo.dspnet_results import AT_ONCE, EQUAL_STEPS, EQUAL_TIME, DSPNetDemoResults, Training
from mmssl_dynamic.demo.steps import check_images, demo_images, demo_settings, random_backbone
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.evaluation.network_evaluation import Timing
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.features.networks import Networks
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.loading import build_backbone, find_config, load_config
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.models.backbones import SlimmableResNet
from mmssl_dynamic.pipeline.clock import Clock
from mmssl_dynamic.pipeline.steps import claim, train_to_end, training_inputs
from mmssl_dynamic.result_cache import KeptFiles, Key
from mmssl_dynamic.visualization.training_log import read_log
from mmssl_dynamic.writing import save_torch

_CONFIG = "demo/slimmable-simsiam_demo.py"
_STEPS = 8  # of an epoch, at least


@dataclass
class _Weights:
    """Weights whose networks are evaluated.

    Attributes:
        checkpoint: The file.
        bank: BN bank of all its networks.
        options: Overrides of the config that build them.
        folder: Of the results.
    """

    checkpoint: Path
    bank: Path
    options: dict[str, Any]
    folder: Path
    results: dict[str, EvaluationResult] = field(default_factory=dict)


@locks_folder()
def run_dspnet_demo(
    out: str | Path = "work_dirs/demo-dspnet",
    data: str | Path | None = None,
    epochs: int = 8,
    seed: int = 0,
    max_images: int = 2048,
    again: bool = False,
    tasks: Sequence[str | Path] | None = None,
) -> Path:
    """Pre-train six networks at once, and each of them alone; compare and export them, and write a report.

    Alone, each has as many steps as all at once, and then so many that the six together take the time of all at once.

    Run again, it goes on where it stopped, and does again only what anything has changed of.

    Args:
        out: Folder of everything that is written.
        data: Folder of images to pre-train on instead of the photographs inside scikit-image. If it has ``train/`` and
            ``test/`` folders of classes, the networks are compared on it as well.
        epochs: Of all networks at once, and of each alone for as many steps.
        seed: Of everything random.
        max_images: Images to pre-train on at most.
        again: Do every step anew.
        tasks: Labelled folders, in place of the photographs' tasks and of ``data``.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: the images cannot be used, the epochs are too few, or ``out`` holds a demo with other settings.
    """
    config_file = find_config(_CONFIG)
    config = load_config(config_file)
    if epochs <= config.warmup_epochs:
        raise ConfigError(
            f"--epochs {epochs} leaves none for the smaller networks after {config.warmup_epochs} of warm-up; give at "
            f"least {config.warmup_epochs + 1}."
        )
    folder, minimum = Path(out), _STEPS * config.train_dataloader.batch_size
    settings = {"demo": "DSPNet", **demo_settings(data, epochs, seed, max_images)}
    check_images(data, max_images, minimum, tasks)
    claim(folder, settings)
    clock, steps = Clock(7), KeptFiles(folder / "kept", again)

    with clock.step("images"):
        images, found = demo_images(steps, folder, data, seed, max_images, minimum, tasks)
    options: dict[str, Any] = dict(data_root=str(images), max_epochs=epochs)
    config = load_config(config_file, options)
    network = build_backbone(config)
    assert isinstance(network, SlimmableResNet)
    names = network.subnets

    with clock.step(f"{len(names)} networks at once"):
        checkpoint = train_to_end(steps, config_file, folder / "dspnet", seed, options)
        dspnet = _Weights(checkpoint, folder / "dspnet" / BANK_FILE, options, folder / "knn" / "dspnet")
        at_once = _training(folder / "dspnet")

    alone: dict[str, dict[str, _Weights]] = {}
    trainings = {AT_ONCE: {"all": at_once}}
    with clock.step("each network alone, for as many steps"):
        alone[EQUAL_STEPS], trainings[EQUAL_STEPS] = _train_alone(
            steps, config_file, network, folder, "equal_steps", seed, options
        )

    with clock.step("each network alone, together as long as all at once"):
        fewer = epochs_in(at_once.seconds, trainings[EQUAL_STEPS].values(), epochs)
        alone[EQUAL_TIME], trainings[EQUAL_TIME] = _train_alone(
            steps, config_file, network, folder, "equal_time", seed, {**options, "max_epochs": fewer}
        )

    with clock.step("kNN accuracy, parameters, multiply-adds and latency"):
        random = _random_weights(steps, config_file, config, folder / "random", seed, options)
        single = [weights for of_kind in alone.values() for weights in of_kind.values()]
        with tqdm(total=(len(single) + 2) * len(found), desc="kNN", unit="evaluation") as bar:
            for task, root in found.items():
                for weights in (random, *single):
                    weights.results[task] = _evaluate(config_file, weights, task, root, again=again)
                    bar.update()
                baselines = [("random weights", random.folder / task / "results.json")]
                for kind, of_kind in alone.items():
                    baselines += [(kind, weights.folder / task / "results.json") for weights in of_kind.values()]
                dspnet.results[task] = _evaluate(config_file, dspnet, task, root, baselines, 50, again)
                bar.update()

    with clock.step("export of every network"):
        run = load_config(config_file, options), dspnet.checkpoint
        exports = export(*run, folder / "networks", ALL, bank=dspnet.bank, format="torchvision")

    with clock.step("report"):
        results = DSPNetDemoResults(
            names=names,
            dspnet=dspnet.results,
            alone={kind: {n: weights.results for n, weights in of_kind.items()} for kind, of_kind in alone.items()},
            random=random.results,
            trainings=trainings,
            exports=exports,
            batch_size=config.train_dataloader.batch_size,
            settings=settings,
            seconds=clock.seconds,
        )
        report = write_dspnet_report(results, folder / "report.html")
    clock.announce_end(report)
    return report


def _train_alone(
    steps: KeptFiles,
    config_file: Path,
    network: SlimmableResNet,
    folder: Path,
    kind: str,
    seed: int,
    options: dict[str, Any],
) -> tuple[dict[str, _Weights], dict[str, Training]]:
    """Each network in a training of its own; ``kind`` names the folder of all of them."""
    weights, trainings = {}, {}
    for name in network.subnets:
        single = {**options, **_only(network, name), "default_hooks.progress.label": name}
        work_dir = folder / kind / name
        checkpoint = train_to_end(steps, config_file, work_dir, seed, single)
        weights[name] = _Weights(checkpoint, work_dir / BANK_FILE, single, folder / "knn" / kind / name)
        trainings[name] = _training(work_dir)
    return weights, trainings


def epochs_in(seconds: float, alone: Iterable[Training], epochs: int) -> int:
    """Epochs of each network alone with which all of them together take so many seconds, at least one.

    Args:
        seconds: Of all networks at once.
        alone: Trainings of the networks alone.
        epochs: Which these had.
    """
    took = sum(training.seconds for training in alone)
    return epochs if took <= seconds else max(1, round(epochs * seconds / took))


def _only(network: SlimmableResNet, name: str) -> dict[str, Any]:
    """Overrides that leave one network of the config."""
    width, blocks = network.space.member(name)
    return {"model.backbone.channels": (width,), "model.backbone.blocks": (blocks,)}


def _random_weights(
    steps: KeptFiles, config_file: Path, config: Config, folder: Path, seed: int, options: dict[str, Any]
) -> _Weights:
    """The networks before any training, with BatchNorm statistics as all others get them."""
    checkpoint, bank = folder / "random.pth", folder / BANK_FILE
    hook = next(hook for hook in config.custom_hooks if hook["type"].endswith("BNBankHook"))
    sample = {"images": hook["images"], "batch_size": hook["batch_size"]}

    def make() -> None:
        save_torch(random_backbone(config, seed).state_dict(), checkpoint)
        plan = CalibrationPlan(images=sample["images"], seed=seed)
        execution = Execution(batch_size=sample["batch_size"], workers=0)
        calibrate(load_config(config_file, options), checkpoint, folder, plan=plan, execution=execution)

    inputs = {**training_inputs(config_file, seed, options), "settings": sample}
    del inputs["clusters"], inputs["start"]
    steps("random weights", Key("random weights", inputs), [checkpoint, bank], make)
    return _Weights(checkpoint, bank, options, folder.parent / "knn" / "random")


def _evaluate(
    config: Path,
    weights: _Weights,
    task: str,
    root: Path,
    baselines: list[tuple[str, Path]] | None = None,
    latency_repeats: int = 0,
    again: bool = False,
) -> EvaluationResult:
    return evaluate(
        load_config(config, weights.options),
        weights.checkpoint,
        root,
        weights.folder / task,
        networks=Networks(bank=weights.bank),
        comparison=Comparison(Timing(repeats=latency_repeats), baselines or []),
        execution=Execution(batch_size=128, workers=0, again=again, progress=False),
    )


def _training(work_dir: Path) -> Training:
    found = read_json(work_dir / "collapse.json", "report")
    return Training(read_log(work_dir), found["health"], found["steps"])

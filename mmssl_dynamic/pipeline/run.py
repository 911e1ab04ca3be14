"""All of SDR on a folder of images: SimSiam, features, clusters, SDR from its weights, routing, exports, a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmssl_dynamic.apis.export import export
from mmssl_dynamic.apis.route import route
from mmssl_dynamic.clustering import chosen_number
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.packed_folders import count_images
from mmssl_dynamic.downstream.folders import labelled_folders
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.loading import last_rate, load_config
from mmssl_dynamic.locks import locks_folder
from mmssl_dynamic.pipeline.clock import Clock
from mmssl_dynamic.pipeline.report import PipelineResults, write_pipeline_report
from mmssl_dynamic.pipeline.steps import check_tasks, claim, cluster_images, train_to_end
from mmssl_dynamic.presets import RATE, Preset, stage_groups
from mmssl_dynamic.result_cache import KeptFiles
from mmssl_dynamic.routing.method import RoutingMethod
from mmssl_dynamic.subnets import FULL

PathLike = str | os.PathLike[str]

# Of what starts from trained weights: not the crops again that those have seen.
_OTHER_CROPS = 1000
# Passes of an image through a network: two views forward and backward; SDR's teacher besides; features.
_SIMSIAM, _SDR, _FEATURES = 6.0, 7.0, 1.0


@locks_folder()
def pipeline(
    data: PathLike,
    tasks: Sequence[PathLike],
    out: PathLike,
    preset: str = "small",
    num_clusters: int | str = "auto",
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    again: bool = False,
) -> Path:
    """From a folder of images to a backbone for each of some tasks, and a report.

    Run again, it goes on where it stopped, and does again only what anything has changed of.

    Args:
        data: Images to pre-train on, of any structure, in files or packed.
        tasks: Folders with ``train/CLASS/`` and ``test/CLASS/`` (or ``val/CLASS/``), one for each task.
        out: Folder of everything that is written.
        preset: ``'small'`` or ``'base'``, see :class:`~mmssl_dynamic.presets.Preset`.
        num_clusters: Paths: 4, 16, 64 or 256; ``'auto'``: as many as the images are good for.
        options: Overrides of both pre-training configs. A learning rate is the one that their common schedule begins
            with.
        seed: Of everything random.
        again: Do every step anew.

    Returns:
        The report, ``out/report.html``.

    Raises:
        UserError: images, tasks or options cannot be used, or ``out`` holds something else; before anything is trained.
    """
    plain, sdr, folder = Preset(preset, "simsiam"), Preset(preset, "sdr"), Path(out)
    if "schedule_epochs" in (options or {}):
        raise ConfigError(
            "option schedule_epochs is twice the epochs here, SimSiam's and SDR's; give max_epochs alone."
        )
    check_tasks(tasks)
    count = count_images(data)
    paths = chosen_number(num_clusters, count)
    stage_groups(paths)
    common = {**plain.options(data), **(options or {})}
    epochs = int(load_config(plain.config, common).train_cfg.max_epochs)
    # One schedule for both: SDR goes on where SimSiam's rate is halfway down. A rate that fell to nothing and rises
    # again costs both accuracy (docs/studies/domains.md).
    started = {**common, "schedule_epochs": 2 * epochs}
    base = load_config(plain.config, started)
    batch = int(base.train_dataloader.batch_size)
    if count // paths < batch:
        raise DataError(
            f"{count} images make {paths} clusters of {count // paths} on average, fewer than a batch of {batch}; give "
            "more images or a smaller --num-clusters."
        )
    settings = {"data": str(Path(data).resolve()), "preset": preset, "paths": paths, "epochs": epochs, "seed": seed}
    claim(folder, {"pipeline": "SDR", **settings}, "pipeline")
    steps = KeptFiles(folder / "kept", again)
    work = [epochs * _SIMSIAM * count, _FEATURES * count, epochs * _SDR * count, (paths + 3) * _task_images(tasks), 0]
    clock = Clock(len(work), work, steps, folder / "kept" / "seconds.json")

    with clock.step("SimSiam on all images"):
        checkpoint = train_to_end(steps, plain.config, folder / "simsiam", seed, started)

    with clock.step("features and clusters"):
        clusters = folder / "clusters.npz"
        montage = cluster_images(steps, base, checkpoint, clusters, paths, batch, seed, again)

    with clock.step(f"SDR: {paths} sub-networks and the full network, from SimSiam's weights; their BN statistics"):
        last = last_rate(checkpoint)
        assert last is not None  # of a run
        sdr_options = {**sdr.options(data, clusters), **(options or {}), "init_from": str(checkpoint)}
        # An option of the rate is of where the schedule begins, and not of its middle; the last of all options counts.
        sdr_options.pop(RATE, None)
        sdr_options[RATE] = last.share * float(base.optim_wrapper.optimizer.lr)
        sdr_checkpoint = train_to_end(steps, sdr.config, folder / "sdr", seed + _OTHER_CROPS, sdr_options)

    with clock.step(f"routing and export for {len(tasks)} task{'s' if len(tasks) > 1 else ''}"):
        loader = base.extract_dataloader
        routed = route(
            load_config(sdr.config, sdr_options),
            sdr_checkpoint,
            list(tasks),
            folder / "routing",
            method=RoutingMethod(clusters=clusters, base_config=base, base_checkpoint=checkpoint),
            execution=Execution(batch_size=int(loader.batch_size), workers=int(loader.num_workers), again=again),
        )

        full = None
        if any(result.chosen is result.full for result, _ in routed):
            config, file = load_config(sdr.config, sdr_options), folder / "routing" / "backbone_full_mmpretrain.pth"
            (full,) = export(config, sdr_checkpoint, file, FULL)

    with clock.step("report"):
        results = PipelineResults(
            routed=routed,
            full=full,
            start=(checkpoint.parent / plain.config.name, checkpoint),
            clusters=Clusters.load(clusters),
            montage=montage,
            folder=folder,
            settings=settings,
        )
        report = write_pipeline_report(results, clock.seconds)
    clock.announce_end(report)
    return report


def _task_images(tasks: Sequence[PathLike]) -> int:
    return sum(count_images(folder) for task in tasks for folder in labelled_folders(task)[0].values())

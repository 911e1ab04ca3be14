"""Writes the BatchNorm statistics of every sub-network at the end of training (SDR Sec. 5.1, "Model configuration")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.calibration.bn_bank import BANK_FILE
from mmssl_dynamic.calibration.calibrate import calibrate_bank, check_source
from mmssl_dynamic.calibration.sample import CalibrationImages, check_transforms, training_views
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.engine.unwrap import bare_model, shared_seed
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import normalisation_of
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class BNBankHook(Hook):
    """Calibrates all sub-networks after the last step and writes ``bn_bank.safetensors`` into the work directory.

    Args:
        images: Images per sub-network (once-for-all uses 2,000).
        batch_size: Images per batch.
        bn: ``'path'`` (the paper's) and/or ``'prefix'`` (for routing with shared prefixes); all that the network has
            when left out.
        filename: Name of the bank.
        transforms: ``'eval'`` or ``'train'``, see :class:`~mmssl_dynamic.calibration.CalibrationImages`.
        source: ``'cluster'``, ``'all'`` or ``'mix'``, see :func:`~mmssl_dynamic.calibration.calibrate_bank`.

    Raises:
        ConfigError: at the start of training, a config that cannot be calibrated with.
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        images: int = 2000,
        batch_size: int = 200,
        bn: Sequence[str] | None = None,
        filename: str = BANK_FILE,
        transforms: str = "eval",
        source: str | None = None,
    ) -> None:
        check_transforms(transforms)
        self.transforms, self.source = transforms, source
        self.images, self.batch_size, self.bn, self.filename = images, batch_size, bn, filename

    def before_train(self, runner: Runner) -> None:
        """Find out now, and not after days, whether the config names the images to calibrate on."""
        if runner.cfg.get("extract_dataloader") is None:
            raise ConfigError(
                "BNBankHook needs extract_dataloader in the config: the training images with eval_pipeline."
            )
        check_source(self.source, _clusters(runner) is not None)
        normalisation_of(runner.cfg)
        if self.transforms == "train":
            training_views(runner.cfg)

    def after_train(self, runner: Runner) -> None:
        """Calibrate, which all processes of the training share, and write, which the first one does."""
        processes, model = Processes.now(), bare_model(runner.model)
        runner.logger.info(f"Calibrating BatchNorm statistics of {len(model.backbone.subnets)} sub-networks.")
        bank = calibrate_bank(
            model.backbone,
            CalibrationImages.of(runner.cfg, self.transforms),
            _clusters(runner),
            bn=self.bn,
            images=self.images,
            batch_size=self.batch_size,
            seed=shared_seed(runner),
            source=self.source,
            progress=processes.first,
            processes=processes,
        )
        if processes.first:
            bank.save(Path(runner.work_dir) / self.filename)
            runner.logger.info(f"Wrote {Path(runner.work_dir) / self.filename}.")
        processes.wait()


def _clusters(runner: Runner) -> Clusters | None:
    """The subsets that the sub-networks trained on; ``None`` if they all trained on all images."""
    return getattr(runner.train_dataloader.dataset, "clusters", None)

"""Writes the BatchNorm statistics of every sub-network at the end of training (SDR Sec. 5.1, "Model configuration")."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mmengine.dist import barrier, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.calibration.calibrate import calibrate_bank
from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import normalisation_of
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
    """

    priority = "VERY_LOW"

    def __init__(
        self,
        images: int = 2000,
        batch_size: int = 200,
        bn: Sequence[str] | None = None,
        filename: str = "bn_bank.safetensors",
    ) -> None:
        self.images, self.batch_size, self.bn, self.filename = images, batch_size, bn, filename

    def before_train(self, runner: Runner) -> None:
        """Find out now, and not after days, whether the config names the images to calibrate on."""
        if runner.cfg.get("extract_dataloader") is None:
            raise ConfigError(
                "BNBankHook needs extract_dataloader in the config: the training images with eval_pipeline."
            )
        normalisation_of(runner.cfg)

    def after_train(self, runner: Runner) -> None:
        """Calibrate and write, on the main process."""
        if is_main_process():
            model = bare_model(runner.model)
            loader = runner.cfg.extract_dataloader
            runner.logger.info(f"Calibrating BatchNorm statistics of {len(model.backbone.subnets)} sub-networks.")
            bank = calibrate_bank(
                model.backbone,
                build_dataset(loader.dataset),
                getattr(runner.train_dataloader.dataset, "clusters", None),
                normalisation_of(runner.cfg),
                bn=self.bn,
                images=self.images,
                batch_size=self.batch_size,
                num_workers=loader.get("num_workers", 0),
                seed=runner.seed,
            )
            bank.save(Path(runner.work_dir) / self.filename)
            runner.logger.info(f"Wrote {Path(runner.work_dir) / self.filename}.")
        barrier()

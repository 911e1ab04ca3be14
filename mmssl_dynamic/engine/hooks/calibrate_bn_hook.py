"""BatchNorm statistics for the validations of a training run."""

from __future__ import annotations

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.calibration.calibrate import calibrate_path
from mmssl_dynamic.calibration.sample import CalibrationImages, check_transforms, draw_images, training_views
from mmssl_dynamic.engine.unwrap import bare_model, shared_seed
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.loading import normalisation_of
from mmssl_dynamic.models.backbones import BNStatistics, SuperNetwork
from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.subnets import FULL


@HOOKS.register_module()
class CalibrateBNHook(Hook):
    """Gives every network its BatchNorm statistics before each validation and test, pooled exactly.

    The images are a random sample of ``extract_dataloader.dataset``, the same one for all networks and every time.
    The full network's too, so that all are compared alike; it goes on training with its running statistics. With
    switchable BatchNorm, and with a single network, there is nothing to calibrate.

    Args:
        images: Training images per network; a smaller data set is used whole.
        batch_size: Images per batch.
        transforms: ``'eval'`` or ``'train'``, see :class:`~mmssl_dynamic.calibration.CalibrationImages`.

    Raises:
        ConfigError: fewer than two images, which have no variance; at the start, a config without
            ``extract_dataloader`` or a model without sub-networks.
    """

    # After hooks that put averaged weights in place for the validation.
    priority = "VERY_LOW"

    def __init__(self, images: int = 2000, batch_size: int = 200, transforms: str = "eval") -> None:
        if images < 2 or batch_size < 2:
            raise ConfigError(f"CalibrateBNHook needs images={images} and batch_size={batch_size} of at least 2.")
        check_transforms(transforms)
        self.images, self.batch_size, self.transforms = images, batch_size, transforms
        self._data: CalibrationImages | None = None
        self._running: BNStatistics | None = None  # of the full network

    def before_run(self, runner: Runner) -> None:
        """Find out now, and not after the first epoch, whether the config names the images to calibrate on."""
        backbone = getattr(bare_model(runner.model), "backbone", None)
        if backbone is None or not isinstance(backbone, SuperNetwork):
            raise ConfigError("CalibrateBNHook needs a model with a super-network as its backbone; leave the hook out.")
        if runner.cfg.get("extract_dataloader") is None and not getattr(backbone, "switchable_bn", None):
            raise ConfigError(
                "CalibrateBNHook needs extract_dataloader in the config: the training images with eval_pipeline."
            )
        normalisation_of(runner.cfg)
        if self.transforms == "train":
            training_views(runner.cfg)

    def before_val_epoch(self, runner: Runner) -> None:
        """Calibrate. Every process does, on the same images, and finds the same."""
        self.calibrate(runner)

    def before_test_epoch(self, runner: Runner) -> None:
        """Calibrate."""
        self.calibrate(runner)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Give the full network its running statistics back."""
        if self._running is not None:
            bare_model(runner.model).backbone.set_bn_statistics(FULL, self._running)
            self._running = None

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """The same."""
        self.after_val_epoch(runner)

    def calibrate(self, runner: Runner) -> None:
        """Set the statistics of all networks.

        Raises:
            DataError: there are fewer than two images.
        """
        net = bare_model(runner.model).backbone
        if getattr(net, "switchable_bn", None) or len(net.subnets) == 1:
            return
        if self._data is None:
            self._data = CalibrationImages.of(runner.cfg, self.transforms)
        total = len(self._data)
        if total < 2:
            raise DataError(f"extract_dataloader holds {total} image, and BatchNorm statistics need at least two.")
        chosen = draw_images(np.arange(total), self.images, shared_seed(runner), FULL)
        parts = self._data.batches(chosen, self.batch_size, next(net.parameters()).device)
        runner.logger.info(
            f"Calibrating BatchNorm statistics of {len(net.subnets)} networks with {len(chosen)} images."
        )
        self._running = net.bn_statistics(FULL)
        for name in net.subnets:
            net.set_bn_statistics(name, calibrate_path(net, name, (batch for part in parts for batch in part)))

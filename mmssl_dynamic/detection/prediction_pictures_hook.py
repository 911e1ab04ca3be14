"""Pictures of what a detector finds, drawn from the images that a test run passes by."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
from mmengine.dist import is_main_process
from mmengine.fileio import get
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class PredictionPicturesHook(Hook):
    """Draws a few images of a test run, spread evenly over it: annotations on the left, predictions on the right.

    Masks are drawn where the detector has any. With several processes the first one draws what it tests.

    Args:
        folder: Where the JPEG files go, named after their images.
        count: How many images.
        score_thr: Predictions below this score are left out.

    Attributes:
        files: The pictures that were written, in the order of the images.

    Raises:
        ConfigError: a count below 1, or a threshold that is no score.
    """

    def __init__(self, folder: str, count: int = 8, score_thr: float = 0.3) -> None:
        if count < 1 or not 0 <= score_thr <= 1:
            raise ConfigError(
                f"count={count} of pictures must be at least 1, and score_thr={score_thr} between 0 and 1."
            )
        self.folder, self.count, self.score_thr = Path(folder), count, score_thr
        self.files: list[Path] = []
        self._seen, self._drawn_next = 0, 0.0
        self._step = 1.0

    def before_test_epoch(self, runner: Runner) -> None:
        """Choose the images."""
        self.files, self._seen, self._drawn_next = [], 0, 0.0
        self._step = max(1.0, len(runner.test_dataloader.sampler) / self.count)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        """Draw those of a batch that were chosen."""
        for sample in outputs or ():
            if self._seen >= self._drawn_next and len(self.files) < self.count and is_main_process():
                self._draw(runner, sample)
                self._drawn_next += self._step
            self._seen += 1

    def _draw(self, runner: Runner, sample: Any) -> None:
        image = mmcv.imfrombytes(get(sample.img_path), channel_order="rgb")
        file = self.folder / f"{self._seen:06d}_{Path(sample.img_path).stem}.jpg"
        runner.visualizer.add_datasample(
            file.stem, image, data_sample=sample, pred_score_thr=self.score_thr, out_file=str(file)
        )
        self.files.append(file)

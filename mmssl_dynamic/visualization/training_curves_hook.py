"""The curves of a training as a picture in its work dir, which takes no TensorBoard to look at."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.visualization.routing_plots import save_figure
from mmssl_dynamic.visualization.training_log import read_log, training_curves

CURVES = "curves"


@HOOKS.register_module()
class TrainingCurvesHook(Hook):
    """Draws loss and kNN accuracy over the steps into ``curves.png`` when the training ends, resumed runs and all.

    :class:`~mmssl_dynamic.engine.runner.Runner` has this hook by default; ``default_hooks.curves=None`` leaves it out.
    """

    # After what is measured at the end of the training.
    priority = "LOWEST"

    def after_train(self, runner: Runner) -> None:
        """Draw, on the main process."""
        if not is_main_process():
            return
        figure = training_curves(read_log(runner.work_dir), Path(runner.work_dir).name)
        if figure is not None:
            (file,) = save_figure(figure, Path(runner.work_dir) / CURVES, ("png",))
            runner.logger.info(f"Wrote {file}.")

"""The config of a run, written beside its checkpoints."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmssl_dynamic.registry import HOOKS


@HOOKS.register_module()
class ConfigHook(Hook):
    """Writes the config into the work directory when all other hooks have let the training begin.

    The Runner itself does so when it is built, which would put the config of a training that is then refused, such as a
    resumed one of another model, in the place of that of the checkpoints that are there.
    :class:`~mmssl_dynamic.engine.runner.Runner` registers this hook by itself.
    """

    priority = "LOWEST"

    def before_train(self, runner: Runner) -> None:
        """Write it."""
        runner.write_config()

"""mmengine's Runner that resumes on torch >= 2.6, executes nothing out of a checkpoint, and explains wrong configs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn

from mmssl_dynamic.datasets.resumable_batch_sampler import ResumableBatchSampler
from mmssl_dynamic.datasets.subnet_batch_sampler import SubnetBatchSampler
from mmssl_dynamic.engine.brief_log import environment, initialization_log, keep_brief
from mmssl_dynamic.engine.hooks.resume_check_hook import ResumeCheckHook
from mmssl_dynamic.engine.hooks.resume_sampler_hook import ResumeSamplerHook
from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError, UserError, first_line
from mmssl_dynamic.fileio import load_run_checkpoint
from mmssl_dynamic.registry import RUNNERS
from mmssl_dynamic.safe_loading import safe_loading


@contextmanager
def building(what: str) -> Iterator[None]:
    """Turn the errors of a part that cannot be built into one sentence that names it.

    Raises:
        DataError: a file is missing.
        ConfigError: an unknown type, or arguments that it does not take.
        ArtifactError: a file of weights holds code.
    """
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise DataError(
            f"{what} needs {error.filename or first_line(error)}, which does not exist; correct the config."
        ) from error
    except UnpicklingError as error:
        raise ArtifactError(
            f"{what} of the config loads a file by itself that holds more than tensors and plain data, which could run "
            "code; name a file of the weights alone."
        ) from error
    except (KeyError, TypeError, AssertionError, ValueError, AttributeError) as error:
        raise ConfigError(f"{what} of the config cannot be built: {first_line(error)}") from error


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Loads checkpoints through :func:`mmssl_dynamic.fileio.load_run_checkpoint`.

    mmengine 0.10 calls ``torch.load`` with the default ``weights_only=True`` of torch >= 2.6, which refuses its own
    checkpoints, and on resume it executes the config text stored in them. What parts of the model load by themselves
    (``init_cfg``, ``pretrained``) executes nothing either, see :func:`mmssl_dynamic.safe_loading.safe_loading`.
    """

    def train(self) -> nn.Module:
        """As mmengine's; so the next ones."""
        with safe_loading():
            return super().train()

    def val(self) -> dict:
        """Validate."""
        with safe_loading():
            return super().val()

    def test(self) -> dict:
        """Test."""
        with safe_loading():
            return super().test()

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As mmengine's, without messages that are the same in every run."""
        logger = super().build_logger(*args, **kwargs)
        keep_brief(logger)
        return logger

    def _log_env(self, env_cfg: dict) -> None:
        settings = {**env_cfg, **self._randomness_cfg, "seed": self._seed, "launcher": self._launcher}
        self.logger.info(environment(settings, {"processes": self._world_size}))
        # mmengine lays the config out in the log as well.
        self.logger.info(f"Config: {Path(self.work_dir) / Path(self.cfg.filename or f'{self.timestamp}.py').name}")

    def get_hooks_info(self) -> str:
        """The hooks, in their order; mmengine lists those of each of twenty stages."""
        return ", ".join(type(hook).__name__ for hook in self.hooks)

    def _init_model_weights(self) -> None:
        with initialization_log(self.logger, Path(self._log_dir) / "initialization.log"):
            super()._init_model_weights()

    def build_model(self, model: Any) -> nn.Module:
        """As mmengine's, with one sentence for what cannot be built; so the next ones."""
        with building("model"), safe_loading():
            return super().build_model(model)

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """As mmengine's; with ``channels_last`` in the config, weights and so activations are in that order."""
        if self.cfg.get("channels_last", False):
            # Before the wrapper, whose gradient buffers have the order of the weights.
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return super().wrap_model(model_wrapper_cfg, model)

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Optimiser and its wrapper."""
        with building("optim_wrapper"):
            if isinstance(optim_wrapper, dict) and isinstance(optimizer := optim_wrapper.get("optimizer"), dict):
                from mmengine.registry import OPTIMIZERS

                # In the registry of the default scope, as the optimiser is built: LARS is mmpretrain's.
                with OPTIMIZERS.switch_scope_and_registry(None) as registry:
                    known = optimizer.get("type") is None or registry.get(optimizer["type"]) is not None
                if not known:
                    raise ConfigError(
                        f"optim_wrapper.optimizer.type='{optimizer['type']}' is unknown; use 'SGD' or another."
                    )
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Learning rate schedules."""
        with building("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Loader and loop of the training.

        Raises:
            DataError: there are fewer images than a batch, which would train nothing at all.
        """
        with building("train_dataloader"):
            built = super().build_train_loop(loop)
        if len(built.dataloader) == 0:
            raise DataError(
                f"the training set has {len(built.dataloader.dataset)} images, fewer than a batch; use a smaller "
                "train_dataloader.batch_size or more images."
            )
        batch_sampler = built.dataloader.batch_sampler
        if isinstance(batch_sampler, ResumableBatchSampler):
            self.register_hook(ResumeSamplerHook())
        if isinstance(batch_sampler, ResumableBatchSampler | SubnetBatchSampler):
            self.register_hook(ResumeCheckHook())
        return built

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict:
        """As mmengine's, for local files, without unpickling arbitrary objects.

        Raises:
            ArtifactError: the file is missing or holds more than plain data.
        """
        checkpoint = load_run_checkpoint(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = bare_model(self.model)
        state = {"state_dict": checkpoint.get("state_dict", checkpoint)}
        _load_checkpoint_to_model(model, state, strict, revise_keys=revise_keys or [(r"^module\.", "")])
        self._has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint

"""mmengine's Runner whose trainings survive kills, full disks and changed configs, and that explains wrong ones."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.dist import master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.logging import MMLogger
from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.checkpoint import _load_checkpoint_to_model
from torch import nn
from torch.utils.data import DataLoader

from mmssl_dynamic.datasets.resumable_batch_sampler import ResumableBatchSampler
from mmssl_dynamic.datasets.shared_memory import HandOver
from mmssl_dynamic.engine.batch_of_one import check_batches
from mmssl_dynamic.engine.brief_log import environment, initialization_log, keep_brief
from mmssl_dynamic.engine.checkpoints import checkpoint_place, is_whole, look_through
from mmssl_dynamic.engine.compiling import compile_backbones, compile_options
from mmssl_dynamic.engine.explaining import building, check_fits, running, tell_of_full_logs
from mmssl_dynamic.engine.hooks.config_hook import ConfigHook
from mmssl_dynamic.engine.hooks.finite_loss_hook import FiniteLossHook
from mmssl_dynamic.engine.hooks.progress_hook import ProgressHook
from mmssl_dynamic.engine.hooks.resume_check_hook import ResumeCheckHook
from mmssl_dynamic.engine.hooks.resume_sampler_hook import ResumeSamplerHook
from mmssl_dynamic.engine.resume import restore
from mmssl_dynamic.engine.subnet_optim_wrapper import SubnetStep
from mmssl_dynamic.engine.unwrap import bare_model, shared_seed
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from mmssl_dynamic.fileio import load_run_checkpoint, local_file
from mmssl_dynamic.registry import OPTIM_WRAPPERS, RUNNERS
from mmssl_dynamic.safe_loading import safe_loading
from mmssl_dynamic.writing import atomic_path

# Hooks of every training, beside mmengine's.
_DEFAULT_HOOKS = {"progress": "mmssl_dynamic.ProgressHook", "curves": "mmssl_dynamic.TrainingCurvesHook"}


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """mmengine's Runner; what it writes is whole or not there, and what it goes on from is this training.

    Checkpoints are loaded through :func:`mmssl_dynamic.fileio.load_run_checkpoint`: mmengine 0.10 calls ``torch.load``
    with the default ``weights_only=True`` of torch >= 2.6, which refuses its own checkpoints, and on resume it executes
    the config text stored in them. What parts of the model load by themselves (``init_cfg``, ``pretrained``) executes
    nothing either, see :func:`mmssl_dynamic.safe_loading.safe_loading`.
    """

    _resume: bool
    _load_from: str | None

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

    def _maybe_compile(self, target: str) -> None:
        """With ``compile`` in the config, backbones are compiled; mmengine's does so with the whole step."""
        options = compile_options(self.cfg.get("compile"))
        if options is not None:
            compile_backbones(bare_model(self.model), options)
            self.logger.info("Backbones are compiled when a sub-network's shapes first come up: such steps are slow.")

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
            if isinstance(optim_wrapper, dict) and "rarity_power" in optim_wrapper:
                kind = optim_wrapper.get("type", "OptimWrapper")
                if not issubclass(OPTIM_WRAPPERS.get(kind) or SubnetStep, SubnetStep):
                    raise ConfigError(
                        f"optim_wrapper.type='{kind}' has no rarity_power: SDR needs "
                        "'mmssl_dynamic.SubnetOptimWrapper', which steps the trained sub-network alone; --amp puts its "
                        "mixed precision in its place."
                    )
            return super().build_optim_wrapper(optim_wrapper)

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Learning rate schedules."""
        with building("param_scheduler"):
            return super().build_param_scheduler(scheduler)

    def build_train_loop(self, loop: Any) -> BaseLoop:
        """Loader and loop of the training, with the hooks that watch it.

        Raises:
            DataError: there are fewer images than a batch, which would train nothing at all.
            ConfigError: a batch of one image, where BatchNorm needs two.
        """
        with building("train_dataloader"):
            built = super().build_train_loop(loop)
        if len(built.dataloader) == 0:
            raise DataError(
                f"the training set has {len(built.dataloader.dataset)} images, fewer than a batch; use a smaller "
                "train_dataloader.batch_size or more images."
            )
        check_batches(self.model.train(), built.dataloader)
        if isinstance(built.dataloader.batch_sampler, ResumableBatchSampler):
            self.register_hook(ResumeSamplerHook())
        self.register_hook(ResumeCheckHook())
        self.register_hook(FiniteLossHook())
        self.register_hook(ConfigHook())
        return built

    def build_dataloader(self, dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False) -> DataLoader:
        """As mmengine's, but samplers have one seed for all processes, whatever ``diff_rank_seed`` says.

        They share the images out among the processes, which takes one order. mmengine draws a seed for them then that
        no resumed run finds again. Workers hand batches over so that a lack of shared memory is an error and no hang.
        """
        loader = super().build_dataloader(dataloader, None if seed is None else shared_seed(self))
        if loader.num_workers:
            loader.collate_fn = HandOver(loader.collate_fn)
        return loader

    def build_visualizer(self, visualizer: Any = None) -> Any:
        """As mmengine's, with the package's own backend for the local disk."""
        config = copy.deepcopy(visualizer) or {"type": "Visualizer", "vis_backends": [{"type": "LocalVisBackend"}]}
        if isinstance(config, dict):
            for backend in config.get("vis_backends") or ():
                if isinstance(backend, dict) and backend.get("type") in ("LocalVisBackend", "mmengine.LocalVisBackend"):
                    backend["type"] = "mmssl_dynamic.LocalVisBackend"
        return super().build_visualizer(config)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """As mmengine's, with ``progress`` and ``curves`` of the package's own; ``None`` leaves one out."""
        given, own = dict(hooks or {}), {}
        for name, kind in _DEFAULT_HOOKS.items():
            hook = given.pop(name, {})
            if hook is not None:
                own[name] = {"type": kind, **hook} if isinstance(hook, dict) else hook
        super().register_default_hooks({**given, **own})

    def register_hook(self, hook: Any, priority: Any = None) -> None:
        """As mmengine's, with :class:`~mmssl_dynamic.engine.hooks.CheckpointHook` for its own."""
        if isinstance(hook, dict) and hook.get("type") in ("CheckpointHook", "mmengine.CheckpointHook"):
            hook = {**hook, "type": "mmssl_dynamic.CheckpointHook"}
        super().register_hook(hook, priority)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """As mmengine's, without messages that are the same in every run."""
        logger = super().build_logger(*args, **kwargs)
        keep_brief(logger)
        tell_of_full_logs(logger)
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
        if self._resume and self._load_from is not None:
            return  # the checkpoint has all weights, and what the training started from may be gone by now
        with initialization_log(self.logger, Path(self._log_dir) / "initialization.log"):
            super()._init_model_weights()

    def dump_config(self) -> None:
        """Nothing: mmengine calls it before a training can be refused; see :class:`ConfigHook`."""

    @master_only
    def write_config(self) -> None:
        """Write the config into the work directory, atomically."""
        name = Path(self.cfg.filename or f"{self.timestamp}.py").name
        with atomic_path(Path(self.work_dir, name)) as temporary:
            self.cfg.dump(str(temporary))

    def train(self) -> nn.Module:
        """As mmengine's; with ``resume`` from the newest whole checkpoint of the work directory.

        Raises:
            UserError: the training cannot go on from there, or it cannot go on at all.
        """
        self._choose_checkpoint()
        try:
            with running(self.work_dir), safe_loading():
                return super().train()
        finally:
            for hook in self.hooks:
                if isinstance(hook, ProgressHook):
                    hook.close()

    def val(self) -> dict:
        """As mmengine's; so the next one."""
        self.write_config()
        with running(self.work_dir), safe_loading():
            return super().val()

    def test(self) -> dict:
        """Test."""
        self.write_config()
        with running(self.work_dir), safe_loading():
            return super().test()

    def _choose_checkpoint(self) -> None:
        """Settle what is resumed, and take over its seed, before anything is built by it."""
        if not self._resume:
            return
        if self._load_from is None:
            found = look_through(*self._checkpoint_place())
            if found.newest is None and found.damaged:
                raise ArtifactError(
                    f"none of the checkpoints in {found.folder} is whole ({found.damaged_names()}); delete them to "
                    "begin anew."
                )
            if found.newest is None:
                self._resume = False
                self.logger.info(f"No checkpoint in {found.folder}: the training begins.")
                return
            if found.damaged:
                self.logger.warning(f"Not whole: {found.damaged_names()}; going on from {found.newest}.")
            self._load_from = str(found.newest)
        elif not is_whole(local_file(self._load_from)):
            other = look_through(Path(self._load_from).parent).newest
            remedy = f"go on from {other} by --resume {other}" if other else "no other in its folder is"
            raise ArtifactError(f"checkpoint {self._load_from} is damaged: not all of it is there; {remedy}.")
        meta = load_run_checkpoint(self._load_from, mmap=True).get("meta")
        written = meta.get("seed") if isinstance(meta, dict) else None
        seed = self._randomness_cfg.get("seed")
        if seed is None and written is not None:
            self._randomness_cfg["seed"] = written
            self.set_randomness(**self._randomness_cfg)
        elif written is not None and written != seed:
            raise ConfigError(
                f"checkpoint {self._load_from} was written with randomness.seed={written}, this run has {seed}; set it "
                f"to {written}."
            )

    def _checkpoint_place(self) -> tuple[Path, tuple[str, ...]]:
        hook = next((hook for hook in self.hooks if isinstance(hook, MMEngineCheckpointHook)), None)
        options = {} if hook is None else {"out_dir": hook.out_dir, "filename_tmpl": hook.filename_tmpl}
        return checkpoint_place(self.work_dir, options)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict:
        """As mmengine's, for local files, without unpickling arbitrary objects.

        Raises:
            ArtifactError: the file is missing, holds more than plain data, or nothing that fits the model.
        """
        checkpoint = load_run_checkpoint(filename, map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = bare_model(self.model)
        state = checkpoint.get("state_dict", checkpoint)
        revise_keys = revise_keys or [(r"^module\.", "")]
        revised = state
        for pattern, replacement in revise_keys:
            revised = {re.sub(pattern, replacement, key): value for key, value in revised.items()}
        check_fits(revised, model.state_dict(), filename, whole=self._resume)
        _load_checkpoint_to_model(model, {"state_dict": state}, strict, revise_keys=revise_keys)
        self._has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = "default",
    ) -> None:
        """Go on from a checkpoint, by the config's schedule: see :mod:`mmssl_dynamic.engine.resume`.

        Raises:
            ArtifactError: the file holds no state of a training, or is of another model.
            ConfigError: this training cannot go on from there.
        """
        checkpoint = self.load_checkpoint(filename, get_device() if map_location == "default" else map_location)
        if not resume_optimizer:
            checkpoint.pop("optimizer", None)
        if not resume_param_scheduler:
            checkpoint.pop("param_schedulers", None)
        restore(self, checkpoint, f"checkpoint {filename}")
        self.logger.info(f"resumed epoch: {self.epoch}, iter: {self.iter}")

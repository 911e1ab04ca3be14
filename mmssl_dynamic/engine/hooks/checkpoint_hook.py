"""mmengine's checkpoints, whole at every moment: the old one goes when the new one is on the disk."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from mmengine.dist import is_main_process, master_only
from mmengine.hooks import CheckpointHook as MMEngineCheckpointHook
from mmengine.runner import Runner

from mmssl_dynamic.engine.local_files import ATOMIC
from mmssl_dynamic.engine.unwrap import bare_model
from mmssl_dynamic.errors import DivergedError
from mmssl_dynamic.fileio import load_run_checkpoint
from mmssl_dynamic.registry import HOOKS
from mmssl_dynamic.writing import save_torch, write_text

_OUTDATED = "outdated_ckpt_ids"


@HOOKS.register_module()
class CheckpointHook(MMEngineCheckpointHook):
    """mmengine's hook with all its options, in another order.

    mmengine deletes the checkpoint that is one too many, then writes the next one in place: a kill or a full disk in
    between leaves half a file, and with ``max_keep_ckpts=1`` nothing else. Here a checkpoint is written under a
    temporary name, flushed and renamed, then ``last_checkpoint`` is written alike, and only then the old one is
    deleted. Weights that are not finite are not written at all.
    :class:`~mmssl_dynamic.engine.runner.Runner` takes this hook wherever a config names mmengine's.
    """

    backend_args: dict[str, Any] | None
    file_backend: Any
    best_ckpt_path: str | None
    best_ckpt_path_dict: dict[str, str | None]

    def before_train(self, runner: Runner) -> None:
        """Find the folder, and finish what a killed run was about to do behind the checkpoint it left."""
        local = "://" not in str(self.out_dir or runner.work_dir)
        if local and self.backend_args is None and self.file_client_args is None:
            self.backend_args = {"backend": ATOMIC}
        super().before_train(runner)
        self._relocate()
        self._name_last(runner)
        self._delete(runner, self._known(runner, _OUTDATED))

    @master_only
    def _name_last(self, runner: Runner) -> None:
        """Let ``last_checkpoint`` name the checkpoint that the run goes on from, which a kill may have prevented.

        Behind the last epoch nothing else would: there is nothing left to train.
        """
        last = self._known(runner, "last_ckpt")
        path = self.file_backend.join_path(self.out_dir, Path(last).name) if last else None
        if path is not None and self.file_backend.isfile(path):
            write_text(Path(runner.work_dir, "last_checkpoint"), path)

    def _relocate(self) -> None:
        """The best checkpoints of a folder that was moved lie where it is now."""
        if self.save_best is None:
            return
        here = lambda path: path and self.file_backend.join_path(self.out_dir, Path(path).name)  # noqa: E731
        if len(self.key_indicators) == 1:
            self.best_ckpt_path = here(self.best_ckpt_path)
        else:
            self.best_ckpt_path_dict = {key: here(path) for key, path in self.best_ckpt_path_dict.items()}

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        _check_finite(runner)
        outdated: list[int] = []
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.keep_ckpt_ids.popleft())
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info("keep_ckpt_ids", list(self.keep_ckpt_ids))
        runner.message_hub.update_info(_OUTDATED, outdated)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            self.file_client_args,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
            **self.args,
        )
        if is_main_process():
            write_text(Path(runner.work_dir, "last_checkpoint"), self.last_ckpt)
        self._delete(runner, outdated)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if not self.save_best:
            return
        backend = self.file_backend
        self.file_backend = later = _RemovesLater(backend)
        try:
            super()._save_best_checkpoint(runner, metrics)
        finally:
            self.file_backend = backend
        best = [self.best_ckpt_path] if len(self.key_indicators) == 1 else self.best_ckpt_path_dict.values()
        for path in later.outdated:
            if path not in best:
                backend.remove(path)

    @master_only
    def _publish_model(self, runner: Runner, ckpt_path: str) -> None:
        """Write the keys of a checkpoint that are published, under a name with the first digits of a checksum."""
        checkpoint = load_run_checkpoint(ckpt_path)
        published = {key: value for key, value in checkpoint.items() if key in (self.published_keys or ())}
        digest = hashlib.sha256(pickle.dumps(published)).hexdigest()
        path = Path(ckpt_path)
        final = path.with_name(f"{path.stem}-{digest[:8]}.pth")
        save_torch(published, final)
        runner.logger.info(f"{', '.join(published)} of {path.name} are published in {final}.")

    @staticmethod
    def _known(runner: Runner, key: str) -> Any:
        return runner.message_hub.runtime_info.get(key) or []

    @master_only
    def _delete(self, runner: Runner, steps: list[int]) -> None:
        for step in steps:
            path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(step))
            if self.file_backend.isfile(path):
                self.file_backend.remove(path)


class _RemovesLater:
    """A file backend that notes what it is to remove."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.outdated: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.backend, name)

    def remove(self, filepath: str) -> None:
        """Note a file."""
        self.outdated.append(filepath)


def _check_finite(runner: Runner) -> None:
    """Refuse to replace a good checkpoint by one that no training can go on from.

    Raises:
        DivergedError: a weight is not finite.
    """
    for name, parameter in bare_model(runner.model).named_parameters():
        if not torch.isfinite(parameter).all():
            raise DivergedError(
                f"the training has diverged: after step {runner.iter} the weights hold values that are not finite "
                f"('{name}'), so no checkpoint was written; lower the learning rate and start again, or go on from an "
                "earlier checkpoint with --resume."
            )

"""mmengine's Runner that resumes on torch >= 2.6 and never executes anything out of a checkpoint."""

from __future__ import annotations

import os
import pickle
from typing import Any

from mmengine.runner import Runner as MMEngineRunner
from mmengine.runner.checkpoint import _load_checkpoint_to_model

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fileio import load_run_checkpoint
from mmssl_dynamic.registry import RUNNERS


@RUNNERS.register_module()
class Runner(MMEngineRunner):
    """Loads local checkpoints through :func:`mmssl_dynamic.fileio.load_run_checkpoint`.

    mmengine 0.10 calls ``torch.load`` with the default ``weights_only=True`` of torch >= 2.6, which refuses its own
    checkpoints, and on resume it executes the config text stored in them.
    """

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: list | None = None,
    ) -> dict:
        """As mmengine's, for local files without unpickling arbitrary objects.

        Raises:
            ArtifactError: the file is missing or holds more than plain data.
        """
        if "://" in str(filename):
            return super().load_checkpoint(filename, map_location, strict, revise_keys or [(r"^module.", "")])
        if not os.path.isfile(filename):
            raise ArtifactError(f"checkpoint {filename} does not exist; check --resume or load_from.")
        try:
            checkpoint = load_run_checkpoint(filename, map_location)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
            raise ArtifactError(
                f"checkpoint {filename} cannot be loaded safely ({str(error).splitlines()[0]}); it is damaged or "
                "was not written by this training."
            ) from error
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        model = self.model.module if hasattr(self.model, "module") else self.model
        checkpoint_state = checkpoint.get("state_dict", checkpoint)
        _load_checkpoint_to_model(
            model, {"state_dict": checkpoint_state}, strict, revise_keys=revise_keys or [(r"^module\.", "")]
        )
        self._has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint

"""Training from a config: what ``tools/train.py`` does."""

from __future__ import annotations

import torch.distributed as dist
from mmengine.config import Config
from mmengine.runner import Runner as MMEngineRunner

from mmssl_dynamic.cpu import prepare_cpu
from mmssl_dynamic.engine.launch import build_runner
from mmssl_dynamic.locks import locked_folder


def train(config: Config) -> MMEngineRunner:
    """Run a prepared config to its end; returns the Runner.

    Raises:
        LockedError: another process trains in the same work dir.
    """
    with locked_folder(config.work_dir, "--work-dir", config.get("launcher", "none")):
        prepare_cpu()
        runner = build_runner(config)
        runner.train()
    if dist.is_initialized():
        dist.destroy_process_group()
    return runner

"""The options of ``train`` and ``train-det``."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import TYPE_CHECKING

from mmssl_dynamic.arguments import Checked, existing
from mmssl_dynamic.commands import shared
from mmssl_dynamic.outputs import check_output_folder

if TYPE_CHECKING:
    from mmssl_dynamic.engine.launch import TrainingOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--work-dir``, ``--resume``, ``--amp``, ``--auto-scale-lr``, ``--tensorboard`` and the general ones."""
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        action=Checked,
        check=check_output_folder,
        help="folder of logs and checkpoints (default: work_dirs/<config name>)",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        action=Checked,
        check=lambda path, name: None if path == "auto" else existing("checkpoint")(path, name),
        help="go on from a checkpoint; without one, or with 'auto', from the latest in the work dir",
    )
    shared.add_amp(
        parser,
        "automatic mixed precision, in this kind of float; without one, or with auto, bf16 where the card, or the "
        "processor where there is no card, has it",
    )
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the total batch size (auto_scale_lr.base_batch_size in the config)",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scalars for TensorBoard, too (tensorboard --logdir WORK_DIR)"
    )
    shared.add_cfg_options(parser)
    shared.add_launcher(parser)


def parsed(args: argparse.Namespace) -> TrainingOptions:
    """What the options say of how a training runs."""
    from mmssl_dynamic.engine.launch import TrainingOptions

    names = {field.name for field in fields(TrainingOptions)}
    return TrainingOptions(**{name: value for name, value in vars(args).items() if name in names})

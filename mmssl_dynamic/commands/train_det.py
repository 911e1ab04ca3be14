"""Train a detector on a pre-trained backbone, from an mmdet config such as configs/detection has.

mmdet's own tools/train.py runs the same configs. This one says in a sentence which file is missing, and passes
data_root=... on to the evaluators. Several GPUs: torchrun --nproc_per_node=8 -m mmssl_dynamic train-det ... --launcher
pytorch
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.commands import shared, training_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser, "config file, such as configs/detection/mask-rcnn_dspnet-r18_fpn_180k_coco.py")
    training_options.add_arguments(parser)


def main(args: argparse.Namespace) -> None:
    """Train to the end."""
    from mmssl_dynamic.detection.detector import prepare_detection
    from mmssl_dynamic.engine.launch import run_training

    given = {"work_dir": args.work_dir, "resume": args.resume, "launcher": args.launcher}
    options = training_options.parsed(args)
    run_training(prepare_detection(args.config, cfg_options=args.cfg_options, options=options, **given))

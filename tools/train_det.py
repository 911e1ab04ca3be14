"""Train a detector on a pre-trained backbone from an mmdet config, such as those in configs/detection.

mmdet's own tools/train.py runs the same configs. This one says in a sentence which file is missing, and passes
data_root=... on to the evaluators. Several GPUs: torchrun --nproc_per_node=8 tools/train_det.py ... --launcher pytorch
"""

import argparse

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser, "config file, such as configs/detection/mask-rcnn_dspnet-r18_fpn_180k_coco.py")
    cli.add_training_arguments(parser)
    args = cli.parse_with_rank(parser)
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    options = vars(parse_args())
    from mmssl_dynamic.apis.train import train
    from mmssl_dynamic.detection.detector import prepare_detection

    train(prepare_detection(options.pop("config"), **options))


if __name__ == "__main__":
    cli.run(main)

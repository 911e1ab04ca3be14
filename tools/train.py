"""Pre-train a network or super-network from a config."""

import argparse

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    cli.add_config_argument(parser, "config file, such as configs/sdr/sdr_simsiam_r50_256path.py")
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="keep weights and images in channels-last order, which is faster on GPUs, above all with --amp",
    )
    parser.add_argument(
        "--no-validate", dest="validate", action="store_false", help="no validation during the training"
    )
    parser.add_argument(
        "--no-pin-memory",
        dest="pin_memory",
        action="store_false",
        help="load images into ordinary memory (default: page-locked memory, where there is CUDA)",
    )
    parser.add_argument(
        "--no-persistent-workers",
        dest="persistent_workers",
        action="store_false",
        help="start loader processes anew in every epoch (default: keep them)",
    )
    cli.add_training_arguments(parser)
    args = cli.parse_with_rank(parser)
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    options = vars(parse_args())
    from mmssl_dynamic.apis.train import train
    from mmssl_dynamic.engine.launch import prepare_config

    train(prepare_config(options.pop("config"), **options))


if __name__ == "__main__":
    cli.run(main)

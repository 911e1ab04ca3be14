"""Pre-train a network or super-network, from a config or (your own images) from a preset."""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, existing, existing_folder, refuse_idle
from mmssl_dynamic.commands import shared, training_options
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.presets import ALGORITHMS, SIZES, Preset

PRESET_ARGUMENTS = ("data", "algorithm", "clusters", "init_from")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    help = "config file, such as configs/sdr/sdr_simsiam_r50_256path.py; not with --preset"
    shared.add_config(parser, help, nargs="?")
    preset = parser.add_argument_group("in place of a config")
    preset.add_argument(
        "--preset",
        choices=SIZES,
        help="small: 64 px, a narrow ResNet-18, tens of minutes on two cores; base: 224 px, ResNet-50, a GPU",
    )
    preset.add_argument(
        "--data",
        metavar="DIR",
        action=Checked,
        check=existing_folder("image folder"),
        help="folder of your own images, of any structure; of tar files, an LMDB or a Hugging Face data set, too",
    )
    preset.add_argument("--algorithm", choices=ALGORITHMS, help="what to train (default: sdr)")
    preset.add_argument(
        "--clusters",
        metavar="FILE",
        action=Checked,
        check=existing("clusters file", "write it with tools/cluster.py"),
        help="clusters of the images, for sdr",
    )
    preset.add_argument(
        "--init-from",
        metavar="FILE",
        action=Checked,
        check=existing("checkpoint"),
        help="weights that sdr or dspnet start from, of simsiam or byol with the same preset",
    )
    parser.add_argument(
        "--channels-last",
        action="store_true",
        help="keep weights and images in channels-last order, which is faster, above all with --amp",
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="compile the backbones (torch.compile): a graph serves all sub-networks of the same shapes",
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
    parser.add_argument(
        "--monitor",
        metavar="DIR",
        action=Checked,
        check=existing_folder("folder of labelled images", "give one with train/CLASS/ and val/CLASS/, or with CLASS/"),
        help="log the kNN accuracy on a labelled folder about ten times during the training",
    )
    training_options.add_arguments(parser)


def complete(args: argparse.Namespace) -> None:
    """Find the config of a preset.

    Raises:
        ConfigError: there is neither config nor preset, or both, or an option of the other.
    """
    if args.preset is None:
        refuse_idle(args, PRESET_ARGUMENTS, "a config and no --preset")
        if args.config is None:
            raise ConfigError("give a config, or --preset small --data DIR for a folder of your own images.")
        return
    if args.config is not None:
        raise ConfigError(f"--preset {args.preset} is in place of a config; leave out {args.config}, or --preset.")
    if args.data is None:
        raise ConfigError(f"--preset {args.preset} needs --data, the folder of your images.")
    args.preset = Preset(args.preset, args.algorithm or "sdr")
    args.preset.check(args.data, args.clusters, args.init_from)
    args.config = str(args.preset.config)


def main(args: argparse.Namespace) -> None:
    """Train to the end."""
    preset, cfg_options, work_dir = args.preset, args.cfg_options, args.work_dir
    if preset is not None:
        scaled = args.auto_scale_lr or bool(cfg_options.get("auto_scale_lr.enable"))
        found = preset.options(args.data, args.clusters, args.init_from, scaled)
        cfg_options = {**found, **cfg_options}
        work_dir = work_dir or preset.work_dir(args.data)
    from mmssl_dynamic.apis.train import train
    from mmssl_dynamic.loading import load_config

    config, options = load_config(args.config, cfg_options), training_options.parsed(args)
    train(config, work_dir, resume=args.resume, launcher=args.launcher, options=options)

"""Write the pooled backbone features of all training images to a file, the first step of clustering (SDR Sec. 4.2).

The images are those of the config's extract_dataloader. The file is written in place as it grows, needs no memory to
speak of, and a run that was stopped goes on where it was when started again with the same arguments.
"""

import argparse

from mmssl_dynamic import cli
from mmssl_dynamic.arguments import Checked, at_least, file_ending


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser, "pre-training config, with extract_dataloader and eval_pipeline")
    cli.add_checkpoint_argument(parser, "weights of that config's model (.pth or .safetensors)")
    parser.add_argument(
        "--out",
        required=True,
        metavar="F.npy",
        action=Checked,
        check=file_ending(".npy"),
        help="file of the features; F.json with the image names goes beside",
    )
    parser.add_argument(
        "--subnet", default="full", help="sub-network of a super-network, such as 0-3-1-2 (default: full)"
    )
    cli.add_bank_argument(parser, "for any --subnet but full, ")
    cli.add_loader_arguments(parser, "of extract_dataloader", "of extract_dataloader")
    help = "only N images, evenly spaced over the data set"
    cli.add_number_argument(parser, "--limit-images", help, at_least(1), metavar="N")
    cli.add_again_argument(parser)
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    args = parser.parse_args()
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.calibration.statistics import apply_bank
    from mmssl_dynamic.datasets.batches import build_dataset
    from mmssl_dynamic.features.extract import extract_features
    from mmssl_dynamic.loading import load_backbone, load_config, need, normalisation_of, select_device

    config = load_config(args.config, args.cfg_options)
    need(config, "extract_dataloader")
    device = select_device(args.device)
    backbone = load_backbone(config, args.checkpoint, device)
    apply_bank(backbone, [args.subnet], args.checkpoint, args.bank)
    loader = config.extract_dataloader
    features = extract_features(
        backbone,
        build_dataset(loader.dataset),
        normalisation_of(config),
        args.out,
        subnet=args.subnet,
        batch_size=loader.get("batch_size", 64) if args.batch_size is None else args.batch_size,
        num_workers=loader.get("num_workers", 0) if args.workers is None else args.workers,
        device=device,
        limit_images=args.limit_images,
        again=args.again,
    )
    print(f"{args.out}: {features.num_images} images x {features.dim} features")


if __name__ == "__main__":
    cli.run(main)

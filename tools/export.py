"""Write one sub-network as a plain backbone file that other code loads, and check it.

What was written is read back into independently built models, and weights and outputs are compared with the active
sub-network before the file gets its name. FILE.json beside it tells the architecture and a config to paste.
"""

import argparse

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="pre-training config")
    parser.add_argument("checkpoint", help="checkpoint of the run")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--subnet", metavar="NAME", help="sub-network, such as 0-3-1-2 or full")
    which.add_argument(
        "--routing", metavar="FILE", help="routing.json: export the winner, with the bank it was found with"
    )
    parser.add_argument("--bank", metavar="FILE", help="BN bank of the checkpoint (default: the one --routing names)")
    parser.add_argument(
        "--bn",
        choices=("path", "prefix"),
        help="which BatchNorm statistics of the bank to use (default: what --routing used, else path)",
    )
    parser.add_argument(
        "--format",
        choices=("mmpretrain", "mmdet", "torchvision"),
        default="mmpretrain",
        help="mmpretrain: keys begin with 'backbone.'; mmdet, torchvision: a ResNet's plain keys (default: mmpretrain)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="file to write: .pth or .safetensors")
    cli.add_device_argument(parser)
    cli.add_cfg_options_argument(parser)
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.deployment import export

    report = export(
        args.config,
        args.checkpoint,
        args.out,
        subnet=args.subnet,
        routing=args.routing,
        bank=args.bank,
        bn=args.bn,
        format=args.format,
        device=args.device,
        cfg_options=args.cfg_options,
    )
    print(report)
    print(f"architecture and how to load it: {report.sidecar}")


if __name__ == "__main__":
    cli.run(main)

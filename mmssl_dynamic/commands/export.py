"""Write sub-networks as plain backbone files that other code loads, and check them.

What was written is read back into independently built models, and weights and outputs are compared with the active
sub-network before the file gets its name. Lines of Python that load it, and normalise images as in pre-training, are
printed, ready to be pasted; FILE.json beside it tells the architecture.

A BN bank is needed unless the checkpoint holds the statistics: of the full network, and of every network that was
trained with switchable BatchNorm.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, existing
from mmssl_dynamic.commands import shared
from mmssl_dynamic.outputs import check_output_file, check_output_folder

EPILOG = """\
formats:
  torchvision  loads strictly into torchvision's ResNet, or its MobileNetV3 of the same width, without classifier
  timm         loads strictly into timm's ResNet (whose stem has 64 channels) or MobileNetV3 without classifier
  mmpretrain   keys begin with 'backbone.'; the sidecar holds the config of the backbone
  mmdet        plain keys; the sidecar holds a config of the backbone that returns strides 4, 8, 16 and 32
  onnx         a graph of any batch and image size, from images to the backbone's out_indices; needs
               pip install onnx onnxruntime
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    shared.add_config(parser)
    shared.add_checkpoint(parser)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--subnet", metavar="NAME", help="sub-network, such as 0-3-1-2, w0.75, w1.0-d2222 or full")
    which.add_argument("--all", action="store_true", help="every sub-network; --out is a folder then")
    which.add_argument(
        "--routing",
        metavar="FILE",
        action=Checked,
        check=existing("routing result"),
        help="routing.json: export the winner, with the bank it was found with",
    )
    shared.add_bank(parser, default="the one --routing names, else bn_bank.safetensors beside it")
    help = "which statistics of the bank; prefix: of SDR only (default: what --routing used, else path)"
    shared.add_bn(parser, help, None)
    shared.add_format(parser, "see below (default: mmpretrain)", "mmpretrain")
    parser.add_argument(
        "--out",
        required=True,
        metavar="PATH",
        help="file to write: .pth or .safetensors, .onnx for that format; with --all the folder to write "
        "backbone_NAME_FORMAT.pth (or .onnx) into",
    )
    shared.add_cfg_options(parser)
    shared.add_execution(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse an output of the wrong kind."""
    if args.all:
        check_output_folder(args.out)
    else:
        known = (".onnx",) if args.format == "onnx" else (".pth", ".safetensors")
        check_output_file(args.out, endings=known if args.format in shared.FORMATS else ())


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    check(args)
    from mmssl_dynamic.apis.export import ALL, export
    from mmssl_dynamic.routing import RoutingResult

    config, execution = shared.config_and_execution(args)
    chosen = ALL if args.all else args.subnet if args.routing is None else RoutingResult.load(args.routing)
    how = {"bank": args.bank, "bn": args.bn, "format": args.format}
    reports = export(config, args.checkpoint, args.out, chosen, **how, execution=execution)
    if args.all:
        print(f"architectures and how to load them: the .json files in {args.out}; the last one:\n")
        print(reports[-1].snippet, end="")
        return
    (report,) = reports
    print(report)
    print(f"architecture, provenance and the configs below as data: {report.sidecar}\n\n{report.snippet}", end="")

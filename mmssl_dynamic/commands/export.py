"""Write sub-networks as plain backbone files that other code loads, and check them.

What was written is read back into independently built models, and weights and outputs are compared with the active
sub-network before the file gets its name. Lines of Python that load it, and normalise images as in pre-training, are
printed, ready to be pasted; FILE.json beside it tells the architecture.

A BN bank is needed unless the checkpoint holds the statistics: of the full network, and of every network that was
trained with switchable BatchNorm.
"""

from __future__ import annotations

import argparse
from typing import Any

from mmssl_dynamic.arguments import Checked, at_least, existing, existing_folder, refuse_idle
from mmssl_dynamic.commands import shared
from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.outputs import check_output_file, check_output_folder

EPILOG = """\
formats:
  torchvision  loads strictly into torchvision's ResNet, or its MobileNetV3 of the same width, without classifier
  timm         loads strictly into timm's ResNet (whose stem has 64 channels) or MobileNetV3 without classifier
  mmpretrain   keys begin with 'backbone.'; the sidecar holds the config of the backbone
  mmdet        plain keys; the sidecar holds a config of the backbone that returns strides 4, 8, 16 and 32
  onnx         a graph from images to the backbone's out_indices; needs pip install onnx onnxruntime onnxscript
  onnx_int8    the same with weights and feature maps of eight bits, their ranges measured on --calibration-images;
               accuracy on --data-root, latency and size before and after are printed, and in the sidecar
  openvino     a graph for Intel's processors, FILE.xml with its weights in FILE.bin; needs pip install openvino onnx
  tflite       a graph for LiteRT on phones, of one size; needs pip install litert-torch ai-edge-litert
"""

# Arguments, and what the formats call them.
_SIZES = {"fixed_batch": "batch_size", "fixed_size": "image_size"}
_ONNX = {"opset": "opset", **_SIZES}
_INT8 = {
    "calibration_images": "calibration_images",
    "calibration_count": "calibration_count",
    "data_root": "task",
    "dataset_config": "task",
}
_OPTIONS = {"onnx": _ONNX, "onnx_int8": {**_ONNX, **_INT8}, "openvino": _SIZES, "tflite": _SIZES}
_KNOWN = {**_ONNX, **_INT8}


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
        help="file to write: .pth or .safetensors, .onnx for graphs; with --all the folder to write "
        "backbone_NAME_FORMAT.pth (or .onnx) into",
    )
    graph = parser.add_argument_group("graphs (onnx, onnx_int8, openvino, tflite)")
    shared.add_number(graph, "--opset", "version of the operators of ONNX (default: torch's)", at_least(1), metavar="N")
    shared.add_number(
        graph, "--fixed-batch", "images of every batch (default: any; tflite: 1)", at_least(1), metavar="N"
    )
    shared.add_number(
        graph,
        "--fixed-size",
        "side of all images (default: any; tflite: as in evaluation)",
        at_least(1),
        metavar="PIXELS",
    )
    int8 = parser.add_argument_group("onnx_int8")
    int8.add_argument(
        "--calibration-images",
        metavar="DIR",
        action=Checked,
        check=existing_folder("folder of calibration images"),
        help="images like those that the network will see; no labels needed",
    )
    shared.add_number(int8, "--calibration-count", "how many of them to use (default: 200)", at_least(1), metavar="N")
    task = int8.add_mutually_exclusive_group()
    task.add_argument(
        "--data-root",
        metavar="DIR",
        action=Checked,
        check=existing_folder("data folder", "give a folder with train/ and test/ (or val/) in it"),
        help="compare kNN accuracies on these images: train/CLASS/ and test/CLASS/ (or val/)",
    )
    shared.add_config_file(
        task, "--dataset-config", "or on those of a config that defines the data sets train and test"
    )
    shared.add_cfg_options(parser)
    shared.add_execution(parser)


def check(args: argparse.Namespace) -> None:
    """Refuse an output of the wrong kind, and options that belong to another format."""
    if args.all:
        check_output_folder(args.out)
    else:
        check_output_file(args.out, endings=shared.FORMATS.get(args.format, ()))
    if args.format in shared.FORMATS:
        options = _OPTIONS.get(args.format, {})
        refuse_idle(args, [name for name in _KNOWN if name not in options], f"--format {args.format}")
    if args.format == "onnx_int8" and args.calibration_images is None:
        raise ConfigError("--format onnx_int8 measures ranges on images of yours; give --calibration-images DIR.")


def format_of(args: argparse.Namespace) -> dict[str, Any]:
    """The format with its options."""
    if args.dataset_config is not None:
        args.dataset_config = config_file(args.dataset_config)
    names = _OPTIONS.get(args.format, _KNOWN)
    given = {option: getattr(args, name) for name, option in names.items() if getattr(args, name) is not None}
    return {"type": args.format, **given}


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    check(args)
    from mmssl_dynamic.apis.export import ALL, export
    from mmssl_dynamic.routing import RoutingResult

    config, execution = shared.config_and_execution(args)
    chosen = ALL if args.all else args.subnet if args.routing is None else RoutingResult.load(args.routing)
    how = {"bank": args.bank, "bn": args.bn, "format": format_of(args)}
    reports = export(config, args.checkpoint, args.out, chosen, **how, execution=execution)
    if args.all:
        print(f"architectures and how to load them: the .json files in {args.out}; the last one:\n")
        print(reports[-1].snippet, end="")
        return
    (report,) = reports
    print(report)
    print(f"architecture, provenance and the configs below as data: {report.sidecar}\n\n{report.snippet}", end="")

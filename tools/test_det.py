"""Evaluate a trained detector: AP, AP50 and AP75 of boxes and masks, and pictures of what it finds.

Written to --out: results.json with the whole protocol, report.html, and the pictures in it. mmdet's own tools/test.py
evaluates the same configs and checkpoints.
"""

import argparse
import os

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_config_argument(parser, "config of the training")
    cli.add_checkpoint_argument(parser, "checkpoint of the detector")
    parser.add_argument("--work-dir", metavar="DIR", help="folder of logs (default: --out, or work_dirs/<config name>)")
    cli.add_out_argument(parser, default="the work dir")
    parser.add_argument(
        "--show-dir",
        metavar="NAME",
        help="draw every image, as mmdet's tool does, into this folder below the work dir and the time of the start",
    )
    parser.add_argument("--pictures", type=int, default=8, metavar="N", help="images in the report (default: 8)")
    parser.add_argument(
        "--score-thr", type=float, default=0.3, metavar="SCORE", help="of the predictions to draw (default: 0.3)"
    )
    cli.add_cfg_options_argument(parser)
    cli.add_launcher_argument(parser)
    args = cli.parse_with_rank(parser)
    args.cfg_options = cli.config_options(args.config, args.cfg_options)
    return args


def main() -> None:
    options = vars(parse_args())
    from mmssl_dynamic.detection.detector import evaluate_detector

    found = evaluate_detector(options.pop("config"), options.pop("checkpoint"), **options)
    if os.environ.get("RANK", "0") == "0":
        for what, values in found.items():
            print(f"{what}: " + ", ".join(f"{name} {value:.1f}" for name, value in values.items()))


if __name__ == "__main__":
    cli.run(main)

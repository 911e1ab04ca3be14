"""Run SDR from images to exported backbones in a few minutes on two cores, and write a report.

Pre-trains on the photographs that ship inside scikit-image (or on your own folder), clusters, trains 16 sub-networks,
routes three downstream tasks, exports the winners and writes report.html. Run again, it goes on where it stopped.
"""

import argparse
from pathlib import Path

from mmssl_dynamic import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="DIR", help="folder of your own images to pre-train on")
    parser.add_argument(
        "--out", metavar="DIR", help="(default: work_dirs/demo, or work_dirs/demo_<folder> with --data)"
    )
    parser.add_argument(
        "--epochs", type=int, default=16, help="of SimSiam; SDR has half as many again (default: %(default)s)"
    )
    parser.add_argument("--max-images", type=int, default=2048, help="of --data (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    args = parser.parse_args()
    from mmssl_dynamic.apis.demo import run_demo

    name = "demo" if args.data is None else f"demo_{Path(args.data).resolve().name}"
    run_demo(
        args.out or Path("work_dirs") / name,
        args.data,
        epochs=args.epochs,
        seed=args.seed,
        max_images=args.max_images,
    )


if __name__ == "__main__":
    cli.run(main)

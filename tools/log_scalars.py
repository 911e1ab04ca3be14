"""Show results of routing, evaluation and transfer in TensorBoard, of runs that are finished.

Beside every routing.json and results.json a folder tensorboard/ is written. To look at them:
tensorboard --logdir work_dirs
"""

import argparse

from mmssl_dynamic import cli


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", metavar="PATH", help="results, or folders to look for them in")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from mmssl_dynamic.apis.log_scalars import log_results

    for folder in log_results(args.paths):
        print(f"wrote {folder}")


if __name__ == "__main__":
    cli.run(main)

"""Run DSPNet from images to exported backbones in a few minutes on two cores, and write a report.

Pre-trains six networks at once on the photographs that ship inside scikit-image (or on your own folder), the smallest
and the largest alone by BYOL beside them, compares their accuracy and cost on three downstream tasks, exports all six
and writes report.html. Run again, it goes on where it stopped.
"""

import argparse

from mmssl_dynamic import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_demo_arguments(parser, "demo-dspnet", 12, "of every training")
    args = parser.parse_args()
    from mmssl_dynamic.demo.dspnet_demo import run_dspnet_demo

    run_dspnet_demo(**cli.demo_options(args, "demo-dspnet"))


if __name__ == "__main__":
    cli.run(main)

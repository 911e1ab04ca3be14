"""Run SDR from images to exported backbones in a few minutes on two cores, and write a report.

Pre-trains on the photographs that ship inside scikit-image (or on your own folder), clusters, trains 16 sub-networks,
routes three downstream tasks, exports the winners and writes report.html. Run again, it goes on where it stopped.
"""

import argparse

from mmssl_dynamic import cli


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cli.add_demo_arguments(parser, "demo", 16, "of SimSiam; SDR has half as many again")
    args = parser.parse_args()
    from mmssl_dynamic.demo.sdr_demo import run_demo

    run_demo(**cli.demo_options(args, "demo"))


if __name__ == "__main__":
    cli.run(main)

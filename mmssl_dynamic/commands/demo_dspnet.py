"""Run DSPNet from images to exported backbones in minutes on two cores, and write a report.

Pre-trains six networks at once on the photographs that ship inside scikit-image (or on your own folder), each of them
alone beside them at equal steps and at equal time, compares their accuracy and cost on three downstream tasks, exports
all six and writes report.html. Run again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.commands import demo_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    demo_options.add_arguments(parser, "demo-dspnet", 8, "of all networks at once, and of each alone")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.demo.dspnet_demo import run_dspnet_demo

    run_dspnet_demo(**demo_options.folder_named(args, "demo-dspnet"))

"""Run SDR from images to exported backbones in minutes on two cores, and write a report.

Pre-trains on the photographs that ship inside scikit-image (or on your own folder), clusters, trains as
many sub-networks as suit the images, routes three downstream tasks, exports the winners and writes report.html. Run
again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.commands import demo_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    demo_options.add_arguments(parser, "demo", 16, "of SimSiam, and of SDR that starts from it")


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.demo.sdr_demo import run_demo

    run_demo(**demo_options.folder_named(args, "demo"))

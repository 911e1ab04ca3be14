"""Write a network as others load it: a folder for hubs, or a run's weights alone.

SOURCE that export wrote in a format of PyTorch becomes a folder --out/NAME-HASH with model.safetensors, config.json and
a model card, README.md, which timm.create_model('local-dir:FOLDER', pretrained=True) loads and Hugging Face's hub takes
as it is. It is loaded and compared before it gets its name. --results puts the network's accuracies into the card.

SOURCE that training wrote, a checkpoint, becomes --out/NAME-HASH.pth: the weights without the state of the optimiser,
which every command takes in place of the checkpoint.
"""

from __future__ import annotations

import argparse

from mmssl_dynamic.arguments import Checked, existing
from mmssl_dynamic.commands import shared


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define its options."""
    help = "export with its .json file beside it, or checkpoint of a run"
    parser.add_argument("source", metavar="SOURCE", action=Checked, check=existing("export or checkpoint"), help=help)
    shared.add_out(parser, "the folder or file that is published")
    help = "licence of the weights, such as apache-2.0 or cc-by-4.0; needed for an export"
    parser.add_argument("--license", metavar="NAME", help=help)
    help = "routing.json or results.json of the super-network, or their folders: figures for the card"
    parser.add_argument("--results", nargs="+", default=[], metavar="RESULTS", help=help)
    help = "what the hash is appended to (default: config and sub-network, or that of the checkpoint)"
    parser.add_argument("--name", metavar="NAME", help=help)


def main(args: argparse.Namespace) -> None:
    """Do what was asked for, and print what came of it."""
    from mmssl_dynamic.apis.publish import publish

    print(publish(args.source, args.out, license=args.license, results=args.results, name=args.name))

"""Which verbs there are, and how one is parsed and run.

Nothing large is imported before a verb has looked at its arguments.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType

from mmssl_dynamic.commands import shared
from mmssl_dynamic.errors import ConfigError

PROGRAM = "mmssl-dynamic"

#: The verbs, in the order of the list that ``--help`` shows. One of two words is in a folder of the first one's name.
GROUPS: dict[str, tuple[str, ...]] = {
    "pre-train": ("pipeline", "forecast", "train", "extract-features", "cluster"),
    "choose and use sub-networks": ("calibrate", "route", "evaluate", "transfer", "export", "publish", "prune"),
    "choose by budget": ("select", "latency"),
    "detectors": ("train-det", "test-det"),
    "data and results": (
        "check-images",
        "data make-shards",
        "data check-imagenet",
        "data split-imagenet",
        "log-scalars",
    ),
    "demonstrations": ("demo", "demo-dspnet"),
}
VERBS: tuple[str, ...] = tuple(verb for group in GROUPS.values() for verb in group)


def module_of(verb: str) -> ModuleType:
    """The module of a verb.

    Raises:
        ConfigError: there is no such verb; names the one that may be meant.
    """
    if verb not in VERBS:
        family = [name for name in VERBS if name.startswith(f"{verb} ")]
        near = get_close_matches(verb, VERBS, n=1, cutoff=0.6)
        meant = " or ".join(family or near)
        hint = f"did you mean {meant}?" if meant else f"{PROGRAM} --help lists them."
        raise ConfigError(f"{PROGRAM} has no command '{verb}'; {hint}")
    return import_module(f"mmssl_dynamic.commands.{verb.replace(' ', '.').replace('-', '_')}")


def summary(verb: str) -> str:
    """What a verb does, in one line."""
    return (module_of(verb).__doc__ or "").strip().split("\n\n")[0].replace("\n", " ")


def parser_of(verb: str, program: str | None = None) -> argparse.ArgumentParser:
    """The parser of a verb.

    Args:
        verb: Its name.
        program: What to type, for the usage; ``mmssl-dynamic VERB`` when left out.
    """
    module = module_of(verb)
    parser = argparse.ArgumentParser(
        program or f"{PROGRAM} {verb}",
        description=module.__doc__,
        epilog=getattr(module, "EPILOG", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


def parsed(verb: str, arguments: Sequence[str], program: str | None = None) -> argparse.Namespace:
    """The arguments of a verb as its ``main`` takes them.

    Raises:
        UserError: anything that does not fit.
    """
    args, module = parser_of(verb, program).parse_args(arguments), module_of(verb)
    if hasattr(module, "complete"):
        module.complete(args)
    return shared.finished(args)


def run_verb(verb: str, arguments: Sequence[str], program: str | None = None) -> None:
    """Parse the arguments of a verb and run it.

    Raises:
        UserError: anything that does not fit.
    """
    module_of(verb).main(parsed(verb, arguments, program))


def main_of(verb: str) -> Callable[[], None]:
    """The ``main`` of a script that is one verb, such as those in ``tools/``."""

    def main() -> None:
        run_verb(verb, sys.argv[1:], os.path.basename(sys.argv[0]))

    return main

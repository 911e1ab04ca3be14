"""The options that say what a network may cost, of every verb that has networks to choose from."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mmssl_dynamic.arguments import Checked, existing
from mmssl_dynamic.budget import EXAMPLES, OPTIONS, quantity
from mmssl_dynamic.errors import ConfigError

ARGUMENTS = (*OPTIONS, "device_table")
_HELP = {
    "max_latency": "on the device of --device-table",
    "max_macs": "multiply-accumulates per image",
    "max_params": "weights",
    "max_size": "of the weights in single precision",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``--max-latency``, ``--max-macs``, ``--max-params``, ``--max-size`` and ``--device-table``."""
    group = parser.add_argument_group("budget of a network")
    for option in OPTIONS:
        flag = f"--{option.replace('_', '-')}"
        help = f"{_HELP[option]}, such as {EXAMPLES[option]}"
        check = _is_quantity(option)
        group.add_argument(flag, metavar=EXAMPLES[option], action=Checked, check=check, help=help)
    group.add_argument(
        "--device-table",
        metavar="FILE",
        action=Checked,
        check=existing("device table", "measure one with `mmssl-dynamic latency`"),
        help="latencies of a device, from `mmssl-dynamic latency` or written by hand",
    )


def _is_quantity(option: str) -> Any:
    return lambda text, _: quantity(text, option)


def given(args: argparse.Namespace) -> bool:
    """Whether there is a budget."""
    return any(getattr(args, option) is not None for option in ARGUMENTS)


def check(args: argparse.Namespace) -> None:
    """Refuse a limit on a latency that nobody has measured.

    Raises:
        ConfigError: there is one.
    """
    if args.max_latency is not None and args.device_table is None:
        raise ConfigError(
            "--max-latency needs --device-table FILE, the latencies of a device; `mmssl-dynamic latency` measures them."
        )


def print_choices(args: argparse.Namespace, format: str | None = None) -> None:
    """Print what to use within the budget, out of the results in ``--out``, if there is a budget.

    Args:
        args: Parsed arguments.
        format: Export the chosen networks in this format into the folder ``budget`` of ``--out``, too.
    """
    if not given(args):
        return
    from mmssl_dynamic.apis.select import exported, select
    from mmssl_dynamic.budget import Budget

    budget = Budget.of(vars(args))
    options: dict[str, Any] = {} if format is None else {"out": os.path.join(args.out, "budget"), "format": format}
    print(f"\nwithin the budget, {budget}:")
    for choice in select([args.out], budget, device_table=args.device_table, **options):
        print(choice.text())
    if format is not None:
        print(f"a picture of accuracy over cost for each task: {options['out']}")
        for file in exported(options["out"]):
            print(f"exported: {file}")

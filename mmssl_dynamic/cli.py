"""What every command line in ``tools/`` shares: one sentence for a user's error, and common arguments."""

from __future__ import annotations

import argparse
import re
import sys
import warnings
from collections.abc import Callable

from mmssl_dynamic.errors import UserError


def run(main: Callable[[], None]) -> None:
    """Call ``main``; turn a :class:`UserError` into one line on stderr and exit status 2, Ctrl-C into status 130."""
    # Upstream's imports, which nobody at a command line can do anything about.
    warnings.filterwarnings("ignore", message="pkg_resources is deprecated")
    try:
        main()
    except UserError as error:
        print(f"error: {one_sentence(error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def one_sentence(error: UserError) -> str:
    """The message alone: without a loader worker's traceback, or the classes mmengine was building around it."""
    message = str(error)
    if "Original Traceback" in message:
        last = [line for line in message.splitlines() if line.strip()][-1]
        message = last.split(": ", 1)[-1]
    return re.sub(r"^(class `\w+` in [\w/.-]+: )+", "", message)


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """``--device``, a CUDA device where there is one."""
    parser.add_argument("--device", default=None, help="such as 'cpu' or 'cuda:0' (default: CUDA where there is one)")


def add_cfg_options_argument(parser: argparse.ArgumentParser) -> None:
    """``--cfg-options key=value ...``, as in every OpenMMLab tool."""
    from mmengine.config import DictAction

    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override config values, such as train_dataloader.batch_size=64",
    )

"""What every command line in ``tools/`` shares: one sentence for a user's error, and common arguments."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmssl_dynamic.arguments import Check, Checked, at_least, existing, existing_folder, positive
from mmssl_dynamic.errors import ConfigError, UserError, UserNotice, first_line
from mmssl_dynamic.file_checks import existing_file
from mmssl_dynamic.interrupts import STATUS, Interrupts, close_progress_bars
from mmssl_dynamic.options.text import OptionAction
from mmssl_dynamic.outputs import check_output_file, check_output_folder

_as_ever = warnings.formatwarning
# What imports of a correct installation say every time, and nobody at a command line can do anything about.
_UPSTREAM_WARNINGS = (
    "pkg_resources is deprecated",
    "Fail to import ``MultiScaleDeformableAttention``",  # mmcv-lite, which is enough for all but detection
)


def run(main: Callable[[], None]) -> None:
    """Call ``main``; turn a :class:`UserError` into one line on stderr and exit status 2, Ctrl-C into status 130.

    A file that the system does not let us open is a user's error, too, and so is a disk that is full.
    """
    interrupts = Interrupts()
    interrupts.install()
    for text in _UPSTREAM_WARNINGS:
        warnings.filterwarnings("ignore", message=text)
    before, warnings.formatwarning = warnings.formatwarning, _as_line
    arguments, sys.argv = sys.argv, [sys.argv[0], *map(_at_home, sys.argv[1:])]
    search, sys.path = sys.path, [*sys.path, os.getcwd()]  # modules of the user's own, as `python -m` finds them
    try:
        main()
    except BaseException as error:
        # Whatever an interruption has become on its way: a failed import, a loader process that is gone.
        if interrupts.pressed or isinstance(error, KeyboardInterrupt):
            close_progress_bars()
            interrupts.tell()
            sys.exit(STATUS)
        sentence = _sentence_of(error)
        if sentence is None:
            raise
        close_progress_bars()
        print(f"error: {sentence}", file=sys.stderr)
        sys.exit(2)
    finally:
        interrupts.end()
        warnings.formatwarning, sys.argv, sys.path = before, arguments, search


def _sentence_of(error: BaseException) -> str | None:
    """What to say of an error that a user can mend; ``None`` for others."""
    if isinstance(error, UserError):
        return one_sentence(error)
    if isinstance(error, Exception) and "mmssl_dynamic.writing" in sys.modules:
        from mmssl_dynamic.writing import is_full, no_room

        if is_full(error):
            name = getattr(error, "filename", None)
            if name is None:
                return f"a disk that is written to is full ({first_line(error)}); free space or choose another one."
            return str(no_room(Path(os.fsdecode(name)), None, error))
    if isinstance(error, OSError) and error.filename is not None:
        # A file of the user's that nobody thought of: its name says more than our lines would.
        return f"{error.filename}: {error.strerror}; correct the path or its permissions."
    return None


def _at_home(argument: str) -> str:
    """An argument with the home folder in place of ``~``, which shells leave alone in quotes and behind ``=``."""
    option, path = re.fullmatch(r"([-\w.]+=)?(.*)", argument, re.DOTALL).groups()  # type: ignore[union-attr]
    return (option or "") + os.path.expanduser(path)


def _as_line(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A notice as one line, without the place in the code where it comes from; other warnings as ever."""
    if issubclass(category, UserNotice):
        return f"note: {message}\n"
    return _as_ever(message, category, filename, lineno, line)


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


def add_again_argument(parser: argparse.ArgumentParser) -> None:
    """``--again``, of every tool that keeps results."""
    parser.add_argument(
        "--again", action="store_true", help="compute everything anew, also what is kept from an earlier run"
    )


def add_out_argument(
    parser: argparse.ArgumentParser, of: str = "the results", default: str | None = None, required: bool = True
) -> None:
    """``--out DIR``, a folder; :func:`out` refuses another kind.

    Args:
        parser: Gets the argument.
        of: What goes into the folder.
        default: The folder when left out, for the help; the argument is required without one.
        required: Whether it is, where there is no default.
    """
    parser.add_argument(
        "--out",
        required=required and default is None,
        metavar="DIR",
        action=Checked,
        check=check_output_folder,
        help=f"folder of {of}" + (f" (default: {default})" if default else ""),
    )


def add_config_argument(parser: argparse.ArgumentParser, help: str = "pre-training config", **options: Any) -> None:
    """``CONFIG``, a file that must be there."""
    check = existing("config", error=ConfigError)
    parser.add_argument("config", action=Checked, check=check, help=help, **options)


def add_checkpoint_argument(
    parser: argparse.ArgumentParser, help: str = "checkpoint of the run", **options: Any
) -> None:
    """``CHECKPOINT``, a file that must be there."""
    parser.add_argument("checkpoint", action=Checked, check=existing("checkpoint"), help=help, **options)


def add_bank_argument(
    parser: argparse.ArgumentParser, help: str = "", default: str = "bn_bank.safetensors beside it"
) -> None:
    """``--bank FILE``, the bank beside the checkpoint by default; ``help`` goes before that in the help."""
    parser.add_argument(
        "--bank",
        metavar="FILE",
        action=Checked,
        check=existing("BN bank", "write it with tools/calibrate_bn.py"),
        help=f"{help}BN bank of the checkpoint (default: {default})",
    )


def add_number_argument(
    parser: argparse._ActionsContainer, flag: str, help: str, check: Check, type: type = int, **options: Any
) -> None:
    """A number that is checked where it is read."""
    parser.add_argument(flag, type=type, action=Checked, check=check, help=help, **options)


def add_loader_arguments(parser: argparse._ActionsContainer, batch_size: int | str, workers: int | str) -> None:
    """``--batch-size`` and ``--workers``; their defaults, or what to say of them where they come from elsewhere."""
    for flag, help, least, default in (
        ("--batch-size", "images per batch", 1, batch_size),
        ("--workers", "processes that load images", 0, workers),
    ):
        known = default if isinstance(default, int) else None
        add_number_argument(parser, flag, f"{help} (default: {default})", at_least(least), default=known)


def add_knn_arguments(parser: argparse._ActionsContainer) -> None:
    """``--knn``, ``--k``, ``--vote`` and ``--temperature``, for ``KNNProtocol.of``."""
    parser.add_argument(
        "--knn",
        choices=("sdr", "dspnet"),
        help="protocol of a paper; sdr: 200 neighbours, weighted by exp(similarity / 0.07); dspnet: 20 neighbours, one "
        "vote each (default: sdr)",
    )
    add_number_argument(parser, "--k", "neighbours (default: of --knn)", at_least(1))
    parser.add_argument("--vote", choices=("weighted", "majority"), help="(default: of --knn)")
    help = "of the weighted vote (default: of --knn)"
    add_number_argument(parser, "--temperature", help, positive, float, metavar="T")


KNN_ARGUMENTS = ("knn", "k", "vote", "temperature")


def add_cfg_options_argument(
    parser: argparse._ActionsContainer, flag: str = "--cfg-options", config: str = "the config", help: str = ""
) -> None:
    """``--cfg-options key=value ...``, as in every OpenMMLab tool; to be read by :func:`config_options`.

    Args:
        parser: Gets the argument.
        flag: Name of the option.
        config: Which config it edits.
        help: What goes before that in the help.
    """
    parser.add_argument(
        flag,
        nargs="+",
        action=OptionAction,
        metavar="KEY=VALUE",
        help=f"{help}edit values of {config}, such as train_dataloader.batch_size=64; what the config makes of a value "
        "at its top level follows",
    )


def config_options(
    config: str | None, texts: dict[str, str] | None, needs: tuple[str, str] = ("--cfg-options", "CONFIG")
) -> dict[str, Any]:
    """What the ``KEY=VALUE`` of a command line mean for a config, before anything large is imported.

    Args:
        config: The config file that they edit; ``None`` if none was given.
        texts: As :class:`~mmssl_dynamic.options.text.OptionAction` collects them.
        needs: The option that takes them, and the one that names the config.

    Raises:
        ConfigError: the config is missing or cannot be read, or nothing in it can be meant.
    """
    if config is None:
        if texts:
            raise ConfigError(f"{needs[0]} edits the config of {needs[1]}; give that, too, or leave {needs[0]} out.")
        return {}
    existing_file(config, "config", error=ConfigError)
    if not texts:
        return {}
    from mmssl_dynamic.options.config_file import typed_options

    return typed_options(config, texts)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """``--work-dir``, ``--resume``, ``--amp``, ``--auto-scale-lr``, ``--tensorboard`` and the general ones."""
    parser.add_argument(
        "--work-dir",
        action=Checked,
        check=check_output_folder,
        help="folder of logs and checkpoints (default: work_dirs/<config name>)",
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        action=Checked,
        check=lambda path, name: None if path == "auto" else existing("checkpoint")(path, name),
        help="go on from a checkpoint; without one, or with 'auto', from the latest in the work dir",
    )
    parser.add_argument("--amp", action="store_true", help="automatic mixed precision")
    parser.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate to the total batch size (auto_scale_lr.base_batch_size in the config)",
    )
    parser.add_argument(
        "--tensorboard", action="store_true", help="write scalars for TensorBoard, too (tensorboard --logdir WORK_DIR)"
    )
    add_cfg_options_argument(parser)
    add_launcher_argument(parser)


def add_image_check_arguments(parser: argparse.ArgumentParser) -> None:
    """``--workers``, ``--delete-list`` and ``--no-progress`` of tools that decode every image."""
    add_number_argument(parser, "--workers", "threads (default: number of CPUs, at most 16)", at_least(1))
    parser.add_argument(
        "--delete-list",
        metavar="FILE",
        action=Checked,
        check=check_output_file,
        help="write the paths of unreadable files here, one a line",
    )
    parser.add_argument("--no-progress", action="store_true", help="no progress bar")


def add_launcher_argument(parser: argparse._ActionsContainer) -> None:
    """``--launcher``, to be parsed by :func:`parse_with_rank`."""
    parser.add_argument("--launcher", choices=("none", "pytorch", "slurm", "mpi"), default="none", help="job launcher")
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def parse_with_rank(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments; the rank that older launchers pass as one goes where mmengine looks for it."""
    args = parser.parse_args()
    if args.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    del args.local_rank
    return args


def add_demo_arguments(parser: argparse.ArgumentParser, name: str, epochs: int, trained: str) -> None:
    """``--data``, ``--out``, ``--epochs``, ``--max-images``, ``--seed`` and ``--again`` of a demo.

    Args:
        parser: Gets the arguments.
        name: Of the folder in ``work_dirs/``.
        epochs: By default.
        trained: What the epochs are of.
    """
    parser.add_argument(
        "--data",
        metavar="DIR",
        action=Checked,
        check=existing_folder("image folder"),
        help="folder of your own images to pre-train on",
    )
    add_out_argument(parser, "all results", f"work_dirs/{name}, or work_dirs/{name}_<folder> with --data")
    add_number_argument(parser, "--epochs", f"{trained} (default: %(default)s)", at_least(1), default=epochs)
    add_number_argument(parser, "--max-images", "of --data (default: %(default)s)", at_least(1), default=2048)
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")
    add_again_argument(parser)


def demo_options(args: argparse.Namespace, name: str) -> dict[str, Any]:
    """The arguments of :func:`add_demo_arguments`, with the folder that is the default."""
    options = vars(args)
    folder = name if args.data is None else f"{name}_{Path(args.data).resolve().name}"
    return {**options, "out": args.out or Path("work_dirs") / folder}


def command_line() -> str:
    """The command that is running, as it can be typed again."""
    return shlex.join(["python", *sys.argv])

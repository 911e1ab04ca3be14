"""The options that several verbs take: each is defined here once, and means the same everywhere."""

from __future__ import annotations

import argparse
import os
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from mmssl_dynamic.arguments import Check, Checked, at_least, config_or_name, existing, positive
from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.execution import Execution
from mmssl_dynamic.options.text import OptionAction
from mmssl_dynamic.outputs import check_output_file, check_output_folder

if TYPE_CHECKING:
    from mmengine.config import Config

# Options KEY=VALUE, and the config that they edit: both as in the parsed arguments.
_EDITED_BY = {"cfg_options": "config", "base_options": "base_config", "det_options": "det_config"}
KNN_ARGUMENTS = ("knn", "k", "vote", "temperature")
_WEIGHTS = (".pth", ".safetensors")
#: Formats of exports, and what names of their files end in.
FORMATS = {
    "torchvision": _WEIGHTS,
    "timm": _WEIGHTS,
    "mmpretrain": _WEIGHTS,
    "mmdet": _WEIGHTS,
    "onnx": (".onnx",),
    "onnx_int8": (".onnx",),
    "openvino": (".xml",),
    "tflite": (".tflite",),
}


def finished(args: argparse.Namespace) -> argparse.Namespace:
    """Parsed arguments, with ``KEY=VALUE`` as what they mean for the config that they edit.

    The rank that older launchers pass as an argument goes where mmengine looks for it.

    Raises:
        ConfigError: a config cannot be read, or nothing in it can be meant.
    """
    rank = vars(args).pop("local_rank", None)
    if rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(rank))
    for options, config in _EDITED_BY.items():
        if hasattr(args, options):
            flags = (
                f"--{options.replace('_', '-')}",
                "CONFIG" if config == "config" else f"--{config.replace('_', '-')}",
            )
            setattr(args, options, config_options(getattr(args, config), getattr(args, options), flags))
    return args


def config_and_execution(args: argparse.Namespace) -> tuple[Config, Execution]:
    """CONFIG with its options, and what :func:`add_execution` added, for a function of ``apis``."""
    from mmssl_dynamic.loading import load_config

    return load_config(args.config, args.cfg_options), execution_of(args)


def execution_of(args: argparse.Namespace) -> Execution:
    """What :func:`add_execution` added."""
    names = {field.name for field in fields(Execution)}
    return Execution(**{name: value for name, value in vars(args).items() if name in names})


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_execution(
    parser: argparse.ArgumentParser,
    *,
    batch_size: int | str | None = None,
    workers: int | str | None = None,
    memory: tuple[str, float | None] | None = None,
    again: bool = False,
    device: bool | str = True,
    images: bool = False,
    launcher: bool = False,
) -> None:
    """What says how a verb runs and not what it finds, in a group of its own.

    ``--batch-size``, ``--workers``, ``--memory-gib``, ``--image-memory-gib``, ``--again``, ``--device``,
    ``--launcher`` and ``--no-progress``.

    Args:
        parser: Gets the arguments.
        batch_size: Default, or what to say of it where it comes from elsewhere; no such argument when left out.
        workers: Likewise.
        memory: What the memory is for, and the default; no such argument when left out.
        again: Whether the verb keeps results.
        device: Whether it has a choice of device, or what the device is where none is named.
        images: Whether it goes through the same images several times.
        launcher: Whether several processes can share its work.
    """
    group = parser.add_argument_group("how it runs")
    for flag, help, least, default in (
        ("--batch-size", "images per batch", 1, batch_size),
        ("--workers", "processes that load images", 0, workers),
    ):
        if default is not None:
            known = default if isinstance(default, int) else None
            add_number(group, flag, f"{help} (default: {default})", at_least(least), default=known, metavar="N")
    if memory is not None:
        add_number(group, "--memory-gib", memory[0], positive, float, default=memory[1], metavar="GIB")
    if images:
        help = (
            "for decoded images, so that each is decoded once; more than fit wait on disk in --out, and with 0 none do"
        )
        default = "a quarter of the free memory"
        add_number(group, "--image-memory-gib", f"{help} (default: {default})", at_least(0), float, metavar="GIB")
    if again:
        add_again(group)
    if device:
        add_device(group, "CUDA where there is one" if device is True else device)
    if launcher:
        add_launcher(group)
    add_progress(group)


def add_device(parser: argparse._ActionsContainer, default: str = "CUDA where there is one") -> None:
    """``--device``.

    Args:
        parser: Gets the argument.
        default: What the device is where none is named, in words.
    """
    parser.add_argument("--device", metavar="NAME", help=f"such as cpu or cuda:0 (default: {default})")


def add_again(parser: argparse._ActionsContainer) -> None:
    """``--again``, of every verb that keeps results."""
    help = "compute everything anew, also what is kept from an earlier run"
    parser.add_argument("--again", action="store_true", help=help)


def add_progress(parser: argparse._ActionsContainer) -> None:
    """``--no-progress``."""
    parser.add_argument("--no-progress", dest="progress", action="store_false", help="no progress bars")


def add_config(parser: argparse._ActionsContainer, help: str = "pre-training config", **options: Any) -> None:
    """``CONFIG``, a file that must be there, or the name of one that ships with the package."""
    parser.add_argument("config", metavar="CONFIG", action=Checked, check=config_or_name, help=help, **options)


def add_checkpoint(parser: argparse.ArgumentParser, help: str = "checkpoint of the run", **options: Any) -> None:
    """``CHECKPOINT``, a file that must be there."""
    check = existing("checkpoint")
    parser.add_argument("checkpoint", metavar="CHECKPOINT", action=Checked, check=check, help=help, **options)


def add_config_file(parser: argparse._ActionsContainer, flag: str, help: str, **options: Any) -> None:
    """A further config, which must be there, or the name of one that ships with the package."""
    parser.add_argument(flag, metavar="FILE", action=Checked, check=config_or_name, help=help, **options)


def add_out(
    parser: argparse.ArgumentParser, of: str = "the results", default: str | None = None, required: bool = True
) -> None:
    """``--out DIR``, a folder; the name of a file is refused.

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


def add_bank(
    parser: argparse._ActionsContainer, help: str = "", default: str = "bn_bank.safetensors beside it"
) -> None:
    """``--bank FILE``, the bank beside the checkpoint by default; ``help`` goes before that in the help."""
    parser.add_argument(
        "--bank",
        metavar="FILE",
        action=Checked,
        check=existing("BN bank", "write it with tools/calibrate_bn.py"),
        help=f"{help}BN bank of the checkpoint (default: {default})",
    )


def add_bn(
    parser: argparse._ActionsContainer,
    help: str = "which statistics of the bank (default: path)",
    default: str | None = "path",
) -> None:
    """``--bn``, statistics of whole sub-networks or of common beginnings."""
    parser.add_argument("--bn", choices=("path", "prefix"), default=default, help=help)


def add_subnets(parser: argparse._ActionsContainer, example: str) -> None:
    """``--subnets``, to be read by :func:`mmssl_dynamic.arguments.names`."""
    help = f"all, or names with commas between: {example}"
    parser.add_argument("--subnets", default="all", metavar="NAMES", help=help)


def add_clusters(parser: argparse._ActionsContainer, help: str) -> None:
    """``--clusters FILE``, which must be there."""
    check = existing("clusters file", "write it with tools/cluster.py")
    parser.add_argument("--clusters", metavar="FILE", action=Checked, check=check, help=help)


def add_format(parser: argparse._ActionsContainer, help: str, default: str | None = None) -> None:
    """``--format``, one of :data:`FORMATS` or of the user's own, which :mod:`mmssl_dynamic.export.formats` finds."""
    known = f"{{{','.join(FORMATS)}}}"
    help += "; a format of your own is named module.Class, or as custom_imports of the config register it"
    parser.add_argument("--format", metavar=known, default=default, help=help)


def add_number(
    parser: argparse._ActionsContainer, flag: str, help: str, check: Check, type: type = int, **options: Any
) -> None:
    """A number that is checked where it is read."""
    parser.add_argument(flag, type=type, action=Checked, check=check, help=help, **options)


def add_seed(parser: argparse._ActionsContainer, help: str = "(default: 0)", default: int | None = 0) -> None:
    """``--seed``."""
    add_number(parser, "--seed", help, at_least(0), default=default, metavar="N")


def add_knn(parser: argparse._ActionsContainer) -> None:
    """``--knn``, ``--k``, ``--vote`` and ``--temperature``, for ``KNNProtocol.of``."""
    parser.add_argument(
        "--knn",
        choices=("sdr", "dspnet"),
        help="protocol of a paper; sdr: 200 neighbours, weighted by exp(similarity / 0.07); dspnet: 20 neighbours, one "
        "vote each (default: sdr)",
    )
    add_number(parser, "--k", "neighbours (default: of --knn)", at_least(1))
    parser.add_argument("--vote", choices=("weighted", "majority"), help="(default: of --knn)")
    help = "of the weighted vote (default: of --knn)"
    add_number(parser, "--temperature", help, positive, float, metavar="T")


def add_cfg_options(
    parser: argparse._ActionsContainer, flag: str = "--cfg-options", config: str = "the config", help: str = ""
) -> None:
    """``--cfg-options key=value ...``, as in every OpenMMLab tool; :func:`finished` reads them.

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
    config_file(config)
    if not texts:
        return {}
    from mmssl_dynamic.options.config_file import typed_options

    return typed_options(config, texts)


def add_amp(parser: argparse._ActionsContainer, help: str) -> None:
    """``--amp``, with the kind of float or without."""
    parser.add_argument("--amp", nargs="?", const="auto", choices=("auto", "bf16", "fp16"), help=help)


def add_launcher(parser: argparse._ActionsContainer) -> None:
    """``--launcher``, and the rank that older launchers pass, which :func:`finished` takes out."""
    parser.add_argument(
        "--launcher",
        choices=("none", "pytorch", "slurm", "mpi"),
        default="none",
        help="what started these processes, which share the work (default: none)",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, help=argparse.SUPPRESS)


def add_image_check(parser: argparse.ArgumentParser) -> None:
    """``--workers``, ``--delete-list`` and ``--no-progress`` of verbs that decode every image."""
    add_number(parser, "--workers", "threads (default: number of CPUs, at most 16)", at_least(1), metavar="N")
    help = "write the paths of unreadable files here, one a line"
    parser.add_argument("--delete-list", metavar="FILE", action=Checked, check=check_output_file, help=help)
    add_progress(parser)

"""Names of classes: what a config says, what annotations hold, and how to bring both together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmssl_dynamic.errors import ConfigError, DataError


def check_class_option(classes: Any) -> None:
    """Refuse what cannot be the names of classes, before mmdet takes a text for a file or a letter for a class.

    Args:
        classes: The config's option ``classes``; ``None`` where it has none.

    Raises:
        ConfigError: it is no list of different names.
    """
    if classes is None:
        return
    named = isinstance(classes, list | tuple) and bool(classes) and all(isinstance(name, str) for name in classes)
    if not named or len(set(classes)) < len(classes):
        raise ConfigError(
            f"classes={classes!r} are no names of classes, each once; give them in brackets, such as --cfg-options "
            "\"classes=('cat', 'dog')\"; a single one with a comma behind it."
        )


def how_to_name(own: Sequence[str], loader: str, one_option: bool) -> str:
    """How a config is told the classes that are there.

    Args:
        own: The classes.
        loader: Whose data set they are of.
        one_option: Whether the config has ``classes`` at its top level, from which everything else follows.
    """
    shown = str(tuple(own)) if len(str(tuple(own))) < 300 else "(...)"
    if one_option:
        return f'give --cfg-options "classes={shown}", or fewer of them in this order'
    return (
        f"set {loader}.dataset.metainfo=dict(classes={shown}), the same in the other loaders, and num_classes="
        f"{len(own)} in the detector's heads"
    )


def refuse_missing(file: object, names: Sequence[str], classes: Sequence[str], loader: str, one_option: bool) -> None:
    """Refuse classes of a config that annotations do not have.

    Raises:
        DataError: naming the classes that are there.
    """
    missing = [name for name in classes if name not in names]
    if missing:
        raise DataError(
            f"{loader}: {file} has the classes {shown_names(names)}, and {shown_names(missing)} of the config "
            f"{'is' if len(missing) == 1 else 'are'} not among them; "
            f"{how_to_name(names, loader, one_option)}."
        )


def check_order(file: Path, names: Sequence[str], classes: Sequence[str], loader: str, one_option: bool) -> None:
    """Refuse classes that a COCO file does not have, or lists in another order.

    Mmdet numbers the classes of a file in the file's order, whatever it lacks: labels would shift.

    Raises:
        DataError: naming the classes that are there.
    """
    refuse_missing(file, names, classes, loader, one_option)
    remedy = how_to_name(names, loader, one_option)
    order = [name for name in names if name in classes]
    if classes and order != list(classes):
        raise DataError(
            f"{loader}: {file} lists the classes in another order than the config ({shown_names(order)}), and mmdet "
            f"numbers them by the file; {remedy}."
        )


def shown_names(names: Sequence[str], shown: int = 5) -> str:
    """The first of some names, for a message."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")

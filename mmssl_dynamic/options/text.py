"""``KEY=VALUE`` of a command line: split where it is read, understood where it is known what the value replaces."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from mmssl_dynamic.errors import ConfigError

# Words in the name of an option whose value is a path, whether or not the config has one there.
_PATH_WORDS = {"path", "root", "file", "filename", "dir", "folder", "checkpoint", "bank", "prefix"}
_CLOSING = {"(": ")", "[": "]"}


class OptionAction(argparse.Action):
    """Collects ``KEY=VALUE ...`` in a dictionary of texts.

    What they mean is up to :func:`~mmssl_dynamic.options.config_file.typed_options`, which knows what they replace.
    mmengine's ``DictAction`` parses at once: it takes the spaces out of ``data_root=my images``, and makes a list of
    ``a,b`` and a number of ``2024``.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Add the texts to those of earlier occurrences of the option.

        Raises:
            ConfigError: one of them is not of the form ``KEY=VALUE``.
        """
        found = dict(getattr(namespace, self.dest) or {})
        for text in [values] if isinstance(values, str) else values or ():
            key, equals, value = text.partition("=")
            if not equals or not all(key.split(".")):
                raise ConfigError(
                    f"{option_string} {text}: an option has the form KEY=VALUE, such as max_epochs=100 (a value with "
                    "spaces in quotation marks)."
                )
            found[key] = value
        setattr(namespace, self.dest, found)


def value_of(key: str, text: str, old: Any) -> Any:
    """What a text means that replaces ``old`` under ``key``.

    What replaces a string stays as it was typed, and so does what is a path by its name where there was nothing; except
    ``None``, which takes the value away. Everything else is read as in the tools of OpenMMLab: numbers, ``True`` and
    ``False``, ``None``, lists ``1,2`` or ``[1,2]`` and tuples ``(1,2)``, nested or not, and else a string.

    Args:
        key: Name of the option, with dots.
        text: What was typed.
        old: Value in the config; ``None`` if there is none.

    Raises:
        ConfigError: brackets that do not match.
    """
    if text == "None":
        return None
    if isinstance(old, str) or (old is None and names_path(key)):
        return text
    try:
        value = parse(text)
    except ValueError as error:
        raise ConfigError(f"option {key}={text}: {error}.") from error
    return text if isinstance(value, str) else value


def check_kind(key: str, value: Any, old: Any) -> None:
    """Refuse a word in place of a switch or of a number: any word counts as true, and none can be reckoned with.

    Args:
        key: Name of the option, with dots.
        value: Its value.
        old: Value in the config; ``None`` if there is none.

    Raises:
        ConfigError: it is such a word.
    """
    if not isinstance(value, str) or not isinstance(old, bool | int | float):
        return
    kind = "True or False" if isinstance(old, bool) else "a number"
    raise ConfigError(f"option {key}={value} must be {kind}, as the {old} in its place is.")


def names_path(key: str) -> bool:
    """Whether an option is a path by its name, such as ``model.backbone.init_cfg.checkpoint``."""
    name = key.rsplit(".", 1)[-1]
    return name.endswith("_from") or bool(_PATH_WORDS & set(name.split("_")))


def parse(text: str) -> Any:
    """A number, bool, ``None``, string, or a list or tuple of such.

    Raises:
        ValueError: brackets that do not match.
    """
    text = text.strip().strip("'\"").strip()
    parts = _split(text)
    if text[:1] in _CLOSING and text.endswith(_CLOSING[text[0]]) and len(parts) == 1:
        inner = [parse(part) for part in _split(text[1:-1]) if part.strip()]
        return tuple(inner) if text[0] == "(" else inner
    if len(parts) > 1:
        return [parse(part) for part in parts if part.strip()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    if text == "None":
        return None
    return {"true": True, "false": False}.get(text.lower(), text)


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    parts, open_brackets = [""], []
    for character in text:
        if character in _CLOSING:
            open_brackets.append(_CLOSING[character])
        elif character in _CLOSING.values() and (not open_brackets or open_brackets.pop() != character):
            raise ValueError("its brackets do not match")
        if character == "," and not open_brackets:
            parts.append("")
        else:
            parts[-1] += character
    if open_brackets:
        raise ValueError("its brackets do not match")
    return parts

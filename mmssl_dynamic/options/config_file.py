"""A config file with options: evaluated, followed, merged, and refused in one sentence."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from mmengine.config import Config, ConfigDict

from mmssl_dynamic.config_names import config_file
from mmssl_dynamic.errors import ConfigError, UserError, first_line
from mmssl_dynamic.options.evaluation import Edits, evaluate
from mmssl_dynamic.options.known import BUILT_ALONE, READ_NAMES, READ_WHERE_GIVEN, check_top_level
from mmssl_dynamic.options.text import check_kind, value_of

PathLike = str | os.PathLike[str]


def typed_options(path: PathLike, texts: Mapping[str, str]) -> dict[str, Any]:
    """What options that were typed mean for a config, see :func:`~mmssl_dynamic.options.text.value_of`.

    Args:
        path: Config file.
        texts: What :class:`~mmssl_dynamic.options.text.OptionAction` collected.

    Raises:
        ConfigError: the config cannot be read, or it has no place for an option.
    """
    config = read_config(path)
    check_top_level(config, texts)
    return {key: value_of(key, text, _entry(config, key)) for key, text in texts.items()}


def read_config(path: PathLike, options: Mapping[str, Any] | None = None) -> Config:
    """Read a config file as if options had been written into it, see :func:`read_both`."""
    return read_both(path, options or {})[1]


def read_both(path: PathLike, options: Mapping[str, Any]) -> tuple[Config, Config]:
    """Read a config file as it is, and as if options had been written into it.

    An option that names a top-level value, such as ``image_size`` or ``norm_cfg.type``, reaches every place in the
    config that is made from that value. What the Runner builds, such as ``val_dataloader``, changes by itself alone, as
    in every tool of OpenMMLab, even where the file says ``test_dataloader = val_dataloader``.

    Args:
        path: Config file, or the name of one that ships with the package.
        options: Values by their names, with dots.

    Raises:
        ConfigError: the file is missing or is no valid config, or an option has no place in it or changes nothing.
    """
    path = config_file(path)
    _refuse_code_in_yaml(path)
    config = _evaluate(path, {})
    if not options:
        return config, config
    check_top_level(config, options)
    for key, value in options.items():
        check_kind(key, value, _entry(config, key))
    edits = _edits(config, options)
    result = _evaluate(path, edits)
    for key, value in options.items():
        _check_effect(path, key, value, config, result, edits)
    _merge(result, options)
    return config, result


def _refuse_code_in_yaml(path: Path, chain: tuple[Path, ...] = ()) -> None:
    """Mmengine reads YAML with a loader that builds any Python object; ours builds none, so it must be able to read it.

    Raises:
        ConfigError: it cannot, here or in a config that this one is based on.
    """
    if path.suffix not in (".yml", ".yaml") or path in chain or not path.is_file():
        return
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"config {path} is no plain YAML ({first_line(error)}); correct it.") from error
    bases = data.get("_base_", []) if isinstance(data, dict) else []
    for base in [bases] if isinstance(bases, str) else bases:
        _refuse_code_in_yaml(path.parent / str(base), (*chain, path))


def _evaluate(path: PathLike, edits: Edits) -> Config:
    try:
        return evaluate(os.fspath(path), edits)
    except UserError:
        raise
    except Exception as error:  # a config is a program: anything can go wrong in it
        given = f" with {', '.join(sorted(edits))} as given" if edits else ""
        raise ConfigError(f"config {path} cannot be read{given} ({first_line(error)}); correct it.") from error


def _edits(config: Config, options: Mapping[str, Any]) -> Edits:
    """What the evaluation has to replace."""
    edits: dict[str, dict[tuple[str, ...], Any]] = {}
    for key, value in options.items():
        name, *rest = key.split(".")
        alone = name in BUILT_ALONE and isinstance(config.get(name), dict | list | tuple)
        if name in config and not alone:
            edits.setdefault(name, {})[tuple(rest)] = value
    return edits


def _check_effect(path: PathLike, key: str, value: Any, config: Config, result: Config, edits: Edits) -> None:
    """Refuse an option that nothing is made from and nothing reads."""
    name, *rest = key.split(".")
    if name in READ_NAMES | READ_WHERE_GIVEN or name not in config or _entry(config, key) == value:
        return
    others = {top: dict(paths) for top, paths in edits.items()}
    others.get(name, {}).pop(tuple(rest), None)
    without = _evaluate(path, others) if any(others.values()) else config
    if _entry(without, key) == value:
        return  # it says what another option has made so
    if all(result.get(other) == without.get(other) for other in {*result.keys(), *without.keys()} - {name}):
        raise ConfigError(
            f"option {key}={value} changes nothing: no part of config {path} is made from '{name}'; leave it out, or "
            "give the option that you mean."
        )


def _entry(config: Config, key: str) -> Any:
    """The value of an option in a config; ``None`` if it has none.

    Raises:
        ConfigError: the config has something else in its place.
    """
    node: Any = config._cfg_dict
    names = key.split(".")
    for index, name in enumerate(names):
        where = ".".join(names[:index])
        if node is None:
            return None
        if isinstance(node, list):
            if not name.isdigit() or int(name) >= len(node):
                raise ConfigError(
                    f"option {key}: {where} is a list of {len(node)} entries, so its parts are {where}.0 to "
                    f"{where}.{len(node) - 1}."
                )
            node = node[int(name)]
        elif isinstance(node, Mapping):
            node = node.get(name)
        else:
            raise ConfigError(f"option {key}: {where} is {node!r} and has no parts; give {where}=... as a whole.")
    return node


def _merge(config: Config, options: Mapping[str, Any]) -> None:
    """Write options into a config, in place; an entry that is ``None`` gets parts as if it were not there."""
    for key in options:
        node: Any = config._cfg_dict
        for name in key.split(".")[:-1]:
            if isinstance(node, Mapping) and node.get(name, ...) is None:
                node[name] = ConfigDict()  # type: ignore[index]
            node = node.get(name, {}) if isinstance(node, Mapping) else node[int(name)]
    try:
        config.merge_from_dict(dict(options))
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"options {', '.join(sorted(options))} do not go together ({first_line(error)}); correct them."
        ) from error

"""Whether any part of a config knows an option; one that nothing knows is refused with the nearest known name.

What the config spells is known. What it does not spell is judged by what reads it: the Runner, at the top level and in
the dictionaries that it interprets itself, and elsewhere the constructor of the class that the dictionary's ``type``
names. A dictionary without a type, such as ``test_cfg`` of a detector, is read by code that cannot be asked: there, and
where a constructor hands its keywords on to something else, only what looks like a misspelt known name is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options.constructors import Parameters, mentions, parameters_of

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader")
#: Arguments of mmengine's Runner.
RUNNER_ARGUMENTS = {
    *("model", "work_dir", *_LOADERS, "train_cfg", "val_cfg", "test_cfg", "auto_scale_lr", "optim_wrapper"),
    *("param_scheduler", "val_evaluator", "test_evaluator", "default_hooks", "custom_hooks", "data_preprocessor"),
    *("load_from", "resume", "launcher", "env_cfg", "log_processor", "log_level", "visualizer", "default_scope"),
    *("randomness", "experiment_name"),
}
#: What it reads from the config beside them.
RUNNER_EXTRAS = {
    *("model_wrapper_cfg", "sync_bn", "find_unused_parameters", "activation_checkpointing"),
    *("efficient_conv_bn_eval", "compile"),
}
#: What this package and mmengine's Config read at the top level.
OWN_NAMES = {
    *("runner_type", "custom_imports", "channels_last", "extract_dataloader"),
    *("train_pipeline", "eval_pipeline", "test_pipeline"),
}
#: What the Runner and the tools build by itself: an option on one of them does not change what was copied from it.
BUILT_ALONE = RUNNER_ARGUMENTS - {"data_preprocessor"} | {"extract_dataloader"}
#: Where a config has these at the top level alone, tools read them there.
READ_WHERE_GIVEN = {"clusters_file"}
READ_NAMES = RUNNER_ARGUMENTS | RUNNER_EXTRAS | OWN_NAMES

_SPECIAL = {"type", "_delete_", "_scope_"}
# Builders of OpenMMLab take these out of a dictionary before they call the class.
_TAKEN_OUT = {
    *("priority", "requires_grad", "override", "convert_to_iter_based"),
    *("optimizer", "paramwise_cfg", "constructor", "by_epoch"),
}
# Dictionaries that the Runner interprets without a type: the classes that may read them, and names beside.
_LOADER = (
    ("torch.utils.data.DataLoader",),
    {"dataset", "sampler", "batch_sampler", "collate_fn", "worker_init_fn", "num_batch_per_epoch"},
)
_RUNNER_DICTS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    **dict.fromkeys((*_LOADERS, "extract_dataloader"), _LOADER),
    "train_cfg": (("mmengine.runner.EpochBasedTrainLoop", "mmengine.runner.IterBasedTrainLoop"), {"by_epoch"}),
    "val_cfg": (("mmengine.runner.ValLoop",), set()),
    "test_cfg": (("mmengine.runner.TestLoop",), set()),
    "optim_wrapper": (("mmengine.optim.OptimWrapper",), set()),
    "log_processor": (("mmengine.runner.LogProcessor",), set()),
    "randomness": ((), {"seed", "diff_rank_seed", "deterministic"}),
    "auto_scale_lr": ((), {"enable", "base_batch_size"}),
    "env_cfg": ((), {"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"}),
    "env_cfg.mp_cfg": ((), {"mp_start_method", "opencv_num_threads"}),
}
_DEFAULT_HOOKS = {"runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint"}
_MISSPELT = 0.85  # likeness from which a name that may be right is taken for a misspelling


def check_top_level(config: Config, keys: Iterable[str]) -> None:
    """Refuse options whose first name neither the config nor anything that reads it knows.

    Raises:
        ConfigError: naming the option and the nearest known name.
    """
    for key in keys:
        name = key.split(".")[0]
        if name not in config and name not in READ_NAMES:
            raise _unknown(key, "", name, {*config.keys(), *READ_NAMES}, config)


def check_names(before: Config, after: Config, keys: Iterable[str]) -> None:
    """Refuse options that no part of a config knows.

    Args:
        before: The config without the options.
        after: The config with them: what an option adds may be known only to what another one adds.
        keys: Names of the options, with dots.

    Raises:
        ConfigError: naming the option and the nearest known name.
    """
    keys = list(keys)
    check_top_level(before, keys)
    for key in keys:
        old: Any = before._cfg_dict
        new: Any = after._cfg_dict
        scope, place = str(after.get("default_scope") or "mmengine"), ""
        holders: list[tuple[Any, str]] = []
        for name in key.split("."):
            if isinstance(new, Mapping):
                scope = new.get("_scope_") or scope  # holds for what is inside, too
                if new.get("type") is not None:
                    holders.append((new["type"], scope))
                if place and not _has(old, name):
                    _check(key, place, name, new, scope, holders, before)
            old, new = _get(old, name), _get(new, name)
            place = f"{place}.{name}" if place else name


def _check(
    key: str,
    place: str,
    name: str,
    node: Mapping[str, Any],
    scope: str,
    holders: Iterable[tuple[Any, str]],
    config: Config,
) -> None:
    """Refuse ``name`` as a new entry of ``node``, the dictionary at ``place``, if what reads it does not know it.

    Args:
        key: The option.
        place: Where the dictionary is, with dots.
        name: Name of the entry.
        node: The dictionary, with the entry.
        scope: Where types without a scope are looked up.
        holders: Types, with their scopes, of this dictionary and those around it.
        config: The config, for suggestions.
    """
    if name in _SPECIAL | _TAKEN_OUT:
        return
    read = _read_by(place, node, scope, name)
    known = {str(entry) for entry in node if entry not in _SPECIAL and entry != name} | (read.names if read else set())
    closed = read is not None and not read.open
    if name in (read.names if read and closed else known) or any(mentions(*holder, name) for holder in holders):
        return
    near = None if closed or _leaf(place) == "custom_keys" else _misspelt(name, known)
    if closed or near:
        raise _unknown(key, place, name, {near} if near else known, config)


def _read_by(place: str, node: Mapping[str, Any], scope: str, name: str) -> Parameters | None:
    """What the reader of a dictionary takes; ``None`` if that cannot be told."""
    classes, names = _RUNNER_DICTS.get(place, ((), set()))
    if node.get("type") is not None:
        found = parameters_of(node["type"], scope)
        return None if found is None else found | Parameters(names, False)
    if place == "default_hooks":  # a new hook has a type, or takes one of the usual ones away
        entry = node[name]
        typed = entry is None or (isinstance(entry, Mapping) and "type" in entry)
        return Parameters({name} | _DEFAULT_HOOKS if typed else _DEFAULT_HOOKS, False)
    if place not in _RUNNER_DICTS:
        return None
    found = Parameters(names, False)
    for path in classes:
        found = found | (parameters_of(path, scope) or Parameters(set(), True))
    return found


def _has(node: Any, name: str) -> bool:
    if isinstance(node, Mapping):
        return name in node
    return isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node)


def _get(node: Any, name: str) -> Any:
    if not _has(node, name):
        return None
    return node[name] if isinstance(node, Mapping) else node[int(name)]


def _misspelt(name: str, known: Iterable[str]) -> str | None:
    """The known name that ``name`` looks like a misspelling of; ``stage1`` is none of ``stage2``."""
    letters = "".join(filter(str.isalpha, name))
    near = get_close_matches(name, known, n=1, cutoff=_MISSPELT)
    return near[0] if near and "".join(filter(str.isalpha, near[0])) != letters else None


def _unknown(key: str, where: str, name: str, known: Iterable[str], config: Config) -> ConfigError:
    prefix = f"{where}." if where else ""
    near = [f"{prefix}{match}" for match in get_close_matches(name, sorted(known), n=1, cutoff=0.6)]
    elsewhere = [place for place in _places(config._cfg_dict) if _leaf(place) == name][:3]
    # At the top level, a name that stands deeper in the config lacks what goes before it.
    meant = (near or elsewhere) if where else (elsewhere or near)
    hint = f"did you mean {' or '.join(meant)}?" if meant else "correct its name, or leave it out."
    of = f" in {where}" if where else ""
    return ConfigError(f"option {key} is unknown: no part of config {config.filename} reads '{name}'{of}; {hint}")


def _leaf(place: str) -> str:
    return place.rsplit(".", 1)[-1]


def _places(node: Any, prefix: str = "") -> Iterator[str]:
    """Names of all entries of a config, with dots, the shallow ones first."""
    level: list[tuple[str, Any]] = [(prefix, node)]
    while level:
        below: list[tuple[str, Any]] = []
        for place, child in level:
            entries: Iterable[tuple[Any, Any]] = ()
            if isinstance(child, Mapping):
                entries = child.items()
            elif isinstance(child, list):
                entries = enumerate(child)
            for name, value in entries:
                inner = f"{place}.{name}" if place else str(name)
                yield inner
                below.append((inner, value))
        level = below

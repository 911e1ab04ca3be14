"""Configs by path or by name: those that ship with the package are found wherever it is installed.

A wheel carries them in ``mmssl_dynamic/.mim/configs``, where OpenMIM looks for them, too; a checkout has them beside
the package.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.file_checks import existing_file

PathLike = str | os.PathLike[str]


def shipped_file(name: str) -> Path:
    """A file that ships with the package, in the checkout or installed, by its path in the checkout.

    Raises:
        ConfigError: there is no such file.
    """
    for root in _roots():
        if (root / name).is_file():
            return root / name
    raise ConfigError(f"{name} does not ship with this installation; install the package anew.")


def shipped_configs() -> dict[str, Path]:
    """Configs that ship with the package and are no parts of others, by their paths below ``configs`` without .py."""
    for root in _roots():
        folder = root / "configs"
        files = sorted(folder.rglob("*.py")) if (root / "model-index.yml").is_file() else []
        if files:
            paths = {file.relative_to(folder): file for file in files}
            return {path.with_suffix("").as_posix(): file for path, file in paths.items() if "_base_" not in path.parts}
    return {}


def find_shipped(name: PathLike) -> Path | None:
    """The config that ships with the package under a name.

    Args:
        name: ``sdr_simsiam_r50_16path_custom``, or with its folder ``sdr/sdr_simsiam_r50_16path_custom``; ``.py`` and
            ``configs/`` may stand around it, as in the path that it has in a checkout.

    Returns:
        The file; ``None`` if there is none.

    Raises:
        ConfigError: configs in several folders have this name.
    """
    wanted = Path(name).as_posix().removeprefix("configs/").removesuffix(".py")
    known = shipped_configs()
    if wanted in known:
        return known[wanted]
    found = [path for path in known if path.rpartition("/")[2] == wanted]
    if len(found) > 1:
        raise ConfigError(f"config {name} may be {' or '.join(found)}; give the name with its folder.")
    return known[found[0]] if found else None


def config_file(name: PathLike) -> Path:
    """The config file that somebody means.

    Args:
        name: Path of a file, or name of a config that ships with the package, see :func:`find_shipped`. A file that is
            there comes first.

    Raises:
        ConfigError: there is neither; the sentence names the nearest of those that ship.
    """
    if "://" in os.fspath(name):
        raise ConfigError(f"config {name} is an address; download it and give the file.")
    if os.path.isfile(name):
        return existing_file(name, "config", error=ConfigError)
    shipped = find_shipped(name)
    if shipped is not None:
        return shipped
    stems = {path.rpartition("/")[2] for path in shipped_configs()}
    near = get_close_matches(Path(name).name.removesuffix(".py"), stems, n=3, cutoff=0.7)
    if near and not os.path.exists(name):
        raise ConfigError(
            f"config {name} does not exist, and none of that name ships with the package; did you mean "
            f"{' or '.join(near)}?"
        )
    return existing_file(name, "config", error=ConfigError)


def _roots() -> list[Path]:
    package = Path(__file__).resolve().parent
    # Beside an installed package lie other projects, whose files may have the same name: only a checkout has setup.py.
    checkout = [package.parent] if (package.parent / "setup.py").is_file() else []
    return [*checkout, package / ".mim"]

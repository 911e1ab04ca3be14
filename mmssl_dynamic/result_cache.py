"""Results of single networks, kept as soon as they are there, so that a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.writing import write_json


class ResultCache:
    """A folder with one file per result.

    Args:
        folder: The folder.
        parse: Makes a result of its record; raises KeyError, TypeError or ValueError if it is none.
    """

    def __init__(self, folder: Path, parse: Callable[[Any], Any]) -> None:
        self.folder, self.parse = folder, parse

    def file(self, key: Mapping[str, Any]) -> Path:
        """The file of what depends on ``key``, whose ``'network'`` it is named after."""
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / f"{key['network']}-{digest}.json"

    def load(self, key: Mapping[str, Any]) -> Any | None:
        """The result, or ``None`` if it is not there yet.

        Raises:
            ArtifactError: the file is broken.
        """
        file = self.file(key)
        if not file.is_file():
            return None
        try:
            return self.parse(read_json(file, "result of a network")["result"])
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{file} is broken ({error}); delete it.") from error

    def save(self, key: Mapping[str, Any], record: Mapping[str, Any]) -> None:
        """Write a result, atomically, beside what it depends on."""
        write_json(self.file(key), {**key, "result": record})

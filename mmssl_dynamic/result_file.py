"""A result as a JSON file: its kind, the version of its form, and what it holds.

``results.json`` of an evaluation, of a transfer and of a detector, and ``routing.json``, begin alike and are told apart
by their ``kind``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from mmssl_dynamic.errors import ArtifactError
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.records import RecordError
from mmssl_dynamic.writing import write_json

T = TypeVar("T")


@dataclass(frozen=True)
class ResultFile:
    """The form of one kind of result.

    Attributes:
        kind: One word for what was done, such as ``'evaluation'``.
        version: Version of the form.
        tool: What writes it, for messages.
    """

    kind: str
    version: int
    tool: str

    def save(self, path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
        """Write a result, atomically."""
        write_json(path, {"kind": self.kind, "schema_version": self.version, **data})

    def load(self, path: str | os.PathLike[str], build: Callable[[dict[str, Any], str], T]) -> T:
        """Read a result.

        Args:
            path: The file.
            build: Makes the result of the data and its name for messages; may raise ``ValueError`` with what is wrong.

        Raises:
            ArtifactError: the file is missing, broken, of another kind, or of another version.
        """
        data = read_json(path, f"{self.kind} result")
        source, remedy = f"{self.kind} result {path}", f"write it with {self.tool}"
        if kind_of(data) != self.kind or "schema_version" not in data:
            article = "an" if self.kind[0] in "aeiou" else "a"
            raise ArtifactError(f"{source} is not {article} {self.kind} result; {remedy}.")
        if data["schema_version"] != self.version:
            raise ArtifactError(
                f"{source} has schema version {data['schema_version']}, not {self.version}; {remedy} again."
            )
        try:
            return build(data, source)
        except RecordError as error:
            raise ArtifactError(f"{source} is incomplete or broken: {error}; {remedy} again.") from error
        except ValueError as error:
            raise ArtifactError(f"{source} {error}; {remedy} again.") from error


def kind_of(data: Any) -> str | None:
    """The kind of a result whose file has been read; ``None`` of anything else."""
    kind = data.get("kind") if isinstance(data, dict) else None
    return kind if isinstance(kind, str) else None

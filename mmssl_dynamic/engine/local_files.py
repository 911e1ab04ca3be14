"""What mmengine writes by itself, written as this package writes: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.fileio import LocalBackend, register_backend
from mmengine.visualization import LocalVisBackend as MMEngineLocalVisBackend
from mmengine.visualization.vis_backend import force_init_env

from mmssl_dynamic.registry import VISBACKENDS
from mmssl_dynamic.writing import atomic_path, is_full, no_room, to_json, write_bytes, write_text

ATOMIC = "mmssl_dynamic.atomic"


@register_backend(ATOMIC)
class AtomicBackend(LocalBackend):
    """mmengine's file backend for local disks; a file has its name only when all of it is on the disk."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write bytes.

        Raises:
            OutputError: there is no room for them, or the file cannot be made.
        """
        with atomic_path(filepath, len(obj)) as temporary:
            super().put(obj, temporary)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = "utf-8") -> None:
        """Write text; raises as :meth:`put`."""
        self.put(obj.encode(encoding), filepath)


@VISBACKENDS.register_module()
class LocalVisBackend(MMEngineLocalVisBackend):
    """mmengine's backend for scalars, pictures and the config of a run on the local disk.

    Scalars are lines of valid JSON, each added at once; they do not wait for the disk, since a line that is lost in a
    power failure costs nothing. Pictures and config are whole or not there.
    """

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Write the config."""
        write_text(self._config_save_file, config.pretty_text)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Write a picture (H, W, 3), RGB, as PNG."""
        coded = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1]
        write_bytes(Path(self._img_save_dir, f"{name}_{step}.png"), coded.tobytes())

    def _dump(self, value_dict: dict, file_path: str, file_format: str) -> None:
        line = (to_json(value_dict) + "\n").encode("utf-8")
        try:
            handle = os.open(file_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(handle, line)
            finally:
                os.close(handle)
        except OSError as error:
            if is_full(error):
                raise no_room(Path(file_path), len(line), error) from error
            raise

"""``LoadImage``: the first transform of every pipeline, for whatever images a user has."""

from __future__ import annotations

import os
import stat
from typing import Any

import mmengine.fileio
import numpy as np
from mmcv.transforms import BaseTransform

from mmssl_dynamic.datasets.decoding import UndecodableError, check_bits, decode_image
from mmssl_dynamic.datasets.packed_images import Place
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.registry import TRANSFORMS

#: Of an image file; one of :data:`~mmssl_dynamic.datasets.decoding.MAX_PIXELS` without compression has fewer.
MAX_BYTES = 2 * 2**30


#: How many times its short side an image may be long: enlarged to 256 pixels, that is 39 MB.
MAX_ASPECT = 200
#: What to do about an image that cannot be used: a file, and one that is packed.
REMEDY = "replace or delete it (tools/check_images.py finds all such files)"
PACKED_REMEDY = "pack the data set anew without it (tools/check_images.py finds all such images)"


def printable(path: str | os.PathLike[str]) -> str:
    """``path`` for an error message of one line: a name with a line break or the like is quoted and escaped."""
    name = os.fspath(path)
    return name if name.isprintable() else ascii(name)


def read_image(path: str | os.PathLike[str], bits: int = 16, backend_args: dict[str, Any] | None = None) -> np.ndarray:
    """Read an image file of any kind that :func:`mmssl_dynamic.datasets.decoding.decode_image` knows.

    Args:
        path: The file, or an address that mmengine's file backends read, such as ``s3://bucket/image.jpg``.
        bits: Significant bits of 16-bit grey images.
        backend_args: Arguments of mmengine's file backend; None chooses it by ``path``.

    Returns:
        BGR pixels, (H, W, 3) uint8.

    Raises:
        DataError: the file is missing, empty, truncated, damaged, too large, or no image. One line, which names the
            file and what to do.
    """
    return decoded(read_bytes(path, backend_args), path, bits)


def read_bytes(path: str | os.PathLike[str], backend_args: dict[str, Any] | None = None) -> bytes:
    """Contents of an image file.

    Raises:
        DataError: as :func:`read_image`.
    """
    name = printable(path)
    try:
        if backend_args is not None or "://" in os.fspath(path):
            return mmengine.fileio.get(os.fspath(path), backend_args=backend_args)
        with open(path, "rb", opener=_open_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise DataError(f"image {name} is no file; give the path of an image file.")
            if facts.st_size > MAX_BYTES:
                raise DataError(f"image {name} has {facts.st_size:,} bytes, too many for an image; delete it.")
            return file.read()
    except FileNotFoundError as error:
        raise DataError(f"image {name} does not exist; put it back, or make the list of images anew.") from error
    except IsADirectoryError as error:
        raise DataError(f"image {name} is a folder; give the path of an image file.") from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"image {name} cannot be read ({reason}); check its permissions and its disk.") from error


def _open_at_once(path: str, flags: int) -> int:
    """Opens a pipe that nobody writes into, too, and does not wait for it without end."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_packed(name: str, place: Place, bits: int = 16) -> np.ndarray:
    """As :func:`read_image`, of an image that is packed.

    Args:
        name: For messages.
        place: Where it is.
        bits: As of :func:`read_image`.

    Raises:
        DataError: it cannot be read from there, or not be used.
    """
    return decoded(place.read(), packed_name(name, place), bits, PACKED_REMEDY)


def packed_name(name: str, place: Place) -> str:
    """What messages call an image that is packed: its name, and what holds it."""
    return f"{name} in {place.where}"


def decoded(data: bytes, path: str | os.PathLike[str], bits: int = 16, remedy: str = REMEDY) -> np.ndarray:
    """Pixels of an image file whose contents are there.

    Args:
        data: The contents.
        path: Its name in messages.
        bits: As of :func:`read_image`.
        remedy: What to do, likewise.

    Raises:
        DataError: as :func:`read_image`.
    """
    try:
        return decode_image(data, bits)
    except UndecodableError as error:
        raise DataError(f"image {printable(path)} cannot be used ({error}); {remedy}.") from error


def middle(image: np.ndarray) -> np.ndarray:
    """The middle of a line, which would take gigabytes once its short side is enlarged; other images as they are.

    A pipeline that enlarges the short side and crops the centre gives the same with and without the rest.

    Args:
        image: (H, W, 3) pixels.

    Returns:
        At most :data:`MAX_ASPECT` times as long as wide.
    """
    height, width = image.shape[:2]
    most = MAX_ASPECT * min(height, width)
    if max(height, width) <= most:
        return image
    most -= (max(height, width) - most) % 2  # as much is cut off on both sides
    top, left = max(0, height - most) // 2, max(0, width - most) // 2
    return image[top : top + most, left : left + most]


@TRANSFORMS.register_module()
class LoadImage(BaseTransform):
    """Read an image from ``results['img_path']``; takes the place of ``LoadImageFromFile``.

    Reads JPEG, PNG, WebP, TIFF, BMP, GIF and what else Pillow knows: grey, palette, transparent (laid over white),
    CMYK, 16-bit and float images all become BGR uint8, upright by their EXIF orientation. A file that cannot be decoded
    completely is an error and never a half-grey image. Of a line more than :data:`MAX_ASPECT` times as long as wide the
    middle is taken. The data preprocessor's ``to_rgb=True`` turns BGR to RGB.

    Required key: ``img_path``; ``shard`` says where a packed image is, see
    :mod:`mmssl_dynamic.datasets.packed_folders`. Added keys: ``img`` ((H, W, 3) uint8, BGR), ``img_shape``,
    ``ori_shape`` (both (H, W)).

    Args:
        bits (int): Significant bits of 16-bit grey images: 12 for many X-rays and microscopes, whose images would
            come out nearly black with 16. Defaults to 16.
        backend_args (dict, optional): Arguments of mmengine's file backend. Defaults to None, chosen by the path.
        whole (bool): Keep all of a line, for boxes that count from its corner. Defaults to False.

    Raises:
        ConfigError: ``bits`` is not between 9 and 16.
        DataError: see :func:`read_image`.
    """

    def __init__(self, bits: int = 16, backend_args: dict[str, Any] | None = None, whole: bool = False) -> None:
        self.bits = check_bits(bits)
        self.backend_args = None if backend_args is None else dict(backend_args)
        self.whole = whole

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``img``, ``img_shape`` and ``ori_shape``."""
        if "shard" in results:  # img_path is a name inside of it
            image = read_packed(results["img_path"], results["shard"], self.bits)
        else:
            image = read_image(results["img_path"], self.bits, self.backend_args)
        image = image if self.whole else middle(image)
        results["img"] = image
        results["img_shape"] = image.shape[:2]
        results["ori_shape"] = image.shape[:2]
        return results

    def __repr__(self) -> str:
        whole = ", whole=True" * self.whole
        return f"{type(self).__name__}(bits={self.bits}, backend_args={self.backend_args}{whole})"

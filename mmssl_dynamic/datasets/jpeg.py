"""JPEG files to BGR pixels, refused where data are lost.

Decoders fill what is missing with grey and say so in a warning that OpenCV prints and Pillow swallows: a file that was
cut and got an end marker, or whose tail is zeros after a broken copy, passes for an image. libjpeg-turbo's warnings are
read here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import simplejpeg

from mmssl_dynamic.datasets.lost_data import LostDataError

#: The tables, application data and the like before a frame have markers of their own; the rest of these are frames.
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PLAIN_FRAMES = frozenset({0xC0, 0xC1, 0xC2})  # baseline, extended and progressive, all Huffman coded
_APP1 = 0xE1  # EXIF and XMP, which hold the orientation
_LOST = re.compile(r"premature end|bad Huffman code|found marker|arithmetic", re.IGNORECASE)
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")
# Some cameras leave a few bytes between the image and its end marker.
_FEW = 64
_ZEROS = bytes(16)


@dataclass(frozen=True)
class JpegHeader:
    """What the first bytes of a JPEG tell.

    Attributes:
        width: In pixels, before its orientation is applied.
        height: Likewise.
        components: 1 of grey images, 3 of colour, 4 of CMYK.
        tagged: Whether there is a segment that may hold an orientation.
    """

    width: int
    height: int
    components: int
    tagged: bool


def read_header(data: bytes) -> JpegHeader | None:
    """The header of a JPEG with 8 bits and Huffman coding; ``None`` for what is unusual or no JPEG."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    position, tagged = 2, False
    # A segment is 0xFF, its marker, and its length in two bytes, which count themselves.
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _START_OF_FRAME:
            components = data[position + 9]
            if marker not in _PLAIN_FRAMES or data[position + 4] != 8 or components not in (1, 3, 4):
                return None
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            return JpegHeader(width, height, components, tagged) if width and height else None
        tagged = tagged or marker == _APP1
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def decode_jpeg(data: bytes, header: JpegHeader) -> np.ndarray | None:
    """Pixels of a JPEG, (H, W, 3) BGR, or (H, W, 4) of CMYK images as they are stored; not turned upright.

    Args:
        data: Contents of the file; what stands behind the end marker does not matter.
        header: Of :func:`read_header`.

    Returns:
        uint8, or ``None`` for files that libjpeg-turbo's plain interface does not know.

    Raises:
        LostDataError: parts of the image are missing or overwritten.
    """
    colours = "CMYK" if header.components == 4 else "BGR"
    try:
        return simplejpeg.decode_jpeg(data, colours)
    except ValueError as error:
        _check_warning(str(error), data)
    try:
        return simplejpeg.decode_jpeg(data, colours, strict=False)
    except ValueError:
        return None


def _check_warning(message: str, data: bytes) -> None:
    """Refuse what libjpeg-turbo warns of if it means that pixels are made up; other warnings are about formalities."""
    if _LOST.search(message):
        raise LostDataError(f"a part of its data is lost: {message.removeprefix('Corrupt JPEG data: ')}")
    found = _EXTRANEOUS.search(message)
    if found is not None and (int(found[1]) > _FEW or _ZEROS in data[-int(found[1]) - 18 :]):
        raise LostDataError(f"a part of its data is overwritten: {found[0]}")

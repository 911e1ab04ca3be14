"""Bytes of an image file to BGR pixels, whatever kind of image a user has.

Letters: H W height and width of the stored image, before its EXIF orientation is applied.

Nearly every image of a training run is a JPEG. Those go through libjpeg-turbo (:mod:`mmssl_dynamic.datasets.jpeg`),
which is fast, hands out BGR pixels without a further copy, and tells when a part of a file is lost; all else goes
through Pillow, which knows more kinds of files.
"""

from __future__ import annotations

import io
from typing import Any

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from mmssl_dynamic.datasets.jpeg import decode_jpeg, read_header
from mmssl_dynamic.datasets.lost_data import LostDataError, check_png, check_webp
from mmssl_dynamic.errors import ConfigError

#: Pillow's limit, here for all decoders: an image above it is refused before its pixels are unpacked.
MAX_PIXELS = 2 * 89_478_485

_TIFF_STARTS = (b"II*\0", b"MM\0*")
_WHITE = (255, 255, 255, 255)
#: EXIF orientation -> what turns the stored pixels upright (Pillow rotates counter-clockwise).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UndecodableError(Exception):
    """The bytes are no image that can be used; the message is the reason, without the file's name."""


def check_bits(bits: int) -> int:
    """Return ``bits`` if it is a possible number of significant bits of a 16-bit image.

    Raises:
        ConfigError: it is not between 9 and 16.
    """
    if not isinstance(bits, int) or not 9 <= bits <= 16:
        raise ConfigError(f"LoadImage(bits={bits!r}) must be a whole number from 9 to 16; 16 is right for most files.")
    return bits


def decode_image(data: bytes, bits: int = 16) -> np.ndarray:
    """Decode an image file held in memory.

    Transparent pixels are laid over white, CMYK and palette images become RGB, the EXIF orientation is applied, and of
    animations and multi-page files the first frame is taken. More than 8 bits are scaled down, never clipped:
    16-bit images lose their low byte, and for what has no agreed range see :func:`to_8_bits`.

    Args:
        data: Contents of the file.
        bits: Significant bits of 16-bit grey images, such as 12 for many X-rays.

    Returns:
        BGR pixels, (H, W, 3) uint8, or (W, H, 3) if the orientation turns them.

    Raises:
        UndecodableError: the bytes cannot be decoded completely, a part of them is lost, or see :func:`check_size`.
    """
    if not data:
        raise UndecodableError("it is empty, 0 bytes")
    header = read_header(data)
    try:
        if header is not None:
            check_size(header.width, header.height)
            pixels = decode_jpeg(data, header)
            if pixels is not None and header.components < 4:  # Pillow knows whose CMYK is inverted
                return _turned(pixels, data) if header.tagged else pixels
        check_png(data)
        check_webp(data)
    except LostDataError as error:
        raise UndecodableError(str(error)) from error
    return _decode_with_pillow(data, bits)


def to_8_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Scale grey values of any type to 8 bits.

    uint16, and larger integers within its range: shifted by ``bits`` - 8. Floats within [0, 1]: times 255; within
    [0, 255]: rounded. Anything else (negative values, larger ranges) has no agreed meaning: the image's own minimum
    becomes 0 and its maximum 255; NaN and infinity count as the minimum (our reading: medical and remote-sensing
    TIFFs mark missing pixels so).

    Args:
        values: (H, W) or (H, W, C), integers or floats.
        bits: Significant bits of a 16-bit image.

    Returns:
        uint8 of the same shape.

    Raises:
        UndecodableError: no value is finite.
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind in "iu":
        if values.dtype == np.uint16 or (values.min() >= 0 and values.max() <= 0xFFFF):
            return np.minimum(values >> (bits - 8), 255).astype(np.uint8)
        finite = None
    else:
        finite = np.isfinite(values)
        if not finite.any():
            raise UndecodableError("it holds no finite value")
    real = values if finite is None else values[finite]
    low, high = float(real.min()), float(real.max())
    if finite is not None:
        if low >= 0 and high <= 255:
            scaled = values.astype(np.float64) * (255 if high <= 1 else 1)
            return np.round(np.where(finite, scaled, 0)).astype(np.uint8)
        values = np.where(finite, values, low)
    span = high - low if high > low else 1.0
    return np.round((values.astype(np.float64) - low) / span * 255).astype(np.uint8)


def check_size(width: int, height: int) -> None:
    """Refuse an image before its pixels are unpacked.

    Raises:
        UndecodableError: it has more than :data:`MAX_PIXELS` pixels.
    """
    if width * height > MAX_PIXELS:
        raise UndecodableError(f"{width} x {height} pixels are more than the {MAX_PIXELS:,} that are safe to unpack")


def _turned(pixels: np.ndarray, data: bytes) -> np.ndarray:
    """(H, W, 3) pixels of a JPEG, upright."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            orientation = _orientation(image)
    except Exception:  # a header that Pillow does not know, where libjpeg-turbo did
        return pixels
    if orientation not in _TURNS:
        return pixels
    return np.asarray(_upright(Image.fromarray(pixels), orientation))


def _decode_with_pillow(data: bytes, bits: int) -> np.ndarray:
    """Decode with Pillow; TIFFs that it does not know (float RGB, 64 bits) with OpenCV."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            check_size(*image.size)
            image.load()
            return _pixels(image, bits)
    except UndecodableError:
        raise
    except UnidentifiedImageError as error:
        decoded = _decode_tiff_with_opencv(data, bits) if data[:4] in _TIFF_STARTS else None
        if decoded is None:
            raise UndecodableError("it is damaged or not an image of a known format") from error
        return decoded
    except Exception as error:  # damaged headers make Pillow's plugins raise nearly any built-in exception
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise UndecodableError(reason) from error


def _pixels(image: Image.Image, bits: int) -> np.ndarray:
    """BGR pixels, upright, (H, W, 3) uint8, of a loaded Pillow image of any mode."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        grey = Image.fromarray(to_8_bits(_grey_values(image), bits))
        return _to_bgr(_upright(grey, _orientation(image)).convert("RGB"))
    orientation = _orientation(image)
    if image.mode == "La":  # premultiplied; converts to nothing but LA
        image = image.convert("LA")
    if image.mode in {"LA", "PA", "RGBA", "RGBa"} or image.has_transparency_data:
        layer = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", layer.size, _WHITE), layer)
    if image.mode != "RGB":
        image = image.convert("RGB")
    return _to_bgr(_upright(image, orientation))


def _grey_values(image: Image.Image) -> np.ndarray:
    """(H, W) values of an image of more than 8 bits; Pillow wraps unsigned 32-bit TIFFs to negative numbers."""
    values = np.asarray(image)
    tags: Any = getattr(image, "tag_v2", {})
    sample_format, bits_per_sample = tags.get(339, (1,)), tags.get(258, (1,))
    if image.mode == "I" and sample_format[0] == 1 and bits_per_sample[0] == 32:
        return values.view(np.uint32)
    return values


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or the EXIF data are damaged."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data raise nearly anything, and say nothing about the pixels
        return 1


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    """Turn and flip ``image`` as ``orientation`` says."""
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _to_bgr(image: Image.Image) -> np.ndarray:
    """RGB image to a BGR array of its own, (H, W, 3)."""
    return cv2.cvtColor(np.asarray(image), cv2.COLOR_RGB2BGR)


def _decode_tiff_with_opencv(data: bytes, bits: int) -> np.ndarray | None:
    """Pixels of a TIFF that Pillow does not know, None if OpenCV does not know it either."""
    directory = ImageFileDirectory_v2(data[:8])
    stream = io.BytesIO(data)
    stream.seek(directory.next)
    try:
        directory.load(stream)
        width, height = int(directory.get(256, 0)), int(directory.get(257, 0))
        orientation = int(directory.get(274, 1))
    except Exception:  # as with Pillow's plugins above: a damaged directory raises nearly anything
        return None
    if not width or not height:
        return None
    check_size(width, height)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # a page of its source lines for each bad file
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        return None
    pixels = to_8_bits(values, bits)
    if pixels.ndim == 2:
        image = Image.fromarray(pixels)
    elif pixels.shape[2] == 4:
        image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA))
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    else:
        image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    return _to_bgr(_upright(image, orientation).convert("RGB"))

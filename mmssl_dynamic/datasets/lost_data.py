"""Image files of which a part is gone, and whose decoders do not notice.

A copy that broke off leaves a file of the right size whose end is zeros. Decoders of JPEG, GIF and packed TIFF find
codes that cannot be; here are the rest.
"""

from __future__ import annotations

import zlib

# Of zero bytes in a row that no encoder writes into coded pixels: WebP, AVIF and JPEG 2000 of one colour have fewer.
_CODED_ZEROS = 64
# An even area of a WebP ends in one zero byte for about 10,000 pixels, measured up to 12 million.
_PIXELS_PER_ZERO = 4096
_RAW_ZEROS, _RAW_SHARE = 4096, 8


class LostDataError(Exception):
    """A part of the image would be made up; the message is the reason."""


def check_png(data: bytes) -> None:
    """Refuse a PNG whose chunks do not have their check sums, which Pillow does not look at; other files pass.

    Raises:
        LostDataError: a part of the header, the palette or the pixels is overwritten or gone.
    """
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return
    position = 8
    while position + 12 <= len(data):
        size, name = int.from_bytes(data[position : position + 4], "big"), data[position + 4 : position + 8]
        end = position + 8 + size
        if name in (b"IHDR", b"PLTE", b"IDAT"):
            if zlib.crc32(memoryview(data)[position + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
                raise LostDataError(f"a part of its data is lost: the check sum of a chunk {name.decode()} is wrong")
        elif not name.isalpha():
            raise LostDataError("a part of its data is lost: there is no chunk where one should be")
        position = end + 4


def check_webp(data: bytes) -> None:
    """Refuse a WebP with a hole, which its decoder takes for pixels; other files pass.

    Raises:
        LostDataError: the coded pixels hold a run of zeros that no encoder writes.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return
    position, pixels = 12, 0
    while position + 8 <= len(data):
        name, size = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        body = data[position + 8 : position + 8 + size]
        if name == b"VP8X":
            pixels = (1 + int.from_bytes(body[4:7], "little")) * (1 + int.from_bytes(body[7:10], "little"))
        elif name == b"VP8 ":
            width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
            pixels = max(pixels, width * height)
        if name in (b"VP8 ", b"VP8L", b"ANMF") and bytes(_CODED_ZEROS + pixels // _PIXELS_PER_ZERO) in body:
            raise LostDataError("a part of its data is lost: it is overwritten with zeros")
        position += 8 + size + size % 2


def suspicion(data: bytes) -> str | None:
    """Why a file that can be decoded should be looked at; ``None`` if nothing speaks against it.

    In formats that keep pixels as they are (BMP, PNM, plain TIFF) zeros are black, and AVIF and JPEG 2000 keep other
    data beside the pixels. So a long run of zeros may be right there, and a training does not refuse it.

    Args:
        data: Contents of a file.
    """
    coded = next((data.find(mark) for mark in (b"mdat", b"jp2c") if mark in data[:65536]), None)
    if data[4:8] == b"ftyp" or data[:12] == b"\0\0\0\x0cjP  \r\n\x87\n" or data[:4] == b"\xff\x4f\xff\x51":
        hole = bytes(_CODED_ZEROS) in data[coded or 0 :]
    elif data[:2] == b"BM" or data[:4] in (b"II*\0", b"MM\0*") or (data[:1] == b"P" and data[1:2].isdigit()):
        hole = len(data) > _RAW_ZEROS and bytes(max(_RAW_ZEROS, len(data) // _RAW_SHARE)) in data
    else:
        return None
    return "a large part of its data is zeros: it is black there, or lost" if hole else None

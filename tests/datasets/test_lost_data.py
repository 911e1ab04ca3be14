"""Files of which a part is lost are refused, in whatever format; whole files are not, however plain they are."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image

from mmssl_dynamic.datasets.decoding import UndecodableError, decode_image
from mmssl_dynamic.datasets.lost_data import suspicion

HEIGHT, WIDTH = 120, 160
JPEG_END, PNG_END = b"\xff\xd9", b"\0\0\0\0IEND\xaeB`\x82"
JPEGS = {
    "jpeg": {},
    "jpeg optimised": {"optimize": True},
    "jpeg progressive": {"progressive": True},
    "jpeg restarts": {"restart_marker_blocks": 4},
    "jpeg 4:4:4": {"subsampling": 0},
}
# Name: format, options, end marker.
REFUSED = {
    **{name: ("JPEG", options, JPEG_END) for name, options in JPEGS.items()},
    "png": ("PNG", {}, PNG_END),
    "png stored": ("PNG", {"compress_level": 0}, PNG_END),
    "webp": ("WEBP", {}, b""),
    "webp lossless": ("WEBP", {"lossless": True}, b""),
    "gif": ("GIF", {}, b"\0;"),
    "tiff lzw": ("TIFF", {"compression": "tiff_lzw"}, b""),
    "tiff deflate": ("TIFF", {"compression": "tiff_deflate"}, b""),
}
SUSPECT = {"bmp": ("BMP", {}), "ppm": ("PPM", {}), "tiff": ("TIFF", {}), "jp2": ("JPEG2000", {}), "avif": ("AVIF", {})}


def photo(mode: str = "RGB") -> Image.Image:
    """Smooth waves with some noise, in which every part matters."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = np.stack([np.sin(x / 17), np.cos(y / 23), np.sin((x + y) / 31)], -1)
    noise = np.random.default_rng(0).normal(0, 8, waves.shape)
    return Image.fromarray(np.clip(128 + 100 * waves + noise, 1, 255).astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def damaged(good: bytes, end: bytes) -> dict[str, bytes]:
    half, size = len(good) // 2, len(good)
    return {
        "cut": good[:half],
        "cut, end appended": good[:half] + end,
        "zeros behind": good[:half] + bytes(size - half),
        "zeros behind, end appended": good[:half] + bytes(size - half - len(end)) + end,
        "a piece missing": good[:half] + good[half + size // 10 :],
        "a hole": good[:half] + bytes(size // 10) + good[half + size // 10 :],
        "the last tenth cut, end appended": good[: size * 9 // 10] + end,
    }


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_with_a_part_lost_is_refused(name):
    format, options, end = REFUSED[name]
    good = encoded(photo(), format, **options)
    assert decode_image(good).shape == (HEIGHT, WIDTH, 3)
    assert suspicion(good) is None
    for kind, data in damaged(good, end).items():
        with pytest.raises(UndecodableError):
            pytest.fail(f"{kind} was taken for {decode_image(data).shape}")


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_so_is_a_jpeg_of_another_mode(mode):
    good = encoded(photo(mode), "JPEG")
    decode_image(good)
    for data in damaged(good, JPEG_END).values():
        with pytest.raises(UndecodableError):
            decode_image(data)


def test_a_png_without_one_of_its_chunks_is_refused():
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    good = encoded(Image.fromarray(noise), "PNG")
    chunks, position = [], 8
    while position < len(good):
        size = 12 + struct.unpack(">I", good[position : position + 4])[0]
        chunks.append(good[position : position + size])
        position += size
    data = [index for index, chunk in enumerate(chunks) if chunk[4:8] == b"IDAT"]
    assert len(data) > 1
    for gone in data:
        with pytest.raises(UndecodableError):
            decode_image(good[:8] + b"".join(chunk for index, chunk in enumerate(chunks) if index != gone))


@pytest.mark.parametrize("name", SUSPECT)
def test_where_zeros_may_be_right_a_file_is_suspect_and_can_be_used(name):
    format, options = SUSPECT[name]
    good = encoded(photo(), format, **options)
    assert suspicion(good) is None
    half = len(good) // 2
    broken = good[:half] + bytes(len(good) - half)
    assert "zeros" in suspicion(broken)
    if name != "jp2":  # whose end marker is gone
        assert decode_image(broken).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("colour", [0, 255])
@pytest.mark.parametrize("name", [*REFUSED, *SUSPECT])
def test_an_image_of_one_colour_is_whole(name, colour):
    format, options = (REFUSED.get(name) or SUSPECT[name])[:2]
    pixels = np.full((900, 1200, 3), colour, np.uint8)
    pixels[:20] = np.random.default_rng(0).integers(0, 256, (20, 1200, 3))
    data = encoded(Image.fromarray(pixels), format, **options)
    assert decode_image(data).shape == pixels.shape
    if name not in ("bmp", "ppm", "tiff") or colour:
        assert suspicion(data) is None


def test_a_jpeg_with_something_behind_its_end_or_a_few_bytes_before_it_is_whole():
    good = encoded(photo(), "JPEG")
    expected = decode_image(good)
    for data in (good + b"MP4 of a live photo", good + bytes(500), good[:-2] + b"\x01" * 20 + JPEG_END):
        np.testing.assert_array_equal(decode_image(data), expected)
    with pytest.raises(UndecodableError, match="overwritten: .* extraneous"):
        decode_image(good[:-2] + bytes(40) + JPEG_END)

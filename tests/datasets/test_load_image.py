"""LoadImage: every kind of image becomes upright BGR uint8, every bad file one sentence."""

from __future__ import annotations

import io
import os
import struct
import zlib

import cv2
import mmcv.transforms
import numpy as np
import pytest
from mmpretrain.registry import TRANSFORMS
from mmpretrain.utils import register_all_modules
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from mmssl_dynamic import cli
from mmssl_dynamic.datasets import LoadImage, read_image
from mmssl_dynamic.datasets.decoding import MAX_PIXELS, to_8_bits
from mmssl_dynamic.datasets.jpeg import JpegHeader, read_header
from mmssl_dynamic.errors import ConfigError, DataError

HEIGHT, WIDTH = 24, 36


@pytest.fixture
def pixels() -> np.ndarray:
    """A photograph-like RGB image without symmetry, (HEIGHT, WIDTH, 3)."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), (x + y) * 255 / (HEIGHT + WIDTH - 2)], -1).astype(
        np.uint8
    )


def rgb(path) -> np.ndarray:
    """What LoadImage reads, as int RGB."""
    return LoadImage()({"img_path": str(path)})["img"][..., ::-1].astype(int)


def grey_of(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L")).astype(int)[..., None].repeat(3, -1)


def test_it_is_built_from_an_mmpretrain_pipeline_and_sets_the_three_keys(tmp_path, pixels):
    register_all_modules(init_default_scope=False)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    transform = TRANSFORMS.build(dict(type="mmssl_dynamic.LoadImage"))
    results = transform({"img_path": str(tmp_path / "a.png"), "gt_label": 3})
    assert results["img"].dtype == np.uint8
    assert results["img"].flags.c_contiguous
    assert results["img"].flags.writeable
    assert results["img_shape"] == results["ori_shape"] == (HEIGHT, WIDTH)
    assert results["gt_label"] == 3
    np.testing.assert_array_equal(results["img"][..., ::-1], pixels)


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.TIFF", "a.ppm", "a.webp"])
def test_lossless_rgb_files_keep_every_pixel(tmp_path, pixels, name):
    options = {"lossless": True} if name.endswith("webp") else {}
    Image.fromarray(pixels).save(tmp_path / name, **options)
    np.testing.assert_array_equal(rgb(tmp_path / name), pixels)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 30, "optimize": True}])
def test_plain_jpegs_are_the_pixels_of_mmcv_and_of_pillow(tmp_path, pixels, mode, options):
    path = tmp_path / "a.jpg"
    Image.fromarray(pixels).convert(mode).save(path, **options)
    assert read_header(path.read_bytes()) == JpegHeader(WIDTH, HEIGHT, 3 if mode == "RGB" else 1, False)
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    # Two builds of libjpeg may round differently by a level.
    assert abs(rgb(path) - expected).max() <= 1
    mmcv_pixels = mmcv.transforms.LoadImageFromFile()({"img_path": str(path)})["img"]
    np.testing.assert_array_equal(rgb(path), mmcv_pixels[..., ::-1])


@pytest.mark.parametrize("ending", ["png", "tif", "jpg", "jp2"])
def test_grey_files_get_three_equal_channels(tmp_path, pixels, ending):
    Image.fromarray(pixels).convert("L").save(tmp_path / f"a.{ending}")
    assert abs(rgb(tmp_path / f"a.{ending}") - grey_of(pixels)).max() <= (4 if ending == "jpg" else 0)


def test_one_bit_files_become_black_and_white(tmp_path, pixels):
    black_and_white = Image.fromarray(pixels).convert("1")
    black_and_white.save(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb(tmp_path / "a.png")[..., 0], np.asarray(black_and_white) * 255)


@pytest.mark.parametrize("ending", ["png", "gif", "bmp"])
def test_palette_files_become_their_colours(tmp_path, pixels, ending):
    palette = Image.fromarray(pixels).quantize(16)
    palette.save(tmp_path / f"a.{ending}")
    np.testing.assert_array_equal(rgb(tmp_path / f"a.{ending}"), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_laid_over_white(tmp_path, pixels, mode):
    image = Image.fromarray(pixels).convert(mode)
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[:, WIDTH // 2 :] = 255
    alpha[0, 0] = 128
    image.putalpha(Image.fromarray(alpha))
    image.save(tmp_path / "a.png")
    result = rgb(tmp_path / "a.png")
    opaque = pixels if mode == "RGBA" else grey_of(pixels)
    np.testing.assert_array_equal(result[1:, : WIDTH // 2], 255)
    np.testing.assert_array_equal(result[:, WIDTH // 2 :], opaque[:, WIDTH // 2 :])
    np.testing.assert_allclose(result[0, 0], (opaque[0, 0].astype(int) * 128 + 255 * 127) / 255, atol=1)


@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_a_transparent_colour_without_alpha_channel_becomes_white(tmp_path, mode):
    image = Image.new("RGB", (4, 4), (0, 51, 0)).convert(mode, dither=Image.Dither.NONE)
    image.save(tmp_path / "a.png", transparency=image.getpixel((0, 0)))
    np.testing.assert_array_equal(rgb(tmp_path / "a.png"), 255)


def test_cmyk_tiff_becomes_rgb(tmp_path, pixels):
    Image.fromarray(pixels).convert("CMYK").save(tmp_path / "a.tif")
    assert abs(rgb(tmp_path / "a.tif") - pixels).max() <= 1


def test_cmyk_jpeg_as_photoshop_writes_it_is_not_inverted(tmp_path):
    # Pillow writes CMYK JPEGs with Adobe's marker and inverted values, as Photoshop does.
    Image.new("RGB", (16, 16), (250, 120, 10)).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert read_header((tmp_path / "a.jpg").read_bytes()).components == 4
    assert abs(rgb(tmp_path / "a.jpg") - [250, 120, 10]).max() <= 4


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path, ending):
    values = np.linspace(0, 65535, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.uint16)
    cv2.imwrite(str(tmp_path / f"a.{ending}"), values)
    np.testing.assert_array_equal(rgb(tmp_path / f"a.{ending}")[..., 0], values // 256)


def test_12_bits_stored_in_16_use_the_whole_range_with_bits_12(tmp_path):
    values = np.array([[0, 16, 2048, 4095, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", bits=12)[0, :, 0], [0, 1, 128, 255, 255])


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colour_keeps_its_high_byte(tmp_path, pixels, ending, channels):
    values = (pixels[..., ::-1].astype(np.uint16) << 8) + 77
    if channels == 4:
        values = np.concatenate([values, np.full((HEIGHT, WIDTH, 1), 65535, np.uint16)], -1)
    cv2.imwrite(str(tmp_path / f"a.{ending}"), values)
    np.testing.assert_array_equal(rgb(tmp_path / f"a.{ending}"), pixels)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(HEIGHT, WIDTH), (HEIGHT, WIDTH, 3)])
def test_float_tiff_between_0_and_1_spans_0_to_255(tmp_path, dtype, shape):
    values = np.linspace(0, 1, int(np.prod(shape))).reshape(shape).astype(dtype)
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    expected = np.round(values * 255).reshape(HEIGHT, WIDTH, -1)
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), np.broadcast_to(expected, (HEIGHT, WIDTH, 3)), atol=1)


def test_32_bit_integers_above_the_signed_range_keep_their_order(tmp_path):
    values = np.array([[0, 2**30, 2**31, 2**32 - 1]], np.uint32)
    (tmp_path / "a.tif").write_bytes(raw_tiff(4, 1, values.tobytes(), bits=32, sample_format=1))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[0, :, 0], [0, 64, 128, 255])


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[-1000.0, 0.0, 1000.0]]), [0, 128, 255]),
        (np.array([[0.0, 100.4, 255.0]]), [0, 100, 255]),
        (np.array([[np.nan, 5.0, np.inf, 1005.0]]), [0, 0, 0, 255]),
        (np.array([[-7.0, -7.0]]), [0, 0]),
        (np.array([[-32768, 0, 32767]], np.int32), [0, 128, 255]),
        (np.array([[0, 256, 65535]], np.int32), [0, 1, 255]),
    ],
)
def test_ranges_without_a_convention_are_stretched_to_their_own_extremes(values, expected):
    np.testing.assert_array_equal(to_8_bits(values, 16)[0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["plain jpeg", "cmyk jpeg", "png", "16-bit tif", "float tif"])
def test_exif_orientation_is_honoured_whatever_decodes_the_file(tmp_path, orientation, kind):
    upright = np.zeros((16, 32), np.uint8)
    upright[:8, :8] = 255  # the top left corner of the upright image
    turn = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: np.transpose,
        6: np.rot90,  # stored turned left, to be turned right
        7: lambda a: np.rot90(a.T, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    stored = np.ascontiguousarray(turn(upright))
    path = tmp_path / f"a.{kind.split()[-1].replace('jpeg', 'jpg')}"
    if kind == "float tif":
        image, options = Image.fromarray(stored.astype(np.float32) / 255), {"tiffinfo": {274: orientation}}
    elif kind == "16-bit tif":
        image, options = Image.fromarray(stored.astype(np.uint16) * 257), {"tiffinfo": {274: orientation}}
    else:
        image = Image.fromarray(stored).convert("CMYK" if kind == "cmyk jpeg" else "RGB")
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"exif": exif}
    image.save(path, **options)
    result = read_image(path)[..., 0].astype(int)
    assert result.shape == upright.shape
    assert abs(result - upright).max() <= 8


def test_damaged_exif_data_do_not_make_an_image_unreadable(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(rgb(tmp_path / "a.png"), pixels)


def test_of_an_animation_the_first_frame_is_taken(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(rgb(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def raw_tiff(width: int, height: int, data: bytes, bits: int, sample_format: int) -> bytes:
    """An uncompressed grey TIFF; sample format 1 is unsigned, 3 float."""
    start = 8 + 2 + 9 * 12 + 4
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, start), (277, 1)]
    tags += [(279, len(data)), (339, sample_format)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + data


def encoded(pixels: np.ndarray, ending: str) -> bytes:
    stream = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(stream, {"jpg": "JPEG", "tif": "TIFF"}.get(ending, ending))
    return stream.getvalue()


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "bmp", "webp"])
@pytest.mark.parametrize("damage", ["truncated", "header only", "text", "zero bytes", "zeros"])
def test_a_bad_file_is_one_sentence_with_its_name_and_the_remedy(tmp_path, pixels, ending, damage):
    good = encoded(pixels, ending)
    contents = {
        "truncated": good[: len(good) * 2 // 3],
        "header only": good[:20],
        "text": b"<html>404 not found</html>",
        "zero bytes": b"",
        "zeros": bytes(500),
    }[damage]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(contents)
    with pytest.raises(DataError) as caught:
        read_image(path)
    message = str(caught.value)
    assert str(path) in message
    assert "replace or delete it" in message
    assert "\n" not in message
    assert message.endswith(".")
    assert "BytesIO" not in message


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_no_random_damage_escapes_as_another_exception(tmp_path, pixels, ending):
    good = encoded(pixels, ending)
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{ending}"
    refused = 0
    for _ in range(150):
        damaged = bytearray(good)
        for position in rng.integers(0, min(len(good), 400), 4):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            assert read_image(path).dtype == np.uint8
        except DataError:
            refused += 1
    assert refused > 0


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_header(width: int, height: int) -> bytes:
    frame = b"\x08" + struct.pack(">HH", height, width) + b"\x03" + b"\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    return b"\xff\xd8\xff\xc0" + struct.pack(">H", len(frame) + 2) + frame + b"\xff\xd9"


def float_tiff_header(width: int, height: int) -> bytes:
    return raw_tiff(width, height, b"", bits=64, sample_format=3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("header", [png_header, jpeg_header, float_tiff_header])
def test_decompression_bombs_are_refused_before_they_are_unpacked(tmp_path, header):
    side = int(MAX_PIXELS**0.5) + 10
    (tmp_path / "bomb.png").write_bytes(header(side, side))
    with pytest.raises(DataError, match=r"bomb\.png.*pixels"):
        read_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(("width", "height"), [(6000, 1), (1, 6000), (6001, 3), (2, 20000)])
def test_a_line_takes_no_memory_once_it_is_enlarged_and_its_centre_stays(tmp_path, width, height):
    line = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(line).save(tmp_path / "line.png")
    image = LoadImage()({"img_path": str(tmp_path / "line.png")})["img"]
    short, long = sorted(image.shape[:2])
    assert short == min(width, height)
    assert 200 * short - 1 <= long <= 200 * short
    (top, odd_rows), (left, odd_columns) = divmod(height - image.shape[0], 2), divmod(width - image.shape[1], 2)
    assert not odd_rows
    assert not odd_columns
    np.testing.assert_array_equal(image[..., ::-1], line[top : top + image.shape[0], left : left + image.shape[1]])
    steps = [dict(type="ResizeEdge", scale=32, edge="short"), dict(type="CenterCrop", crop_size=32)]
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        crop = mmcv.transforms.Compose([registry.build(step) for step in steps])
    whole = np.ascontiguousarray(line[..., ::-1])
    expected = crop({"img": whole, "img_shape": whole.shape[:2]})["img"].astype(int)
    found = crop({"img": image, "img_shape": image.shape[:2]})["img"].astype(int)
    if 32 % short == 0:  # else the two are enlarged by factors that differ in the fourth digit
        assert abs(found - expected).max() <= 1


def test_a_panorama_is_whole(tmp_path):
    Image.new("RGB", (6000, 30)).save(tmp_path / "a.png")
    assert LoadImage()({"img_path": str(tmp_path / "a.png")})["img_shape"] == (30, 6000)


def test_a_pipe_is_no_image_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(DataError, match=r"a\.jpg is no file"):
        read_image(tmp_path / "a.jpg")


def test_missing_files_and_folders_say_so(tmp_path):
    with pytest.raises(DataError, match=r"gone\.jpg does not exist"):
        read_image(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)


def test_a_name_with_a_line_break_still_gives_one_line(tmp_path):
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a\nb.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bits", [8, 17, 12.0, "16"])
def test_impossible_bits_are_a_config_error(bits):
    with pytest.raises(ConfigError, match="from 9 to 16"):
        LoadImage(bits=bits)


class _Files(Dataset):
    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.load = LoadImage()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> int:
        return int(self.load({"img_path": self.paths[index]})["img"].sum())


def test_the_sentence_survives_a_loader_worker(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"no image")
    loader = DataLoader(_Files([str(tmp_path / "good.png"), str(tmp_path / "bad.png")]), batch_size=1, num_workers=1)
    with pytest.raises(DataError) as caught:
        list(loader)
    with pytest.raises(DataError) as direct:
        read_image(tmp_path / "bad.png")
    assert cli.one_sentence(caught.value) == str(direct.value)


def test_a_file_backend_of_mmengine_reads_the_bytes(tmp_path, pixels):
    Image.fromarray(pixels).save(tmp_path / "a.png")
    transform = LoadImage(backend_args={"backend": "local"})
    np.testing.assert_array_equal(transform({"img_path": str(tmp_path / "a.png")})["img"][..., ::-1], pixels)

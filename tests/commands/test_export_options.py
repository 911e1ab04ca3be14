"""Options of one format of exports: passed on under its own names, and refused with another format."""

import pytest

from mmssl_dynamic.commands import export
from mmssl_dynamic.commands.registry import parser_of
from mmssl_dynamic.errors import ConfigError


@pytest.fixture
def parse(tmp_path):
    """Parsed and checked arguments of ``export``."""
    for name in ("c.py", "c.pth"):
        (tmp_path / name).touch()
    (tmp_path / "images").mkdir()

    def parsed(*options, out="b.onnx"):
        given = (tmp_path / "c.py", tmp_path / "c.pth", "--subnet", "full", "--out", tmp_path / out, *options)
        args = parser_of("export").parse_args([str(value) for value in given])
        export.check(args)
        return args

    return parsed


def test_options_reach_the_format_under_its_own_names(parse, tmp_path):
    args = parse("--format", "onnx", "--opset", 17, "--fixed-batch", 4, "--fixed-size", 96)
    assert export.format_of(args) == {"type": "onnx", "opset": 17, "batch_size": 4, "image_size": 96}
    folder = str(tmp_path / "images")
    args = parse("--format", "onnx_int8", "--calibration-images", folder, "--data-root", folder, "--opset", 17)
    assert export.format_of(args) == {"type": "onnx_int8", "opset": 17, "calibration_images": folder, "task": folder}
    args = parse("--format", "openvino", "--fixed-batch", 2, out="b.xml")
    assert export.format_of(args) == {"type": "openvino", "batch_size": 2}
    assert export.format_of(parse("--format", "timm", out="b.pth")) == {"type": "timm"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "timm", "--opset", 17), "--opset has no effect with --format timm"),
        (("--format", "onnx", "--calibration-count", 5), "--calibration-count has no effect with --format onnx"),
        (("--format", "onnx", "--opset", 0), "--opset 0 must be at least 1"),
        (("--format", "tflite", "--opset", 17), "b.onnx must end in .tflite"),
        (("--format", "onnx_int8"), "give --calibration-images DIR"),
        (("--format", "onnx_int8", "--calibration-images", "none"), "folder of calibration images none does not exist"),
    ],
)
def test_options_without_effect_or_sense_are_refused(parse, options, message):
    out = "b.pth" if options[1] == "timm" else "b.onnx"
    with pytest.raises(ConfigError if "exist" not in message else Exception, match=message):
        parse(*options, out=out)

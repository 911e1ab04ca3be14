"""oneDNN's operators of many shapes are compiled once."""

import os
import subprocess
import sys

import pytest
import torch

_SCRIPT = """
import sys
import torch
from mmssl_dynamic.engine.primitive_cache import keep_compiled_operators
if sys.argv[1] == "keep":
    keep_compiled_operators()
shapes = [(channels, size) for channels in range(1, 71) for size in range(16, 31)][: int(sys.argv[2])]
for repeat in range(2):
    print("REPEAT", repeat, flush=True)
    for channels, size in shapes:
        torch.nn.functional.conv2d(torch.ones(2, 16, size, size), torch.ones(channels, 16, 1, 1))
"""


def compiled_again(shapes, mode, **variables):
    """Operators compiled in the second of two equal rounds."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("ONEDNN_", "DNNL_"))}
    env.update(ONEDNN_VERBOSE="profile_create", **variables)
    command = [sys.executable, "-c", _SCRIPT, mode, str(shapes)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    first, second = run.stdout.split("REPEAT 1")
    if "cache_miss" not in first:
        pytest.skip("this build of torch does not tell what oneDNN compiles")
    return second.count("cache_miss")


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN is not there")
def test_operators_of_more_shapes_than_by_default_are_kept():
    assert compiled_again(1050, "keep") == 0


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="oneDNN is not there")
def test_the_value_of_the_user_stays():
    assert compiled_again(60, "keep", ONEDNN_PRIMITIVE_CACHE_CAPACITY="20") >= 60

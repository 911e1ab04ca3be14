"""What every command prepares on a CPU: threads that sleep, memory and operators that stay."""

import os
import platform
import subprocess
import sys

import pytest
import torch

from mmssl_dynamic.cpu import computes_in_bf16, prepared_cpu

_MEMORY = """
import resource, sys
import torch
from mmssl_dynamic.cpu import keep_freed_memory
assert keep_freed_memory(sys.argv[1] == "keep")
for _ in range(20):
    torch.ones(16 << 20)  # 64 MiB, above what the C library would keep by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", _MEMORY, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's options")
def test_freed_memory_is_used_again():
    # Every page anew each of ten times, or the heap grown once or twice.
    assert 4 * _page_faults("keep") < _page_faults("default")


_OPERATORS = """
import sys
import torch
from mmssl_dynamic.cpu import keep_compiled_operators
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
    command = [sys.executable, "-c", _OPERATORS, mode, str(shapes)]
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


# How threads wait is settled when torch is imported.
_WAITING = """
import os, sys
from mmssl_dynamic import cli
cli.run(lambda: print("torch" in sys.modules, os.environ.get("OMP_WAIT_POLICY")))
"""


@pytest.mark.parametrize(
    ("variables", "expected"),
    [({}, "PASSIVE"), ({"OMP_WAIT_POLICY": "ACTIVE"}, "ACTIVE"), ({"GOMP_SPINCOUNT": "100"}, "None")],
    ids=["nothing set", "the policy set", "spins set"],
)
def test_threads_of_every_command_sleep_while_they_wait_unless_the_user_says_how(variables, expected):
    env = {key: value for key, value in os.environ.items() if not key.startswith(("OMP_", "GOMP_", "KMP_"))}
    run = subprocess.run(
        [sys.executable, "-c", _WAITING], capture_output=True, text=True, check=True, env=env | variables
    )
    assert run.stdout == f"False {expected}\n"


def test_a_command_leaves_the_environment_as_it_was(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        monkeypatch.delenv(name, raising=False)
    before = dict(os.environ)
    with prepared_cpu():
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        assert int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) > 1024
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True, "amx_bf16": False, "avx512_f": True}, True),
        ({"avx512_bf16": False, "amx_bf16": False, "avx512_f": True}, False),
        ({"cpu_name": "bf16", "avx2": True}, False),
        ({"bf16": True, "sve": True}, True),
    ],
)
def test_bf16_is_used_where_the_processor_has_instructions_for_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert computes_in_bf16() is expected


def test_releases_of_torch_without_a_list_of_instructions_are_asked_for_the_one(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for found in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda found=found: found)
        assert computes_in_bf16() is found

"""Memory of freed tensors stays with the process."""

import platform
import subprocess
import sys

import pytest

_SCRIPT = """
import resource, sys
import torch
from mmssl_dynamic.engine.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
torch.ones(16 << 20)  # 64 MiB, above what the C library would keep by itself
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(16 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _page_faults(mode: str) -> int:
    run = subprocess.run([sys.executable, "-c", _SCRIPT, mode], capture_output=True, text=True, check=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's options")
def test_freed_memory_is_used_again():
    # Every page anew each of ten times, or the heap grown once or twice.
    assert 4 * _page_faults("keep") < _page_faults("default")

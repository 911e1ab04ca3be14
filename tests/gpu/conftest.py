"""Tests that a card is to be accepted by run on it where there is one, and on the CPU everywhere else."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session")
def device() -> torch.device:
    """A CUDA device, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them, so that ``pytest -m gpu`` runs them alone, and start what compiles for a card."""
    own = [item for item in items if "tests/gpu/" in item.path.as_posix()]
    for item in own:
        item.add_marker(pytest.mark.gpu)
    if torch.cuda.is_available() and any(item.path.name == "test_compiling.py" for item in own):
        _start_inductor()


def _start_inductor() -> None:
    """Inductor keeps processes, threads and environment variables, which no test is to leave behind: they are here."""
    from torch._inductor import config

    config.quiesce_async_compile_pool = False  # or they end after a minute, and start anew inside of a test
    torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device="cuda"))

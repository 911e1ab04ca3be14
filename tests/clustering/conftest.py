from __future__ import annotations

import pytest
import torch

from tests.planted import make_planted, planted_features


@pytest.fixture(autouse=True)
def one_thread():
    """Matrices this small only lose time to threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def planted():
    """The function :func:`make_planted`."""
    return make_planted


@pytest.fixture
def features():
    return planted_features()

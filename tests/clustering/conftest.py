from __future__ import annotations

import pytest

from tests.planted import make_planted, planted_features


@pytest.fixture
def planted():
    """The function :func:`make_planted`."""
    return make_planted


@pytest.fixture
def features():
    return planted_features()

from __future__ import annotations

import pytest

from tests.planted import planted_features


@pytest.fixture
def features():
    return planted_features()

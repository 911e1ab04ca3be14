import pytest

from mmssl_dynamic.models.elastic import positions


@pytest.fixture(params=[0, 1 << 40], ids=["block by block", "by an index"])
def copying(request, monkeypatch):
    """Both ways of taking several ranges at once, whatever the size of the tensor."""
    monkeypatch.setattr(positions, "_SMALL", request.param)

"""Classes that a user names: registered ones, and those of a module of their own."""

import sys

import pytest

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.own_classes import named_class
from mmssl_dynamic.registry import SCORES
from mmssl_dynamic.routing import Score
from mmssl_dynamic.routing.scores import KNNScore

MODULE = """
from mmssl_dynamic.routing import Score

class Loudest(Score):
    pass

class Unrelated:
    pass
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module of a user's own that can be imported."""
    (tmp_path / "own_scores.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_scores"
    sys.modules.pop("own_scores", None)


def test_a_name_is_a_registered_class_or_one_of_a_module(module):
    assert named_class(SCORES, "knn", Score) is KNNScore
    found = named_class(SCORES, f"{module}.Loudest", Score)
    assert found is sys.modules[module].Loudest
    assert named_class(SCORES, f"{module}.Loudest", Score, imports=False) is found  # it is there by now


def test_a_name_that_must_import_nothing_imports_nothing(module):
    with pytest.raises(ConfigError, match=r"routing score 'own_scores.Loudest' is unknown; use one of .*module\.Class"):
        named_class(SCORES, f"{module}.Loudest", Score, imports=False)
    assert module not in sys.modules


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loudest", "routing score 'loudest' is unknown; use one of h-score, knn"),
        ("own_scores.Quietest", "module own_scores has no subclass of Score of this name"),
        ("own_scores.Unrelated", "module own_scores has no subclass of Score of this name"),
        ("no_such_module.Loudest", "no_such_module cannot be imported: .*PYTHONPATH"),
    ],
)
def test_what_a_name_lacks_is_said(module, name, words):
    with pytest.raises(ConfigError, match=words):
        named_class(SCORES, name, Score)

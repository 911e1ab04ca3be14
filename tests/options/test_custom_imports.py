import sys

import pytest
from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options.custom_imports import import_custom_modules


@pytest.fixture
def modules(tmp_path, monkeypatch):
    (tmp_path / "own_good.py").write_text("VALUE = 1\n")
    (tmp_path / "own_needs.py").write_text("import no_such_library\n")
    (tmp_path / "own_wrong.py").write_text("x = (\n")
    (tmp_path / "own_raises.py").write_text("def f():\n    raise KeyError('SimSiam is already registered')\nf()\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("own_")]:
        del sys.modules[name]


def config(*imports, **more):
    return Config(dict(custom_imports=dict(imports=list(imports), **more)))


def test_modules_are_imported(modules):
    import_custom_modules(config("own_good"))
    assert sys.modules["own_good"].VALUE == 1
    import_custom_modules(Config(dict(model={})))
    import_custom_modules(Config(dict(custom_imports=None)))


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("own_missing", r"No module named 'own_missing'; put the folder that holds it on PYTHONPATH"),
        ("own_needs", r"No module named 'no_such_library' \(.*own_needs\.py, line 1\); correct the module"),
        ("own_wrong", r"SyntaxError: .*own_wrong\.py, line 1"),
        ("own_raises", r"KeyError: 'SimSiam is already registered' \(.*own_raises\.py, line 2\)"),
    ],
)
def test_the_cause_of_a_failure_is_named(modules, name, cause):
    with pytest.raises(ConfigError, match=f"custom_imports: {name} cannot be imported: .*{cause}"):
        import_custom_modules(config("own_good", name, allow_failed_imports=False))
    with pytest.warns(UserWarning, match=cause):
        import_custom_modules(config(name, allow_failed_imports=True))

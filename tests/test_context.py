from contextvars import ContextVar

import pytest

from mmssl_dynamic.context import holding


def test_a_variable_holds_its_value_inside_alone_and_after_an_error_what_it_held():
    variable = ContextVar("variable", default="outside")
    with holding(variable, "one"):
        with pytest.raises(RuntimeError), holding(variable, "two"):
            assert variable.get() == "two"
            raise RuntimeError
        assert variable.get() == "one"
    assert variable.get() == "outside"

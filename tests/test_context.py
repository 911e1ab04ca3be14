from contextvars import ContextVar

import pytest

from mmssl_dynamic.context import holding


def fail_inside(variable):
    with holding(variable, "two"):
        raise RuntimeError(variable.get())


def test_a_variable_holds_its_value_inside_alone_and_after_an_error_what_it_held():
    variable = ContextVar("variable", default="outside")
    with holding(variable, "one"):
        with pytest.raises(RuntimeError, match="two"):
            fail_inside(variable)
        assert variable.get() == "one"
    assert variable.get() == "outside"

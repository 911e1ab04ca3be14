import argparse

import pytest
from mmengine.config import DictAction

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options.text import OptionAction, names_path, parse, value_of


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--cfg-options", nargs="+", action=OptionAction)
    return parser.parse_args(arguments).cfg_options


def test_options_are_split_at_the_first_equals_sign_and_collected():
    found = parsed("--cfg-options", "a.b=c=d", "e=", "--cfg-options", "a.b=my images", "f=[1, 2]")
    assert found == {"a.b": "my images", "e": "", "f": "[1, 2]"}
    assert parsed() is None


@pytest.mark.parametrize("text", ["data_root", "=x", "a..b=1", ".a=1"])
def test_what_is_no_option_is_refused_with_the_form_it_must_have(text):
    with pytest.raises(ConfigError, match=r"--cfg-options .*KEY=VALUE"):
        parsed("--cfg-options", text)


@pytest.mark.parametrize("text", ["my images", "a,b", "2024", "[x]", "holiday (1)", "True", "1e-3", " x ", "'q'", ""])
def test_what_replaces_a_string_stays_as_it_was_typed(text):
    assert value_of("data_root", text, "data/images") == text
    assert value_of("any.name", text, "a string") == text
    assert value_of("model.backbone.init_cfg.checkpoint", text, None) == text
    assert value_of("load_from", text, None) == text


def test_none_takes_a_value_away():
    assert value_of("load_from", "None", "x.pth") is None
    assert value_of("load_from", "None", None) is None
    assert value_of("max_epochs", "None", 3) is None


def test_other_values_are_read_and_a_string_keeps_its_spaces():
    assert value_of("max_epochs", "2024", 100) == 2024
    assert value_of("resume", "True", False) is True
    assert value_of("resume", "True", None) is True
    assert value_of("widths", "(0.5,)", (1.0,)) == (0.5,)
    assert value_of("experiment_name", "my run", None) == "my run"
    assert value_of("classes", "[my cat, dog]", None) == ["my cat", "dog"]


@pytest.mark.parametrize("text", ["[1,2", "1)", "(1]", "[(1,2)"])
def test_brackets_that_do_not_match_are_refused(text):
    with pytest.raises(ConfigError, match="option widths=.*brackets do not match"):
        value_of("widths", text, [1])


@pytest.mark.parametrize(
    "text",
    [
        *("1", "-2", "0.5", "1e-3", "True", "false", "None", "none", "word", "1,2,3", "[1,2]", "(1,2)", "(0.5,)", "[]"),
        *("[(1,2,3),[a,b],c]", "a,b", "[a]", "((1,2),(3,4))", "None,1", "'x'", '"[1,2]"', "1,", "-1e9,inf"),
    ],
)
def test_values_are_those_of_mmengines_tools(text):
    assert parse(text) == DictAction._parse_iterable(text)
    assert type(parse(text)) is type(DictAction._parse_iterable(text))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        *(("data_root", True), ("train_dataloader.dataset.ann_file", True), ("init_from", True), ("work_dir", True)),
        *(
            ("init_cfg.prefix", True),
            ("max_epochs", False),
            ("profile", False),
            ("resume", False),
            ("path.depth", False),
        ),
    ],
)
def test_paths_are_known_by_their_names(key, path):
    assert names_path(key) == path

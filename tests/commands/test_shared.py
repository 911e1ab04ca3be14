"""What several verbs take means the same in each of them."""

import argparse
import os

import pytest

from mmssl_dynamic.commands import shared
from mmssl_dynamic.commands.registry import VERBS, parser_of
from mmssl_dynamic.errors import ConfigError

# Options that may differ from verb to verb, because they belong to it: a file or a folder, or what is drawn by chance.
OWN = {"--out", "--epochs", "--data-root", "--bn", "--clusters", "--config", "--workers", "--data", "--help", "--bank"}
# And those whose choices do: ways to cluster and to route, numbers of classes and lists of them.
OWN |= {"--method", "--classes"}


def options():
    """All options of all verbs: name, verb, and the argparse action."""
    for verb in VERBS:
        for action in parser_of(verb)._actions:
            for flag in action.option_strings:
                if flag.startswith("--"):
                    yield flag, verb, action


def test_an_option_of_several_verbs_takes_the_same_kind_of_value_in_each():
    kinds = {}
    for flag, verb, action in options():
        if flag not in OWN:
            kind = (action.type, action.nargs, action.metavar, tuple(action.choices or ()), action.dest)
            kinds.setdefault(flag, {}).setdefault(kind, []).append(verb)
    assert {flag: found for flag, found in kinds.items() if len(found) > 1} == {}


@pytest.mark.parametrize("verb", ["calibrate", "route", "evaluate", "transfer", "extract-features"])
def test_verbs_that_load_images_share_the_options_of_how_they_run(verb):
    flags = {flag for flag, name, _ in options() if name == verb}
    assert {"--batch-size", "--workers", "--device", "--no-progress", "--cfg-options"} <= flags


def test_finished_arguments_have_the_values_that_options_mean(tmp_path, monkeypatch):
    config = tmp_path / "config.py"
    config.write_text("size = 64\nmodel = dict(type='SimSiam', depth=size)\n")
    monkeypatch.setenv("LOCAL_RANK", "of the shell, put back afterwards")
    monkeypatch.delenv("LOCAL_RANK")
    parser = argparse.ArgumentParser()
    shared.add_config(parser)
    shared.add_cfg_options(parser)
    shared.add_launcher(parser)
    args = shared.finished(parser.parse_args([str(config), "--cfg-options", "size=32", "--local_rank", "3"]))
    assert args.cfg_options == {"size": 32}
    assert not hasattr(args, "local_rank")
    assert os.environ["LOCAL_RANK"] == "3"


def test_options_for_a_config_that_was_not_given_are_refused():
    args = argparse.Namespace(base_config=None, base_options={"size": "3"})
    with pytest.raises(ConfigError, match="--base-options edits the config of --base-config; give that, too"):
        shared.finished(args)

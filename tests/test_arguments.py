import argparse

import pytest

from mmssl_dynamic.arguments import (
    Checked,
    at_least,
    existing,
    file_ending,
    names,
    positive,
    refuse_idle,
)
from mmssl_dynamic.errors import ArtifactError, ConfigError, OutputError
from mmssl_dynamic.outputs import check_output_folder


def parsed(flag, *arguments, **options):
    parser = argparse.ArgumentParser()
    parser.add_argument(flag, action=Checked, **options)
    return parser.parse_args(arguments)


def test_a_value_is_stored_after_its_check():
    assert parsed("--k", "--k", "3", type=int, check=at_least(1)).k == 3
    assert parsed("--k", type=int, check=at_least(1), default=7).k == 7
    assert parsed("--k", type=int, check=at_least(1)).k is None
    assert parsed("config", check=at_least(1), nargs="?").config is None


def test_values_of_an_argument_that_is_given_more_than_once_are_collected():
    assert parsed("--a", "--a", "1", "--a", "2", type=int, check=at_least(1), append=True).a == [1, 2]


@pytest.mark.parametrize(
    ("flag", "arguments", "options", "error", "message"),
    [
        ("--k", ["--k", "0"], dict(type=int, check=at_least(1)), ConfigError, r"--k 0 must be at least 1"),
        ("--t", ["--t", "0"], dict(type=float, check=positive), ConfigError, r"--t 0.0 must be positive"),
        ("--t", ["--t", "nan"], dict(type=float, check=positive), ConfigError, r"--t nan must be positive"),
        ("checkpoint", ["x.pth"], dict(check=existing("checkpoint")), ArtifactError, "x.pth does not exist"),
        (
            "checkpoint",
            ["https://x/y.pth"],
            dict(check=existing("checkpoint")),
            ArtifactError,
            "is an address; download",
        ),
        ("--out", ["--out", "x.json"], dict(check=check_output_folder), OutputError, "has the name of a file"),
        ("--out", ["--out", "x"], dict(check=file_ending(".npy")), ConfigError, "must end in .npy"),
    ],
)
def test_what_the_argument_alone_decides_is_refused_in_one_sentence(flag, arguments, options, error, message):
    with pytest.raises(error, match=message):
        parsed(flag, *arguments, **options)


def test_arguments_that_were_given_for_nothing_are_refused():
    args = argparse.Namespace(knn=None, label_list=None, baseline=[], options={}, again=False, seed=0)
    refuse_idle(args, ["knn", "label_list", "baseline", "options", "again"], "--protocol linear")
    with pytest.raises(ConfigError, match="--seed has no effect with --protocol knn; leave it out"):
        refuse_idle(args, ["knn", "seed"], "--protocol knn")
    args.label_list = "labels.txt"
    with pytest.raises(ConfigError, match="--label-list has no effect"):
        refuse_idle(args, ["label_list"], "--protocol knn")


def test_names_are_split_at_commas():
    assert names("all") is None
    assert names("w0.5, w1.0") == ["w0.5", "w1.0"]

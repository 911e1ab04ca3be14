"""tools/transfer.py as a command: its list, its table, its sentences."""

import importlib.util
import sys

import pytest
import torch

from mmssl_dynamic import cli
from mmssl_dynamic.evaluation.transfer_result import TransferResult
from mmssl_dynamic.loading import build_backbone, load_config
from tests.helpers import randomise, write_images

CONFIG = """
size = 16
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SlimmableResNet', channels=[[8, 8, 8, 8], [size] * 4], blocks=[[1, 1, 1, 1]],
        switchable_bn='statistics', zero_init_residual=False),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
SMALL, LARGE = "w0.033333-d1111", "w0.066667-d1111"


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Config, checkpoint with statistics of both networks, and a data set."""
    root = tmp_path_factory.mktemp("tool")
    write_images(root / "data/mine/train", 20, size=16, classes=2)
    write_images(root / "data/mine/test", 8, size=16, classes=2, seed=1)
    (root / "config.py").write_text(CONFIG)
    torch.manual_seed(0)
    torch.save(randomise(build_backbone(load_config(root / "config.py"))).state_dict(), root / "net.pth")
    return root


@pytest.fixture
def run(repo_root, monkeypatch):
    """Runs the tool's main() in this process."""
    spec = importlib.util.spec_from_file_location("tool_transfer", repo_root / "tools/transfer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["transfer.py", *map(str, options)])
        cli.run(module.main)

    return call


def test_prints_one_table_and_takes_every_option(work, run, tmp_path, capsys):
    options = ["--data-root", work / "data", "--datasets", "mine", "--out", tmp_path, "--device", "cpu"]
    options += ["--solver", "torch", "--patience", "9", "--image-size", "16", "--batch-size", "5", "--workers", "0"]
    run(
        work / "config.py",
        work / "net.pth",
        *options,
        "--discard-features",
        "--memory-gib",
        "1",
        "--cfg-options",
        "size=16",
    )
    printed = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(printed) if line.startswith("network"))
    assert [line.split()[0] for line in printed[start : start + 4]] == ["network", SMALL, LARGE, "chosen"]
    result = TransferResult.load(tmp_path / "results.json")
    assert (result.protocol["solver"], result.protocol["patience"], result.full) == ("torch", 9, LARGE)
    assert f"mine {SMALL}: " in "\n".join(printed[:start])


def test_the_list_needs_nothing_else(run, capsys):
    run("--list")
    assert "dtd/dtd/labels/train1.txt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--datasets", "mine,dtd"], "error: data set dtd is not complete"),
        (["--datasets", "mine", "--subnets", "w9"], "error: unknown sub-network 'w9'"),
        (["--datasets", "mine", "--patience", "0"], "error: --patience 0"),
        (["--datasets", "mine", "--bank", "none"], "error: BN bank none does not exist"),
    ],
)
def test_what_does_not_fit_is_one_sentence(work, run, tmp_path, capsys, options, sentence):
    given = [work / "config.py", work / "net.pth", "--data-root", work / "data", "--out", tmp_path / "out"]
    with pytest.raises(SystemExit) as stop:
        run(*given, "--device", "cpu", *options)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_named(work, run, capsys):
    with pytest.raises(SystemExit):
        run(work / "config.py", work / "net.pth", "--out", "x")
    assert "error: --data-root is missing" in capsys.readouterr().err

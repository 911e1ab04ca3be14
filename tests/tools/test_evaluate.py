"""tools/evaluate.py as a command: its table, its options, its sentences, and several processes."""

import importlib.util
import os
import subprocess
import sys

import pytest
import torch

from mmssl_dynamic import cli
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.evaluation.evaluation_result import EvaluationResult
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import build_backbone, load_config
from tests.helpers import randomise, write_images

CONFIG = """
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SlimmableResNet', channels=[[8, 8, 8, 8], [16, 16, 16, 16]], blocks=[[1, 1, 1, 1]],
        switchable_bn='statistics', zero_init_residual=False),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
SMALL, LARGE = "w0.033333-d1111", "w0.066667-d1111"
QUICK = ["--image-size", "16", "--workers", "0", "--latency-repeats", "1"]


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """Config, checkpoint with statistics of both networks, and images."""
    root = tmp_path_factory.mktemp("evaluate")
    write_images(root / "data/train", 32, size=16)
    write_images(root / "data/test", 8, size=16, seed=1)
    (root / "config.py").write_text(CONFIG)
    torch.manual_seed(0)
    torch.save(randomise(build_backbone(load_config(root / "config.py"))).state_dict(), root / "net.pth")
    return root


def arguments(work, out, *more):
    return [str(a) for a in (work / "config.py", work / "net.pth", "--data-root", work / "data", "--out", out, *more)]


@pytest.fixture
def evaluate(repo_root, monkeypatch):
    """Runs the tool's main() in this process."""
    spec = importlib.util.spec_from_file_location("tool_evaluate", repo_root / "tools/evaluate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *options, "--device", "cpu"])
        cli.run(module.main)

    return run


def test_prints_one_table_with_the_cheapest_network_first(work, evaluate, tmp_path, capsys):
    evaluate(*arguments(work, tmp_path, *QUICK, "--k", "3"))
    lines = capsys.readouterr().out.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("network"))
    assert lines[start].split() == ["network", "top-1", "%", "top-5", "%", "params", "M", "MACs", "M", "latency", "ms"]
    assert [line.split()[0] for line in lines[start + 1 : start + 3]] == [SMALL, LARGE]
    assert lines[start + 3].startswith("latency: median of 1 passes")
    assert f"{SMALL}: top-1" in "\n".join(lines[:start])
    protocol = EvaluationResult.load(tmp_path / "results.json").protocol
    assert (protocol["name"], protocol["k"], protocol["vote"], protocol["temperature"]) == ("own", 3, "weighted", 0.07)


def test_the_papers_classifiers_go_by_name_and_the_result_says_which(work, evaluate, tmp_path, capsys):
    evaluate(*arguments(work, tmp_path, *QUICK, "--knn", "dspnet"))
    protocol = EvaluationResult.load(tmp_path / "results.json").protocol
    assert (protocol["name"], protocol["k"], protocol["vote"]) == ("dspnet", 20, "majority")
    assert "kNN protocol dspnet: 20 neighbours, one vote each" in capsys.readouterr().out


def test_the_knn_backend_and_its_memory_are_options(work, evaluate, tmp_path):
    evaluate(*arguments(work, tmp_path, *QUICK, "--k", "3", "--knn-backend", "faiss", "--memory-gib", "0.00001"))
    protocol = EvaluationResult.load(tmp_path / "results.json").protocol
    assert (protocol["backend"], protocol["temperature"]) == ("faiss", 0.07)
    assert "memory_gib" not in protocol  # it changes no result


def test_images_are_held_for_the_next_network_where_there_is_one(work, evaluate, tmp_path, monkeypatch):
    keepers = []
    original = ImageKeeper.close
    monkeypatch.setattr(ImageKeeper, "close", lambda self: keepers.append(self) or original(self))
    quick = (*QUICK[:4], "--latency-repeats", "0", "--k", "3")
    evaluate(*arguments(work, tmp_path / "one", *quick, "--subnets", SMALL))
    evaluate(*arguments(work, tmp_path / "two", *quick))
    held = [(keeper.decoded, keeper.in_memory) for keeper in keepers]
    assert held == [(40, 0), (40, 40)]


def test_trains_by_another_config_with_options(work, evaluate, tmp_path, repo_root):
    options = ["--protocol", "linear", "--protocol-config", repo_root / "configs/transfer/linear_simsiam.py"]
    options += ["--subnets", f"{LARGE}", "--batch-size", "16", "--seed", "3", "--protocol-options", "max_epochs=1"]
    evaluate(*arguments(work, tmp_path, *QUICK, *options))
    protocol = EvaluationResult.load(tmp_path / "results.json").protocol
    assert (protocol["optim_wrapper"]["optimizer"]["type"], protocol["epochs"], protocol["seed"]) == ("LARS", 1, 3)
    assert protocol["head"]["type"] == "LinearClsHead"
    assert protocol["lr"] == pytest.approx(0.1 * 16 / 256)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--subnets", "w0.9"], "unknown sub-network 'w0.9'"),
        (["--protocol", "semisup"], "either --label-fraction or --label-list"),
        (["--protocol", "linear", "--label-fraction", "0.1"], "uses all labels"),
        (["--label-fraction", "0.1"], "--label-fraction has no effect"),
        (["--protocol-options", "max_epochs=3"], "--protocol-options has no effect"),
        (["--cfg-options", "model.backbone.block=bottleneck"], "checkpoint"),
        (["--baseline", "results.json"], "must have the form NAME=results.json"),
        (["--k", "0"], "--k 0 must be at least 1"),
        (["--memory-gib", "0"], "--memory-gib 0.0 must be positive"),
        (["--bank", "none.safetensors"], "BN bank none.safetensors does not exist"),
        (["--protocol", "linear", "--k", "5"], "--k has no effect with --protocol linear"),
        (["--protocol", "linear", "--semisup-mode", "frozen"], "--semisup-mode has no effect with --protocol linear"),
        (["--seed", "1"], "--seed has no effect with --protocol knn, which trains nothing"),
        (["--knn", "dspnet", "--temperature", "0.1"], "--temperature 0.1 belongs to the weighted vote"),
        (["--baseline", "A=none.json"], "none.json does not exist"),
    ],
)
def test_what_does_not_fit_is_one_sentence(work, evaluate, tmp_path, capsys, options, sentence):
    with pytest.raises(SystemExit) as stop:
        evaluate(*arguments(work, tmp_path / "out", *options))
    assert stop.value.code == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert sentence in errors[0]
    assert not (tmp_path / "out").exists()


def test_two_processes_train_the_classifier_of_one_process(work, evaluate, tmp_path, repo_root):
    options = [*QUICK, "--protocol", "linear", "--subnets", SMALL, "--protocol-options", "max_epochs=1"]
    evaluate(*arguments(work, tmp_path / "one", *options, "--batch-size", "16"))
    torchrun = [str(os.path.join(os.path.dirname(sys.executable), "torchrun")), "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, str(repo_root / "tools/evaluate.py"), "--launcher", "pytorch"]
    command += arguments(work, tmp_path / "two", *options, "--batch-size", "8")
    env = dict(os.environ, OMP_NUM_THREADS="1", PYTHONPATH=str(repo_root), CUDA_VISIBLE_DEVICES="")
    finished = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.count("latency:") == 1  # one process speaks
    one, two = (load_state_dict(next((tmp_path / name / "networks").rglob("epoch_1.pth"))) for name in ("one", "two"))
    assert one.keys() == two.keys()
    for key, tensor in one.items():
        torch.testing.assert_close(two[key], tensor, rtol=1e-4, atol=1e-5)
        assert not key.startswith("backbone.") or torch.equal(two[key], tensor), key
    results = (EvaluationResult.load(tmp_path / name / "results.json") for name in ("one", "two"))
    assert len({(result.protocol["batch_size"], result.networks[0].top1) for result in results}) == 1

"""A transfer score is kept as long as nothing has changed that it depends on, and not a moment longer."""

import shutil
from importlib import import_module

import pytest
import sklearn
import torch

from mmssl_dynamic import result_cache
from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.evaluation import transfer_run
from mmssl_dynamic.evaluation.many_shot import ManyShotProtocol
from mmssl_dynamic.features.feature_cache import FeatureCache
from mmssl_dynamic.loading import build_backbone, load_config
from mmssl_dynamic.result_cache import Computation
from tests.apis.by_option import transfer
from tests.helpers import randomise, touch, write_images

CONFIG = """
model = dict(
    backbone=dict(
        type='mmssl_dynamic.SDRResNet', depth=18, stage_channels=(8, 8, 8, 16), stage_groups=(1, 1, 1, 2),
        stem_channels=8, zero_init_residual=False),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[127.0] * 3, std=[50.0] * 3, to_rgb=True))
"""
NAMES = ["0-0-0-0", "0-0-0-1"]
QUICK = dict(wd_from=-2, wd_to=2, wd_count=2)


def save_networks(root, seed=0, changed=()):
    """Checkpoint and bank; networks in ``changed`` have other statistics than usual."""
    torch.manual_seed(seed)
    net = randomise(build_backbone(load_config(root / "config.py")))
    torch.save(net.state_dict(), root / "epoch_1.pth")
    bank = BNBank.of(net)
    bank.path = {key: net.bn_statistics(key) for key in net.space.keys}
    for name in changed:
        bank.path[name] = {layer: (mean, 2 * var) for layer, (mean, var) in bank.path[name].items()}
    bank.save(root / "bank.safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Everything that a transfer needs, and the scores of one."""
    root = tmp_path_factory.mktemp("finished")
    write_images(root / "data/one/train", 20, size=16, classes=2)
    write_images(root / "data/one/test", 8, size=16, classes=2, seed=1)
    (root / "config.py").write_text(CONFIG)
    save_networks(root)
    run(root)
    return root


@pytest.fixture
def work(finished, tmp_path, monkeypatch):
    """A copy of it with the times of the files."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.setattr(import_module("mmssl_dynamic.apis.transfer"), "save_figure", lambda *_: None)
    return tmp_path / "work"


@pytest.fixture
def done(monkeypatch):
    """What is computed from now on: ``'features'`` of a network, ``'fit'``."""
    found = []
    fit, extract = transfer_run.many_shot, FeatureCache._extract

    def fitting(*args):
        found.append("fit")
        return fit(*args)

    def extracting(cache, networks, *args):
        found.extend(["features"] * len(networks))
        return extract(cache, networks, *args)

    monkeypatch.setattr(transfer_run, "many_shot", fitting)
    monkeypatch.setattr(FeatureCache, "_extract", extracting)
    return found


def run(root, **options):
    given = dict(protocol=ManyShotProtocol(**QUICK), image_size=16, num_workers=0, device="cpu", progress=False)
    files = (root / "config.py", root / "epoch_1.pth", root / "out")
    given = {**given, "subnets": NAMES, "bank": root / "bank.safetensors", "data_root": root / "data"}
    return transfer(*files, datasets=["one"], **{**given, **options})


def first_image(root):
    return root / "data/one/test/class_0/0000.png"


def touched(root):
    touch(first_image(root))


def one_more(root):
    shutil.copy2(first_image(root), root / "data/one/test/class_0/9999.png")


def relabelled(root):
    first_image(root).rename(root / "data/one/test/class_1/9999.png")


CHANGES = {
    "weights": (lambda root: save_networks(root, seed=1), 2),
    "bank": (lambda root: save_networks(root, changed=NAMES), 2),
    "image": (touched, 1),
    "more images": (one_more, 1),
    "label": (relabelled, 1),
    "image size": (lambda root: dict(image_size=14), 2),
    "normalisation": (lambda root: dict(cfg_options={"model.data_preprocessor.std": [60.0, 50.0, 50.0]}), 2),
    "grid": (lambda root: dict(protocol=ManyShotProtocol(**{**QUICK, "wd_count": 3})), 0),
    "seed": (lambda root: dict(protocol=ManyShotProtocol(**QUICK, seed=1)), 0),
    "share that validates": (lambda root: dict(protocol=ManyShotProtocol(**QUICK, val_fraction=0.3)), 0),
    "solver": (lambda root: dict(protocol=ManyShotProtocol(**QUICK, solver="torch")), 0),
    "again": (lambda root: dict(again=True), 2),
}


@pytest.mark.parametrize(("change", "parts"), CHANGES.values(), ids=CHANGES)
def test_whatever_changes_what_depends_on_it_is_computed_again(work, done, change, parts):
    run(work, **(change(work) or {}))
    assert done.count("fit") == 2
    assert done.count("features") == 2 * parts  # of the data set


def test_a_network_whose_statistics_stay_is_kept(work, done):
    save_networks(work, changed=NAMES[:1])
    run(work)
    assert sorted(done) == ["features", "features", "fit"]


def test_another_scikit_learn_may_minimise_something_else(work, done, monkeypatch):
    monkeypatch.setattr(sklearn, "__version__", "99.0")
    run(work)
    assert done == ["fit"] * 2


def test_a_new_version_of_a_computation_makes_all_that_was_kept_of_it_void(work, done, monkeypatch):
    for name, expected in (("transfer", ["fit"] * 2), ("features", [])):
        done.clear()
        version, depends_on = result_cache.COMPUTATIONS[name]
        monkeypatch.setitem(result_cache.COMPUTATIONS, name, Computation(version + 1, depends_on))
        run(work)
        assert done == expected


def test_without_a_change_scores_are_kept_bit_by_bit_wherever_they_lie(work, finished, done, capsys):
    expected = run(finished)
    found = run(work, batch_size=3, num_workers=1, memory_gib=1e-9, progress=True)
    assert done == []
    assert found.scores == expected.scores
    lines = [line for line in capsys.readouterr().out.splitlines() if "kept from" in line]
    assert len(lines) == 1
    assert lines[0].startswith("2 of 2 scores are kept from 20")


def test_a_damaged_score_and_damaged_features_are_computed_again_and_that_is_said(work, done):
    for file in (work / "out/networks").iterdir():
        file.write_text(file.read_text()[:-30])
    (file,) = (work / "out/features").glob("one_train-0-0-0-0-*.npy")
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.warns(UserWarning, match=r"is damaged") as said:
        run(work)
    assert sum("is damaged" in str(warning.message) for warning in said) == 3
    assert sorted(done) == ["features", "fit", "fit"]

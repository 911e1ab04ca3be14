"""A candidate is trained again exactly if anything has changed that its AP depends on."""

import os
import shutil
from types import SimpleNamespace

import pytest
import torch

from mmssl_dynamic import result_cache
from mmssl_dynamic.calibration import BNBank, calibrate_path
from mmssl_dynamic.detection import candidate_runs, routing, shortlist
from mmssl_dynamic.detection.candidate import candidate_config
from mmssl_dynamic.detection.plan import DetectionPlan
from mmssl_dynamic.errors import LockedError
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.result_cache import Computation
from tests.apis.by_option import route_detection
from tests.detection.test_routing import CONFIG
from tests.detection_data import small_networks, small_options, write_voc

pytest.importorskip("mmdet")


def save_networks(root, net, seed=0, scale=1.0):
    """Checkpoint and bank; another seed makes other weights."""
    torch.manual_seed(seed)
    state = net.state_dict()
    if seed:
        state = {key: value * 1.01 if value.is_floating_point() else value for key, value in state.items()}
        net.load_state_dict(state)
    torch.save({f"backbone.{key}": value for key, value in state.items()}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    generator = torch.Generator().manual_seed(0)
    for name in net.subnets:
        found = calibrate_path(net, name, [torch.randn(8, 3, 64, 64, generator=generator)])
        bank.path[name] = {layer: (mean, scale * var) for layer, (mean, var) in found.items()}
    bank.save(root / "bank.safetensors")


@pytest.fixture
def work(tmp_path):
    write_voc(tmp_path)
    network = small_networks(tmp_path)["sdr"]
    options = {key: value for key, value in network.options.items() if key not in ("subnet", "out_indices")}
    (tmp_path / "config.py").write_text(CONFIG.replace("{options}", repr(options)))
    save_networks(tmp_path, network.net)
    return tmp_path, network


@pytest.fixture
def trained(monkeypatch):
    """Training and what comes after it are made up; (name, folder) of the candidates that are trained from now on."""
    jobs = []

    def fake(job):
        jobs.append((job.name, job.work_dir))
        job.work_dir.mkdir(parents=True, exist_ok=True)
        torch.save({"meta": {"iter": 1}, "state_dict": {}}, job.work_dir / "iter_1.pth")
        precision = {"boxes": dict.fromkeys(("AP", "AP50", "AP75"), 10.0 + len(job.name))}
        record = {"AP": precision, "seconds": 1.0}
        job.keep(record)
        return record

    monkeypatch.setattr(candidate_runs, "run_candidate", fake)
    monkeypatch.setattr(routing, "export_subnet", lambda *_, **__: SimpleNamespace(snippet=""))
    monkeypatch.setattr(routing, "write_detection_report", lambda *_, **__: None)
    return jobs


def run(work, repo_root, plan=None, det_options=None, subnets=("0-0-0-0",), prefix="", **options):
    root, network = work
    given = {
        k: v
        for k, v in small_options(network, root).items()
        if not k.startswith("model.backbone") and k != "model.neck.in_channels"
    }
    files = (root / "config.py", root / f"{prefix}epoch_1.pth", root / f"{prefix}bank.safetensors", root / "out")
    config = repo_root / "configs/detection" / f"{network.config}.py"
    result, _ = route_detection(
        *files, config, plan=DetectionPlan(**{"iterations": 3, **(plan or {})}), subnets=list(subnets),
        det_options={**given, **(det_options or {})}, devices=["cpu"], num_workers=0, progress=False, **options,
    )  # fmt: skip
    return result


def one_of(root, pattern):
    return sorted(root.glob(pattern))[0]


def touched(work, split):
    """Another image under the same name, with the same size."""
    root = work[0]
    listed = one_of(root, f"VOCdevkit/VOC2007/ImageSets/Main/{split}.txt").read_text().split()
    image = one_of(root, f"VOCdevkit/VOC2007/JPEGImages/{listed[0]}.*")
    stat = image.stat()
    os.utime(image, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))


def moved_box(work):
    """Another box in the annotation of an image."""
    file = one_of(work[0], "VOCdevkit/VOC2007/Annotations/*.xml")
    text = file.read_text()
    start = text.index("<xmin>") + len("<xmin>")
    end = text.index("</xmin>")
    file.write_text(text[:start] + str(int(text[start:end]) + 1) + text[end:])


CHANGES = {
    "weights": lambda work: save_networks(work[0], work[1].net, seed=1),
    "bank": lambda work: save_networks(work[0], work[1].net, scale=2.0),
    "training image": lambda work: touched(work, "trainval"),
    "test image": lambda work: touched(work, "test"),
    "box": moved_box,
    "learning rate": lambda work: dict(det_options={"optim_wrapper.optimizer.lr": 0.5}),
    "image size": lambda work: dict(det_options={"val_dataloader.dataset.pipeline.1.scale": (80, 80)}),
    "frozen stages": lambda work: dict(det_options={"model.backbone.frozen_stages": 3}),
    "seed": lambda work: dict(plan={"seed": 1}),
    "iterations": lambda work: dict(plan={"iterations": 4}),
    "again": lambda work: dict(again=True),
}


@pytest.mark.parametrize(("name", "change"), CHANGES.items(), ids=CHANGES)
def test_whatever_changes_every_candidate_is_trained_again(work, repo_root, trained, name, change):
    run(work, repo_root)
    before, trained[:] = dict(trained), []
    assert set(before) == {"0-0-0-0", "full"}
    run(work, repo_root, **(change(work) or {}))
    assert {name for name, _ in trained} == set(before)
    # Training for more iterations goes on in the same folder; nothing else may.
    same = [folder == before[candidate] for candidate, folder in trained]
    assert all(same) if name in ("iterations", "again") else not any(same)


def test_again_begins_where_nothing_is_left_of_the_last_time(work, repo_root, trained, monkeypatch):
    run(work, repo_root)
    found = []
    fake = candidate_runs.run_candidate
    monkeypatch.setattr(
        candidate_runs, "run_candidate", lambda job: found.append(candidate_config(job).resume) or fake(job)
    )
    run(work, repo_root, plan={"iterations": 4})
    run(work, repo_root, again=True)
    assert found == [True, True, False, False]


def test_again_takes_nothing_from_a_candidate_that_another_process_still_trains(work, repo_root, trained):
    run(work, repo_root)
    folders = dict(trained)
    trained.clear()
    message = r"candidate folder .*0-0-0-0-\w+ is being written by .* or give another --out\.$"
    with locked_folder(folders["0-0-0-0"]), pytest.raises(LockedError, match=message):
        run(work, repo_root, again=True)
    assert trained == []
    assert all((folder / "iter_1.pth").is_file() for folder in folders.values())
    run(work, repo_root, again=True)
    assert {name for name, _ in trained} == set(folders)


def test_without_a_change_candidates_are_kept_wherever_the_checkpoint_lies(work, repo_root, trained):
    first = run(work, repo_root)
    trained.clear()
    root, _ = work
    for name in ("epoch_1.pth", "bank.safetensors"):
        shutil.copyfile(root / name, root / f"copy_{name}")
        (root / name).unlink()
    again = run(work, repo_root, prefix="copy_")
    assert trained == []
    assert again.checkpoint.endswith("copy_epoch_1.pth")
    assert (again.subnets, again.full) == (first.subnets, first.full)
    assert again.inputs == first.inputs
    assert again.inputs["images"].keys() == {"train", "val", "metrics"}


def test_a_new_version_of_the_computation_makes_all_that_was_kept_void(work, repo_root, trained, monkeypatch):
    run(work, repo_root)
    trained.clear()
    version, depends_on = result_cache.COMPUTATIONS["detection candidate"]
    monkeypatch.setitem(result_cache.COMPUTATIONS, "detection candidate", Computation(version + 1, depends_on))
    run(work, repo_root)
    assert len(trained) == 2


def test_a_damaged_result_is_made_anew_and_that_is_said(work, repo_root, trained):
    run(work, repo_root)
    _, folder = trained[0]
    (file,) = folder.glob("result_3-*.json")
    file.write_text(file.read_text()[:-20])
    trained.clear()
    with pytest.warns(UserWarning, match="is damaged .* computed anew"):
        run(work, repo_root)
    assert [candidate for _, candidate in trained] == [folder]


def test_the_short_list_is_that_of_the_images_of_now(work, repo_root, trained, monkeypatch):
    cut = []
    original = shortlist.write_object_crops
    monkeypatch.setattr(
        shortlist, "write_object_crops", lambda *args, **options: cut.append(args[0]) or original(*args, **options)
    )
    names = ("0-0-0-0", "0-0-0-1")
    for expected, change in ((1, lambda: None), (1, lambda: None), (2, lambda: touched(work, "trainval"))):
        change()
        run(work, repo_root, plan={"candidates": 1}, subnets=names)
        assert len(cut) == expected
    run(work, repo_root, plan={"candidates": 1, "seed": 1}, subnets=names)
    assert len(cut) == 3

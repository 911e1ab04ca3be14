import pytest
import torch

from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.demo import steps
from mmssl_dynamic.demo.photos import DemoData
from mmssl_dynamic.demo.sdr_demo import run_demo
from mmssl_dynamic.errors import UserError
from mmssl_dynamic.loading import find_config, load_config
from mmssl_dynamic.result_cache import KeptFiles
from tests.helpers import write_images


def test_a_folder_of_your_own_is_pretrained_on_and_is_a_task_if_it_is_labelled(tmp_path, monkeypatch):
    photos = DemoData(tmp_path, tmp_path / "pretrain", {"textures": tmp_path / "textures"}, 32, 0, {})
    monkeypatch.setattr(steps, "write_demo_data", lambda folder, seed: photos)
    kept = KeptFiles(tmp_path / "kept", say=lambda _: None)
    assert steps.demo_images(kept, tmp_path / "demo", None, 0, 10, 20) == (photos.pretrain, photos.tasks)
    write_images(tmp_path / "mine/train", 12)
    write_images(tmp_path / "mine/test", 8)
    images, tasks = steps.demo_images(kept, tmp_path / "demo", tmp_path / "mine", 0, max_images=10, minimum=20)
    assert len(list(images.rglob("*.png"))) == 10
    assert tasks == {**photos.tasks, "your mine": tmp_path / "mine"}
    write_images(tmp_path / "unlabelled", 20)
    assert steps.demo_images(kept, tmp_path / "other", tmp_path / "unlabelled", 0, 20, 20)[1] == photos.tasks


def test_packed_images_are_shrunk_as_those_of_the_folder(tmp_path, monkeypatch):
    photos = DemoData(tmp_path, tmp_path / "pretrain", {}, 32, 0, {})
    monkeypatch.setattr(steps, "write_demo_data", lambda folder, seed: photos)
    write_images(tmp_path / "mine", 20, size=80)
    list(write_shards(tmp_path / "mine", tmp_path / "shards"))
    said, found = [], []
    for name in ("mine", "shards", "shards"):
        steps.check_images(tmp_path / name, 10, 4, None)
        kept = KeptFiles(tmp_path / f"kept_{name}", say=said.append)
        images, _ = steps.demo_images(kept, tmp_path / f"demo_{name}", tmp_path / name, 0, 10, 4)
        found.append({path.relative_to(images): path.read_bytes() for path in images.rglob("*.png")})
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 10
    assert [line[:24] for line in said] == ["shrinking images is kept"]


def test_random_weights_are_those_of_the_seed():
    config = load_config(find_config("demo/dspnet_demo.py"))
    one, again, other = (steps.random_backbone(config, seed).conv1.weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_shrunk_images_are_those_of_now(tmp_path, monkeypatch):
    photos = DemoData(tmp_path, tmp_path / "pretrain", {}, 32, 0, {})
    monkeypatch.setattr(steps, "write_demo_data", lambda folder, seed: photos)
    said = []
    kept = KeptFiles(tmp_path / "kept", say=said.append)

    def copies(**options):
        given = dict(data=tmp_path / "mine", seed=0, max_images=10, minimum=4)
        target, _ = steps.demo_images(kept, tmp_path / "demo", **{**given, **options})
        return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in target.rglob("*.png")}

    write_images(tmp_path / "mine", 8, size=80)
    first = copies()
    assert copies() == first
    assert said[0].startswith("shrinking images is kept from 20")
    source = tmp_path / "mine/class_0/0000.png"
    source.write_bytes((tmp_path / "mine/class_0/0004.png").read_bytes())
    second = copies()
    assert second["0000.png.png"][0] != first["0000.png.png"][0]
    assert said[-1] == "shrinking images is done anew, for other images than the last time"
    source.unlink()
    assert "0000.png.png" not in copies()
    assert len(copies(max_images=5)) == 5


def test_what_a_demo_cannot_use_is_refused_before_it_writes_anything(tmp_path):
    write_images(tmp_path / "mine", 20)
    write_images(tmp_path / "pets/train", 8)
    for options, error in (
        (dict(max_images=15), "--max-images 15 is too few for the demo, which needs at least 16 images"),
        (dict(minimum=32, max_images=64), "mine holds 20 images; the demo needs at least 32"),
        (dict(tasks=[tmp_path / "pets"]), "test"),
    ):
        given = dict(data=tmp_path / "mine", max_images=20, minimum=16, tasks=None)
        with pytest.raises(UserError, match=error):
            steps.check_images(**{**given, **options})
    with pytest.raises(UserError, match="--max-images 800 is too few"):
        run_demo(tmp_path / "out", tmp_path / "mine", max_images=800)
    assert not (tmp_path / "out").exists()


def test_own_tasks_take_the_place_of_the_photographs(tmp_path, monkeypatch):
    photos = DemoData(tmp_path, tmp_path / "pretrain", {"textures": tmp_path / "textures"}, 32, 0, {})
    monkeypatch.setattr(steps, "write_demo_data", lambda folder, seed: photos)
    kept = KeptFiles(tmp_path / "kept", say=lambda _: None)
    found = steps.demo_images(kept, tmp_path / "demo", None, 0, 10, 20, [tmp_path / "pets"])
    assert found == (photos.pretrain, {"pets": tmp_path / "pets"})

import threading

import pytest
from mmengine.config import Config

from mmssl_dynamic.options.evaluation import evaluate

BASE = """
image_size = 224
data_root = "data/coco/"
norm_cfg = dict(type="SyncBN", requires_grad=True)
view = [dict(type="Crop", size=image_size), dict(type="Flip")]
pipeline = [dict(type="Views", views=[view])]
evaluator = dict(ann_file=data_root + "annotations.json")
"""
CHILD = """
_base_ = ["./base.py"]
view = _base_.view
view[0]["size"] = _base_.image_size // 2
pipeline = _base_.pipeline
pipeline[0]["views"] = [view]
model = dict(norm_cfg={{_base_.norm_cfg}}, side={{_base_.image_size}})
loader = dict(pipeline=pipeline, root={{_base_.data_root}})
"""
LAZY_BASE = """
from torch.nn import Conv2d
image_size = 224
crop = dict(size=image_size, type=Conv2d)
"""
LAZY_CHILD = """
from mmengine.config import read_base
with read_base():
    from .base import *
model = dict(crop=crop, half=image_size // 2)
"""


@pytest.fixture
def config(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "child.py").write_text(CHILD)
    return str(tmp_path / "child.py")


def write(tmp_path, text):
    (tmp_path / "config.py").write_text(text)
    return str(tmp_path / "config.py")


def test_without_edits_a_config_is_what_mmengine_reads(config):
    assert evaluate(config, {}).to_dict() == Config.fromfile(config).to_dict()
    assert evaluate(config, {}).text == Config.fromfile(config).text


def test_a_value_is_followed_through_a_chain_of_files(config):
    found = evaluate(config, {"image_size": {(): 64}})
    assert (found.image_size, found.model.side, found.view[0].size) == (64, 64, 32)
    assert found.loader.pipeline[0].views[0][0].size == 32
    assert found.view[1].type == "Flip"


def test_a_part_of_a_value_is_followed_also_after_it_was_changed_in_place(config):
    found = evaluate(config, {"view": {("0", "size"): 48}, "norm_cfg": {("type",): "BN", ("eps",): 0.1}})
    assert found.view[0].size == found.loader.pipeline[0].views[0][0].size == 48
    assert found.model.norm_cfg.to_dict() == {"type": "BN", "requires_grad": True, "eps": 0.1}


def test_a_part_that_a_value_does_not_have_is_passed_over(config):
    assert evaluate(config, {"view": {("7", "size"): 48}}).to_dict() == evaluate(config, {}).to_dict()


def test_a_folder_that_was_written_with_a_slash_still_holds_files_without_one(config):
    found = evaluate(config, {"data_root": {(): "/my coco"}})
    assert found.evaluator.ann_file == "/my coco/annotations.json"
    assert (found.data_root, found.loader.root) == ("/my coco", "/my coco")
    assert type(found.data_root) is str


def test_a_value_that_two_names_hold_is_edited_under_one(tmp_path):
    file = write(tmp_path, "val = dict(size=1)\ntest = val\nother = [val]\n")
    found = evaluate(file, {"test": {("size",): 2}})
    assert (found.val.size, found.test.size, found.other[0].size) == (1, 2, 1)


@pytest.mark.parametrize(
    "text",
    [
        "size = 1\nsize += 1\n",
        "a, size = 5, 1\n",
        "a = size = 1\n",
        "size: int = 1\n",
        "if True:\n    size = 1\nelse:\n    size = 2\n",
        "try:\n    raise ValueError\nexcept ValueError:\n    size = 1\n",
        "for size in (1,):\n    first = size\n",
        "[size := 1]\n",
    ],
)
def test_every_kind_of_statement_that_sets_a_value_is_edited(tmp_path, text):
    found = evaluate(write(tmp_path, text + "made = size * 10\n"), {"size": {(): 7}})
    assert (found.size, found.made) == (7, 70)
    assert found.get("first", 7) == 7


def test_a_list_is_edited_after_it_grew(tmp_path):
    file = write(tmp_path, "steps = [1]\nsteps.append(dict(size=2))\nmade = steps\n")
    assert evaluate(file, {"steps": {("1", "size"): 3}}).made == [1, {"size": 3}]


def test_names_inside_of_functions_are_their_own(tmp_path):
    text = "size = 1\ndef double(x):\n    size = 2\n    return size * x\nmade = double(size)\n"
    assert evaluate(write(tmp_path, text), {"size": {(): 7}}).made == 14


def test_configs_that_import_their_bases_follow_as_well(tmp_path):
    (tmp_path / "base.py").write_text(LAZY_BASE)
    (tmp_path / "child.py").write_text(LAZY_CHILD)
    found = evaluate(str(tmp_path / "child.py"), {"image_size": {(): 64}})
    assert (found.image_size, found.crop["size"], found.model.crop["size"], found.model.half) == (64, 64, 64, 32)


def test_mmengine_reads_configs_as_before_afterwards_and_in_other_threads(config):
    plain = Config.fromfile(config).to_dict()
    assert evaluate(config, {"image_size": {(): 64}}).image_size == 64
    assert Config.fromfile(config).to_dict() == plain

    import mmengine.config.config as upstream

    assert "compile" not in vars(upstream)
    sizes = [0] * 8

    def read(i):
        sizes[i] = (
            evaluate(config, {"image_size": {(): 10 + i}}).model.side if i % 2 else Config.fromfile(config).model.side
        )

    threads = [threading.Thread(target=read, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sizes == [224, 11, 224, 13, 224, 15, 224, 17]


def test_an_mmengine_that_evaluates_configs_otherwise_is_noticed(config, monkeypatch):
    monkeypatch.setattr(Config, "fromfile", staticmethod(lambda path, **_: Config(dict(image_size=224))))
    with pytest.raises(RuntimeError, match="another way"):
        evaluate(config, {"image_size": {(): 64}})

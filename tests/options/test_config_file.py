import pytest
from mmengine.config import Config

from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.options.config_file import read_config, typed_options

CONFIG = """
image_size = 224
data_root = "data/images"
norm_cfg = dict(type="SyncBN")
data_preprocessor = dict(type="SelfSupDataPreprocessor", to_rgb=True)
head_lr, backbone_lr = 0.02, 0.001
unused = 3
load_from = None
model = dict(
    type="SimSiam", backbone=dict(type="ResNet", depth=50, norm_cfg=norm_cfg, init_cfg=None, out_indices=(3,)),
    data_preprocessor=data_preprocessor)
val_dataloader = dict(batch_size=8, dataset=dict(data_root=data_root, size=image_size), pipeline=[dict(type="A")])
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=head_lr), paramwise_cfg=dict(custom_keys={"backbone": backbone_lr / head_lr}))
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    return str(tmp_path / "config.py")


def test_what_is_made_from_an_option_follows_it(file):
    config = read_config(file, {"image_size": 96, "head_lr": 0.1, "norm_cfg.type": "BN"})
    assert config.val_dataloader.dataset.size == config.test_dataloader.dataset.size == 96
    assert config.optim_wrapper.optimizer.lr == 0.1
    assert config.optim_wrapper.paramwise_cfg.custom_keys.backbone == pytest.approx(0.01)
    assert config.model.backbone.norm_cfg.type == "BN"


def test_a_preprocessor_at_the_top_is_followed_by_the_models(file):
    assert read_config(file, {"data_preprocessor.to_rgb": False}).model.data_preprocessor.to_rgb is False


def test_dictionaries_are_merged_and_followed_as_their_parts_are(file):
    config = read_config(file, {"norm_cfg": {"eps": 0.1}, "model": {"backbone": {"depth": 18}}})
    assert config.model.backbone.norm_cfg.to_dict() == {"type": "SyncBN", "eps": 0.1}
    assert (config.model.backbone.depth, config.model.type) == (18, "SimSiam")


def test_what_the_runner_builds_changes_by_itself_alone(file):
    config = read_config(file, {"val_dataloader.batch_size": 2})
    assert (config.val_dataloader.batch_size, config.test_dataloader.batch_size) == (2, 8)
    config = read_config(file, {"val_dataloader": None})
    assert (config.val_dataloader, config.test_dataloader.batch_size) == (None, 8)


def test_an_option_wins_over_what_follows_another(file):
    config = read_config(file, {"image_size": 96, "test_dataloader.dataset.size": 64})
    assert (config.val_dataloader.dataset.size, config.test_dataloader.dataset.size) == (96, 64)


def test_an_option_that_nothing_is_made_from_is_refused(file):
    with pytest.raises(ConfigError, match=r"option unused=4 changes nothing: no part .* is made from 'unused'"):
        read_config(file, {"unused": 4, "image_size": 96})
    assert read_config(file, {"unused": 3}).unused == 3  # it says what the config says
    assert read_config(file, {"load_from": "x.pth"}).load_from == "x.pth"  # the Runner reads it


def test_options_that_need_each_other_are_not_taken_for_idle(tmp_path):
    file = tmp_path / "config.py"
    file.write_text("a, b = 0, 0\nmodel = dict(product=a * b)\n")
    assert read_config(file, {"a": 2, "b": 3}).model["product"] == 6


def test_an_entry_that_is_none_or_missing_gets_parts(file):
    config = read_config(file, {"model.backbone.init_cfg.type": "Pretrained", "train_cfg.max_epochs": 3})
    assert config.model.backbone.init_cfg.to_dict() == {"type": "Pretrained"}
    assert config.train_cfg.max_epochs == 3


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("image_szie", r"no part of config .* reads 'image_szie'; did you mean image_size\?"),
        ("data_rot", r"did you mean data_root\?"),
        ("depth", r"did you mean model\.backbone\.depth\?"),
        ("image_size.x", r"image_size is 224 and has no parts"),
        ("model.backbone.out_indices.0", r"out_indices is \(3,\) and has no parts; give .*=\.\.\. as a whole"),
        ("val_dataloader.pipeline.1.type", r"pipeline is a list of 1 entries, so its parts are .*pipeline\.0 to"),
        ("val_dataloader.pipeline.type", r"is a list of 1 entries"),
    ],
)
def test_an_option_without_a_place_is_refused(file, key, message):
    with pytest.raises(ConfigError, match=message):
        read_config(file, {key: 1})


def test_options_that_contradict_each_other_are_refused(file):
    with pytest.raises(ConfigError, match="do not go together"):
        read_config(file, {"model.neck": None, "model.neck.type": "X"})


def test_a_value_with_which_the_config_fails_is_named(file):
    with pytest.raises(ConfigError, match=r"cannot be read with head_lr as given \(.*division by zero"):
        read_config(file, {"head_lr": 0})


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("data_preprocessor.to_rgb", "no", "option data_preprocessor.to_rgb=no must be True or False, as the True in"),
        ("image_size", "large", "option image_size=large must be a number, as the 224 in its place is"),
        ("head_lr", "0.1.2", "option head_lr=0.1.2 must be a number"),
    ],
)
def test_a_word_is_no_switch_and_no_number(file, key, text, message):
    """A string that is not empty counts as true: ``any_width=no`` would train any width."""
    with pytest.raises(ConfigError, match=message):
        read_config(file, typed_options(file, {key: text}))
    assert not read_config(file, typed_options(file, {"data_preprocessor.to_rgb": "false"})).data_preprocessor.to_rgb
    assert read_config(file, typed_options(file, {"image_size": "(96, 64)"})).image_size == (96, 64)


def test_typed_options_are_read_by_what_they_replace(file):
    texts = {
        "data_root": "a,b",
        "image_size": "96",
        "load_from": "[x]",
        "model.backbone.out_indices": "(0,1)",
        "model.backbone.init_cfg.checkpoint": "2024",
        "model.backbone.frozen_stages": "2",
        "resume": "True",
    }
    assert typed_options(file, texts) == {
        "data_root": "a,b",
        "image_size": 96,
        "load_from": "[x]",
        "model.backbone.out_indices": (0, 1),
        "model.backbone.init_cfg.checkpoint": "2024",
        "model.backbone.frozen_stages": 2,
        "resume": True,
    }
    with pytest.raises(ConfigError, match="did you mean image_size"):
        typed_options(file, {"image_szie": "96"})


def test_configs_in_json_and_yaml_are_read(tmp_path):
    (tmp_path / "config.yaml").write_text("work_dir: here\nmodel:\n  type: A\n")
    config = read_config(tmp_path / "config.yaml", {"work_dir": "there", "model.type": "B"})
    assert isinstance(config, Config)
    assert (config.work_dir, config.model.type) == ("there", "B")

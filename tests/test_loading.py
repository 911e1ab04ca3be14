import pytest
import torch
from safetensors.torch import save_file

from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.loading import (
    build_backbone,
    find_config,
    last_rate,
    load_backbone,
    load_config,
    need,
    select_device,
)
from mmssl_dynamic.models import SDRResNet

CONFIG = """
data_root = "one"
init_from = None
model = dict(
    type="mmssl_dynamic.SDR",
    backbone=dict(
        type="mmssl_dynamic.SDRResNet",
        depth=18,
        stage_channels=(16, 16, 16, 16),
        stem_channels=8,
        norm_cfg=dict(type="SyncBN"),
    ),
)
init_cfg = dict(init_from=init_from, checkpoint=None)
train_dataloader = dict(dataset=dict(dataset=dict(data_root=data_root, other="one")))
max_epochs = 7
param_scheduler = [dict(T_max=max_epochs, end=max_epochs, begin=0), dict(end=7)]
"""


@pytest.fixture
def config_file(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG)
    return tmp_path / "config.py"


def test_a_top_level_option_reaches_what_was_built_from_it_and_nothing_else(config_file):
    config = load_config(config_file, {"data_root": "two", "max_epochs": 3})
    dataset = config.train_dataloader.dataset.dataset
    assert (config.data_root, dataset.data_root, dataset.other) == ("two", "two", "one")
    assert (config.param_scheduler[0].T_max, config.param_scheduler[0].end, config.param_scheduler[0].begin) == (
        3,
        3,
        0,
    )
    assert load_config(config_file, {"model.backbone.depth": 34}).model.backbone.depth == 34
    unset = load_config(config_file, {"init_from": "base.pth"})  # also one that is None until it is given
    assert (unset.init_cfg.init_from, unset.init_cfg.checkpoint) == ("base.pth", None)


@pytest.mark.parametrize("text", ["x = (", "raise ValueError('no')", "_base_ = ['missing.py']"])
def test_a_broken_config_is_named(tmp_path, text):
    (tmp_path / "broken.py").write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.py"):
        load_config(tmp_path / "broken.py")
    with pytest.raises(ConfigError, match="does not exist"):
        load_config(tmp_path / "nowhere.py")


def test_what_a_config_lacks_is_named(config_file):
    with pytest.raises(ConfigError, match="'extract_dataloader'"):
        need(load_config(config_file), "model", "extract_dataloader")


def test_backbones_load_from_runs_and_from_their_own_weights_with_plain_batch_norm(config_file, tmp_path):
    config = load_config(config_file)
    net = build_backbone(config)
    assert isinstance(net, SDRResNet)
    assert not net.bn1.sync
    state = net.state_dict()
    torch.save(
        {"state_dict": {f"backbone.{k}": v for k, v in state.items()} | {"neck.fc": torch.ones(1)}},
        tmp_path / "run.pth",
    )
    torch.save(state, tmp_path / "own.pth")
    for name in ("run.pth", "own.pth"):
        loaded = load_backbone(config, tmp_path / name, "cpu")
        assert not loaded.training
        assert all(torch.equal(value, state[key]) for key, value in loaded.state_dict().items())
    config.model.backbone.stage_channels = (24, 16, 16, 16)
    with pytest.raises(ArtifactError, match=r"own\.pth has"):
        load_backbone(config, tmp_path / "own.pth", "cpu")


def test_a_device_that_is_not_there_is_refused():
    assert select_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match="nonsense"):
        select_device("nonsense")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="cuda:0"):
            select_device("cuda:0")


def test_configs_that_ship_are_found_by_name():
    assert find_config("demo/sdr_demo.py").is_file()
    with pytest.raises(ConfigError, match="does not ship"):
        find_config("demo/nothing.py")


def test_top_level_options_replace_what_was_there_and_not_each_other(tmp_path):
    file = tmp_path / "config.py"
    file.write_text(
        "max_epochs = 300\nwarmup_epochs = 10\n"
        "param_scheduler = [dict(begin=0, end=warmup_epochs), dict(begin=warmup_epochs, end=max_epochs)]\n"
        "custom_hooks = [dict(warmup_epochs=warmup_epochs)]\n"
    )
    config = load_config(file, dict(max_epochs=10, warmup_epochs=2))
    assert [(s.begin, s.end) for s in config.param_scheduler] == [(0, 2), (2, 10)]
    assert config.custom_hooks[0].warmup_epochs == 2
    assert (config.max_epochs, config.warmup_epochs) == (10, 2)


@pytest.mark.parametrize("where", ["itself", "its base"])
def test_a_yaml_config_stays_data(tmp_path, where):
    trace, program = tmp_path / "trace", "x: !!python/object/apply:builtins.open ['{trace}', w]\n"
    evil = tmp_path / "config.yaml"
    if where == "its base":
        evil.write_text("_base_: [base.yml]\nmodel: {}\n")
        evil = tmp_path / "base.yml"
    evil.write_text(program.format(trace=trace))
    with pytest.raises(ConfigError, match=rf"{evil.name} is no plain YAML"):
        load_config(tmp_path / "config.yaml")
    assert not trace.exists()
    evil.write_text("data_root: images\n")
    assert load_config(tmp_path / "config.yaml").data_root == "images"


def test_an_option_that_nothing_knows_is_refused_with_the_nearest_name(config_file):
    for option, meant in (("data_rot", "data_root"), ("model.backbone.stage_chanels", "model.backbone.stage_channels")):
        with pytest.raises(ConfigError, match=f"did you mean {meant}"):
            load_config(config_file, {option: 1})
    assert load_config(config_file, {"model.backbone.frozen_stages": 1}).model.backbone.frozen_stages == 1


def test_custom_imports_are_those_of_the_options_too(config_file, tmp_path, monkeypatch):
    (tmp_path / "own_module_of_this_test.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="own_module_of_this_test cannot be imported: .*no_such_library"):
        load_config(config_file, {"custom_imports.imports": ["own_module_of_this_test"]})


def test_the_last_rate_is_the_backbones_where_the_schedule_was(tmp_path):
    layer, predictor = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    groups = [{"params": [*layer.parameters()]}, {"params": [*predictor.parameters()], "lr": 0.4}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 20)
    optimizer.step()
    for _ in range(10):
        schedule.step()
    state = {"state_dict": layer.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save(state, tmp_path / "run.pth")
    assert last_rate(tmp_path / "run.pth") == pytest.approx((0.05, 0.5))
    torch.save(layer.state_dict(), tmp_path / "weights.pth")
    save_file(layer.state_dict(), tmp_path / "weights.safetensors")
    torch.save(layer.state_dict(), tmp_path / "old.pth", _use_new_zipfile_serialization=False)  # as many of torchvision
    for name in ("weights.pth", "weights.safetensors", "old.pth"):
        assert last_rate(tmp_path / name) is None
    with pytest.raises(ArtifactError, match=r"gone\.pth"):
        last_rate(tmp_path / "gone.pth")

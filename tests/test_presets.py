"""A preset and a folder of images make a training that runs, for every algorithm."""

from importlib import import_module
from pathlib import Path

import pytest
import torch

from mmssl_dynamic import presets
from mmssl_dynamic.cli import run
from mmssl_dynamic.commands.registry import run_verb
from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.errors import ArtifactError, ConfigError
from mmssl_dynamic.loading import build_backbone, load_config
from mmssl_dynamic.presets import ALGORITHMS, SIZES, Preset, stage_groups
from tests.helpers import write_clusters, write_images


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("photos") / "photos", 40, size=48)


def clusters_of(images, file, number):
    names = sorted(str(path.relative_to(images)) for path in images.rglob("*.png"))
    return write_clusters(file, names, number)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_preset_is_a_config_that_takes_its_options(images, tmp_path, size, algorithm):
    preset = Preset(size, algorithm)
    clusters = clusters_of(images, tmp_path / "c.npz", 4) if algorithm == "sdr" else None
    config = load_config(preset.config, preset.options(images, clusters))
    dataset = config.train_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    assert (dataset.data_root, config.extract_dataloader.dataset.data_root) == (str(images), str(images))
    if size == "small":
        assert config.train_cfg.max_epochs == 200  # 40 images: as often as they may be seen


@pytest.mark.parametrize("number", [4, 16, 64])
def test_a_path_has_the_widths_of_the_small_simsiam_whatever_the_number_of_paths(images, tmp_path, number):
    (tmp_path / "c.npz").parent.mkdir(exist_ok=True)
    preset = Preset("small", "sdr")
    names = [f"{index}.png" for index in range(number)]
    options = preset.options(images, write_clusters(tmp_path / "c.npz", names, number))
    net = build_backbone(load_config(preset.config, options))
    plain = build_backbone(load_config(Preset("small", "simsiam").config))
    assert len(net.space.paths) == number
    twin = {key: tensor.shape for key, tensor in net.static(net.space.paths[-1]).state_dict().items()}
    assert twin == {key: tensor.shape for key, tensor in plain.state_dict().items()}


def test_more_images_are_seen_in_fewer_epochs(images, monkeypatch):
    def epochs(count):
        monkeypatch.setattr("mmssl_dynamic.datasets.packed_folders.count_images", lambda root: count)
        return Preset("small", "simsiam").options(images)["max_epochs"]

    assert [epochs(count) for count in (100, 2000, 1_000_000)] == [200, 64, 10]


def test_a_folder_of_tar_files_is_as_many_images(images, tmp_path):
    list(write_shards(images, tmp_path / "shards"))
    found = Preset("small", "simsiam").options(tmp_path / "shards")
    assert found == {**Preset("small", "simsiam").options(images), "data_root": str(tmp_path / "shards")}


@pytest.mark.parametrize(
    ("first", "rate", "scaled", "taken"),
    [
        (0.05, 0.025, False, 0.025),
        (0.05, 0.0, False, 0.02),
        (0.05, 0.01, False, 0.02),
        (None, None, False, 0.02),
        (0.2, 0.1, False, 0.1),
        (0.01, 0.005, False, 0.005),
        (0.2, 0.1, True, 0.025),  # --auto-scale-lr makes 0.1 of it, as it made 0.2 of 0.05
        (0.2, 0.0, True, 0.02),
    ],
)
def test_sdr_goes_on_with_the_rate_that_its_start_had_unless_that_was_near_its_end(
    images, tmp_path, first, rate, scaled, taken
):
    state = {"state_dict": {"weight": torch.ones(1)}}
    if rate is not None:
        state["optimizer"] = {"state": {}, "param_groups": [{"lr": rate, "initial_lr": first, "params": [0]}]}
    torch.save(state, tmp_path / "epoch_8.pth")
    clusters = clusters_of(images, tmp_path / "c.npz", 4)
    options = Preset("small", "sdr").options(images, clusters, tmp_path / "epoch_8.pth", auto_scale_lr=scaled)
    assert load_config(Preset("small", "sdr").config, options).optim_wrapper.optimizer.lr == pytest.approx(taken)


def test_train_scales_the_rate_of_a_start_once(images, tmp_path, monkeypatch):
    group = {"lr": 0.1, "initial_lr": 0.2, "params": [0]}
    torch.save({"state_dict": {}, "optimizer": {"param_groups": [group]}}, tmp_path / "epoch_8.pth")
    found = []
    train = import_module("mmssl_dynamic.apis.train")
    monkeypatch.setattr(train, "train", lambda config, *_, **__: found.append(config))
    given = ["--preset", "small", "--data", str(images), "--clusters", str(clusters_of(images, tmp_path / "c.npz", 4))]
    given += ["--init-from", str(tmp_path / "epoch_8.pth")]
    run_verb("train", given)
    for scaled in (["--auto-scale-lr"], ["--cfg-options", "auto_scale_lr.enable=True"]):
        run_verb("train", [*given, *scaled])
    assert [config.optim_wrapper.optimizer.lr for config in found] == pytest.approx([0.1, 0.025, 0.025])


def test_what_a_preset_lacks_or_cannot_use_is_one_sentence(images, tmp_path):
    with pytest.raises(ConfigError, match="mmssl-dynamic pipeline --data"):
        Preset("small", "sdr").options(images)
    with pytest.raises(ConfigError, match="--clusters has no effect with --algorithm dspnet"):
        Preset("small", "dspnet").options(images, clusters=tmp_path / "c.npz")
    with pytest.raises(ConfigError, match="load_from=FILE"):
        Preset("small", "byol").options(images, init_from=tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="4, 16, 64 or 256 paths, not 5"):
        stage_groups(5)
    with pytest.raises(ConfigError, match="--preset huge is unknown; choose one of small, base"):
        Preset("huge")
    (tmp_path / "broken.npz").write_bytes(b"no clusters")
    with pytest.raises(ArtifactError):
        Preset("small", "sdr").options(images, clusters=tmp_path / "broken.npz")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give a config, or --preset small --data DIR"),
        (["--preset", "small"], "--preset small needs --data"),
        (["--preset", "small", "--data", "{images}"], "SDR needs clusters of the images: `mmssl-dynamic pipeline"),
        (["demo/sdr_demo", "--preset", "small", "--data", "{images}"], "--preset small is in place of a config"),
        (["demo/sdr_demo", "--data", "{images}"], "--data has no effect with a config and no --preset"),
    ],
)
def test_arguments_of_train_that_do_not_go_together_are_refused(images, capsys, arguments, sentence):
    given = [argument.format(images=images) for argument in arguments]
    with pytest.raises(SystemExit) as end:
        run(lambda: run_verb("train", given))
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("algorithm", ["sdr", "dspnet"])
def test_a_folder_of_images_is_trained_on_without_a_config(images, tmp_path, monkeypatch, algorithm):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(presets, "_MOST_EPOCHS", 2)
    monkeypatch.setattr(presets, "_LEAST_EPOCHS", 2)
    small = ["train_dataloader.batch_size=10", "train_dataloader.num_workers=0", "extract_dataloader.num_workers=0"]
    small += ["log_level=ERROR", "image_size=32"]
    if algorithm == "sdr":
        more = ["--clusters", str(clusters_of(images, tmp_path / "c.npz", 4))]
    else:
        more, small = ["--algorithm", "dspnet"], [*small, "warmup_epochs=1"]
    run_verb("train", ["--preset", "small", "--data", str(images), *more, "--cfg-options", *small])
    work_dir = tmp_path / "work_dirs" / f"{algorithm}_small_photos"
    assert {"epoch_2.pth", "bn_bank.safetensors", "curves.png"} <= {path.name for path in Path(work_dir).iterdir()}

"""From a folder of images to exported backbones in one call, which goes on where it stopped."""

import html
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmssl_dynamic.cli import run
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.commands.registry import run_verb
from mmssl_dynamic.datasets import build_dataset
from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.pipeline import steps
from mmssl_dynamic.pipeline.clock import Clock
from mmssl_dynamic.pipeline.report import PipelineResults, write_pipeline_report
from mmssl_dynamic.pipeline.run import pipeline
from mmssl_dynamic.presets import Preset
from mmssl_dynamic.result_cache import KeptFiles
from mmssl_dynamic.routing import RoutingResult
from mmssl_dynamic.routing.result import Baseline
from mmssl_dynamic.writing import save_torch
from tests.helpers import write_clusters, write_images

TINY = {
    "max_epochs": 1,
    "image_size": 32,
    "train_dataloader.batch_size": 8,
    "train_dataloader.num_workers": 0,
    "extract_dataloader.num_workers": 0,
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """40 images without labels, and two tasks."""
    root = tmp_path_factory.mktemp("photos")
    write_images(root / "photos", 40, size=40)
    for seed, task in enumerate(("pets", "tools")):
        for part, count in (("train", 16), ("test", 12)):
            write_images(root / task / part, count, size=40, seed=seed + len(part))
    return root


@pytest.fixture(scope="module")
def call(data):
    def start(out, **options):
        tasks = [data / "pets", data / "tools"]
        given = {"num_clusters": 4, "options": TINY, **options}
        return pipeline(data / "photos", tasks, out, **given)

    return start


@pytest.fixture(scope="module")
def finished(call, tmp_path_factory):
    """A pipeline that was stopped in its second training, and gone on with; and what was trained in which call."""
    out, trained = tmp_path_factory.mktemp("work") / "out", [[], []]
    original = steps.run_training

    def train(config):
        trained[-1 if trained[0][1:] else 0].append(config.work_dir.rsplit("/", 1)[-1])
        if len(trained[0]) == 2 and not trained[1]:
            raise KeyboardInterrupt
        return original(config)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "run_training", train)
        with pytest.raises(KeyboardInterrupt):
            call(out)
        call(out)
    return out, trained


def test_a_pipeline_that_was_stopped_goes_on_with_the_step_that_it_was_in(finished):
    _, trained = finished
    assert trained == [["simsiam", "sdr"], ["sdr"]]


def test_sdr_goes_on_with_the_schedule_that_simsiam_began(finished):
    out, _ = finished
    plain = load_config(out / "simsiam" / "simsiam_r18_custom_small.py")
    sdr = load_config(out / "sdr" / "sdr_simsiam_r18_16path_custom_small.py")
    assert plain.param_scheduler[0].T_max == 2 * plain.train_cfg.max_epochs
    assert sdr.optim_wrapper.optimizer.lr == pytest.approx(plain.optim_wrapper.optimizer.lr / 2)


@pytest.mark.parametrize(
    "own",
    [
        {"optim_wrapper.optimizer.lr": 0.008},
        {"optim_wrapper.optimizer": dict(type="SGD", lr=0.008, momentum=0.9)},
    ],
)
def test_a_rate_of_ones_own_is_where_the_common_schedule_begins(data, call, tmp_path, monkeypatch, own):
    found = []

    def train(config):
        """Leaves what a training leaves whose schedule is halfway down, scaled to a batch four times as large."""
        work_dir, rate = Path(config.work_dir), config.optim_wrapper.optimizer.lr
        found.append((work_dir.name, rate))
        if work_dir.name == "sdr":
            raise KeyboardInterrupt
        group = {"lr": 2 * rate, "initial_lr": 4 * rate, "params": [0]}
        save_torch({"state_dict": {}, "optimizer": {"param_groups": [group]}}, work_dir / "epoch_1.pth")

    def cluster(_, base, checkpoint, out, paths, *__):
        names = sorted(path.name for path in (data / "photos").iterdir())
        write_clusters(out, names, paths)

    monkeypatch.setattr(steps, "run_training", train)
    monkeypatch.setattr("mmssl_dynamic.pipeline.run.cluster_images", cluster)
    with pytest.raises(KeyboardInterrupt):
        call(tmp_path / "out", options={**TINY, **own})
    assert found == [("simsiam", 0.008), ("sdr", pytest.approx(0.004))]
    with pytest.raises(ConfigError, match="schedule_epochs is twice the epochs here, SimSiam's and SDR's"):
        call(tmp_path / "out", options={**TINY, "schedule_epochs": 7})


def test_every_task_has_its_backbone_and_the_report_says_which(finished):
    out, _ = finished
    page = re.sub(r"<[^>]+>", " ", (out / "report.html").read_text())
    for task in ("pets", "tools"):
        result = RoutingResult.load(out / "routing" / task / "routing.json")
        winner = f"routing/{task}/backbone_{result.best.name}_mmpretrain.pth"
        assert (out / winner).is_file()
        assert result.start.name == "simsiam_r18_custom_small"
        use, file = {
            result.best.name: (result.best.name, winner),
            "full": ("full network", "routing/backbone_full_mmpretrain.pth"),
            result.start.name: ("SimSiam", "simsiam/epoch_1.pth"),
        }[result.chosen.name]
        assert (out / file).is_file()
        assert re.search(rf"{task} +{use} +{result.best.name} [^%]* {re.escape(file)}", page)
    routing = (out / "routing" / "report.html").read_text()
    assert "simsiam_r18_custom_small" in routing
    assert "random weights" in routing
    assert "Loss of SDR over its steps" in page


def test_a_task_for_which_no_path_is_better_gets_simsiam(finished, tmp_path):
    out, _ = finished
    result = RoutingResult.load(out / "routing" / "pets" / "routing.json")
    best = max(result.full.select_accuracy, result.best.select_accuracy)
    start = tmp_path / "simsiam" / "config.py", tmp_path / "simsiam" / "epoch_1.pth"
    winner = SimpleNamespace(path=tmp_path / "routing" / "backbone.pth", snippet="load(winner)")

    def page(accuracy):
        routed = [(replace(result, start=Baseline("simsiam", accuracy, 55.5)), winner)]
        results = PipelineResults(
            routed, None, start, Clusters.load(out / "clusters.npz"), out / "clusters.png", tmp_path, {}
        )
        text = write_pipeline_report(results, {}).read_text()
        return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text)))

    better = page(best + 1)
    assert re.search(rf"pets +SimSiam +{result.best.name} .* 55\.5 .* simsiam/epoch_1\.pth", better)
    assert f"get_model({str(start[0])!r}, pretrained={str(start[1])!r})" in better
    assert "load(winner)" not in better
    if not result.full_is_better:
        same = page(best)
        assert re.search(rf"pets +{result.best.name} +{result.best.name} .* routing/backbone\.pth", same)
        assert "load(winner)" in same


def test_a_second_call_trains_and_routes_nothing_and_says_what_is_kept(finished, call, monkeypatch, capsys):
    out, _ = finished
    monkeypatch.setattr(steps, "run_training", lambda config: pytest.fail("trained again"))
    monkeypatch.setattr("mmssl_dynamic.routing.router.Router.result", lambda *_, **__: pytest.fail("routed again"))
    call(out)
    said = capsys.readouterr().out
    for what in ("training simsiam is", "clustering is", "training sdr is", "pets: the ranking is"):
        assert f"{what} kept from" in said
    assert re.search(r"\[2/5\] features and clusters \(\d+ (seconds|minutes) left in all\)", said)


def test_packed_images_and_tasks_are_those_of_the_folders(finished, data, tmp_path, monkeypatch):
    out, packed, trained = finished[0], tmp_path / "packed", []
    for folder in ("photos", "pets/train", "pets/test"):
        list(write_shards(data / folder, packed / folder))

    def train(config):
        """On the images of the folder, so that the rest can be compared; they are drawn from what is packed."""
        trained.append(build_dataset(config.extract_dataloader.dataset).get_data_info(0)["shard"].where)
        name = config.work_dir.rsplit("/", 1)[-1]
        shutil.copytree(out / name, config.work_dir, dirs_exist_ok=True)

    monkeypatch.setattr(steps, "run_training", train)
    pipeline(packed / "photos", [packed / "pets"], tmp_path / "out", num_clusters=4, options=TINY)
    config, options = Preset().config, {"data_root": str(packed / "photos")}
    inputs = steps.training_inputs(config, 0, options)
    (packed / "photos/index/index.json").unlink()  # it is made anew, and is no other image
    assert steps.training_inputs(config, 0, options) == inputs
    assert trained == [f"{packed}/photos/000000.tar"] * 2
    for name in ("clusters.png", "features.npy"):
        assert (tmp_path / "out" / name).read_bytes() == (out / name).read_bytes()
    one, two = (RoutingResult.load(root / "routing.json") for root in (out / "routing/pets", tmp_path / "out/routing"))
    assert (one.subnets, one.full) == (two.subnets, two.full)
    assert (tmp_path / "out/routing/chosen_clusters.png").is_file()


def test_what_cannot_be_routed_is_refused_before_anything_is_trained(data, call, tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "run_training", lambda config: pytest.fail("trained"))
    with pytest.raises(ConfigError, match="40 images are few for several paths"):
        call(tmp_path / "out", num_clusters="auto")
    with pytest.raises(ConfigError, match="4, 16, 64 or 256 paths, not 5"):
        call(tmp_path / "out", num_clusters=5)
    with pytest.raises(DataError, match="fewer than a batch of 16"):
        call(tmp_path / "out", options={**TINY, "train_dataloader.batch_size": 16})
    shutil.copytree(data / "pets/train", tmp_path / "broken/train")
    for tasks, error in (
        ([tmp_path / "broken"], "test"),
        ([data / "pets", data / "pets"], "two tasks are called 'pets'"),
    ):
        with pytest.raises((ConfigError, DataError), match=error):
            pipeline(data / "photos", tasks, tmp_path / "out", num_clusters=4, options=TINY)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_another_pipeline_is_refused(finished, call):
    out, _ = finished
    with pytest.raises(ConfigError, match="holds a pipeline with other settings"):
        call(out, seed=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--tasks", "{data}/gone"], "task {data}/gone does not exist"),
        (["--tasks", "{data}/pets", "--num-clusters", "5"], "--num-clusters 5 must be 4, 16, 64, 256 or auto"),
    ],
)
def test_arguments_are_refused_in_one_sentence(data, capsys, arguments, sentence):
    given = [argument.format(data=data) for argument in arguments]
    with pytest.raises(SystemExit) as end:
        run(lambda: run_verb("pipeline", ["--data", str(data / "photos"), *given]))
    assert end.value.code == 2
    assert sentence.format(data=data) in capsys.readouterr().err


def test_the_time_left_follows_from_the_work_done_and_a_kept_step_has_its_earlier_seconds(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("mmssl_dynamic.pipeline.clock.time.perf_counter", lambda: now[0])
    kept = KeptFiles(tmp_path, say=lambda _: None)

    def run_first(made):
        clock = Clock(3, [2.0, 1.0, 3.0], kept, tmp_path / "seconds.json")
        assert clock.left() is None
        with clock.step("first"):
            now[0] += 60.0 if made else 0.5
            kept.made += made
        return clock

    assert run_first(made=1).left() == 120.0
    assert run_first(made=0).left() == 120.0

"""A forecast counts what a training computes: by the real loss, for every phase, against counts by hand."""

import json
import math
from contextlib import nullcontext

import pytest
import torch
from mmengine.config import Config
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmssl_dynamic import cli
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.commands.registry import main_of
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.forecast import CARDS, Machine, forecast, step_cost
from mmssl_dynamic.forecast.step_cost import FakeModel, LaunchCounter
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.models.elastic import positions
from mmssl_dynamic.models.elastic.positions import as_on_card, launches_count
from mmssl_dynamic.subnets import FULL
from tests.helpers import HEAD, NECK, WIDTHS, build_sdr, samples, views

PATH = "0-0-1-2"
PIPELINE = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="MultiView", num_views=2, transforms=[[dict(type="RandomResizedCrop", scale=32)]]),
    dict(type="PackInputs"),
]


def sdr_config(groups=(1, 1, 4, 4), **training):
    backbone = dict(type="mmssl_dynamic.SDRResNet", depth=18, stage_channels=WIDTHS, stage_groups=groups)
    backbone |= dict(stem_channels=8, zero_init_residual=False, norm_cfg=dict(type="SyncBN"))
    neck = dict(type="mmssl_dynamic.ElasticProjector", **NECK)
    dataset = dict(type="mmssl_dynamic.SubnetDataset", stage_groups=groups, dataset=dict(pipeline=PIPELINE))
    return Config(
        dict(
            model=dict(type="mmssl_dynamic.SDR", backbone=backbone, neck=neck, head=HEAD),
            train_dataloader=dict(
                batch_size=16, dataset=dataset, batch_sampler=dict(type="mmssl_dynamic.SubnetBatchSampler")
            ),
            train_cfg=dict(max_epochs=6),
            optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
            **training,
        )
    )


@pytest.fixture(scope="module")
def sdr():
    machine = Machine(2, "v100", 0.5, images_per_core=100.0, launch_microseconds=0.0)
    return forecast(sdr_config(), machine, 3200)


@pytest.fixture(scope="module")
def fake():
    return FakeModel(sdr_config(), [torch.zeros(3, 32, 32)] * 2)


@pytest.mark.parametrize("name", [FULL, PATH])
def test_a_step_costs_what_the_real_one_computes_and_saves(fake, name):
    model = build_sdr((1, 1, 4, 4))
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    with FlopCounterMode(display=False) as counter:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            losses = model.loss(views(0, 4), samples(name, 4))
        sum(value for key, value in losses.items() if "loss" in key).backward()
    cost = fake.cost(name)
    assert cost.macs == counter.get_total_flops() / 2 / 4
    held = sum(size for place, size in saved.items() if place not in own)
    assert cost.activation_bytes == pytest.approx(held / 4, rel=0.02)


def test_a_path_costs_its_teacher_on_top(fake):
    full, path = fake.cost(FULL), fake.cost(PATH)
    assert full.macs / 3 < path.macs < 2 * full.macs


def test_phases_have_the_steps_and_networks_of_the_training(sdr, fake):
    assert [(phase.networks, phase.steps) for phase in sdr.phases] == [(1, 200), (5, 200), (17, 200)]
    full, path = fake.cost(FULL).macs, fake.cost(PATH).macs
    for phase in sdr.phases:  # W_0 is drawn as often as each path
        expected = 32 * (full + (phase.networks - 1) * path) / phase.networks
        assert phase.macs == pytest.approx(expected)
        seconds = expected * 2 / (2 * CARDS["v100"].single * 1e12 * 0.5)
        assert phase.hours == pytest.approx(200 * seconds / 3600)
        assert phase.images_per_second == pytest.approx(32 / seconds)
    assert sdr.hours == pytest.approx(sum(phase.hours for phase in sdr.phases))
    assert sdr.cores == pytest.approx(max(phase.images_per_second for phase in sdr.phases) / 100)
    assert f"loaders: {math.ceil(sdr.cores)} cores (100 images/s each)" in sdr.table()  # fewer starve the cards


def test_launches_are_what_computes_copies_or_fills_and_not_views_or_allocations():
    layer, images = nn.Conv2d(3, 4, 3), torch.zeros(2, 3, 8, 8)
    with LaunchCounter() as launches:
        torch.empty(3).view(1, 3)
        loss = layer(images).relu()[:1].sum()  # a convolution, a maximum and a sum
        # ones of the loss' shape, zeros with the slice's gradient, relu's and the convolution's
        torch.autograd.grad(loss, list(layer.parameters()))
    assert launches.count == 3 + 1 + 1 + 1 + 1


def test_a_path_starts_the_operations_of_a_card(fake, monkeypatch):
    """An index for all ranges, which a processor takes for small tensors alone."""
    path = fake.cost(PATH)
    with as_on_card():
        assert launches_count(torch.zeros(10**5))
    assert not launches_count(torch.zeros(10**5))
    monkeypatch.setattr(positions, "_SMALL", 0)
    assert fake.cost(PATH) == path
    monkeypatch.setattr(step_cost, "as_on_card", nullcontext)
    assert fake.cost(PATH).launches > path.launches


def test_a_step_takes_its_launches_at_least(sdr, fake):
    def found(images_per_card, microseconds):
        config = sdr_config()
        config.train_dataloader.batch_size = images_per_card
        machine = Machine(2, "v100", 0.5, images_per_core=100.0, launch_microseconds=microseconds)
        return forecast(config, machine, 200 * images_per_card)

    slow = found(16, 1e4)
    for phase, path in zip(slow.phases, (FULL, "0-0-0-3", "0-0-3-3")):
        full, own = fake.cost(FULL).launches, fake.cost(path).launches
        expected = (full + (phase.networks - 1) * own) / phase.networks
        assert phase.launches == pytest.approx(expected)
        assert phase.hours == pytest.approx(phase.steps * expected * 1e-2 / 3600)
    assert slow.waiting == slow.phases
    assert (
        "cards wait for launches (10000 us each) in phase 1, phase 2, phase 3: 16 such images keep no" in slow.table()
    )
    some = found(16, 1e-1)
    assert f"give a card {max(p.enough_images for p in some.waiting)} images in place of 16" in some.table()
    assert sdr.waiting == []
    assert "wait" not in sdr.table()
    last = found(16, 1e-1).phases[-1]  # the boundary: where a card has enough, multiplying counts
    enough = last.enough_images
    assert enough > 1
    assert found(enough, 1e-1).phases[-1].hours > last.steps * last.launches * 1e-7 / 3600
    assert found(enough - 1, 1e-1).phases[-1].hours == pytest.approx(last.steps * last.launches * 1e-7 / 3600)


def test_sizes_are_those_of_what_is_written_and_held(sdr, tmp_path):
    model = build_sdr((1, 1, 4, 4))
    trained = sum(p.numel() for p in model.parameters())
    assert sdr.parameters["trained in all"] == trained
    assert sdr.parameters["full network"] == model.backbone.num_parameters()
    assert sdr.parameters["smallest network"] == model.backbone.num_parameters(PATH)
    state = sum(tensor.nbytes for tensor in model.state_dict().values())
    assert sdr.checkpoint_gib * 2**30 == pytest.approx(state + 4 * trained)  # with the momentum
    from mmssl_dynamic.calibration import BNBank, calibrate_path, calibrate_prefixes

    bank, images = BNBank.of(model.backbone), views(0, 4)[:1]
    bank.path = {name: calibrate_path(model.backbone, name, images) for name in model.backbone.subnets}
    bank.prefix = calibrate_prefixes(model.backbone, lambda prefix: images)
    tensors = [t for kind in (bank.path, bank.prefix) for s in kind.values() for pair in s.values() for t in pair]
    assert sdr.bank_mib * 2**20 == sum(tensor.nbytes for tensor in tensors)


def test_clusters_are_counted_where_they_are_and_divided_evenly_where_not(sdr, tmp_path):
    assert (sdr.smallest_cluster, sdr.clusters_counted, sdr.clusters_suffice) == (3200 // 16, False, True)
    assert "clusters, if all are of a size: 200 images, enough" in sdr.table()
    file = tmp_path / "clusters.npz"
    Clusters([f"{i}" for i in range(320)], [0] * 290 + [1 + i % 15 for i in range(30)], 16, "random").save(file)
    config = sdr_config(clusters_file=str(file))
    found = forecast(config, Machine(2, images_per_core=100.0))
    assert (found.images, found.smallest_cluster, found.clusters_counted, found.clusters_suffice) == (
        320,
        2,
        True,
        False,
    )
    assert "smallest cluster: 2 images, too few for a batch of 32" in found.table()


def test_a_sandwich_counts_its_targets_once_and_its_random_networks_by_chance():
    small = [[8, 8, 8, 8], [12, 12, 12, 12], [16, 16, 16, 16], [24, 24, 24, 24]]
    projector = dict(hid_channels=32, out_channels=16, num_layers=2, with_bias=True, with_last_bn=False)
    predictor = dict(projector, type="NonLinearNeck", in_channels=16, with_avg_pool=False, norm_cfg=dict(type="BN1d"))
    config = sdr_config(
        custom_hooks=[dict(type="mmssl_dynamic.SandwichHook", num_networks=3, warmup_epochs=2)],
    )
    config.model = dict(
        type="mmssl_dynamic.DSPNet",
        backbone=dict(type="mmssl_dynamic.SlimmableResNet", channels=small, blocks=[[1, 1, 1, 1]]),
        neck=dict(projector, type="mmssl_dynamic.ElasticProjector", norm_cfg=dict(type="BN1d")),
        head=dict(type="LatentPredictHead", loss=dict(type="CosineSimilarityLoss"), predictor=predictor),
    )
    config.train_dataloader.dataset = dict(pipeline=PIPELINE)
    found = forecast(config, Machine(1, images_per_core=1.0), 160)
    fake = FakeModel(config, [torch.zeros(3, 32, 32)] * 2)
    names = fake.model.backbone.subnets
    costs = [fake.cost(name).macs for name in names]
    targets = fake.cost("targets").macs
    assert targets > 0
    assert [(phase.name, phase.steps) for phase in found.phases] == [("warm-up", 20), ("sandwich", 40)]
    assert found.phases[0].macs == pytest.approx(16 * (targets + costs[-1]))
    assert found.phases[1].macs == pytest.approx(16 * (targets + costs[0] + costs[-1] + (costs[1] + costs[2]) / 2))
    assert found.smallest_cluster is None


def test_a_frozen_teacher_is_counted_without_its_weights(repo_root, monkeypatch):
    """It is computed once a step, for all networks."""
    pytest.importorskip("timm")
    monkeypatch.setattr("timm.models._builder.load_pretrained", lambda *_, **__: pytest.fail("fetches weights"))
    name = "dspnet/slimmable-distillation_mobilenet-v3_frozen-teacher_custom.py"
    shared = {}
    for teacher in ("timm/resnet10t", "timm/resnet18"):
        options = dict(teacher_model=teacher, image_size=32, widths=(0.25, 0.5))
        config = load_config(repo_root / "configs" / name, options)
        fake = FakeModel(config, [torch.zeros(3, 64, 64)])
        shared[teacher] = fake.cost("targets").macs
    found = forecast(config, Machine(1, images_per_core=1.0, launch_microseconds=0.0), 2000)
    assert found.hours > 0
    import timm

    network = timm.create_model("resnet18", num_classes=0)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(1, 3, 64, 64))
    assert shared["timm/resnet18"] == pytest.approx(counter.get_total_flops() / 2)
    assert shared["timm/resnet10t"] < shared["timm/resnet18"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("sdr/sdr_byol_r18_16path_tinyin.py", marks=pytest.mark.slow),
        pytest.param("sdr/sdr_mocov2_r50_256path_8xb32-coslr-200e_in1k.py", marks=pytest.mark.slow),
        "sdr/simsiam_r18_tinyin.py",
        pytest.param("dspnet/slimmable-supervised_mobilenet-v3_tinyin.py", marks=pytest.mark.slow),
    ],
)
def test_every_kind_of_training_can_be_forecast(name, repo_root):
    found = forecast(load_config(repo_root / "configs" / name), Machine(images_per_core=1.0), 1_281_167)
    assert found.hours > 0
    assert found.memory_gib > 0


def test_the_command_prints_a_table_and_writes_all_figures(repo_root, tmp_path, capsys, monkeypatch):
    out = tmp_path / "forecast.json"
    config = str(repo_root / "configs/demo/sdr_demo.py")
    monkeypatch.setattr("sys.argv", ["forecast", config, "--gpus", "1", "--images", "2000", "--out", str(out)])
    cli.run(main_of("forecast"))
    shown, record = capsys.readouterr().out, json.loads(out.read_text())
    assert "GPU hours on 1 x h100 at 10 % of the peak, single precision" in shown
    assert record["gpu_hours"] == record["hours"] > 0
    assert record["images_per_core"] > 1
    assert record["machine"]["card"] == "h100"


def test_depthwise_networks_are_reckoned_with_a_tenth_of_the_share(repo_root):
    config = load_config(repo_root / "configs/dspnet/slimmable-supervised_mobilenet-v3_tinyin.py")
    usual, named = (
        forecast(config, Machine(utilisation=share, images_per_core=1.0, launch_microseconds=0.0), 100_000)
        for share in (None, 0.05)
    )
    assert usual.machine.utilisation == 0.01
    assert usual.hours == pytest.approx(5 * named.hours)


def test_what_cannot_be_is_refused_in_a_sentence():
    for options, words in (
        (dict(gpus=0), "--gpus 0 must be at least 1"),
        (dict(utilisation=1.5), "--utilisation 1.5 must be a share"),
        (dict(card="abacus"), "--card abacus is not known; use one of v100"),
        (dict(images_per_core=0.0), "--images-per-core 0.0 must be positive"),
        (dict(launch_microseconds=-1.0), "--launch-microseconds -1.0 must be a time, 0 or more"),
        (dict(launch_microseconds=float("inf")), "--launch-microseconds inf must be a time, 0 or more"),
    ):
        with pytest.raises(ConfigError, match=words):
            Machine(**options)
    machine = Machine(images_per_core=1.0)
    slimmable = sdr_config()
    slimmable.model.type = "mmssl_dynamic.SDRSlimmable"
    slimmable.model.backbone.update(type="mmssl_dynamic.SDRSlimmableResNet", widths=[0.5, 1.0])
    with pytest.raises(ConfigError, match="no forecast of SDRSlimmable with this backbone"):
        forecast(slimmable, machine, 3200)
    with pytest.raises(ConfigError, match="fewer than a batch of 128"):
        forecast(sdr_config(), machine, 100)
    with pytest.raises(ConfigError, match="give their number: --images"):
        forecast(sdr_config(), machine)

"""Routing for detection: candidates are fine-tuned, ranked by AP, never twice, and cut short as asked."""

import json
import re

import pytest
import torch

from mmssl_dynamic.apis.select import select
from mmssl_dynamic.calibration import BNBank, calibrate_path
from mmssl_dynamic.detection import candidate_runs
from mmssl_dynamic.detection.candidate import CandidateJob, candidate_config, detector_backbone, run_candidate
from mmssl_dynamic.detection.plan import DetectionPlan
from mmssl_dynamic.errors import ArtifactError, ConfigError, LockedError, MissingStatisticsError, UserError
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.locks import locked_folder
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.result_cache import COMPUTATIONS
from mmssl_dynamic.routing import RoutingResult
from tests.apis.by_option import route_detection
from tests.detection_data import small_networks, small_options, write_voc
from tests.processes import run_together

pytest.importorskip("mmdet")
CONFIG = """
default_scope = 'mmpretrain'
eval_pipeline = [
    dict(type='mmssl_dynamic.LoadImage'), dict(type='ResizeEdge', scale=32, edge='short'),
    dict(type='CenterCrop', crop_size=32), dict(type='PackInputs')]
model = dict(
    backbone=dict(type='mmssl_dynamic.SDRResNet', norm_cfg=dict(type='BN'), **{options}),
    data_preprocessor=dict(type='ClsDataPreprocessor', mean=[123.7, 116.3, 103.5], std=[58.4, 57.1, 57.4], to_rgb=True))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory, repo_root):
    """A super-network on disk, and the arguments and options that put its sub-networks into a small Faster R-CNN."""
    root = tmp_path_factory.mktemp("detection")
    write_voc(root)
    network = small_networks(root)["sdr"]
    net = network.net
    options = {key: value for key, value in network.options.items() if key not in ("subnet", "out_indices")}
    (root / "config.py").write_text(CONFIG.replace("{options}", repr(options)))
    torch.save({f"backbone.{key}": value for key, value in net.state_dict().items()}, root / "epoch_1.pth")
    bank = BNBank.of(net)
    generator = torch.Generator().manual_seed(0)
    for name in net.subnets:
        bank.path[name] = calibrate_path(net, name, [torch.randn(8, 3, 64, 64, generator=generator)])
    bank.save(root / "bank.safetensors")
    detector = small_options(network, root)
    detector = {
        k: v for k, v in detector.items() if not k.startswith("model.backbone") and k != "model.neck.in_channels"
    }
    config = repo_root / "configs/detection" / f"{network.config}.py"
    bank.apply(net)
    return net, (root / "config.py", root / "epoch_1.pth", root / "bank.safetensors"), config, detector


def route(run, out, launcher="none", **plan):
    _, files, config, options = run
    return route_detection(
        *files, out, config, plan=DetectionPlan(**plan), det_options=options, devices=["cpu"], num_workers=0,
        progress=False, command="python tools/route.py", launcher=launcher,
    )  # fmt: skip


def folder_of(out, name):
    """Of a candidate that was trained with one set of inputs."""
    (folder,) = (out / "candidates").glob(f"{name}-????????????????")
    return folder


@pytest.fixture
def trained(monkeypatch):
    """Replaces training: AP is made of the path and the iterations. Returns the jobs that ran."""
    jobs = []

    def fake(job):
        jobs.append((job.name, job.iterations))
        digits = [int(digit) for digit in job.name.split("-")] if job.name != "full" else [0] * 4
        value = 10.0 * digits[2] + digits[3] + job.iterations / 100
        precision = {"boxes": {"AP": value, "AP50": value, "AP75": value}}
        record = {"AP": precision, "seconds": 1.0, "classes": {"boxes": {"car": value + 50, "dog": None}}}
        job.keep(record)
        return record

    monkeypatch.setattr(candidate_runs, "run_candidate", fake)
    return jobs


@pytest.mark.usefixtures("quick_mmengine")
def test_candidates_are_trained_evaluated_ranked_and_the_best_is_exported(run, tmp_path):
    result, report = route(run, tmp_path, iterations=1, candidates=1)
    assert RoutingResult.load(tmp_path / "routing.json") == result
    assert len(result.subnets) == 1
    assert [entry.reason for entry in result.dropped] == ["not on the short list (knn)"] * 3
    assert report.path.is_file()
    name = result.best.name
    assert (folder_of(tmp_path, name) / "iter_1.pth").is_file()
    (kept,) = folder_of(tmp_path, name).glob("result_1-*.json")
    found = json.loads(kept.read_text())["result"]
    assert len(found["classes"]["boxes"]) == 20
    precision = found["AP"]["boxes"]
    assert result.best.select_accuracy == precision["AP"]
    assert set(precision) == {"AP", "AP50", "AP75"}
    shown = (tmp_path / "report.html").read_text()
    assert "What was saved, and what may have been lost" in shown
    assert "3 sub-networks were not trained to the end" in shown
    short = RoutingResult.load(tmp_path / "shortlist.json")
    assert short.best.name == name
    assert len(short.subnets) == 4


def test_a_candidate_begins_with_the_weights_and_statistics_of_its_sub_network(run, tmp_path):
    net, (_, checkpoint, bank), config, options = run
    from mmssl_dynamic.detection.detector import prepare_detection

    detector = prepare_detection(config, cfg_options=options, training=False)
    for name in ("0-0-1-0", "full"):
        backbone, channels = detector_backbone(net, name, detector)
        job = CandidateJob(
            name, 2, str(tmp_path), backbone, channels, str(checkpoint), str(bank), "path", str(config), options,
            inputs=dict.fromkeys(COMPUTATIONS["detection candidate"].depends_on, "a"),
        )  # fmt: skip
        made = candidate_config(job)
        assert made.model.neck.in_channels == channels
        assert made.train_cfg.max_iters == 2
        assert [entry.type for entry in made.param_scheduler] == ["LinearLR", "MultiStepLR"]
        twin = MODELS.build({**made.model.backbone, "norm_cfg": dict(type="BN")})
        twin.init_weights()
        expected = net.static(name).state_dict()
        assert all(torch.equal(value, expected[key]) for key, value in twin.state_dict().items())


def test_finished_candidates_never_run_twice(run, tmp_path, trained):
    first, _ = route(run, tmp_path, iterations=20)
    assert sorted(trained) == [("0-0-0-0", 20), ("0-0-0-1", 20), ("0-0-1-0", 20), ("0-0-1-1", 20), ("full", 20)]
    assert [score.name for score in first.subnets] == ["0-0-1-1", "0-0-1-0", "0-0-0-1", "0-0-0-0"]
    assert first.best.gain_over_full == 11.0
    chosen, bank = tmp_path / "chosen", BNBank.load(run[1][2])
    assert first.statistics == bank.fingerprints(["0-0-0-0", "0-0-0-1", "0-0-1-0", "0-0-1-1", "full"])
    (choice,) = select([tmp_path], out=chosen, format="mmdet")  # with the statistics of its candidates
    assert (chosen / f"backbone_{choice.chosen.name}_mmdet.pth").is_file()
    trained.clear()
    again, _ = route(run, tmp_path, iterations=20)
    assert trained == []
    assert again.subnets == first.subnets
    (kept,) = folder_of(tmp_path, "0-0-1-0").glob("result_20-*.json")
    kept.unlink()  # as if it had been stopped there
    route(run, tmp_path, iterations=20)
    assert trained == [("0-0-1-0", 20)]
    trained.clear()
    route(run, tmp_path, iterations=20, seed=1)  # other settings
    assert len(trained) == 5


def test_the_short_list_normalises_as_the_pre_training_did_wherever_its_config_says_so(run, tmp_path, trained):
    net, files, config, options = run
    inside = files[0].read_text()
    entry = next(line for line in inside.splitlines() if "data_preprocessor=" in line)
    top = inside.replace(f",\n{entry}", ")\n" + entry.strip()[:-1])
    found = {}
    for name, text in {"inside": inside, "top": top, "none": inside.replace(entry, ")")}.items():
        (tmp_path / f"{name}.py").write_text(text)
        arguments = (net, (tmp_path / f"{name}.py", *files[1:]), config, options)
        if name == "none":
            with pytest.raises(ConfigError, match="none.py has no data_preprocessor"):
                route(arguments, tmp_path / name, candidates=1)
        else:
            route(arguments, tmp_path / name, candidates=1)
            found[name] = RoutingResult.load(tmp_path / name / "shortlist.json")
    assert found["top"].subnets == found["inside"].subnets


def test_halving_trains_few_candidates_long_and_says_what_it_saved(run, tmp_path, trained):
    result, _ = route(run, tmp_path, iterations=100, method="halving", factor=2, finalists=1)
    assert result.protocol["rounds"] == [
        {"subnets": 4, "iterations": 25},
        {"subnets": 2, "iterations": 50},
        {"subnets": 1, "iterations": 100},
    ]
    assert [iterations for _, iterations in trained] == [25] * 4 + [50] * 2 + [100] * 2
    assert [(entry.name, entry.images) for entry in result.dropped] == [
        ("0-0-1-0", 50), ("0-0-0-1", 25), ("0-0-0-0", 25),
    ]  # fmt: skip
    # A candidate goes on from where it was: 4 x 25, 2 x 25 more, 50 more; and the full network.
    assert result.cost["iterations"] == 4 * 25 + 2 * 25 + 50 + 100
    assert result.cost["iterations_of_all"] == 500
    page = (tmp_path / "report.html").read_text()
    assert "60 % of the 500" in page
    best = result.best.select_accuracy
    row = ["car", f"{best + 50:.1f}", "51.0", f"{best - 1:+.1f}"]  # the full network has 1.0
    cells = [re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    assert row in cells
    assert ["dog", "-", "-", "-"] in cells


def test_one_process_per_device_takes_the_next_candidate(run, tmp_path, monkeypatch):
    seen = []

    def fake(command, stdout, stderr, env, check):
        job = CandidateJob.read(command[-1])
        seen.append((job.name, env["CUDA_VISIBLE_DEVICES"]))
        if job.name == "0-0-1-0":
            stdout.write("error: no memory left.\n")
            return type("Done", (), {"returncode": 2})
        precision = {"boxes": {"AP": 1.0, "AP50": 1.0, "AP75": 1.0}}
        job.keep({"AP": precision, "seconds": 1.0})
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(candidate_runs.subprocess, "run", fake)
    _, files, config, options = run
    arguments = dict(plan=DetectionPlan(iterations=5), det_options=options, devices=["cpu", "cpu"], progress=False)
    with pytest.raises(UserError, match=r"candidate '0-0-1-0' failed: no memory left\. See .*process\.log"):
        route_detection(*files, tmp_path, config, **arguments)
    assert {device for _, device in seen} == {""}
    assert not (tmp_path / "routing.json").exists()
    assert len(list(folder_of(tmp_path, "0-0-0-0").glob("result_5-*.json"))) == 1


def test_processes_of_a_launcher_share_out_what_one_process_does(run, tmp_path, trained, monkeypatch):
    """The short list by routing on cut-out objects, then two rounds of trainings, which are processes of their own."""
    plan = dict(iterations=20, candidates=3, method="halving", factor=2, finalists=2)
    route(run, tmp_path / "one", **plan)
    train = candidate_runs.run_candidate

    def fake(command, stdout, stderr, env, check):
        assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & set(env)
        train(CandidateJob.read(command[-1]))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(candidate_runs.subprocess, "run", fake)

    def body(rank):
        trained.clear()
        found = route(run, tmp_path / "two", launcher="pytorch", **plan)
        assert (found is None) == (rank == 1)
        (tmp_path / f"{rank}.json").write_text(json.dumps(trained))

    ends = run_together(body, tmp_path / "pair")
    assert [end.status for end in ends] == [0, 0], ends[0].errors + ends[1].errors
    one, two = (RoutingResult.load(tmp_path / name / "routing.json") for name in ("one", "two"))
    assert (two.subnets, two.full, two.dropped, two.protocol) == (one.subnets, one.full, one.dropped, one.protocol)
    shares = [[tuple(job) for job in json.loads((tmp_path / f"{rank}.json").read_text())] for rank in range(2)]
    assert sorted(sum(shares, [])) == sorted(trained)
    assert [len(share) for share in shares] == [2 + 2, 1 + 1]  # of three and of three
    one, two = (RoutingResult.load(tmp_path / name / "shortlist.json") for name in ("one", "two"))
    assert two.subnets == one.subnets


def test_a_candidate_that_fails_in_one_process_is_told_by_all_and_costs_no_other(run, tmp_path, trained, monkeypatch):
    train = candidate_runs.run_candidate

    def fake(command, stdout, stderr, env, check):
        job = CandidateJob.read(command[-1])
        if job.name == "0-0-0-1":  # the second process begins with it
            stdout.write("error: no memory left.\n")
            return type("Done", (), {"returncode": 2})
        train(job)
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(candidate_runs.subprocess, "run", fake)

    def body(rank):
        with pytest.raises(UserError, match=r"candidate '0-0-0-1' failed: no memory left\."):
            route(run, tmp_path / "out", launcher="pytorch", iterations=5)

    ends = run_together(body, tmp_path / "pair")
    assert [end.status for end in ends] == [0, 0], ends[0].errors + ends[1].errors
    assert len(list((tmp_path / "out/candidates").glob("*/result_5-*.json"))) == 4


def test_a_candidate_that_another_process_trains_is_left_to_it(tmp_path):
    inputs = dict.fromkeys(COMPUTATIONS["detection candidate"].depends_on, "a")
    job = CandidateJob("0-0-0-1", 5, str(tmp_path), {}, [], "epoch_1.pth", None, "path", "detector.py", inputs=inputs)
    with locked_folder(job.work_dir), pytest.raises(LockedError, match="candidate folder .* is being written by"):
        run_candidate(job)
    assert list(job.work_dir.glob("*")) == []
    log = job.work_dir / "process.log"
    with locked_folder(job.work_dir):
        log.write_text("iteration 3\n")
        with pytest.raises(LockedError, match="candidate folder .* is being written by"):
            candidate_runs._run_process(job, "cpu")
        assert log.read_text() == "iteration 3\n"


def test_a_candidate_is_not_trained_with_a_bank_that_was_written_anew_since(run, tmp_path, monkeypatch):
    _, (_, checkpoint, bank), _, _ = run
    inputs = dict.fromkeys(COMPUTATIONS["detection candidate"].depends_on, "a")
    own = BNBank.load(bank)
    inputs["BN statistics"] = own.statistics_fingerprint(["0-0-0-1"])
    own.path["0-0-0-1"] = {layer: (mean, 2 * var) for layer, (mean, var) in own.path["0-0-0-1"].items()}
    own.save(tmp_path / "bank.safetensors")
    monkeypatch.setattr("mmssl_dynamic.detection.candidate.candidate_config", lambda job: pytest.fail("trained"))
    job = CandidateJob(
        "0-0-0-1", 5, str(tmp_path), {}, [], str(checkpoint), str(tmp_path / "bank.safetensors"), "path", "d.py",
        inputs=inputs,
    )  # fmt: skip
    with pytest.raises(ArtifactError, match=r"bank.safetensors was written anew .* other statistics of 0-0-0-1; run"):
        run_candidate(job)
    assert job.finished() is None


def test_a_candidate_sees_one_of_the_devices_that_its_parent_sees(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [candidate_runs._visible(name) for name in ("cpu", "cuda:1")] == ["", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert [candidate_runs._visible(name) for name in ("cpu", "cuda:1")] == ["", "6"]


@pytest.mark.slow
@pytest.mark.usefixtures("quick_mmengine")
def test_two_processes_find_what_one_finds(run, tmp_path):
    _, files, config, options = run
    plan = DetectionPlan(iterations=2, candidates=2, shortlist="random")
    found = [
        route_detection(*files, tmp_path / str(len(devices)), config, plan=plan, det_options=options, devices=devices)[
            0
        ]
        for devices in (["cpu"], ["cpu", "cpu"])
    ]
    plan = {"iterations": 2, "candidates": 2, "shortlist": "random"}
    ends = run_together(lambda rank: route(run, tmp_path / "3", launcher="pytorch", **plan), tmp_path / "pair")
    assert [end.status for end in ends] == [0, 0], ends[0].errors + ends[1].errors
    found.append(RoutingResult.load(tmp_path / "3" / "routing.json"))
    assert found[0].subnets == found[1].subnets == found[2].subnets
    states = [load_state_dict(folder_of(tmp_path / count, "full") / "iter_2.pth") for count in "123"]
    for key, value in states[1].items():  # trained in a process of its own, which is no part of this one
        assert torch.equal(states[2][key], value)
        torch.testing.assert_close(states[0][key], value, rtol=1e-5, atol=1e-6)


def test_what_does_not_fit_is_refused(run, tmp_path):
    for words, plan in {
        "--iters 0": dict(iterations=0),
        "--candidates 0": dict(candidates=0),
        "--shortlist best": dict(shortlist="best"),
        "AP is of boxes or masks": dict(kind="points"),
    }.items():
        with pytest.raises(ConfigError, match=words):
            DetectionPlan(**plan)
    _, files, config, options = run
    means = {"model.data_preprocessor.mean": [1.0, 2.0, 3.0]}
    with pytest.raises(ConfigError, match=r"normalises images with .* but the super-network of .*config.py was pre-tr"):
        route_detection(*files, tmp_path / "out", config, det_options=options, cfg_options=means, devices=["cpu"])
    two = {**dict(launcher="pytorch", devices=["cuda:0", "cuda:1"]), "det_options": options}

    def several(rank):
        with pytest.raises(ConfigError, match="--devices cuda:0,cuda:1 is for one process; with --launcher each"):
            route_detection(*files, tmp_path / "out", config, **two)

    assert run_together(several, tmp_path / "alone", count=1)[0].status == 0
    with pytest.raises(ConfigError, match="--devices cuda:9 is not there"):
        route_detection(*files, tmp_path / "out", config, det_options=options, devices=["cuda:9"])
    with pytest.raises(MissingStatisticsError, match="there is no bn_bank.safetensors beside it: give --bank"):
        route_detection(
            *files[:2], None, tmp_path / "out", config, plan=DetectionPlan(candidates=1), det_options=options
        )
    assert not (tmp_path / "out").exists()

"""The runner of the studies, what it compares, and how it evaluates a training."""

import importlib
import io
import shutil
import subprocess
import sys
import tarfile
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from mmssl_dynamic.calibration import BNBank
from mmssl_dynamic.commands.shared import config_options
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.features import Features
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.loading import build_backbone, load_config, load_super_network, normalisation_of
from mmssl_dynamic.routing import KNNRouter
from mmssl_dynamic.writing import write_json

MODULES = ("comparison", "runs", "queue_runner", "plan", "report", "page", "domains", "dspnet", "evaluate_run")
MODULES += ("distance", "domains_large", "fidelity", "lite_teacher", "relatives", "sandwich", "teacher")
MODULES += ("budget", "where")


@pytest.fixture
def studies(repo_root, monkeypatch):
    """tools/studies as its scripts import each other."""
    monkeypatch.syspath_prepend(str(repo_root / "tools" / "studies"))
    yield {name: importlib.import_module(name) for name in MODULES}
    for name in MODULES:
        sys.modules.pop(name)


@pytest.fixture
def folders(studies, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "out").mkdir()
    return studies["runs"].Folders(tmp_path / "data", tmp_path / "out")


@pytest.fixture
def stages(studies):
    """A base with a split, two runs that start from it, and one that does not."""
    run = studies["runs"].Run
    base = run("base", "Base", "a/base.py", 10, splits=(("cluster4", ("--num-clusters", "4")),))
    more = run("more", "Base and more", "a/base.py", 5, start="base", options=("x=1",))
    sdr = run("sdr", "SDR", "a/sdr.py", 5, 2.0, "base", True, "cluster4")
    alone = run("alone", "Alone", "a/base.py", 20)
    return ((base, more), (sdr, alone))


# --- paired differences


def test_the_bootstrap_interval_is_that_of_all_redraws(studies):
    """Of the tasks 0 and 2, a mean of redrawn tasks is 0, 1 or 2 with probability 1/4, 1/2 and 1/4."""
    low, high = studies["comparison"].bootstrap(np.array([[0.0], [2.0]]))
    assert (low, high) == (0.0, 2.0)
    # the spread of many tasks with one seed is that of a mean: +- 1.96 s / sqrt(T)
    values = np.random.default_rng(1).normal(3, 2, (100, 1))
    low, high = studies["comparison"].bootstrap(values)
    half = 1.96 * values.std() / 10
    assert low == pytest.approx(values.mean() - half, abs=0.05)
    assert high == pytest.approx(values.mean() + half, abs=0.05)


def test_seeds_are_redrawn_whole(studies):
    """All tasks of a seed share one training: 2 seeds that differ leave an interval as wide as their difference."""
    table = np.repeat(np.array([[0.0, 4.0]]), 50, axis=0)
    assert studies["comparison"].bootstrap(table) == (0.0, 4.0)


def test_a_difference_is_paired_and_takes_common_pairs_alone(studies):
    one = {("a", 0): 50.0, ("b", 0): 70.0, ("a", 1): 52.0, ("b", 1): 71.0, ("c", 0): 99.0}
    other = {("a", 0): 48.0, ("b", 0): 71.0, ("a", 1): 50.0, ("b", 1): 72.0}
    found = studies["comparison"].difference(one, other)
    assert found.mean == pytest.approx((2 - 1 + 2 - 1) / 4)
    assert (found.pairs, found.better) == (4, 0.5)
    assert found.low == -1
    assert found.high == 2
    assert studies["comparison"].difference(one, {("d", 0): 1.0}) is None


# --- runs and their commands


def test_runs_that_start_from_another_take_its_weights_its_split_and_other_crops(studies, folders, stages):
    units = {(u.run.name, u.seed): u for u in studies["runs"].units_of(stages, [0, 3])}
    train, evaluate = units["sdr", 3].steps(folders)
    text = train.line
    base = folders.out / "seed3" / "base"
    for option in (
        "configs/a/sdr.py",
        f"init_from={base / 'epoch_10.pth'}",
        f"clusters_file={base / 'cluster4.npz'}",
        "randomness.seed=1003",
        "max_epochs=5",
        f"data_root={folders.pool}",
    ):
        assert option in text
    assert train.output == folders.out / "seed3" / "sdr" / "epoch_5.pth"
    assert evaluate.output == folders.out / "seed3" / "sdr" / "results.json"
    more = next(units["more", 0].steps(folders)).line
    assert f"load_from={folders.out / 'seed0' / 'base' / 'epoch_10.pth'}" in more
    assert "x=1" in more
    tools = [step.tool for step in units["base", 0].steps(folders)]
    assert tools == ["train.py", "extract_features.py", "cluster.py", "studies/evaluate_run.py"]
    assert "randomness.seed=0" in next(units["base", 0].steps(folders)).line


def test_a_run_takes_the_split_of_the_run_it_starts_from_if_that_has_one(studies, folders, stages):
    run, split = studies["runs"].Run, (("cluster4", ("--num-clusters", "4")),)
    other = run("other", "Another base", "a/base.py", 10, splits=split)
    sdr = run("sdr_other", "SDR", "a/sdr.py", 5, 2.0, "other", True, "cluster4")
    units = {u.run.name: u for u in studies["runs"].units_of((*stages, (other, sdr)), [0])}
    folder = folders.out / "seed0"
    assert f"clusters_file={folder / 'other' / 'cluster4.npz'}" in next(units["sdr_other"].steps(folders)).line
    assert f"clusters_file={folder / 'base' / 'cluster4.npz'}" in next(units["sdr"].steps(folders)).line


@pytest.mark.parametrize("jobs", [1, 3])
def test_the_queue_runs_each_step_once_after_what_it_needs(studies, folders, stages, monkeypatch, jobs):
    queue, lock, lines = studies["queue_runner"], threading.Lock(), []
    units = studies["runs"].units_of(stages, [0, 1])

    def run(command, **_):
        with lock:
            lines.append(command[1:])
        step = next(s for u in units for s in u.steps(folders) if list(s.arguments) == list(command[2:]))
        assert not any(f"seed{i}/base" in a and not _base_is_there(folders, i) for i in (0, 1) for a in command[4:])
        step.output.write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(queue.subprocess, "run", run)
    seen = []
    queue.perform(units, folders, jobs, lambda: seen.append(len(seen)))
    assert len(lines) == 2 * (4 + 2 + 2 + 2)
    assert len(seen) == 8
    assert (folders.out / "commands.sh").read_text().count("tools/train.py") == 8
    assert "$OUT/seed1/base" in (folders.out / "commands.sh").read_text()
    queue.perform(units, folders, jobs, lambda: None)  # everything is there
    assert len(lines) == 20
    units[-1].result(folders).unlink()
    queue.perform(units, folders, jobs, lambda: None)
    assert len(lines) == 21  # the evaluation alone
    commands = (folders.out / "commands.sh").read_text().splitlines()
    assert len(commands) == len(set(commands)) == 20


def _base_is_there(folders, seed):
    return (folders.out / f"seed{seed}" / "base").is_dir()


def test_what_does_not_need_a_failed_run_is_done_all_the_same(studies, folders, stages, monkeypatch):
    queue = studies["queue_runner"]
    units = studies["runs"].units_of(stages, [0])

    def run(command, **_):
        step = next(s for u in units for s in u.steps(folders) if list(s.arguments) == list(command[2:]))
        fails = "/base/" in str(step.output)
        if not fails:
            step.output.write_text("{}")
        return subprocess.CompletedProcess(command, int(fails))

    monkeypatch.setattr(queue.subprocess, "run", run)
    with pytest.raises(ConfigError, match=r"tools/train.py failed, see the end of .*log.txt; more, seed 0"):
        queue.perform(units, folders, 1, lambda: None)
    assert [u.run.name for u in units if u.result(folders).is_file()] == ["alone"]


def test_the_plan_goes_by_what_finished_runs_took(studies, folders, stages):
    units = studies["runs"].units_of(stages, [0, 1])
    plan = studies["plan"].plan_text
    assert "The time is known when the first run is finished." in plan(units, folders)
    for unit in units[:1]:  # base with seed 0: 10 epochs in 600 s
        unit.folder(folders).mkdir(parents=True)
        write_json(unit.result(folders), {})
        write_json(unit.folder(folders) / "seconds.json", {"train.py": 500.0, "studies/evaluate_run.py": 100.0})
    text = plan(units, folders)
    assert "1 of 8 runs are finished." in text
    assert "left: base, seed 1: 10 min" in text  # as with the other seed
    assert "left: sdr, seed 0: 10 min" in text  # 5 epochs of twice the cost
    assert "left: more, seed 1: 5 min" in text
    assert "About 1.3 h left" in text  # 10 + 2 (5 + 10 + 20) minutes


# --- the report


def test_the_report_holds_means_and_differences_of_what_is_there(studies, folders, stages):
    units = studies["runs"].units_of(stages, [0, 1])
    for unit, shift in zip(units, (0, 1, 0, 1, 3, 5, 3, 5)):  # base, more, base, more, sdr, alone, ...
        if unit.run.name == "alone":
            continue
        unit.folder(folders).mkdir(parents=True, exist_ok=True)
        tasks = {}
        for i, task in enumerate(("a", "b")):
            # on training images, the base is better than SDR's path for task b alone
            full = {"knn": 10.0 * i + shift, "probe": 50.0 + shift, "select": 40.0 + 20 * i}
            tasks[task] = {"full": full}
            if unit.run.name == "sdr":
                full["select"] = 45.0
                routed = {"knn": full["knn"] + 2, "probe": full["probe"] + 4, "select": 50.0}
                tasks[task]["routed"] = {"name": "0-1", **routed}
                tasks[task]["hindsight"] = {"name": "0-0", "knn": full["knn"] + 3}
        write_json(unit.result(folders), {"tasks": tasks})
        unit.checkpoint(folders).write_bytes(b"weights")

    class Study:
        COMPARISONS = (("sdr", "more"), ("sdr", "alone"), ("sdr, chosen", "more"))

    text = studies["report"].write_report(Study, units, folders)
    assert text == (folders.out / "report.md").read_text()
    assert "| SDR (`sdr`) | 2 | 8.00 | 10.00 | 11.00 | 53.00 | 57.00 |" in text
    assert "| Base (`base`) | 2 | 5.00 |  |  | 50.00 |  |" in text
    # sdr's routed path minus the whole of more: 3 + 2 - 1 in kNN, 3 + 4 - 1 by the probe, on every task and seed
    assert "| `sdr` - `more` | **+4.00 (+4.00 to +4.00)** | 100 % | **+6.00 (+6.00 to +6.00)** |" in text
    assert "`sdr` - `alone`" not in text
    # of task a sdr's path, of task b the base: (3 + 2 + 10 + 0) / 2 in the mean
    assert "| SDR: chosen (`sdr, chosen`) | 2 | 8.00 | 7.50 |" in text
    assert "| `sdr` | 5.0 | 15.0 |" in text
    for name in ("differences.png", "accuracies.png"):
        assert (folders.out / name).stat().st_size > 1000
    files = read_json(folders.out / "files.json", "hashes")
    assert "seed1/sdr/epoch_5.pth" in files
    assert all(len(value) == 64 for value in files.values())
    # a checkpoint that another machine has keeps its hash
    units[0].checkpoint(folders).unlink()
    studies["report"].write_report(Study, units, folders)
    assert read_json(folders.out / "files.json", "hashes") == files


def test_oracles_of_single_domains_are_one_row(studies, folders):
    run = studies["runs"].Run
    stages = ((run("oracle_a", "", "c.py", 1, tasks=("a",)), run("oracle_b", "", "c.py", 1, tasks=("b",))),)
    units = studies["runs"].units_of(stages, [0])
    for unit, task in zip(units, "ab"):
        unit.folder(folders).mkdir(parents=True)
        write_json(unit.result(folders), {"tasks": {task: {"full": {"knn": 1.0}}}})
    results = studies["report"].read_results(units, folders)
    assert studies["report"].accuracies(results, "oracle", "routed", "knn") == {("a", 0): 1.0, ("b", 0): 1.0}


def test_a_run_is_held_against_what_single_domains_gain_task_by_task(studies, folders):
    accuracies = {
        name: {(f"{task}_2cls", seed): 50.0 + gain + seed for task, gain in zip("abc", of_tasks) for seed in (0, 1)}
        for name, of_tasks in {"oracle": (1, 2, 4), "sdr": (-1, 0, 2), "base": (0, 0, 0)}.items()
    }
    accuracies["oracle"]["a_2cls", 2] = 0.0  # a seed that the others do not have
    found = studies["where"].gains(*accuracies.values())
    assert (found.tasks, found.of_domain, found.of_run) == (("a_2cls", "b_2cls", "c_2cls"), (1, 2, 4), (-1, 0, 2))
    assert found.correlation == pytest.approx(1)
    accuracies["sdr"] = {pair: value for pair, value in accuracies["sdr"].items() if pair[0] != "c_2cls"}
    assert studies["where"].gains(*accuracies.values()) is None
    results = {
        name: {0: {f"t{t}": {"full": {"knn": float(10 * t * weight)}} for t in range(4)}}
        for name, weight in (("oracle", 3), ("sdr", 2), ("base", 1))
    }
    study = SimpleNamespace(WHERE=("oracle", "sdr", "base"))
    assert "correlation of 1.00" in "".join(studies["report"]._where(study, results, folders))
    assert (folders.out / "where.png").is_file()


def test_networks_of_a_group_are_compared_one_by_one_and_in_the_mean_of_the_small(studies, folders):
    """Two slimmable networks in one training, and each alone: a and b are tasks, the larger network is not small."""
    run = studies["runs"].Run
    stages = (
        (
            run("slim", "At once", "c.py", 1, group="slim"),
            run("alone_s", "Alone", "c.py", 1, group="alone"),
            run("alone_m", "Alone", "c.py", 1, group="alone"),
            run("alone_l", "Alone", "c.py", 1, group="alone"),
        ),
    )
    units = studies["runs"].units_of(stages, [0, 1])
    gains = {"s": 3.0, "m": 1.0, "l": -2.0}  # of slim over alone
    for unit in units:
        names = gains if unit.run.name == "slim" else {unit.run.name[-1]: 0}
        at_once = unit.run.name == "slim"
        tasks = {
            task: {"networks": {n: {"knn": base + 10 * unit.seed + gains[n] * at_once} for n in names}}
            for task, base in (("a", 40.0), ("b", 60.0))
        }
        unit.folder(folders).mkdir(parents=True)
        write_json(unit.result(folders), {"tasks": tasks})
        unit.checkpoint(folders).write_bytes(b"weights")
        write_json(unit.folder(folders) / "seconds.json", {"train.py": 120.0, "other.py": 7.0})

    class Study:
        SMALL = ("s", "m")
        COMPARISONS = (("slim, small", "alone, small"), ("slim, l", "alone, l"))

    results = studies["report"].read_results(units, folders, Study.SMALL)
    assert set(results) == {*(f"{g}, {n}" for g in ("slim", "alone") for n in ("s", "m", "l", "small"))}
    small = studies["report"].accuracies(results, "slim, small", "routed", "knn")
    assert small == {("a", 0): 42, ("b", 0): 62, ("a", 1): 52, ("b", 1): 72}
    text = studies["report"].write_report(Study, units, folders)
    assert "| `slim, small` - `alone, small` | **+2.00 (+2.00 to +2.00)** | 100 % |" in text
    assert "| `slim, l` - `alone, l` | **-2.00 (-2.00 to -2.00)** | 0 % |" in text
    assert studies["report"].training_minutes(units, folders) == {"slim": 2.0, "alone": 6.0}  # all three of a seed
    row = next(line for line in text.splitlines() if "(`alone, m`)" in line)
    # neither paths nor probes: their columns are left out
    assert row == "| Alone: m (`alone, m`) | 2 | 55.00 | 6 |"
    assert "| training | seeds | kNN, full | minutes |" in text
    units[-1].result(folders).unlink()  # alone_l with seed 1
    assert studies["report"].training_minutes(units, folders)["alone"] == 6.0  # of seed 0
    units[-2].result(folders).unlink()  # alone_m with seed 1
    results = studies["report"].read_results(units, folders, Study.SMALL)
    assert set(results["alone, small"]) == {0}


def test_a_page_gets_the_report_between_its_marks_and_the_figures_beside(studies, folders, tmp_path):
    page = tmp_path / "docs" / "mine.md"
    page.parent.mkdir()
    publish = studies["page"].publish
    page.write_text("# Mine\n")
    with pytest.raises(ConfigError, match="must be a page with the lines"):
        publish(page, "new", [], folders)
    page.write_text("# Mine\nbefore\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    (folders.out / "differences.png").write_bytes(b"png")
    for _ in range(2):  # again, the same
        publish(page, "new\n", [], folders)
        assert page.read_text() == "# Mine\nbefore\n<!-- results -->\nnew\n<!-- end of results -->\nafter\n"
    assert {file.name for file in (tmp_path / "docs/mine").iterdir()} == {"differences.png", "results.json"}


def test_a_study_goes_on_elsewhere_from_what_its_page_has(studies, folders, stages, tmp_path):
    """The report is the same from published results; what an unfinished run starts from is made again."""
    units = studies["runs"].units_of(stages, [0, 1])
    for unit in units:
        unit.folder(folders).mkdir(parents=True, exist_ok=True)
        accuracy = {"select": 1.0, "knn": 40.12345678 + len(unit.run.name) + unit.seed, "probe": 50.0}
        write_json(unit.result(folders), {"config": "c.py", "tasks": {"a": {"full": accuracy}}})
        write_json(unit.folder(folders) / "seconds.json", {"train.py": 120.0})
        unit.checkpoint(folders).write_bytes(unit.run.name.encode())
    page = tmp_path / "mine.md"
    page.write_text("<!-- results -->\n<!-- end of results -->\n")
    study = SimpleNamespace(COMPARISONS=(("sdr", "more"),))
    text = studies["report"].write_report(study, units, folders)
    studies["page"].publish(page, text, units, folders)
    shutil.copyfile(folders.out / "files.json", tmp_path / "mine/files.json")
    hashes = read_json(folders.out / "files.json", "hashes")

    other = studies["runs"].Folders(folders.data, tmp_path / "elsewhere")
    restored = studies["page"].restore(page, units, other)
    assert len(restored) == len(units)
    assert studies["page"].restore(page, units, other) == []
    assert studies["report"].write_report(study, units, other) == text
    assert read_json(other.out / "files.json", "hashes") == hashes

    unfinished = next(unit for unit in units if unit.needs is not None)
    published = read_json(tmp_path / "mine/results.json", "results")
    name = str(unfinished.folder(folders).relative_to(folders.out))
    write_json(tmp_path / "mine/results.json", {key: value for key, value in published.items() if key != name})
    third = studies["runs"].Folders(folders.data, tmp_path / "third")
    restored = studies["page"].restore(page, units, third)
    assert len(restored) == len(units) - 2
    assert not unfinished.needs.result(third).is_file()
    # also where everything had been restored before
    studies["page"].restore(page, units, other)
    assert unfinished.needs.result(other).is_file()
    unfinished.result(other).unlink()
    assert studies["page"].restore(page, units, other) == []
    assert not unfinished.needs.result(other).is_file()


# --- the tables of runs


def test_the_table_of_the_mixed_pool_is_whole(studies, repo_root):
    domains = studies["domains"]
    units = studies["runs"].units_of(domains.STAGES, [0])  # fails where a start is unknown or comes too late
    names = [unit.run.name for unit in units]
    assert len(set(names)) == len(names)
    splits = {name for unit in units for name, _ in unit.run.splits}
    for unit in units:
        assert (repo_root / "configs" / unit.run.config).is_file()
        assert unit.run.split in (None, *splits)
        assert "_" not in unit.run.name or unit.run.tasks or unit.run.start
    chosen = {f"{unit.run.name}, chosen" for unit in units if unit.run.into_paths}
    for pair in domains.COMPARISONS:
        assert set(pair) <= {*names, *chosen, "oracle"}
    assert set(domains.WHERE) <= {*names, "oracle"}
    assert set(domains.HEADLINE) <= {*names, *chosen}
    for unit in units:  # the options are understood
        config = repo_root / "configs" / unit.run.config
        load_config(config, config_options(str(config), dict(o.split("=", 1) for o in unit.run.options)))


def test_the_larger_study_gives_sdr_the_other_half_of_the_schedule(studies, repo_root):
    large = studies["domains_large"]
    units = {unit.run.name: unit for unit in studies["runs"].units_of(large.STAGES, [0])}
    configs = {}
    for name, unit in units.items():
        config = repo_root / "configs" / unit.run.config
        options = dict(option.split("=", 1) for option in (*unit.run.options, f"max_epochs={unit.run.epochs}"))
        configs[name] = load_config(config, config_options(str(config), options))
    (first,) = configs["first_half"].param_scheduler
    assert first.T_max == 2 * units["first_half"].run.epochs == units["simsiam"].run.epochs
    assert configs["sdr"].optim_wrapper.optimizer.lr == configs["first_half"].optim_wrapper.optimizer.lr / 2
    chosen = {f"{unit.run.name}, chosen" for unit in units.values() if unit.run.into_paths}
    assert all(set(pair) <= {*units, *chosen} for pair in large.COMPARISONS)
    assert units["simsiam_time"].run.epochs == round(units["sdr"].run.epochs * (1 + units["sdr"].run.cost))


def test_the_table_of_slimmable_networks_is_whole_and_names_them_as_the_super_network_does(studies, repo_root):
    dspnet = studies["dspnet"]
    units = studies["runs"].units_of(dspnet.STAGES, [0])
    names = [unit.run.name for unit in units]
    assert len(set(names)) == len(names)
    for config in (dspnet.SLIMMABLE, dspnet.DSPNET):
        assert build_backbone(load_config(repo_root / "configs" / config)).subnets == dspnet.NETWORKS
    for unit in (unit for unit in units if unit.run.name.startswith(("alone20", "byol_time"))):
        config = repo_root / "configs" / unit.run.config
        alone = build_backbone(
            load_config(config, config_options(str(config), dict(o.split("=") for o in unit.run.options)))
        )
        assert alone.subnets == (unit.run.name.split("_")[-1],)
    groups = {unit.run.group for unit in units}
    for pair in dspnet.COMPARISONS:
        for side in pair:
            group, network = side.split(", ")
            assert group in groups
            assert network in (*dspnet.NETWORKS, "small")
    small = {f"{dspnet.STAGES[0][0].group}_{name}" for name in dspnet.SMALL}
    assert len(small) == 5
    # the largest starts from the base of the study of domains
    base = next(unit for unit in units if unit.run.name == "simsiam10of20")
    config = load_config(repo_root / "configs" / base.run.config)
    plain = build_backbone(config)
    slim = build_backbone(load_config(repo_root / "configs" / dspnet.SLIMMABLE))
    shapes = {name: value.shape for name, value in slim.static(dspnet.NETWORKS[-1]).named_parameters()}
    assert shapes == {name: value.shape for name, value in plain.named_parameters()}
    # ... whose rate is then halfway down
    assert (f"optim_wrapper.optimizer.lr={config.optim_wrapper.optimizer.lr / 2}",) == studies["domains"].REST


@pytest.mark.parametrize("name", ["relatives", "sandwich", "teacher"])
def test_the_tables_at_equal_time_are_whole_and_of_equal_time(studies, folders, repo_root, name):
    study = studies[name]
    units = studies["runs"].units_of(study.STAGES, [0])
    runs = [unit.run for unit in units]
    assert len({run.name for run in runs}) == len(runs)
    known = {run.name for run in runs if run.group is None}
    known |= {f"{run.group}, {network}" for run in runs if run.group for network in (*study.NETWORKS, "small")}
    assert {side for pair in study.COMPARISONS for side in pair} <= known
    for path in {run.config for run in runs}:  # all options of its runs at once
        options = dict(o.split("=", 1) for run in runs if run.config == path for o in run.options)
        config = repo_root / "configs" / path
        cfg = load_config(config, config_options(str(config), options))
        if "dspnet" in path and not any("channels" in option for option in options):
            assert build_backbone(cfg).subnets == study.NETWORKS
    assert not any("$OUT" in argument for unit in units for step in unit.steps(folders) for argument in step.arguments)
    time = {}
    for run in runs:
        key = run.group or run.name
        time[key] = time.get(key, 0) + run.epochs * run.cost
    pairs = (*study.COMPARISONS[:6], study.COMPARISONS[-1]) if name == "teacher" else study.COMPARISONS
    for one, other in pairs:
        spent = [time[side.partition(",")[0]] for side in (one, other)]
        assert spent[0] == pytest.approx(spent[1], rel=0.08), (one, other)


def test_the_teachers_layers_have_timms_names(studies):
    """Every tensor of timm's network once, of its shape."""
    timm = pytest.importorskip("timm")
    net = timm.create_model("tf_efficientnet_lite0")
    lite = studies["lite_teacher"]
    back = {theirs: mine for mine, theirs in lite.AROUND.items()}
    places = [(stage, block) for stage, count in enumerate(lite.BLOCKS) for block in range(count)]
    wheel = {}
    for key, value in net.state_dict().items():
        layer, _, rest = key.partition(".")
        if layer != "blocks":
            wheel[f"{back[layer]}.{rest}"] = value
            continue
        stage, block, part, last = rest.split(".")
        names = {theirs: mine for mine, theirs in (lite.OTHERS if int(stage) else lite.FIRST).items()}
        wheel[f"_blocks.{places.index((int(stage), int(block)))}.{names[part]}.{last}"] = value
    found = lite.timm_names(wheel)
    assert {k: v.shape for k, v in found.items()} == {k: v.shape for k, v in net.state_dict().items()}
    assert all(torch.equal(one, other) for one, other in zip(found.values(), wheel.values()))


def test_the_table_of_tasks_and_budgets_is_whole_and_its_arms_have_networks_of_the_same_shape(studies, repo_root):
    budget = studies["budget"]
    units = studies["runs"].units_of(budget.STAGES, [0])
    names = [unit.run.name for unit in units]
    assert len(set(names)) == len(names)
    groups = {unit.run.group for unit in units}
    for pair in budget.COMPARISONS:
        for side in pair:
            group, network = side.split(", ")
            assert group in groups
            assert network in (*budget.WIDTHS, "small")
    paths, one = (build_backbone(load_config(repo_root / "configs" / c)) for c in (budget.PATHS, budget.ONE_PATH))
    assert len(paths.subnets) == 3 * 16 + 1
    cost = {unit.run.name: unit.run.epochs * unit.run.cost for unit in units}
    times = cost["both10"], cost["one11"], cost["sdr6"] + cost["sdr6+5"]
    assert max(times) / min(times) < 1.06
    plain = build_backbone(load_config(repo_root / "configs" / budget.SIMSIAM))
    shapes = [
        [
            {name: value.shape for name, value in net.static(network).named_parameters()}
            for network in net.space.widths_of(path)
        ]
        for net, path in ((paths, "0-0-3-1"), (one, "full"))
    ]
    assert shapes[0] == shapes[1]
    assert shapes[0][-1] == {name: value.shape for name, value in plain.named_parameters()}
    for unit in units[1:]:  # the options are understood
        config = repo_root / "configs" / unit.run.config
        load_config(config, config_options(str(config), dict(o.split("=") for o in unit.run.options)))


def test_paths_of_several_widths_are_compared_by_what_a_task_gets_at_a_width(studies, folders):
    run = studies["runs"].Run
    units = studies["runs"].units_of(((run("both", "Both", "c.py", 1, group="both"),),), [0])
    entry = lambda name, value: {"name": name, "knn": value, "probe": value + 1}  # noqa: E731
    widths = {
        w: {"routed": entry(f"0-1@{w}", value), "hindsight": entry(f"0-0@{w}", value + 2)}
        for w, value in (("w0.5", 40.0), ("w0.75", 50.0), ("w1.0", 70.0))
    }
    units[0].folder(folders).mkdir(parents=True)
    write_json(units[0].result(folders), {"tasks": {"a": {"networks": {}, "full": {"knn": 1.0}, "widths": widths}}})
    results = studies["report"].read_results(units, folders, ("w0.5", "w0.75"))
    assert set(results) == {"both, w0.5", "both, w0.75", "both, w1.0", "both, small"}
    accuracies = studies["report"].accuracies
    assert accuracies(results, "both, w0.75", "routed", "knn") == {("a", 0): 50.0}
    assert accuracies(results, "both, w0.75", "hindsight", "knn") == {("a", 0): 52.0}
    assert accuracies(results, "both, small", "routed", "probe") == {("a", 0): 46.0}


def test_preparing_unpacks_equal_shares_of_the_pool_and_the_tasks(studies, folders, monkeypatch):
    domains = studies["domains"]
    monkeypatch.setattr(domains, "IMAGES", 2)
    with pytest.raises(ConfigError, match=r"--data has no pool\.tar\.gz"):
        domains.prepare(folders)

    def archive(name, members):
        with tarfile.open(folders.data / f"{name}.tar.gz", "w:gz") as file:
            for member in members:
                info = tarfile.TarInfo(member)
                info.size = 3
                file.addfile(info, io.BytesIO(b"jpg"))

    archive("pool", ["sources.tsv", *(f"pool/{d}/{i:04d}.jpg" for i in (2, 0, 1) for d in domains.DOMAINS)])
    for task in domains.TASKS:
        archive(task, ["classes.txt", "train/x/0.jpg", "test/x/0.jpg"])
    domains.prepare(folders)
    found = sorted(str(p.relative_to(folders.pool)) for p in folders.pool.rglob("*") if p.is_file())
    assert found == sorted(f"{d}/{i:04d}.jpg" for i in range(2) for d in domains.DOMAINS)
    assert sorted(p.name for p in folders.tasks.iterdir()) == sorted(domains.TASKS)
    assert {p.name for p in (folders.tasks / domains.TASKS[0]).iterdir()} == {"train", "test"}
    domains.prepare(folders)


# --- the evaluation of one training


def test_a_run_is_evaluated_as_the_router_evaluates_it(studies, work, bank, tmp_path, monkeypatch):
    evaluate = studies["evaluate_run"]
    monkeypatch.setattr(sys, "argv", ["evaluate_run.py", str(work / "config.py"), str(work / "epoch_1.pth")])
    sys.argv += ["--tasks", str(work / "pets"), "--out", str(tmp_path)]
    evaluate.main()
    record = read_json(tmp_path / "results.json", "result")
    found = record["tasks"]["pets"]
    cfg, net = load_super_network(work / "config.py", work / "epoch_1.pth", "cpu")
    splits = Task.from_folder(work / "pets", cfg.eval_pipeline).splits(normalisation_of(cfg), 64)
    result = KNNRouter(net, BNBank.load(bank), protocol=evaluate.KNN, progress=False).route(splits)
    with pytest.warns(UserWarning, match="k=200 is cut"):
        of_200 = KNNRouter(net, BNBank.load(bank), protocol=evaluate.KNN_200, progress=False).route(splits)
    wide = {score.name: score.test_accuracy for score in (*of_200.subnets, of_200.full)}
    assert found["routed"]["name"] == result.best.name
    for score in (*result.subnets, result.full):
        assert found["networks"][score.name].pop("knn-200") == wide[score.name]
        assert found["networks"][score.name] == {"select": score.select_accuracy, "knn": score.test_accuracy}
    assert found["full"]["knn"] == result.full.test_accuracy
    assert record["params"]["full"] > record["params"]["0-0-1-1"]
    with np.load(tmp_path / "features" / "pets.npz") as kept:
        assert kept["0-0-1-0/train"].shape == (20, 9)
        assert kept["labels/test"].tolist() == [0] * 5 + [1] * 5
    assert 0 <= found["full"]["probe"] <= 100

    # and its paths are judged by all scores from the features that were kept
    monkeypatch.setattr(sys, "argv", ["fidelity.py", str(tmp_path)])
    studies["fidelity"].main()
    judged = read_json(tmp_path / "fidelity.json", "fidelity")["pets"]
    assert sorted(judged) == sorted(score.name for score in result.subnets)
    assert set(judged["0-0-1-0"]) == {"knn", "knn-200", "ncm", "ridge", "logme", "h-score", "probe", "test-knn"}
    # what an earlier run of it had left out is added
    write_json(tmp_path / "fidelity.json", {"pets": {name: {"knn": 0.0} for name in judged}})
    studies["fidelity"].main()
    assert read_json(tmp_path / "fidelity.json", "fidelity")["pets"] == judged
    routed = found["routed"]
    assert judged[routed["name"]]["knn"] == pytest.approx(routed["select"], abs=5)  # of features in half precision
    assert judged[routed["name"]]["probe"] == pytest.approx(routed["probe"], abs=10)
    assert judged[routed["name"]]["test-knn"] == pytest.approx(routed["knn"], abs=5)


def test_gains_are_ranked_with_the_distance_of_a_tasks_domain(studies, folders):
    distance = studies["distance"]
    rng = np.random.default_rng(0)
    shifts = {"near": 0.0, "far": 2.0, "farther": 5.0}
    rows = [rng.normal(size=(300, 4)) + [10, shift, 0, 0] for shift in shifts.values()]
    domains = np.repeat(list(shifts), 300)
    found = distance.distances(np.concatenate(rows), domains)
    unit = np.concatenate(rows) / np.linalg.norm(np.concatenate(rows), axis=1, keepdims=True)
    one, other = unit[domains == "far"], unit[domains != "far"]
    # of symmetric matrices the trace of the root has another form
    root = sqrtm(sqrtm(np.cov(one.T)) @ np.cov(other.T) @ sqrtm(np.cov(one.T)))
    expected = np.square(one.mean(0) - other.mean(0)).sum() + np.trace(np.cov(one.T) + np.cov(other.T) - 2 * root)
    assert found["far"] == pytest.approx(float(np.real(expected)), rel=1e-6)
    assert found["farther"] > found["near"] > found["far"]  # the middle one lies among the others

    baseline = {(f"{name}_3cls", seed): 50.0 for name in shifts for seed in (0, 1)}
    run = {pair: 50 + found[pair[0].rpartition("_")[0]] for pair in baseline}
    assert distance.rank_correlation([found, found], run, baseline) == pytest.approx(1)
    assert distance.rank_correlation([found], baseline, run) == pytest.approx(-1)
    assert distance.rank_correlation([], run, baseline) is None

    # as the report finds it
    study = SimpleNamespace(DISTANCE=("base", (("run", "more"),)))
    base = studies["runs"].units_of(((studies["runs"].Run("base", "Base", "a.py", 1),),), [0])[0]
    base.folder(folders).mkdir(parents=True)
    names = [f"{name}/{i}.png" for i, name in enumerate(domains)]
    Features(np.concatenate(rows).astype(np.float32), names).save(base.folder(folders) / "features.npy")
    results = {
        name: {0: {f"{d}_3cls": {"full": {"knn": 50 + gain * found[d]}} for d in shifts}}
        for name, gain in (("run", 1), ("more", 0))
    }
    text = "".join(studies["report"]._distance(study, [base], results, folders))
    assert "of 1.00 for `run` over `more`" in text


def test_fidelity_is_kendalls_tau_and_what_the_choice_loses(studies):
    probes = np.array([50.0, 60.0, 70.0, 80.0])
    fidelity = studies["fidelity"].fidelity
    assert fidelity(np.array([1.0, 2.0, 3.0, 4.0]), probes) == (1.0, 0.0)
    assert fidelity(np.array([4.0, 3.0, 2.0, 1.0]), probes) == (-1.0, 30.0)
    assert fidelity(np.array([1.0, 3.0, 4.0, 2.0]), probes) == (pytest.approx(1 / 3), 10.0)
    assert fidelity(np.ones(4), probes) == (0.0, 30.0)
    # the two uses of a path have opposite orders
    run = {"a": {f"{i}": {"knn": float(i), "probe": p, "test-knn": -p} for i, p in enumerate(probes)}}
    found = studies["fidelity"].summary([run, run], "probe")
    assert found["knn"] == ["1.000 ± 0.000", "0.00 ± 0.00", ""]
    assert found["chance"] == ["0.000 ± 0.000", "15.00 ± 0.00", "+15.00 ± 0.00"]
    with pytest.raises(ConfigError, match="fidelity.py on its run again"):
        studies["fidelity"].summary([{"a": {"0": {"knn": 1.0, "probe": 1.0}}}], "test-knn")
    found = studies["fidelity"].summary([run], "test-knn")
    assert found["knn"] == ["-1.000", "30.00", ""]
    assert found["chance"] == ["0.000", "15.00", "-15.00"]

"""Pages whose commands and code run for real: as they stand, but for the sizes in :data:`SMALLER` and :data:`TEXT`.

What a page needs from another one is a fixture that runs that page's blocks, so each test stands alone. Everything
happens in one folder, on one tiny network.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import contextmanager

import pytest
import torch

from mmssl_dynamic.commands.registry import run_verb
from mmssl_dynamic.fileio import read_json
from mmssl_dynamic.registry import MODELS
from mmssl_dynamic.routing import RoutingResult
from tests.docs.blocks import ROOT, blocks_of
from tests.docs.shell import Call, call_of, lay_out
from tests.helpers import write_images

LOADERS = (
    "train_dataloader.num_workers=0 train_dataloader.persistent_workers=False extract_dataloader.num_workers=0 "
    "max_epochs=2 image_size=32"
)
HEADS = "model.neck.hid_channels=16 model.neck.out_channels=16"
PREDICTOR = (
    "model.head.predictor.in_channels=16 model.head.predictor.hid_channels=8 model.head.predictor.out_channels=16"
)
SDR = f"{LOADERS} train_dataloader.batch_size=4 model.backbone.depth=18 model.backbone.stem_channels=8 {HEADS}"
STAGES = "model.backbone.stage_channels=(4,8,28,56)"  # a path has 4, 8, 16 and 32 channels, as that SimSiam
# Options that make a config small, beside those that stand in the command.
SMALLER = {
    "configs/sdr/simsiam_r50_custom.py": f"{SDR} {PREDICTOR} model.backbone.base_channels=4 model.neck.in_channels=32",
    "configs/sdr/sdr_simsiam_r50_16path_custom.py": f"{SDR} {PREDICTOR} {STAGES}",
    "sdr_barlowtwins_r50_16path_custom.py": f"{SDR} model.head.in_channels=16 {STAGES}",
    "--preset": f"{LOADERS} train_dataloader.batch_size=4",
    "dspnet_stack_custom.py": f"{LOADERS} train_dataloader.batch_size=8 warmup_epochs=1 {HEADS} {PREDICTOR}",
}
# And options of verbs, in place of what they would be.
OPTIONS = {
    "extract-features": "--batch-size 16",
    "calibrate": "--batch-size 16 --workers 0",
    "route": "--batch-size 16 --workers 0",
    "evaluate": "--batch-size 16 --workers 0 --latency-repeats 1",
    "transfer": "--batch-size 16 --workers 0 --image-size 32",
    "latency": "--repeats 2 --warm-up 1",
}
RUN = "work_dirs/sdr_simsiam_r50_16path_custom"
TEXT = {
    "epoch_200.pth": "epoch_2.pth",
    "epoch_300.pth": "epoch_2.pth",
    "epoch_64.pth": "epoch_2.pth",
    "--min-size 128": "--min-size 4",
    "--min-size 64": "--min-size 4",
    "--num-clusters auto": "--num-clusters auto --images-per-cluster 16",
    "--datasets aircraft,pets,dtd,my_task": "--datasets my_task",
    "--fixed-size 224": "--fixed-size 64",
    # In Python, the config of the run: it has the sizes.
    '("sdr_simsiam_r50_16path_custom",': f'("{RUN}/sdr_simsiam_r50_16path_custom.py",',
    '    "sdr_simsiam_r50_16path_custom",': f'    "{RUN}/sdr_simsiam_r50_16path_custom.py",',
    '"configs/sdr/sdr_simsiam_r50_16path_custom.py"': f'"{RUN}/sdr_simsiam_r50_16path_custom.py"',
    "mmssl_sdr_resnet50": "mmssl_sdr_resnet18",
}


def smaller(text: str) -> str:
    """A block at a small size."""
    for given, small in TEXT.items():
        text = text.replace(given, small)
    return text


def small_call(words: list[str]) -> Call | None:
    """The call of a command at a small size; ``None`` for other commands."""
    call = call_of(words)
    if call is None:
        return None
    arguments = [*call.arguments, *shlex.split(OPTIONS.get(call.verb, ""))]
    options = SMALLER["--preset"] if "--preset" in arguments else SMALLER.get(arguments[0], "")
    options = options.split()
    if options and "--cfg-options" in arguments:
        place = arguments.index("--cfg-options") + 1
        arguments[place:place] = options
    elif options:
        arguments += ["--cfg-options", *options]
    for config in SMALLER:
        if "--base-config" in arguments and arguments[arguments.index("--base-config") + 1] == config:
            arguments += ["--base-options", *SMALLER[config].split()]
    return Call(call.verb, arguments)


@contextmanager
def inside(folder):
    """In a folder, whose modules can be imported."""
    before, path = os.getcwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


def run(page: str, *which: int, world) -> None:
    """Run blocks of bash of a page, by their numbers from 0."""
    blocks = [block for block in blocks_of(ROOT / page) if block.language == "bash"]
    with inside(world):
        for number in which:
            for words in blocks[number].commands:
                call = small_call(shlex.split(smaller(shlex.join(words))))
                assert call is not None, words
                run_verb(call.verb, call.arguments)


def execute(page: str, which: int, world) -> dict:
    """Run a block of Python of a page; returns its names."""
    block = [block for block in blocks_of(ROOT / page) if block.language == "python"][which]
    names: dict = {}
    with inside(world):
        exec(compile(smaller(block.code), str(block), "exec"), names)
    return names


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The checkout's configs and tools, images of one's own, and two tasks."""
    return furnished(tmp_path_factory.mktemp("small"))


def furnished(world):
    """A folder with what the pages ask for."""
    lay_out(world)
    write_images(world / "data/my_images", 64)
    for seed, task in enumerate(("my_task", "another_task")):
        for part, count in (("train", 24), ("test", 12)):
            write_images(world / "data" / task / part, count, classes=2, seed=seed + count)
    return world


@pytest.fixture(scope="module")
def trained(world):
    """What docs/pretrain.md leaves behind."""
    run("docs/pretrain.md", 0, 1, world=world)
    return world / RUN


@pytest.fixture(scope="module")
def routed(trained, world):
    """And the first command of docs/route.md."""
    run("docs/route.md", 0, world=world)
    return world / "work_dirs/my_task"


@pytest.fixture(scope="module")
def exported(trained, world):
    """And the first of docs/deploy.md: ``work_dirs/backbone.pth``."""
    blocks = [block for block in blocks_of(ROOT / "docs/deploy.md") if block.language == "bash"]
    call = small_call(shlex.split(smaller(shlex.join(blocks[0].commands[0]))))
    with inside(world):
        run_verb(call.verb, call.arguments)
    return world / "work_dirs/backbone.pth"


def test_pretraining_on_a_folder_leaves_what_the_page_says(trained):
    assert (trained / "epoch_2.pth").is_file()
    assert (trained / "bn_bank.safetensors").is_file()
    assert len(read_json(trained / "collapse.json", "health")["health"]) > 1


def test_routing_chooses_and_exports(routed):
    result = RoutingResult.load(routed / "routing.json")
    assert len(result.subnets) == 16
    assert (routed / "report.html").is_file()
    assert (routed / f"backbone_{result.best.name}_mmpretrain.pth").is_file()


def test_routing_in_python(routed, world):
    names = execute("docs/route.md", 0, world)
    assert names["ranking"].best.name == RoutingResult.load(routed / "routing.json").best.name
    assert (world / names["winner"].path).is_file()


def test_the_readme_runs(trained, world):
    names = execute("README.md", 0, world)
    assert names["features"].shape == (1, 32, 7, 7)


def test_deploying_by_name_in_a_notebook_and_in_timm(exported, world):
    names = execute("docs/deploy.md", 0, world)
    with torch.no_grad():
        images = torch.rand(1, 3, 64, 64)
        loaded = names["twin"](images)[-1]
        names = execute("docs/deploy.md", 1, world)
        torch.testing.assert_close(names["twin"](images)[-1], loaded, rtol=1e-4, atol=1e-5)
        assert names["features"].shape == (2, 32, 7, 7)
        names = execute("docs/deploy.md", 2, world)
        assert names["classifier"].eval()(images).shape == (1, 10)
        assert [feature.shape[2] for feature in names["pyramid"](images)] == [32, 16, 8, 4, 2]


def test_a_network_is_chosen_by_latency_and_published(routed, exported, world, capsys, torch_export):
    run("docs/deploy.md", 1, 5, world=world)
    assert "my_task: " in capsys.readouterr().out
    assert (world / "work_dirs/chosen/select.json").is_file()
    folder, file = sorted((world / "work_dirs/published").iterdir(), key=lambda path: path.is_file())
    assert "| my_task | test |" in (folder / "README.md").read_text()
    assert file.stat().st_size < (world / RUN / "epoch_2.pth").stat().st_size
    published, loaded = execute("docs/deploy.md", 3, world)["net"], execute("docs/deploy.md", 4, world)["net"]
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        wanted = loaded(images)[-1].mean((2, 3))
        torch.testing.assert_close(published.eval()(images), wanted, rtol=1e-4, atol=1e-5)
    scripted = torch.jit.load(world / "work_dirs/backbone.torchscript.pt")
    torch.testing.assert_close(scripted(images)[-1], loaded(images)[-1])
    program = torch.export.load(world / "work_dirs/backbone.pt2").module()
    images = torch.rand(3, 3, 224, 224)
    torch.testing.assert_close(program(images)[-1], loaded(images)[-1], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_graphs_of_a_fixed_size_and_in_int8(trained, world, capsys):
    run("docs/deploy.md", 2, 3, world=world)
    assert "in INT8 (kNN protocol sdr" in capsys.readouterr().out
    sidecar = read_json(world / "work_dirs/backbone_int8.onnx.json", "sidecar")
    assert set(sidecar["int8"]["accuracy"]) == {"before", "after"}
    assert read_json(world / "work_dirs/laptop_int8.json", "table")["conditions"]["runtime"].endswith("INT8")


def test_statistics_can_be_measured_anew(trained, world):
    before = (trained / "bn_bank.safetensors").stat().st_mtime_ns
    run("docs/numbers.md", 0, world=world)
    assert (trained / "bn_bank.safetensors").stat().st_mtime_ns > before


@pytest.mark.slow
def test_a_folder_of_images_needs_no_config(tmp_path):
    world = furnished(tmp_path)  # of its own: the page's outputs have the names of those of other pages
    run("docs/own-images.md", 1, 2, 3, 4, world=world)  # 0 is tests/pipeline
    result = RoutingResult.load(world / "work_dirs/my_task/routing.json")
    assert len(result.subnets) == 4
    assert (world / "work_dirs/simsiam_small_my_images/curves.png").is_file()


@pytest.mark.slow
def test_several_tasks_and_the_faster_ways(routed, world, capsys):
    run("docs/route.md", 1, 2, world=world)
    assert "regret" in capsys.readouterr().out
    assert (world / "work_dirs/tasks/another_task/routing.json").is_file()
    assert (world / "work_dirs/my_task_cluster/routing.json").is_file()


@pytest.mark.slow
def test_transfer_and_onnx(routed, world):
    run("docs/transfer.md", 0, world=world)
    assert len(read_json(world / "work_dirs/transfer/results.json", "results")["networks"]) == 17
    run("docs/deploy.md", 0, world=world)
    assert (world / "work_dirs/backbone.onnx").is_file()


# docs/extending.md: its files lie in the folder, and its commands run there.


@pytest.fixture(scope="module")
def extended(world):
    """The folder with all files of the page; what they register is taken back."""
    before = {registry: dict(registry.module_dict) for registry in (MODELS,)}
    from mmssl_dynamic.export.families import FAMILIES

    families = dict(FAMILIES)
    files = [block for block in blocks_of(ROOT / "docs/extending.md") if block.title]
    assert {block.title for block in files if block.title.startswith("my_")} == {
        "my_methods.py",
        "my_module.py",
        "my_formats.py",
        "my_networks.py",
    }
    for block in files:
        (world / block.title).write_text(block.code)
    yield world
    FAMILIES.clear()
    FAMILIES.update(families)
    for registry, known in before.items():
        registry._module_dict = known
    for block in files:
        sys.modules.pop(block.title.removesuffix(".py"), None)


def blocks_of_extending(word: str) -> int:
    """Number of the block of bash with a word."""
    blocks = [block for block in blocks_of(ROOT / "docs/extending.md") if block.language == "bash"]
    (number,) = [index for index, block in enumerate(blocks) if word in block.code]
    return number


def test_a_base_method_of_the_page_trains(extended, trained, world):
    run("docs/extending.md", blocks_of_extending("barlowtwins"), world=world)
    folder = world / "work_dirs/sdr_barlowtwins_r50_16path_custom"
    assert (folder / "bn_bank.safetensors").is_file()
    losses = re.findall(r"loss_ssl: (-?[\d.]+)", next(folder.glob("*/*.log")).read_text())
    assert all(float(loss) > 0 for loss in losses)  # a sum of squares, and not SimSiam's negative cosine


def test_a_score_of_the_page_ranks(extended, trained, world):
    run("docs/extending.md", blocks_of_extending("NearestMean"), world=world)
    result = RoutingResult.load(world / "work_dirs/my_task_means/routing.json")
    assert result.protocol["score"] == "my_module.NearestMean"
    scores = [entry.score for entry in result.subnets]
    assert scores == sorted(scores, reverse=True)


def test_a_format_of_the_page_is_verified(extended, trained, world, capsys):
    run("docs/extending.md", blocks_of_extending("NumPyFormat"), world=world)
    assert "read it back into the backbone itself: all weights are equal" in capsys.readouterr().out
    assert read_json(world / "work_dirs/backbone.npz.json", "sidecar")["format"] == "my_formats.NumPyFormat"


def test_a_family_of_the_page_trains_is_compared_and_leaves(extended, world):
    run("docs/extending.md", blocks_of_extending("dspnet_stack"), world=world)
    networks = read_json(world / "work_dirs/stack/results.json", "results")["networks"]
    assert [entry["name"] for entry in networks] == ["w0.5", "w0.75", "w1.0"]
    sidecar = read_json(world / "work_dirs/stacks/backbone_w0.5_mmdet.pth.json", "sidecar")
    assert sidecar["architecture"] == {"family": "Stack", "widths": [16, 32, 64, 128, 256], "in_channels": 3}

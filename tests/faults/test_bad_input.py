"""A table of bad input: each kind is refused in one sentence that names it, with status 2, and nothing is written.

A row is a kind, what spoils a good folder, the command that meets it, and what its sentence must name.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from mmssl_dynamic import cli
from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.features import Features
from mmssl_dynamic.fileio import load_state_dict
from mmssl_dynamic.loading import build_backbone, load_config
from tests.tools.running import CONFIG, load_tool, paint

pytestmark = pytest.mark.fault("bad input")

# Command lines that work in the good folder.
MODEL = "config.py epoch_1.pth"
EXTRACT = f"extract_features {MODEL} --out out/F.npy"
CLUSTER = "cluster F.npy --num-clusters 4 --epochs 1 --out out/c.npz"
CALIBRATE = f"calibrate_bn {MODEL} --out out --workers 0 --images 6"
ROUTE = f"route {MODEL} --bank bank.safetensors --data-root pets --out out --k 3 --workers 0"
EVALUATE = f"evaluate {MODEL} --bank bank.safetensors --data-root pets --out out --workers 0 --latency-repeats 0"
SEMISUP = f"{EVALUATE} --protocol semisup --label-list labels.txt --image-size 32"
TRANSFER = (
    f"transfer {MODEL} --bank bank.safetensors --data-root . --datasets pets --out out --workers 0 --image-size 32"
)
EXPORT = f"export {MODEL} --subnet 0-0-0-0 --bank bank.safetensors --out out/b.pth"
WINNER = f"export {MODEL} --routing routing.json --out out/b.pth"
PRUNE = f"prune {MODEL} --num-weights 5000 --out out"
CHECK = "check_images pets --no-progress --delete-list out/bad.txt"
TRAIN = "train simsiam.py --work-dir out --cfg-options data_root=unlabelled"
SPLIT = "data/split_imagenet --classes classes.txt --wordnet data.noun --out out"
ALL = (EXTRACT, CLUSTER, CALIBRATE, ROUTE, EVALUATE, TRANSFER, EXPORT, PRUNE, CHECK)


class Program:
    """Leaves a trace when it is run."""

    def __reduce__(self):
        return open, ("trace", "w")


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    """A folder in which every command line works."""
    root = tmp_path_factory.mktemp("good")
    paint(root / "unlabelled", 12, 120, 0)
    for part, count in (("train", 6), ("test", 3)):
        for index, label in enumerate(("cat", "dog")):
            paint(root / "pets" / part / label, count, 110 + 25 * index, index + len(part))
    (root / "config.py").write_text(CONFIG.replace("{root}/", ""))
    before = Path.cwd()
    os.chdir(root)
    try:
        torch.manual_seed(0)
        net = build_backbone(load_config("config.py"))
        state = net.state_dict()
        torch.save({"state_dict": {f"backbone.{key}": value for key, value in state.items()}}, "epoch_1.pth")
        names = [f"{index:02d}.png" for index in range(12)]
        rows = np.random.default_rng(0).random((12, 12), np.float32)
        Features(rows, names, image_root=str(root / "unlabelled")).save("F.npy")
        Clusters(names, np.arange(12) % 4, 4, "random").save("clusters.npz")
        run(CALIBRATE)
        shutil.move("out/bn_bank.safetensors", "bank.safetensors")
        shutil.rmtree("out")
        run(f"route {MODEL} --bank bank.safetensors --data-root pets --out routed --k 3 --workers 0")
        shutil.move("routed/routing.json", "routing.json")
        shutil.rmtree("routed")
    finally:
        os.chdir(before)
    (root / "labels.txt").write_text("cat/00.png\ndog/01.png\n")
    (root / "afile").write_text("text")
    return root


@pytest.fixture
def place(good, tmp_path, monkeypatch) -> Path:
    """A copy of the good folder, which is the working directory."""
    root = tmp_path / "place"
    shutil.copytree(good, root)
    monkeypatch.chdir(root)
    return root


def run(command: str) -> None:
    """A command line in this process, as typed in the working directory."""
    name, *arguments = command.split()
    devices = [] if name in ("prune", "check_images", "train") or "/" in name else ["--device", "cpu"]
    before, sys.argv = sys.argv, [f"{name}.py", *arguments, *devices]
    try:
        cli.run(load_tool(REPO, name).main)
    finally:
        sys.argv = before


def files(root: Path) -> dict[str, int]:
    return {str(path.relative_to(root)): path.lstat().st_size for path in root.rglob("*") if not path.is_dir()}


def put(name: str, content: bytes | str) -> Callable[[], None]:
    """Writes a file over what is there."""
    data = content.encode() if isinstance(content, str) else content
    return lambda: (Path(name).unlink(missing_ok=True), Path(name).write_bytes(data))  # type: ignore[func-returns-value]


def gone(name: str) -> Callable[[], None]:
    return lambda: shutil.rmtree(name) if Path(name).is_dir() else Path(name).unlink()


def cut(name: str, end: bytes = b"") -> Callable[[], None]:
    return lambda: put(name, Path(name).read_bytes()[: Path(name).stat().st_size // 2] + end)()


def pipe(name: str) -> Callable[[], None]:
    return lambda: (Path(name).unlink(), os.mkfifo(name))  # type: ignore[func-returns-value]


def link(name: str, target: str) -> Callable[[], None]:
    return lambda: Path(name).symlink_to(target)


def folder(name: str) -> Callable[[], None]:
    return lambda: (Path(name).unlink(missing_ok=True), Path(name).mkdir())  # type: ignore[func-returns-value]


def edit(name: str, change: Callable[[dict], object]) -> Callable[[], None]:
    """Changes a JSON file."""

    def spoil() -> None:
        data = json.loads(Path(name).read_text())
        change(data)
        Path(name).write_text(json.dumps(data))

    return spoil


def saved(name: str, data: object, **options) -> Callable[[], None]:
    return lambda: torch.save(data, name, **options)


def packed() -> None:
    with zipfile.ZipFile("epoch_1.pth") as plain, zipfile.ZipFile("packed", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in plain.namelist():
            archive.writestr(name, plain.read(name))
    Path("packed").replace("epoch_1.pth")


def diverged() -> None:
    state = load_state_dict("epoch_1.pth")
    torch.save({"state_dict": {key: value * torch.nan for key, value in state.items()}}, "epoch_1.pth")


def other_weights(name: str) -> Callable[[], None]:
    def spoil() -> None:
        state = load_state_dict("epoch_1.pth")
        state["backbone.conv1.weight"] += 1
        torch.save({"state_dict": state}, name)

    return spoil


def bank_with(change: Callable[[dict], object]) -> Callable[[], None]:
    """Changes the tensors of the bank."""

    def spoil() -> None:
        with safe_open("bank.safetensors", "pt") as reader:
            metadata, tensors = reader.metadata(), {key: reader.get_tensor(key) for key in reader.keys()}  # noqa: SIM118
        change(tensors)
        save_file(tensors, "bank.safetensors", metadata)

    return spoil


def array(name: str, values: np.ndarray) -> Callable[[], None]:
    return lambda: np.save(name, values)


def claiming(shape: tuple[int, ...]) -> bytes:
    """The header of an array of any shape."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def npz(**entries: bytes) -> Callable[[], None]:
    def spoil() -> None:
        with zipfile.ZipFile("clusters.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries.items():
                archive.writestr(f"{name}.npy", content)

    return spoil


def bomb() -> None:
    with zipfile.ZipFile("clusters.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("names.npy", "w") as entry:
        entry.write(claiming((2**15, 1024)))
        for _ in range(2**7):
            entry.write(bytes(2**20))


def jpeg(name: str) -> Callable[[], None]:
    """A JPEG that was cut and got an end marker."""

    def spoil() -> None:
        buffer = io.BytesIO()
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(buffer, "JPEG")
        data = buffer.getvalue()
        Path(name).write_bytes(data[: len(data) // 2] + b"\xff\xd9")

    return spoil


def both(*spoils: Callable[[], object]) -> Callable[[], None]:
    return lambda: [spoil() for spoil in spoils] and None


def nothing() -> None:
    """The command itself is what is wrong."""


REPO = Path(__file__).parents[2]
SIMSIAM = """_base_ = ["{root}/configs/demo/simsiam_demo.py"]
train_dataloader = dict(batch_size=4, num_workers=0, persistent_workers=False)
log_level = "ERROR"
"""
PRETRAINED = "dict(type='Pretrained', checkpoint='w.pth')"


def chunk(content: bytes) -> bytes:
    """One of a PNG's, of its name and data."""
    return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4, "big")


PNG_BOMB = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")
PNG_BOMB += chunk(b"IDAT" + zlib.compress(bytes(60000)))
SPOILT = "unlabelled/05.png"
SAFETENSORS = (
    b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
)

# Kind, what spoils the folder, the command, what its sentence must hold.
TABLE = [
    # Checkpoints
    ("no checkpoint", gone("epoch_1.pth"), EXTRACT, "checkpoint epoch_1.pth does not exist"),
    ("empty checkpoint", put("epoch_1.pth", b""), EXTRACT, "epoch_1.pth is damaged (it is empty)"),
    ("text for a checkpoint", put("epoch_1.pth", "hello\n"), EXPORT, "epoch_1.pth is damaged (no PyTorch file)"),
    ("half a checkpoint", cut("epoch_1.pth"), EVALUATE, "epoch_1.pth is damaged"),
    ("folder for a checkpoint", folder("epoch_1.pth"), ROUTE, "epoch_1.pth is a folder"),
    ("pipe for a checkpoint", pipe("epoch_1.pth"), PRUNE, "epoch_1.pth is a device or a pipe"),
    ("address for a checkpoint", nothing, EXTRACT.replace("epoch_1.pth", "https://x.org/w.pth"), "w.pth is an address"),
    ("pickled program", put("epoch_1.pth", pickle.dumps(Program())), PRUNE, "holds the object"),
    ("program beside weights", saved("epoch_1.pth", {"state_dict": {}, "x": Program()}), EXPORT, "holds the object"),
    (
        "program in an old file",
        saved("epoch_1.pth", {"x": Program()}, _use_new_zipfile_serialization=False),
        EXTRACT,
        "holds the object",
    ),
    ("packed checkpoint", packed, EVALUATE, "epoch_1.pth is damaged (entry"),
    ("checkpoint without weights", saved("epoch_1.pth", {"epoch": 3}), EXTRACT, "epoch_1.pth holds no weights"),
    (
        "weights of another network",
        saved("epoch_1.pth", {"a": torch.zeros(1)}),
        EXTRACT,
        "epoch_1.pth lacks",
    ),
    ("weights that are NaN", diverged, EXTRACT, "hold NaN or infinity"),
    (
        "tensors on top of each other",
        put("w.safetensors", len(SAFETENSORS).to_bytes(8, "little") + SAFETENSORS + bytes(4)),
        EXTRACT.replace("epoch_1.pth", "w.safetensors"),
        "w.safetensors is damaged",
    ),
    (
        "header of exabytes",
        put("w.safetensors", (2**60).to_bytes(8, "little") + b"{}"),
        EXTRACT.replace("epoch_1.pth", "w.safetensors"),
        "w.safetensors is damaged",
    ),
    # Configs
    ("no config", gone("config.py"), EXTRACT, "config config.py does not exist"),
    ("config that is no Python", put("config.py", "model = dict("), EXTRACT, "config config.py cannot be read"),
    (
        "program in a YAML config",
        put("config.yaml", "x: !!python/object/apply:builtins.open [trace, w]\n"),
        EXTRACT.replace("config.py", "config.yaml"),
        "config.yaml is no plain YAML",
    ),
    ("config without a model", put("config.py", "x = 1\n"), EXTRACT, "config.py does not define"),
    # BN banks
    ("no bank", gone("bank.safetensors"), ROUTE, "BN bank bank.safetensors does not exist"),
    ("half a bank", cut("bank.safetensors"), EVALUATE, "BN bank bank.safetensors is broken"),
    ("weights for a bank", lambda: save_file({"a": torch.zeros(1)}, "bank.safetensors"), EXPORT, "is not a BN bank"),
    ("bank of other weights", other_weights("epoch_1.pth"), ROUTE, "bank.safetensors belongs to other weights"),
    (
        "bank with a variance below zero",
        bank_with(lambda tensors: tensors["path/full/bn1/var"].mul_(-1)),
        EXPORT,
        "are no BatchNorm statistics",
    ),
    (
        "bank without a variance",
        bank_with(lambda tensors: tensors.pop("path/full/bn1/var")),
        EXPORT,
        "lacks 'path/full",
    ),
    # Clusters
    ("no clusters", gone("clusters.npz"), CALIBRATE, "clusters.npz does not exist"),
    ("half the clusters", cut("clusters.npz"), CALIBRATE, "clusters.npz is broken"),
    ("clusters of terabytes", npz(centroids=claiming((10**6, 10**6))), CALIBRATE, "clusters.npz is broken"),
    ("clusters that unpack to a thousand times", bomb, CALIBRATE, "unpack to"),
    (
        "clusters of other images",
        lambda: Clusters([f"x{i}" for i in range(12)], np.arange(12) % 4, 4, "random").save("clusters.npz"),
        CALIBRATE,
        "clusters.npz belongs to another data set",
    ),
    (
        "clusters for another network",
        lambda: Clusters([f"{i:02d}.png" for i in range(12)], np.arange(12) % 3, 3, "random").save("clusters.npz"),
        CALIBRATE,
        "clusters.npz has 3 clusters but the network has 4 paths",
    ),
    # Features
    ("no features", gone("F.npy"), CLUSTER, "F.npy does not exist"),
    ("half the features", cut("F.npy"), CLUSTER, "F.npy is broken"),
    ("features of terabytes", put("F.npy", claiming((10**6, 10**6))), CLUSTER, "F.npy is broken"),
    ("features in double precision", array("F.npy", np.ones((12, 12))), CLUSTER, "F.npy holds float64"),
    ("features that are NaN", array("F.npy", np.full((12, 12), np.nan, np.float32)), CLUSTER, "hold NaN or infinity"),
    ("features without names", gone("F.json"), CLUSTER, "F.npy has no sidecar F.json"),
    ("names that are numbers", edit("F.json", lambda data: data.update(names=[1] * 12)), CLUSTER, "F.json is broken"),
    ("features of another run", edit("F.json", lambda data: data.update(num_rows=13)), CLUSTER, "different runs"),
    # Routing results
    ("no routing result", gone("routing.json"), WINNER, "routing result routing.json does not exist"),
    ("result nested 200,000 deep", put("routing.json", "[" * 200_000), WINNER, "routing.json cannot be read as JSON"),
    ("number of 5,000 digits", put("routing.json", f'{{"a": {"9" * 5000}}}'), WINNER, "routing.json cannot be read as"),
    (
        "accuracy that is NaN",
        lambda: put(
            "routing.json",
            Path("routing.json").read_text().replace('"select_accuracy": ', '"select_accuracy": NaN, "x": ', 1),
        )(),
        WINNER,
        "routing.json cannot be read as JSON (it holds NaN",
    ),
    (
        "accuracy that is text",
        edit("routing.json", lambda data: data["subnets"][0].update(select_accuracy="90")),
        WINNER,
        "'subnets[0].select_accuracy' is '90', not a number from 0 to 100",
    ),
    (
        "result of a later version",
        edit("routing.json", lambda data: data.update(schema_version=99)),
        WINNER,
        "version 99",
    ),
    ("result of other weights", other_weights("epoch_1.pth"), WINNER, "routing.json was computed with other weights"),
    (
        "results that are none",
        put("r.json", '{"schema_version": 1, "networks": 7}'),
        f"{EVALUATE} --baseline old=r.json",
        "r.json",
    ),
    # Images and their folders
    ("no folder of images", gone("unlabelled"), EXTRACT, "image folder unlabelled does not exist"),
    ("folder without images", both(gone("unlabelled"), folder("unlabelled")), EXTRACT, "unlabelled holds no image"),
    (
        "folder of other files alone",
        both(gone("unlabelled"), folder("unlabelled"), put("unlabelled/a.heic", "x"), put("unlabelled/b.txt", "x")),
        EXTRACT,
        "only other files (1 .heic, 1 .txt)",
    ),
    ("half an image", cut(SPOILT), EXTRACT, f"image {SPOILT} cannot be used"),
    ("empty image", put(SPOILT, b""), EXTRACT, f"image {SPOILT} cannot be used (it is empty"),
    ("web page for an image", put(SPOILT, "<html>404</html>"), EXTRACT, f"image {SPOILT} cannot be used"),
    (
        "JPEG that was cut and got an end",
        jpeg("unlabelled/05x.jpg"),
        EXTRACT,
        "unlabelled/05x.jpg cannot be used (a",
    ),
    (
        "image of 3.6 thousand million pixels",
        put(SPOILT, PNG_BOMB),
        EXTRACT,
        "cannot be used (Image size (3600000000 pixels)",
    ),
    ("pipe for an image", pipe(SPOILT), EXTRACT, f"image {SPOILT} is no file"),
    (
        "link that leads nowhere",
        lambda: Path("unlabelled/x.png").symlink_to("gone"),
        EXTRACT,
        "unlabelled/x.png is listed",
    ),
    (
        "file name with a line break",
        put("unlabelled/a\nb.png", "x"),
        EXTRACT,
        "'a\\nb.png' in unlabelled cannot be",
    ),
    ("half an image of a task", cut("pets/train/cat/03.png"), EVALUATE, "image pets/train/cat/03.png cannot be used"),
    ("task without train/", gone("pets/train"), ROUTE, "data folder pets has no folder train/"),
    ("task without test/ and val/", gone("pets/test"), EVALUATE, "data folder pets has no folder test/"),
    ("task of one class", both(gone("pets/train/dog"), gone("pets/test/dog")), ROUTE, "pets/train has only one class"),
    ("classes that differ", gone("pets/test/dog"), TRANSFER, "pets/test differ (dog only in train/)"),
    (
        "image outside of the classes",
        lambda: shutil.copy("pets/test/cat/00.png", "pets/train"),
        ROUTE,
        "00.png lies outside",
    ),
    ("data set that is none", nothing, TRANSFER.replace("pets", "zoo"), "data set zoo is none of"),
    ("known data set that is not there", nothing, TRANSFER.replace("pets", "dtd"), "data set dtd is not complete"),
    ("nothing to check", gone("pets"), CHECK, "image folder pets does not exist"),
    # Lists
    ("no label list", gone("labels.txt"), SEMISUP, "label list labels.txt does not exist"),
    ("empty label list", put("labels.txt", "\r\n"), SEMISUP, "label list labels.txt is empty"),
    ("image for a label list", put("labels.txt", b"\xff\xd8\xff\xe0"), SEMISUP, "label list labels.txt is no text"),
    (
        "label list in Latin-1",
        put("labels.txt", "größe.png".encode("latin-1")),
        SEMISUP,
        "labels.txt is no text in UTF",
    ),
    ("label list of other data", put("labels.txt", "cat/99.png\n"), SEMISUP, "labels.txt names cat/99.png"),
    ("no WordNet", put("classes.txt", "n00000001\n"), SPLIT, "WordNet's data.noun does not exist"),
    # Outputs
    *(
        (f"output of {c.split()[0]} below a file", nothing, c.replace(" out", " afile/out"), "afile is a file")
        for c in ALL
    ),
    ("output that is a folder", nothing, EXTRACT.replace("out/F.npy", "pets"), "pets is a folder"),
    ("output where none can be", nothing, CLUSTER.replace("out/", "/proc/"), "/proc/c.npz cannot be written"),
    ("output of too long a name", nothing, PRUNE.replace(" out", " " + "n" * 300), "File name too long"),
]


@pytest.mark.parametrize(("spoil", "command", "sentence"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_bad_input_is_one_sentence_and_nothing_is_written(place, capfd, spoil, command, sentence):
    spoil()
    before = files(place)
    with pytest.raises(SystemExit) as stop:
        run(command)
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2, lines
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert sentence in lines[-1]
    assert not any("Traceback" in line or "weights_only" in line for line in lines)
    assert files(place) == before


# Of a training, which has a log before it reads anything.
TRAININGS = [
    ("no images to train on", gone("unlabelled"), TRAIN, "image folder unlabelled does not exist"),
    ("fewer images than a batch", nothing, f"{TRAIN} train_dataloader.batch_size=64", "the training set has 12 images"),
    ("half an image to train on", cut(SPOILT), TRAIN, f"image {SPOILT} cannot be used"),
    (
        "JPEG without its end to train on",
        jpeg("unlabelled/05x.jpg"),
        TRAIN,
        "unlabelled/05x.jpg cannot be used (a part",
    ),
    (
        "program to start from",
        put("w.pth", pickle.dumps(Program())),
        f"{TRAIN} load_from=w.pth",
        "w.pth cannot be loaded",
    ),
    ("nothing to start from", nothing, f"{TRAIN} load_from=w.pth", "w.pth does not exist"),
    (
        "program in a part's init_cfg",
        both(
            put("w.pth", pickle.dumps(Program())),
            lambda: put("simsiam.py", f"{SIMSIAM}model = dict(neck=dict(init_cfg={PRETRAINED}))\n".format(root=REPO))(),
        ),
        TRAIN,
        "w.pth cannot be loaded safely",
    ),
    ("folder of the training below a file", nothing, TRAIN.replace(" out", " afile/out"), "afile is a file"),
]


@pytest.mark.parametrize(("spoil", "command", "sentence"), [r[1:] for r in TRAININGS], ids=[r[0] for r in TRAININGS])
def test_bad_input_of_a_training_is_one_sentence_and_no_checkpoint_is_written(place, capfd, spoil, command, sentence):
    put("simsiam.py", SIMSIAM.format(root=REPO))()
    spoil()
    with pytest.raises(SystemExit) as stop:
        run(command)
    lines = capfd.readouterr().err.strip().splitlines()
    assert stop.value.code == 2, lines
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:]
    assert sentence in lines[-1]
    assert not any("Traceback" in line or "weights_only" in line for line in lines)
    assert not [*place.glob("out/**/*.pth"), *place.glob("out/**/*.safetensors"), *place.glob("trace")]


def test_the_table_has_its_kinds_and_every_command_works_on_good_input(place, capsys):
    """Or a row could be refused for something else than its kind."""
    assert len({row[0] for row in TABLE}) == len(TABLE) > 80
    for command in (EXTRACT, CLUSTER, CALIBRATE, ROUTE, EVALUATE, TRANSFER, EXPORT, WINNER, PRUNE, CHECK):
        run(command)
        shutil.rmtree("out")

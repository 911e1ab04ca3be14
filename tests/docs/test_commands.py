"""Every command on a page or in the header of a config: its verb takes the arguments, its config the options.

They are parsed as they stand, by the parser of the verb, in a folder with what a reader has at this point: the images
in :data:`GIVEN` and the outputs of other commands on the pages. Some run for real, at a small size, in
test_small_runs.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mmssl_dynamic.commands.registry import parsed
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.presets import Preset
from tests.docs.blocks import ROOT, Block, all_blocks, blocks_of, header_blocks
from tests.docs.shell import call_of, lay_out, without_environment

# What readers have: images of theirs, and data sets that they downloaded. Files end in a suffix, the rest are folders.
GIVEN = (
    "data/my_images",
    "data/my_task",
    "data/my_task/train",
    "data/my_task/test",
    "data/another_task",
    "data/domains/pool",
    "data/domains/scenes",
    "data/imagenet/train",
    "data/resnet50.pth",
)
MY_IMAGES = 2000  # docs/own-images.md
# Checkpoints of runs that the page cuts short, by the option that does.
SHORT = {"work_dirs/mask-rcnn_dspnet-mobilenet-v3-w0.5_fpn_180k_coco/iter_5.pth": "train_cfg.max_iters=5"}
BLOCKS = [*all_blocks("bash"), *header_blocks()]
TEXT = "\n".join(block.code for block in BLOCKS)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A folder in which every command finds what it needs."""
    world = lay_out(tmp_path_factory.mktemp("world"))
    for block in all_blocks("python"):
        if block.title:
            (world / block.title).write_text(block.code)
    for name in GIVEN:
        put(world / name)
    for words in (words for block in BLOCKS for words in block.commands):
        if "--out" in words:
            put(world / words[words.index("--out") + 1])
        call = call_of(words)
        if call is not None and call.verb == "route":
            put(world / words[words.index("--out") + 1] / "routing.json")
    for config in re.findall(r"work_dirs/[\w.-]+/\w+\.py", TEXT):  # that a training writes beside its checkpoints
        put(world / config)
        assert list((ROOT / "configs").rglob(Path(config).name)), config
    for checkpoint in set(re.findall(r"work_dirs/[\w./-]+/(?:epoch|iter)_\d+\.pth", TEXT)):
        put(world / checkpoint)
    return world


def put(path: Path) -> None:
    """An empty file, or a folder."""
    if path.suffix:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    else:
        path.mkdir(parents=True, exist_ok=True)


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_command_can_be_typed_as_it_stands(block, world, monkeypatch):
    monkeypatch.chdir(world)
    for name in ("LOCAL_RANK", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    assert block.commands
    for words in block.commands:
        call = call_of(words)
        if call is not None:
            assert isinstance(parsed(call.verb, call.arguments), argparse.Namespace)
            continue
        words = without_environment(words)
        assert words[0] in OTHERS, f"{block}: nothing checks a command that begins with {words[0]}; add it to OTHERS"
        OTHERS[words[0]](words, monkeypatch)


@pytest.mark.parametrize(
    "checkpoint", sorted(set(re.findall(r"work_dirs/[\w.-]+/(?:epoch|iter)_\d+\.pth", TEXT))), ids=lambda c: c[10:]
)
def test_a_checkpoint_has_the_name_that_its_training_gives_it(checkpoint, world, monkeypatch):
    """``work_dirs/CONFIG/epoch_N.pth``, with N epochs in the config, of the preset, or in the options of the page."""
    folder, _, file = checkpoint.removeprefix("work_dirs/").partition("/")
    kind, number = re.fullmatch(r"(epoch|iter)_(\d+)\.pth", file).groups()
    if checkpoint in SHORT:
        assert SHORT[checkpoint].endswith(f"={number}")
        assert SHORT[checkpoint] in TEXT
        return
    preset = re.fullmatch(r"([a-z]+)_(small|base)_my_images", folder)
    if preset is not None:
        monkeypatch.setattr("mmssl_dynamic.datasets.packed_folders.count_images", lambda folder: MY_IMAGES)
        monkeypatch.setattr(Preset, "check", lambda *_: None)
        assert Preset(preset.group(2), preset.group(1)).options("data/my_images")["max_epochs"] == int(number)
        return
    monkeypatch.chdir(world)
    monkeypatch.syspath_prepend(world)
    (config,) = [*(ROOT / "configs").rglob(f"{folder}.py"), *world.glob(f"{folder}.py")]
    text = config.read_text(encoding="utf-8")
    if config.is_relative_to(world):  # custom_imports of a page: not for this test, which registers nothing
        config = world / re.search(r'_base_ = \["([^"]+)"\]', text).group(1)
    assert load_config(config).train_cfg[f"max_{kind}s"] == int(number)


def test_the_pages_have_commands():
    assert len(BLOCKS) > 30
    assert len({block.page for block in BLOCKS}) > 12


# Commands of other programs


def check_script(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``python FILE ...`` or ``python -m pytest ...``: a script parses what it is given."""
    if words[1:3] == ["-m", "pytest"]:
        check_paths([word for word in words[3:] if word.startswith("tests/")], monkeypatch)
        return
    script = ROOT / words[1]
    assert script.is_file(), words[1]

    class Parsed(Exception):
        pass

    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self, *given):
        parse(self, *given)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
    monkeypatch.setattr(sys, "argv", words[1:])
    monkeypatch.syspath_prepend(str(script.parent))
    spec = importlib.util.spec_from_file_location(f"page_{script.stem}", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with pytest.raises(Parsed):
        module.main()


def check_make(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``make TARGET ... VARIABLE=...``."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words[1:]:
        name, equals, _ = word.partition("=")
        known = rf"^{name} \?=" if equals else rf"^{re.escape(name)}:"
        assert re.search(known, makefile, re.MULTILINE), f"make has no {word}"


def check_pip(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``pip install``: the files of requirements and the extras are there, and packages are those of setup.py."""
    assert words[1] == "install"
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    follows = dict(zip(words, words[1:]))
    for word in words[2:]:
        if word.startswith("-") or follows.get("-e") == word:
            continue
        if follows.get("-r") == word or word.startswith("requirements/"):
            assert (ROOT / word).is_file(), word
        else:
            assert f'"{word}' in setup, f"{word} is no package of setup.py"
    for extra in re.findall(r"\[([\w,-]+)\]", follows.get("-e", "")):
        assert f'"{extra}":' in setup


def check_mim(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """``mim train mmdet CONFIG ...``."""
    assert words[1:3] == ["train", "mmdet"]
    check_paths(words[3:4], monkeypatch)
    check_paths([words[3]], monkeypatch)
    load_config(words[3])


def check_paths(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Files and folders of the checkout."""
    for word in words:
        assert (ROOT / word).exists(), word


OTHERS: dict[str, Callable[[list[str], pytest.MonkeyPatch], None]] = {
    "python": check_script,
    "make": check_make,
    "pip": check_pip,
    "mim": check_mim,
    "bash": lambda words, monkeypatch: check_paths(words[1:], monkeypatch),
    "source": lambda words, monkeypatch: None,  # of the environment that the line before has made
}


# The checks themselves


def block(code: str) -> Block:
    return Block("page.md", 1, "bash", None, code)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("python tools/train.py configs/sdr/simsiam_r50_custom.py --cfg-options no_such_option=1\n", Exception),
        ("python tools/train.py configs/sdr/no_such_config.py\n", Exception),
        ("python tools/route.py configs/sdr/simsiam_r50_custom.py --no-such-option\n", SystemExit),
        ("make no-such-target\n", AssertionError),
        ("pip install no-such-package\n", AssertionError),
        ("pip install -r requirements/none.txt\n", AssertionError),
        ("curl example.org\n", AssertionError),
        ("python tools/benchmarks/loader_throughput.py --no-such-option\n", SystemExit),
    ],
)
def test_a_command_that_cannot_be_typed_fails(code, error, world, monkeypatch, capsys):
    with pytest.raises(error):
        test_a_command_can_be_typed_as_it_stands(block(code), world, monkeypatch)


def test_blocks_are_read_as_a_shell_reads_them(tmp_path, monkeypatch):
    (tmp_path / "page.md").write_text(
        'text\n\n```bash\npython a.py \\\n    --x "1 2"   # why\n\nmake demo\n```\n```python title="m.py"\nx = 1\n```\n'
    )
    monkeypatch.setattr("tests.docs.blocks.ROOT", tmp_path)
    shell, python = blocks_of(tmp_path / "page.md")
    assert shell.commands == [["python", "a.py", "--x", "1 2"], ["make", "demo"]]
    assert (python.title, python.code, python.line) == ("m.py", "x = 1\n", 9)

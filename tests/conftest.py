"""Fixtures of all tests."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mmengine.utils import is_installed

# No test opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")

# The tests' tensors are too small to share among threads.
torch.set_num_threads(1)

# Where there is a card, its figures are those of the CPU to the last digits, and the same twice.
torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
torch.backends.cudnn.deterministic = True

# Autograd makes its threads at the first backward pass, one for each device. Fake tensors pretend that there are some,
# and after a first pass behind them no forked process could train: so the first pass is here.
torch.zeros(1, requires_grad=True).sum().backward()

# A loader that ends waits this long for workers that do not hear it, and a worker for its next images.
torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL = 0.5  # seconds

# mmengine's first look at a package imports pkg_resources, which extends sys.path for good: here, not inside of a test.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    is_installed("mmpretrain")

# The plugin imports matplotlib and torch, so the lines above come first.
from tests.isolation.plugin import Isolation  # noqa: E402

REPO_ROOT = Path(__file__).resolve().parents[1]

# Files in memory, as Linux has them: tests write thousands, and mmengine a copy of every config that it reads.
_IN_MEMORY, _PREFIX, _ROOM = Path("/dev/shm"), "mmssl_dynamic_tests_", 8 << 30  # bytes
_TEMPORARY = pytest.StashKey[Path]()


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Put global state back around every test, and shuffle the tests if ``PYTEST_SEED`` says how."""
    config.pluginmanager.register(Isolation())
    if (folder := _folder_in_memory(config)) is not None:
        config.stash[_TEMPORARY] = folder
        os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
    seed = os.environ.get("PYTEST_SEED")
    if config.pluginmanager.has_plugin("randomly"):
        config.option.randomly_reorganize = seed is not None
        config.option.randomly_reset_seed = False  # a test draws the same numbers in any order
        if seed is not None:
            config.option.randomly_seed = int(seed)
    elif seed is not None and not config.pluginmanager.is_blocked("randomly"):
        raise pytest.UsageError("PYTEST_SEED needs pytest-randomly: pip install -r requirements/tests.txt")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Free the memory of temporary files."""
    if (folder := config.stash.get(_TEMPORARY, None)) is not None:
        shutil.rmtree(folder, ignore_errors=True)
        del os.environ["TMPDIR"]
        tempfile.tempdir = None


def _folder_in_memory(config: pytest.Config) -> Path | None:
    """A new folder for temporary files, where there is memory for it and nobody has said where they go."""
    if hasattr(config, "workerinput") or "TMPDIR" in os.environ or not os.access(_IN_MEMORY, os.W_OK):
        return None  # workers have their controller's
    for left, process in _left_behind():
        if not Path(f"/proc/{process}").exists():
            shutil.rmtree(left, ignore_errors=True)
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(meminfo["MemAvailable"].split()[0]) << 10
    if min(available, shutil.disk_usage(_IN_MEMORY).free) < _ROOM:
        return None
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}_", dir=_IN_MEMORY))


def _left_behind() -> Iterator[tuple[Path, str]]:
    """Folders of earlier runs, and the processes that made them."""
    for folder in _IN_MEMORY.glob(f"{_PREFIX}*"):
        yield folder, folder.name.removeprefix(_PREFIX).partition("_")[0]


def pytest_report_header(config: pytest.Config) -> str:
    """How to have this order again, and where temporary files are."""
    order = "tests run as they are written; PYTEST_SEED=1 shuffles them"
    if getattr(config.option, "randomly_reorganize", False):
        order = f"tests are shuffled; PYTEST_SEED={config.option.randomly_seed} repeats this order"
    kept = "temporary files are in memory and gone afterwards; TMPDIR=/tmp keeps them"
    return f"{order}\n{kept}" if _TEMPORARY in config.stash else order


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The checkout."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of test material beside the checkout; tests that need it skip where it is absent."""
    folder = REPO_ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("no folder shared/ beside the checkout")
    return folder


@pytest.fixture(scope="session")
def shapes(tmp_path_factory) -> Path:
    """A folder with ``VOCdevkit/`` and ``coco/`` of drawn shapes."""
    from tests.detection_data import write_coco, write_voc

    folder = tmp_path_factory.mktemp("shapes")
    write_voc(folder)
    write_coco(folder)
    return folder


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory) -> Path:
    """Three classes of seven images."""
    root = tmp_path_factory.mktemp("images")
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in ("ant", "bee", "cat"):
        (root / label).mkdir()
        for i in range(7):
            Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(root / label / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Small sub-networks of every kind, exported for mmdet, by ``sdr``, ``mobilenet`` and ``resnet``."""
    from tests.detection_data import small_networks

    return small_networks(tmp_path_factory.mktemp("networks"))


@pytest.fixture
def mmdet_scope():
    """The default scope of detection configs, for one test."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import DefaultScope

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope("mmdet"):
        yield


@pytest.fixture
def torch_export():
    """``torch.export.export``; the handler that it gives to torch's log of traces is taken back."""
    log = logging.getLogger("torch.__trace")
    handlers = list(log.handlers)
    yield torch.export.export
    log.handlers[:] = handlers


@pytest.fixture
def dynamo(torch_export):
    """torch._dynamo, which knows no graphs and leaves none behind. Its log, which takes longer than graphs, is off."""
    log = logging.getLogger("torch.__trace")
    before, log.disabled = log.disabled, True
    torch._dynamo.reset()
    yield torch._dynamo
    torch._dynamo.reset()
    log.disabled = before


@pytest.fixture(scope="session")
def read_config():
    """``evaluate`` of config files that reads each of them once for the same edits."""
    from mmssl_dynamic.options.evaluation import evaluate

    known: dict = {}

    def read(path, edits):
        key = path, repr(edits)
        if key not in known:
            known[key] = evaluate(path, edits)
        return known[key]

    return read


@pytest.fixture
def quick_mmengine(monkeypatch, read_config):
    """Without what takes mmengine and mmdet most of the time of a run of seconds, and decides nothing.

    Config files are read once; their copies in logs and work dirs are not laid out; VOCMetric, which forks four
    processes for each of ten thresholds, uses threads.
    """
    from copy import deepcopy
    from multiprocessing.pool import ThreadPool

    monkeypatch.setattr(
        "mmssl_dynamic.options.config_file.evaluate", lambda path, edits: deepcopy(read_config(path, edits))
    )
    monkeypatch.setattr("mmengine.config.config.FormatCode", lambda text, **_: (text, True))
    monkeypatch.setattr("mmdet.evaluation.functional.mean_ap.Pool", ThreadPool)

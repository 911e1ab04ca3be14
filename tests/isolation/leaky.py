"""Tests that leave things behind on purpose; test_plugin.py runs them in a process of their own.

What a ``test_leaves_...`` leaves is reported, and its docstring is in the report. What a ``test_may_leave_...`` leaves
is put back in silence. Each test, whatever its place in the order, starts from the state that there was at first.
"""

import logging
import multiprocessing
import os
import random
import sys
import threading
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.distributed as dist
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import HOOKS, MODELS, DefaultScope, Registry
from PIL import ImageFile

logging.getLogger("someone's")


def state():
    return {
        "scope": DefaultScope.get_current_instance(),
        "hubs": list(MessageHub._instance_dict),
        "loggers": list(MMLogger._instance_dict),
        "registered": (MODELS.get("LeftBehind"), HOOKS.get("UsersHook"), list(MODELS.children)),
        "module": "users_own" in sys.modules,
        "directory": os.getcwd(),
        "environment": [os.environ.get(key) for key in ("LEFT_BEHIND", "LEFT_BY_A_FIXTURE", "MPLBACKEND")],
        "path": list(sys.path),
        "random": (random.random(), np.random.rand(), torch.rand(1).item()),
        "torch": (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()),
        "hooks": len(torch.nn.modules.module._global_forward_hooks),
        "grad": torch.is_grad_enabled(),
        "group": dist.is_initialized(),
        "numpy": np.geterr(),
        "pillow": ImageFile.LOAD_TRUNCATED_IMAGES,
        "plots": (plt.get_fignums(), plt.rcParams["lines.linewidth"]),
        "level": logging.getLogger("someone's").level,
        "start method": multiprocessing.get_start_method(allow_none=True),
        "filters": [entry for entry in warnings.filters if "left behind" in str(entry[1])],
    }


torch.manual_seed(0), np.random.seed(0), random.seed(0)
AT_FIRST = state()


@pytest.fixture(autouse=True)
def _nothing_is_left_of_earlier_tests():
    torch.manual_seed(0), np.random.seed(0), random.seed(0)  # for this check alone
    assert state() == AT_FIRST


def test_leaves_an_environment_variable():
    """environment variable LEFT_BEHIND"""
    os.environ["LEFT_BEHIND"] = "1"


def test_leaves_without_an_environment_variable():
    """environment variable MPLBACKEND"""
    del os.environ["MPLBACKEND"]


def test_leaves_another_working_directory(tmp_path):
    """setting working directory"""
    os.chdir(tmp_path)


def test_leaves_a_longer_path():
    """setting sys.path"""
    sys.path.append("/left/behind")


def test_leaves_other_settings_of_libraries():
    """setting PIL.ImageFile.LOAD_TRUNCATED_IMAGES, numpy.seterr"""
    np.seterr(all="raise")
    ImageFile.LOAD_TRUNCATED_IMAGES = True


def test_leaves_other_settings_of_torch():
    """torch's default dtype, deterministic algorithms, grad mode, number of threads"""
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(torch.get_num_threads() + 1)
    torch.set_grad_enabled(False)


def test_leaves_a_hook_of_all_modules():
    """torch's hooks of all modules (_global_forward_hooks)"""
    torch.nn.modules.module.register_module_forward_hook(lambda *_: None)


def test_leaves_a_registered_class():
    """registered mmengine::model.LeftBehind"""

    @MODELS.register_module()
    class LeftBehind:
        pass


def test_leaves_another_class_under_a_known_name():
    """registered mmengine::model.BaseDataPreprocessor"""

    @MODELS.register_module("BaseDataPreprocessor", force=True)
    class Other:
        pass


def test_leaves_a_registry():
    """registered left_behind::model"""
    Registry("model", parent=MODELS, scope="left_behind")


def test_leaves_a_figure_and_settings_of_matplotlib():
    """matplotlib's lines.linewidth, open figures"""
    plt.figure()
    plt.rcParams["lines.linewidth"] = 9


def test_leaves_a_logger_without_a_word():
    """logger someone's"""
    logging.getLogger("someone's").setLevel(logging.CRITICAL)


def test_leaves_a_process_group(tmp_path):
    """torch.distributed's process group"""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)


def test_leaves_a_thread():
    """thread left behind"""
    threading.Thread(target=threading.Event().wait, name="left behind", daemon=True).start()


def test_may_leave_what_a_training_changes():
    DefaultScope.get_instance("run", scope_name="mmdet")
    MessageHub.get_instance("run")
    MMLogger.get_instance("run")
    torch.rand(1), np.random.rand(), random.random()
    warnings.filterwarnings("ignore", message="left behind")
    multiprocessing.set_start_method("spawn", force=True)


def test_may_leave_a_users_module_and_what_it_registers(tmp_path, monkeypatch):
    lines = ("from mmengine.registry import HOOKS", "@HOOKS.register_module()", "class UsersHook: pass")
    (tmp_path / "users_own.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    __import__("users_own")
    assert HOOKS.get("UsersHook") is not None


@pytest.mark.parametrize("draws_before", [0, 3])
def test_starts_from_the_same_random_numbers(draws_before, numbers):
    assert numbers == torch.rand(2).tolist() == pytest.approx(torch.rand(2, generator=torch.manual_seed(0)).tolist())


@pytest.fixture
def numbers(once):
    return once


@pytest.fixture(scope="module")
def once():
    assert DefaultScope.get_current_instance() is None
    return torch.rand(2).tolist()


def test_sets_up_what_is_shared_as_if_it_were_the_first(request):
    DefaultScope.get_instance("run", scope_name="mmdet")
    torch.rand(5)
    generator = torch.Generator().manual_seed(0)
    assert request.getfixturevalue("once") == torch.rand(2, generator=generator).tolist()
    assert DefaultScope.get_current_instance().scope_name == "mmdet"


@pytest.fixture(scope="module")
def careless():
    os.environ["LEFT_BY_A_FIXTURE"] = "1"


def test_leaves_what_a_shared_fixture_has_left(careless):
    """the module's fixture careless left behind: environment variable LEFT_BY_A_FIXTURE"""

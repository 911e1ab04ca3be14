"""Ctrl-C, as a terminal sends it: to every process of the command."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mmssl_dynamic import cli
from mmssl_dynamic.interrupts import Interrupts

COMMAND = """
import os, sys, time
from mmssl_dynamic import cli, interrupts
interrupts._GRACE = 1.0

def ready():
    print("ready", flush=True)

{body}

if __name__ == "__main__":
    cli.run(main)
"""

LOADING = """
import torch
from torch.utils.data import DataLoader, Dataset
class Images(Dataset):
    def __len__(self):
        return 1000
    def __getitem__(self, index):
        time.sleep(0.05)
        return torch.zeros(1)
def main():
    for step, _ in enumerate(DataLoader(Images(), batch_size=2, num_workers=2)):
        if step == 1:
            ready()"""

# What a command may be doing. Each says that it is ready, and would take a minute.
DOING = {
    "computing": "def main():\n    ready()\n    time.sleep(60)",
    "failing to import": """
def main():
    ready()
    try:
        time.sleep(60)
    except BaseException:
        raise ImportError("partially initialised")""",
    "swallowing": """
def main():
    ready()
    for _ in range(60):
        try:
            time.sleep(1)
        except:
            pass""",
    "inside of a library": """
import hashlib
def main():
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # minutes in which the interpreter sees no signal""",
    "in a destructor": """
class Slow:
    def __del__(self):
        ready()
        time.sleep(60)
def main():
    thing = Slow()
    del thing
    time.sleep(60)""",
    "loading with workers": LOADING,
    "losing a worker first": LOADING
    + """
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            raise RuntimeError("DataLoader worker (pid 1) exited unexpectedly")""",
    "with workers whose connections break": LOADING.replace(
        "        return torch.zeros(1)",
        """
        if os.getppid() != PARENT:
            try:
                raise ConnectionResetError("Connection reset by peer")
            except ConnectionResetError:
                sys.excepthook(*sys.exc_info())  # as multiprocessing.resource_sharer does
                os._exit(1)
        return torch.zeros(1)
PARENT = os.getpid()""",
    )
    + """
        try:
            time.sleep(0.01)
        except KeyboardInterrupt:
            os.write(2, b"interrupted\\n")
            os._exit(130)""",
    "with workers that take their time": """
from torch.utils.data import DataLoader
class Images:
    def __len__(self):
        return 10
    def __getitem__(self, index):
        if index > 1:
            time.sleep(60)
        return index
def main():
    batches = iter(DataLoader(Images(), num_workers=2))
    next(batches)
    ready()
    for _ in range(60):
        try:
            time.sleep(1)
        except:
            pass""",
    "ending": """
import atexit
def last():
    ready()
    time.sleep(60)
atexit.register(last)
def main():
    pass""",
    "behind a progress bar": """
from tqdm import tqdm
def main():
    for step in tqdm(range(600)):
        if step == 2:
            ready()
        time.sleep(0.1)""",
}


def start(tmp_path, repo_root, body):
    (tmp_path / "command.py").write_text(COMMAND.format(body=body))
    env = dict(os.environ, PYTHONPATH=str(repo_root), OMP_NUM_THREADS="1")
    env.pop("LOCAL_RANK", None)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout.readline() == "ready\n"
    return process


def members(group):
    """Processes of a group that are left."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(stat.parent.name)
    return found


@pytest.mark.parametrize("doing", DOING)
def test_ctrl_c_is_one_line_and_status_130(tmp_path, repo_root, doing):
    process = start(tmp_path, repo_root, DOING[doing])
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=50)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted"
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    for _ in range(100):  # workers whose parent was ended notice it within seconds
        if not members(process.pid):
            break
        time.sleep(0.1)
    assert members(process.pid) == []


def test_a_second_one_ends_it_at_once(tmp_path, repo_root):
    body = """
interrupts._GRACE = 60.0
def main():
    try:
        ready()
        time.sleep(60)
    finally:
        ready()
        time.sleep(60)"""
    process = start(tmp_path, repo_root, body)
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "ready\n"  # it tidies up, and takes too long
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "interrupted\n")


def test_a_job_in_the_background_is_left_alone(tmp_path, repo_root):
    """Shells that are not interactive start jobs with the signal ignored."""
    body = "def main():\n    ready()\n    time.sleep(2)\n    print('done', flush=True)"
    (tmp_path / "command.py").write_text(COMMAND.format(body=body))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "command.py")],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ, PYTHONPATH=str(repo_root)),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[0] == "done\n"
    assert process.returncode == 0


def test_a_command_that_is_called_gives_the_signal_back():
    # As in a shell that is interactive: what others start in the background has the signal ignored from the start.
    own = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        _gives_the_signal_back()
    finally:
        signal.signal(signal.SIGINT, own)


def _gives_the_signal_back():
    before, threads = signal.getsignal(signal.SIGINT), set(threading.enumerate())
    handlers = []
    cli.run(lambda: handlers.append(signal.getsignal(signal.SIGINT)))
    assert handlers[0] != before
    assert signal.getsignal(signal.SIGINT) == before
    assert set(threading.enumerate()) <= threads  # one of another test's may have ended meanwhile
    assert signal.set_wakeup_fd(-1) == -1


def test_of_several_processes_of_a_training_the_first_one_says_it(tmp_path, repo_root, monkeypatch):
    said = []
    monkeypatch.setattr(os, "write", lambda handle, text: said.append(text))
    monkeypatch.setenv("LOCAL_RANK", "1")
    Interrupts().tell()
    assert said == []
    monkeypatch.setenv("LOCAL_RANK", "0")
    interrupts = Interrupts()
    interrupts.tell()
    interrupts.tell()
    assert said == [b"interrupted\n"]


# Everything before cli.run() is outside of its reach, so a tool imports nothing there that takes time.
@pytest.mark.parametrize("tool", sorted(path.name for path in (Path(__file__).parents[1] / "tools").glob("*.py")))
def test_a_tool_imports_nothing_slow_before_it_listens(repo_root, tool):
    code = f"""
import runpy, sys
from mmssl_dynamic import cli
cli.run = lambda main: None
runpy.run_path({str(repo_root / "tools" / tool)!r}, run_name="__main__")
print(sorted({{"torch", "numpy", "mmengine", "PIL"}} & set(sys.modules)))
"""
    env = dict(os.environ, PYTHONPATH=str(repo_root))
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert finished.stdout == "[]\n"

"""mmcv with compiled operators: from a wheel built before, or from its source package. Standard library only."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

from process import SetupError, environment, output, run, say

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
STEP = re.compile(r"^\s*\[(\d+)/(\d+)\]")


def pinned_version() -> str:
    """The version in requirements/mmcv.txt."""
    found = re.search(r"^mmcv==(\S+)$", (REQUIREMENTS / "mmcv.txt").read_text(), flags=re.MULTILINE)
    if found is None:
        raise SetupError("requirements/mmcv.txt must hold one line mmcv==VERSION")
    return found.group(1)


def installed_version(python: Path, distribution: str) -> str | None:
    """Version of ``distribution`` in the environment of ``python``, None where it is not installed."""
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    return output([python, "-c", code]) if python.exists() else None


def is_installed(python: Path) -> bool:
    """Whether a full mmcv, the original or its maintained fork, is in the environment: mmcv-lite must not cover it."""
    return any(installed_version(python, name) is not None for name in ("mmcv", "onedl-mmcv"))


def has_operators(python: Path) -> bool:
    """Whether the pinned mmcv is in the environment and its operators load with the torch that is there."""
    if installed_version(python, "mmcv") != pinned_version() or installed_version(python, "mmcv-lite") is not None:
        return False
    return loading_problem(python) is None


def loading_problem(python: Path) -> str | None:
    """Why mmcv's operators do not load, in the words of Python; None when they do."""
    command = [str(python), "-W", "ignore", "-c", "import torch, mmcv._ext"]
    finished = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    return None if finished.returncode == 0 else finished.stderr.strip().rpartition("\n")[2]


def remove_lite(python: Path) -> None:
    """Take mmcv-lite away before mmcv goes in: both own the module ``mmcv``; removed later, it would break it."""
    if installed_version(python, "mmcv-lite") is None:
        return
    say("removing mmcv-lite: mmcv with operators takes its place")
    run([python, "-m", "pip", "uninstall", "--yes", "--quiet", "mmcv-lite", "mmcv"], "mmcv-lite could not be removed")


def matching_wheel(wheels: Path) -> Path | None:
    """The wheel in ``wheels`` for the pinned mmcv, this Python and this kind of machine; None where there is none."""
    tag = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    found = wheels.glob(f"mmcv-{pinned_version()}-{tag}-{tag}-*{sys.platform}*_{platform.machine()}.whl")
    return next(iter(sorted(found)), None)


def check_can_install(python: Path, wheels: Path) -> None:
    """Raise SetupError when mmcv would have to be compiled and the tools for that are missing."""
    if is_installed(python) or matching_wheel(wheels) is not None:
        return
    check_compiler()


def check_compiler() -> None:
    """Raise SetupError without a C++ compiler or the headers of Python."""
    compiler = os.environ.get("CXX", "c++").split()[0]
    if shutil.which(compiler) is None:
        raise SetupError(
            f"no C++ compiler '{compiler}' found, and mmcv has to be compiled here: install one"
            " (Debian, Ubuntu: apt install g++), or name yours with CXX="
        )
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-dev"
        raise SetupError(
            f"{include} has no Python.h, and mmcv has to be compiled here: install Python's headers"
            f" (Debian, Ubuntu: apt install {package}), or choose another Python with PYTHON="
        )


def install_with_operators(python: Path, wheels: Path) -> None:
    """Make sure that mmcv with operators is in the environment, where all that it imports is already.

    A wheel, found or in pip's cache, may have been built against another torch and then does not load; the last resort
    is a build that takes nothing from a cache.
    """
    if has_operators(python):
        return
    wheel = matching_wheel(wheels)
    if wheel is not None:
        say(f"installing mmcv from {wheel}")
        install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--force-reinstall"]
        run([*install, wheel], f"{wheel} could not be installed")
        problem = loading_problem(python)
        if problem is None:
            return
        say(f"{wheel.name} does not load here ({problem})")
    check_compiler()
    for options in ([], ["--no-cache-dir"]):
        build(python, options)
        problem = loading_problem(python)
        if problem is None:
            return
    raise SetupError(f"mmcv {pinned_version()} was compiled but does not load: {problem}; see {log_file(python)}")


def log_file(python: Path) -> Path:
    """Where the output of the compiler goes."""
    return python.parents[1] / ".setup" / "mmcv-build.log"


def build(python: Path, options: list[str]) -> None:
    """Compile mmcv from its source package, showing how far the compiler is."""
    quiet = [python, "-m", "pip", "install", "--quiet"]
    run(
        [*quiet, "--requirement", REQUIREMENTS / "mmcv-build.txt"], "the tools that compile mmcv could not be installed"
    )
    say(f"compiling mmcv {pinned_version()}, about 10 minutes on two cores; the compiler's output: {log_file(python)}")
    # ninja is a script in the environment's bin folder; mmcv would start at least four compilers whatever the machine.
    changes = {
        "MMCV_WITH_OPS": "1",
        "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "MAX_JOBS": os.environ.get("MAX_JOBS", str(os.cpu_count() or 1)),
        **without_cuda(python),
    }
    command = [python, "-m", "pip", "install", "--verbose", "--no-deps", "--no-build-isolation", "--force-reinstall"]
    command += ["--no-binary", "mmcv", *options, f"mmcv=={pinned_version()}"]
    log_file(python).parent.mkdir(exist_ok=True)
    with open(log_file(python), "w", encoding="utf-8") as log:
        code = follow([str(part) for part in command], log, environment(**changes))
    if code != 0:
        tail = log_file(python).read_text(encoding="utf-8").splitlines()[-15:]
        print("\n".join(tail), file=sys.stderr)
        raise SetupError(
            f"mmcv could not be compiled: the end of the compiler's output stands above, all in {log_file(python)}"
        )


def follow(command: list[str], log, variables: dict[str, str]) -> int:
    """Run ``command``, its output into ``log``, and show ninja's ``[12/160]`` with the time left; the exit status."""
    started, shown = time.monotonic(), -1
    process = subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            log.write(line)
            found = STEP.match(line)
            if found is None:
                continue
            done, total = int(found.group(1)), int(found.group(2))
            # A line for every twentieth: short enough for a log file, often enough to see that it goes on.
            if done * 20 // total != shown:
                shown = done * 20 // total
                left = (time.monotonic() - started) / done * (total - done)
                say(f"  {done} of {total} files compiled, about {max(1, round(left / 60))} min left")
    except BaseException:
        process.terminate()
        process.wait()
        raise
    return process.wait()


def without_cuda(python: Path) -> dict[str, str]:
    """Variables that hide the GPU from mmcv's build where CUDA's compiler is missing or of another major version.

    mmcv compiles its CUDA operators as soon as torch sees a GPU, and fails without a fitting nvcc. The test suite needs
    its CPU operators only; mmdet on a GPU (RoIAlign, NMS) needs the CUDA ones, so the message says which were built.
    """
    if os.environ.get("FORCE_CUDA") == "1":
        return {}
    wanted = output(
        [python, "-W", "ignore", "-c", "import torch; print(torch.cuda.is_available() and torch.version.cuda or '')"]
    )
    if not wanted:
        return {}
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    nvcc = shutil.which("nvcc") or f"{home}/bin/nvcc"
    release = re.search(r"release (\d+)\.", output([nvcc, "--version"]) or "")
    if release is not None and release.group(1) == wanted.split(".")[0]:
        return {}
    say(f"no nvcc of CUDA {wanted.split('.')[0]} here: compiling mmcv with its CPU operators only")
    return {"CUDA_VISIBLE_DEVICES": ""}

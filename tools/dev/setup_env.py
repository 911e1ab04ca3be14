"""Set up a virtual environment for the demo or for the tests; the Makefile calls it. Standard library only.

It can be called any number of times: a finished set-up is remembered by a fingerprint of everything it depends on, and
one that broke off goes on where pip finds something missing. A problem ends it with one sentence that names the remedy.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(Path(__file__).resolve().parent))

import mmcv_setup  # noqa: E402
from process import SetupError, output, run, say  # noqa: E402

BUILT_WHEELS = ROOT.parent / "shared" / "wheels"
REQUIREMENTS = {
    "demo": ("runtime.txt", "demo.txt"),
    "test": ("runtime.txt", "dev.txt", "mmdet.txt"),
}
# The tests' environment can run the demo as well.
SATISFIED_BY = {"demo": ("demo", "test"), "test": ("test",)}
# Measured with the CUDA builds of torch: the environment takes 6 GB, the downloads in the temporary folder 3 GB.
VENV_BYTES = 8e9
DOWNLOAD_BYTES = 4e9


def main() -> None:
    """Parse the command line and set up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("purpose", choices=sorted(REQUIREMENTS), help="what the environment is for")
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="folder of the environment (default: .venv)")
    parser.add_argument(
        "--wheels", type=Path, default=ROOT.parent / "shared" / "wheels", help="folder with a built mmcv"
    )
    args = parser.parse_args()
    try:
        set_up(args.purpose, args.venv.absolute(), args.wheels)
    except SetupError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; call it again and it goes on where it was")


def set_up(purpose: str, venv: Path, wheels: Path) -> None:
    """Make ``venv`` fit for ``purpose``.

    Raises:
        SetupError: Something is missing that this script cannot provide, or pip failed.
    """
    python = venv / "bin" / "python"
    if not is_working(python):
        check_space(venv)
        if purpose == "test":
            mmcv_setup.check_can_install(python, wheels)
        create(venv)
    if not is_same_environment(venv):
        # Everything below asks this interpreter for versions and folders, so let it be the one of the environment.
        os.execv(python, [str(python), __file__, purpose, "--venv", str(venv), "--wheels", str(wheels)])
    if any(is_current(venv, candidate) for candidate in SATISFIED_BY[purpose]):
        return

    say(f"installing what the {purpose} needs (about 3 GB to download the first time)")
    if purpose == "test":
        mmcv_setup.check_can_install(python, wheels)
        mmcv_setup.remove_lite(python)
    pip_install(python, requirement_arguments(purpose, python))
    make_opencv_load(python)
    if purpose == "test":
        mmcv_setup.install_with_operators(python, wheels)
    say("installing this checkout as mmssl-dynamic (editable)")
    pip_install(python, ["--quiet", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)])
    check_imports(python, purpose)
    remember(venv, purpose)
    say(f"ready: {venv}")


# ---------------------------------------------------------------------------------------------------- prerequisites


def check_space(venv: Path) -> None:
    """Raise SetupError when the disk of the environment or of the downloads is too small."""
    places = ((venv.parent, VENV_BYTES, "another VENV="), (Path(tempfile.gettempdir()), DOWNLOAD_BYTES, "TMPDIR"))
    for folder, needed, option in places:
        while not folder.exists():
            folder = folder.parent
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise SetupError(
                f"{folder} has {free / 1e9:.1f} GB free and {needed / 1e9:.0f} GB are needed: make room, or set"
                f" {option} to a folder on a larger disk"
            )


# --------------------------------------------------------------------------------------------------- environment


def is_working(python: Path) -> bool:
    """Whether ``python`` is there, runs, and has pip."""
    return python.exists() and output([python, "-c", "import pip"]) is not None


def is_same_environment(venv: Path) -> bool:
    """Whether this very process runs in ``venv``."""
    return Path(sys.prefix).resolve() == venv.resolve()


def create(venv: Path) -> None:
    """Create the environment, over a broken one too, but over nothing else."""
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").is_file():
        raise SetupError(f"{venv} is not empty and is no virtual environment: choose another folder with VENV=")
    say(f"creating {venv} with Python {sys.version.split()[0]}")
    try:
        import ensurepip
        import venv as venv_module  # noqa: F401
    except ImportError as error:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise SetupError(
            f"{sys.executable} has no {error.name} module, which virtual environments need: install it"
            f" (Debian, Ubuntu: apt install {package}), or choose another Python with PYTHON="
        ) from error
    del ensurepip
    run([sys.executable, "-m", "venv", "--clear", venv], "the virtual environment could not be created")


def requirement_arguments(purpose: str, python: Path) -> list[str]:
    """Arguments of one pip call that installs everything but mmcv with operators."""
    names = list(REQUIREMENTS[purpose])
    if purpose == "demo" and not mmcv_setup.is_installed(python):
        names.append("mmcv-lite.txt")
    return [argument for name in names for argument in ("--requirement", str(ROOT / "requirements" / name))]


def pip_install(python: Path, arguments: list[str]) -> None:
    """``pip install`` in the environment, its progress on the terminal."""
    quiet = [] if sys.stdout.isatty() else ["--progress-bar", "off"]
    run(
        [python, "-m", "pip", "install", *quiet, *arguments],
        "pip could not install everything; its reason stands above",
    )


def make_opencv_load(python: Path) -> None:
    """Take OpenCV's headless build where a system library of the usual one is missing.

    opencv-python, which mmengine asks for, links to libGL; a machine without a screen need not have that.
    """
    if output([python, "-c", "import cv2"]) is not None:
        return
    say("OpenCV does not load here (libGL is missing, most likely): taking its headless build instead")
    # Both are the module cv2: what is left of one would stand in the way of the other.
    names = ["opencv-python", "opencv-python-headless"]
    run([python, "-m", "pip", "uninstall", "--yes", "--quiet", *names], "OpenCV could not be removed")
    pip_install(python, ["--quiet", names[1]])


def check_imports(python: Path, purpose: str) -> None:
    """Import the heavy packages once, so that what is missing is found here and not in the middle of a run."""
    say("checking that everything loads")
    modules = ["torch", "torchvision", "cv2", "mmengine", "mmcv", "mmpretrain", "faiss", "mmssl_dynamic"]
    if purpose == "test":
        modules += ["mmcv.ops", "mmdet"]
    run(
        [python, "-W", "ignore", "-c", f"import {', '.join(modules)}"],
        "the environment was installed but does not load; the reason stands above",
    )


# ------------------------------------------------------------------------------------------------------- memory


def fingerprint(purpose: str, files: Iterable[Path] | None = None) -> str:
    """Hash of what the environment of ``purpose`` depends on: requirements, set-up, interpreter, this folder."""
    digest = hashlib.sha256(f"{purpose} {sys.version_info[:2]} {ROOT}".encode())
    if files is None:
        files = [*(ROOT / "requirements").glob("*.txt"), *Path(__file__).parent.glob("*.py"), ROOT / "setup.py"]
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def stamp(venv: Path, purpose: str) -> Path:
    """The file that remembers a finished set-up."""
    return venv / ".setup" / purpose


def is_current(venv: Path, purpose: str) -> bool:
    """Whether ``venv`` was set up for ``purpose`` from exactly these files."""
    path = stamp(venv, purpose)
    return path.is_file() and path.read_text() == fingerprint(purpose)


def remember(venv: Path, purpose: str) -> None:
    """Note that ``venv`` is ready for ``purpose``."""
    path = stamp(venv, purpose)
    path.parent.mkdir(exist_ok=True)
    path.write_text(fingerprint(purpose))


if __name__ == "__main__":
    main()

"""Build of the distribution ``mmssl-dynamic``. Settings of the tools (ruff, mypy, pytest) are in pyproject.toml."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
PACKAGE = "mmssl_dynamic"

# What OpenMIM looks for in `mmssl_dynamic/.mim`: configs, command lines and the index of models.
MIM_CONTENT = ("configs", "tools", "model-index.yml")
# tools/dev sets up a checkout; it has no use in an installed package.
MIM_IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", "dev")

# What the package itself imports, as the widest ranges that make sense. The versions known to work together are in
# requirements/*.txt, which the Makefile installs.
#
# mmengine, mmcv and mmpretrain are needed too and are not named here, on purpose: each has several distributions with
# one import name, and a requirement on one of them would install it over the others. mmcv is either `mmcv` (compiled
# operators, for mmdet) or `mmcv-lite` (enough for pre-training); and the maintained forks `onedl-*` stand in for the
# originals. So the choice is an extra: one of `openmmlab`, `mmdet`, `onedl`, `onedl-mmdet`.
INSTALL_REQUIRES = [
    # 2.6: the first release whose torch.load executes nothing from a file by default.
    "torch>=2.6",
    "torchvision>=0.21",
    "faiss-cpu>=1.8",
    # 3.25: the first release that notices a lock file which was deleted while it waited for it.
    "filelock>=3.25",
    "matplotlib>=3.7",
    "numpy>=1.26",
    "Pillow>=10",
    "safetensors>=0.4.3",
    # 1.4: the first whose LogisticRegression minimises the mean of the losses, for which the tolerance is set.
    "scikit-learn>=1.4",
    "scipy>=1.11",
    # Reads JPEGs and, unlike OpenCV and Pillow, tells when a part of one is lost.
    "simplejpeg>=1.7",
    "tqdm>=4.65",
]
# mmengine and mmcv import pkg_resources, which setuptools 82 no longer has.
OPENMMLAB = ["mmengine>=0.10.4,<1", "mmpretrain>=1.2,<2", "setuptools<81"]
ONEDL = ["onedl-mmengine>=0.10.12", "onedl-mmcv>=2.3", "onedl-mmpretrain>=1.3"]
DEMO = ["scikit-image>=0.22"]
# mkdocs 2 will know neither plugins nor hooks.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.5", "mkdocstrings[python]>=0.27"]
TENSORBOARD = ["tensorboard>=2.15"]
# 1.0.26: the first release that executes nothing from a checkpoint by default.
TIMM = ["timm>=1.0.26"]
PYTEST = ["pytest>=8", "pytest-randomly>=3.16", "pytest-xdist>=3.5"]
LMDB = ["lmdb>=1.4"]
# 14.0.1 was the first release that executes nothing from a file; 16.1 the first for numpy 2.
PARQUET = ["pyarrow>=16.1"]
# onnxscript: torch's exporter on torch.export is written in it; without it the older one stands in.
ONNX = ["onnx>=1.17", "onnxruntime>=1.20", "onnxscript>=0.3"]
OPENVINO = ["onnx>=1.17", "openvino>=2024.4"]
TESTS = [*DEMO, *DOCS, *LMDB, *ONNX, *OPENVINO, *PARQUET, *PYTEST, *TENSORBOARD, *TIMM]

EXTRAS_REQUIRE = {
    "openmmlab": [*OPENMMLAB, "mmcv-lite>=2.0.1,<2.3"],
    # mmdet 3.3 rejects mmcv 2.2. Not together with `openmmlab`: mmcv and mmcv-lite are the same module.
    "mmdet": [*OPENMMLAB, "mmcv>=2.0.1,<2.2", "mmdet>=3.3,<4"],
    "onedl": ONEDL,
    "onedl-mmdet": [*ONEDL, "onedl-mmdetection>=3.5"],
    # faiss-gpu brings CUDA 12 libraries of its own, whose names differ from those of a CUDA 13 torch: both load side by
    # side. It owns the same folder `faiss` as faiss-cpu; an extra cannot take a base requirement back, and pip promises
    # no order. So finish with `pip install --force-reinstall --no-deps faiss-gpu` (`make gpu`): the GPU build on top.
    "gpu": ["faiss-gpu>=1.15; sys_platform == 'linux'"],
    "demo": DEMO,
    "docs": DOCS,
    "lmdb": LMDB,
    # What graphs are written and checked with.
    "onnx": ONNX,
    "openvino": OPENVINO,
    "parquet": PARQUET,
    "timm": TIMM,
    "tensorboard": TENSORBOARD,
    "tests": TESTS,
    "dev": [*TESTS, "mypy>=1.10", "ruff>=0.6"],
}


def read_version() -> str:
    """The version in ``mmssl_dynamic/version.py``, without importing the package and so torch."""
    text = (ROOT / PACKAGE / "version.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "([^"]+)"', text, flags=re.MULTILINE)
    if found is None:
        raise RuntimeError(f'{PACKAGE}/version.py holds no line __version__ = "..."')
    return found.group(1)


def read_description() -> str:
    """README.md, or nothing where a build has only the package's own files."""
    readme = ROOT / "README.md"
    return readme.read_text(encoding="utf-8") if readme.is_file() else ""


def remove(path: Path) -> None:
    """Remove a file, a link or a folder; nothing happens where there is none."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)


class BuildPyWithMim(build_py):
    """Adds ``mmssl_dynamic/.mim`` to every kind of build.

    The usual recipe looks for ``develop`` in ``sys.argv``, which a PEP 660 install (``pip install -e .``) does not
    pass. setuptools runs this command for wheels, installs and editable installs alike, and tells by ``editable_mode``.
    """

    def run(self) -> None:
        """Build the modules, then lay ``.mim``: links to the checkout for an editable install, copies otherwise."""
        super().run()
        base = ROOT if self.editable_mode else Path(self.build_lib)
        mim = base / PACKAGE / ".mim"
        remove(mim)
        mim.mkdir(parents=True)
        for name in MIM_CONTENT:
            if self.editable_mode and self._link(ROOT / name, mim / name):
                continue
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, mim / name, ignore=MIM_IGNORED)
            else:
                shutil.copy2(ROOT / name, mim / name)

    @staticmethod
    def _link(source: Path, target: Path) -> bool:
        """Link relatively, so that the checkout can be moved; False where the system allows no links."""
        try:
            target.symlink_to(os.path.relpath(source, target.parent), target_is_directory=source.is_dir())
        except OSError:
            return False
        return True


setup(
    name="mmssl-dynamic",
    version=read_version(),
    description="Self-supervised pre-training of dynamic networks: one super-network, a sub-network for every task",
    long_description=read_description(),
    long_description_content_type="text/markdown",
    keywords="self-supervised learning, dynamic networks, OpenMMLab, SimSiam, transfer learning",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={"": ["py.typed", "*.css", "*.html", "*.js"]},
    include_package_data=False,
    python_requires=">=3.10",
    install_requires=INSTALL_REQUIRES,
    extras_require=EXTRAS_REQUIRE,
    entry_points={"console_scripts": ["mmssl-dynamic = mmssl_dynamic.commands.main:main"]},
    cmdclass={"build_py": BuildPyWithMim},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
    zip_safe=False,
)

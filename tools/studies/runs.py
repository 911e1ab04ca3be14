"""What a study is made of: runs, their steps as commands, and what is finished."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: In a result that was taken from a page: the page.
PUBLISHED = "published"
# A training that starts from another one's weights must not see the images and crops of the first again.
_SEED_OF_STARTED = 1000


@dataclass(frozen=True)
class Run:
    """One row of the table of a study, trained with every seed.

    Attributes:
        name: Of its folder and in tables.
        label: In words.
        config: Below ``configs/``.
        epochs: Of the training.
        cost: Of one of its steps, in steps of the base run, for the estimate of what is left.
        start: Name of the run whose weights it starts from.
        into_paths: Whether it starts a super-network (``init_from``), and not the same network (``load_from``).
        split: Name of the split of the images among the paths.
        pool: Folder below the pool of images; all of it when left out.
        tasks: Names of the tasks it is evaluated on; all when left out.
        options: ``--cfg-options``; ``$OUT`` in them is the study's folder.
        splits: Splits to make of its features: name and arguments of ``tools/cluster.py``.
        group: Of a training of slimmable networks, or of one of them alone: the name that its networks are compared
            under, one by one, with those of the other runs of the group.
    """

    name: str
    label: str
    config: str
    epochs: int
    cost: float = 1.0
    start: str | None = None
    into_paths: bool = False
    split: str | None = None
    pool: str = ""
    tasks: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    splits: tuple[tuple[str, tuple[str, ...]], ...] = ()
    group: str | None = None


@dataclass(frozen=True)
class Folders:
    """Where a study's images come from and where everything goes."""

    data: Path
    out: Path

    @property
    def pool(self) -> Path:
        """Images to train on, a folder for each domain."""
        return self.out / "images" / "pool"

    @property
    def tasks(self) -> Path:
        """Labelled tasks, a folder each."""
        return self.out / "images" / "tasks"


@dataclass(frozen=True)
class Step:
    """One command; its output tells whether it was done."""

    tool: str
    arguments: tuple[str, ...]
    output: Path

    @property
    def line(self) -> str:
        """As typed in the checkout."""
        return shlex.join(["python", f"tools/{self.tool}", *self.arguments])


@dataclass(frozen=True)
class Unit:
    """A run with one seed.

    Attributes:
        run: The run.
        seed: Of the training and of the splits.
        needs: The unit that it starts from.
        base: The unit whose splits it uses: the one it starts from, if that has some, else the first stage's.
    """

    run: Run
    seed: int
    needs: Unit | None
    base: Unit | None

    def folder(self, folders: Folders) -> Path:
        """Of everything that belongs to it."""
        return folders.out / f"seed{self.seed}" / self.run.name

    def result(self, folders: Folders) -> Path:
        """The file that says it is finished."""
        return self.folder(folders) / "results.json"

    def checkpoint(self, folders: Folders) -> Path:
        """Of its last epoch."""
        return self.folder(folders) / f"epoch_{self.run.epochs}.pth"

    def steps(self, folders: Folders) -> Iterator[Step]:
        """From first to last."""
        run, folder, checkpoint = self.run, self.folder(folders), self.checkpoint(folders)
        config = f"configs/{run.config}"
        seed = self.seed + (_SEED_OF_STARTED if self.needs is not None else 0)
        options = [f"data_root={folders.pool / run.pool}", f"max_epochs={run.epochs}", f"randomness.seed={seed}"]
        if self.needs is not None:
            key = "init_from" if run.into_paths else "load_from"
            options.append(f"{key}={self.needs.checkpoint(folders)}")
        if run.split is not None:
            assert self.base is not None
            options.append(f"clusters_file={self.base.folder(folders) / f'{run.split}.npz'}")
        own = [option.replace("$OUT", str(folders.out)) for option in run.options]
        arguments = (config, "--work-dir", str(folder), "--resume", "--channels-last", "--cfg-options")
        yield Step("train.py", (*arguments, *options, *own), checkpoint)
        kept = str(folder / Path(run.config).name)
        if run.splits:
            features = folder / "features.npy"
            yield Step(
                "extract_features.py", (kept, str(checkpoint), "--out", str(features)), features.with_suffix(".json")
            )
            common = ("--min-size", "64", "--seed", str(self.seed), "--no-montage")
            for name, extra in run.splits:
                out = folder / f"{name}.npz"
                yield Step("cluster.py", (str(features), *common, *extra, "--out", str(out)), out)
        tasks = [str(folders.tasks / name) for name in run.tasks] or [str(folders.tasks)]
        yield Step("studies/evaluate_run.py", (kept, str(checkpoint), "--tasks", *tasks), self.result(folders))


def units_of(stages: Sequence[Sequence[Run]], seeds: Sequence[int]) -> list[Unit]:
    """All units in the order in which they are wanted: stage by stage, all seeds of each."""
    made: dict[tuple[str, int], Unit] = {}
    for stage in stages:
        for seed in seeds:
            for run in stage:
                needs = made[run.start, seed] if run.start is not None else None
                base = None
                if run.split is not None:
                    own = needs if needs is not None and needs.run.splits else None
                    base = own or next((made[other.name, seed] for other in stages[0] if other.splits), None)
                made[run.name, seed] = Unit(run, seed, needs, base)
    return list(made.values())

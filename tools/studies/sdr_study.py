"""Run the small-scale SDR study: trainings, clusters, routing and transfer, as a list of commands.

Every command is one of tools/, is printed, and is written to OUT/commands.sh. What is finished is not done again, and a
training that was stopped goes on from its last checkpoint, so the study can be started anew at any time. When all is
there, tools/studies/sdr_table.py makes the table. The variants subset_a and subset_b need WordNet, see
tools/data/split_imagenet.py.
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sdr_variants import BASE, CONFIGS, SDR, SPLITS, TASKS, VARIANTS, Variant
from tqdm import tqdm

from mmssl_dynamic import cli
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.fileio import read_json

TOOLS = Path(__file__).resolve().parents[1]
KNN = ("--k", "200", "--vote", "weighted")


@dataclass(frozen=True)
class Step:
    """One command; its output tells whether it was done."""

    tool: str
    arguments: tuple[str, ...]
    output: Path

    @property
    def command(self) -> list[str]:
        """As typed in the checkout."""
        return ["python", str((TOOLS / self.tool).relative_to(TOOLS.parent)), *self.arguments]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", required=True, metavar="DIR", help="training images, one folder a class")
    parser.add_argument("--tasks", required=True, metavar="DIR", help="folder of the downstream tasks")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of the study")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--epochs", type=int, default=5, help="of every training (default: 5)")
    parser.add_argument(
        "--variants", nargs="+", default=[v.name for v in VARIANTS], metavar="NAME", help="(default: all)"
    )
    parser.add_argument("--parts", nargs="+", default=["train", "evaluate"], choices=("train", "evaluate"))
    args = parser.parse_args()
    unknown = sorted(set(args.variants) - {v.name for v in VARIANTS})
    if unknown:
        raise ConfigError(f"--variants {unknown[0]} is unknown; choose from {', '.join(v.name for v in VARIANTS)}.")
    for name, folder in (("--images", args.images), ("--tasks", args.tasks)):
        if not Path(folder).is_dir():
            raise ConfigError(f"{name} {folder} is no folder; unpack the images there.")
    out = Path(args.out).resolve()
    out.mkdir(parents=True, exist_ok=True)
    chosen = [v for v in VARIANTS if v.name in args.variants]
    runs = [(variant, seed) for variant in chosen for seed in args.seeds]
    for variant, seed in tqdm(runs, desc="runs", unit="run"):
        for step in run_steps(variant, out / f"seed{seed}", seed, args):
            perform(step, out, {str(out): "$OUT", args.images: "$IMAGES", args.tasks: "$TASKS"})


def perform(step: Step, out: Path, folders: dict[str, str]) -> None:
    """Run a step whose output is not there yet; ``folders`` become variables in the list of commands."""
    if step.output.exists():
        return
    line = shlex.join(step.command)
    for folder, variable in folders.items():
        line = line.replace(folder, variable)
    tqdm.write(line)
    with (out / "commands.sh").open("a") as file:
        file.write(line + "\n")
    log = out / "log.txt"
    with log.open("a") as file:
        done = subprocess.run([sys.executable, *step.command[1:]], cwd=TOOLS.parent, stdout=file, stderr=file)
    if done.returncode or not step.output.exists():
        raise ConfigError(f"'{line}' failed; see the end of {log}, correct the cause and start the study again.")


def run_steps(variant: Variant, folder: Path, seed: int, args: argparse.Namespace) -> Iterator[Step]:
    """What a variant needs, from first to last; each is asked for when the one before is done."""
    work = folder / variant.name
    epochs = args.epochs if variant.needs is None else max(1, args.epochs // 5)  # fine-tuning is shorter
    checkpoint = work / f"epoch_{epochs}.pth"
    if "train" in args.parts:
        if variant.subset is not None:
            lists = folder.parent / "meta"
            arguments = ("--data-root", args.images, "--out", str(lists))
            yield Step("data/split_imagenet.py", arguments, lists / f"subset_{variant.subset}.txt")
        if variant.needs is not None:
            yield prune(folder / variant.needs / f"epoch_{args.epochs}.pth")
        yield train(variant, folder, seed, args.images, epochs, checkpoint)
        if variant is BASE:
            yield from split_images(folder, seed, checkpoint)
    if "evaluate" in args.parts and checkpoint.exists():
        yield from evaluate(variant, work, checkpoint, args)


def prune(checkpoint: Path) -> Step:
    """The wide SimSiam, pruned to the size of a sub-network."""
    like = str((CONFIGS / SDR.config).relative_to(TOOLS.parent))
    out = checkpoint.with_name("pruned.pth")
    arguments = (str(kept_config(checkpoint)), str(checkpoint), "--like", like, "--out", str(out))
    return Step("prune.py", arguments, out)


def train(variant: Variant, folder: Path, seed: int, images: str, epochs: int, checkpoint: Path) -> Step:
    """Training, with the seed, images and split of the study; its config is kept in the work dir."""
    options = [f"data_root={images}", f"max_epochs={epochs}", f"randomness.seed={seed}"]
    if variant.clusters is not None:
        options.append(f"clusters_file={folder / (variant.clusters + '.npz')}")
    if variant.subset is not None:
        options.append(f"ann_file={folder.parent / 'meta' / f'subset_{variant.subset}.txt'}")
    if variant.needs is not None:
        options.append(f"load_from={folder / variant.needs / 'pruned.pth'}")
    config = str((CONFIGS / variant.config).relative_to(TOOLS.parent))
    work = str(checkpoint.parent)
    return Step("train.py", (config, "--work-dir", work, "--resume", "--cfg-options", *options), checkpoint)


def split_images(folder: Path, seed: int, checkpoint: Path) -> Iterator[Step]:
    """Features of SimSiam, and all splits of the images."""
    features = folder / "features.npy"
    config = str(kept_config(checkpoint))
    yield Step("extract_features.py", (config, str(checkpoint), "--out", str(features)), features.with_suffix(".json"))
    for split in SPLITS:
        out = folder / f"{split.name}.npz"
        common = ("--min-size", "64", "--seed", str(seed), "--no-montage", "--out", str(out))
        yield Step("cluster.py", (str(features), *split.arguments, *common), out)


def evaluate(variant: Variant, work: Path, checkpoint: Path, args: argparse.Namespace) -> Iterator[Step]:
    """KNN and routing on every task, then transfer of the full network and of the one that was routed to."""
    config = str(kept_config(checkpoint))
    bank = ("--bank", str(work / "bn_bank.safetensors")) if variant.paths else ()
    if variant.paths:
        out = work / "routing"
        roots = [argument for task in TASKS for argument in ("--data-root", str(Path(args.tasks) / task))]
        settings = (*bank, *roots, "--out", str(out), "--workers", "1", *KNN)
        yield Step("route.py", (config, str(checkpoint), *settings), out / TASKS[-1] / "routing.json")
    for task in TASKS:
        subnets: tuple[str, ...] = bank
        if variant.paths:
            subnets += ("--subnets", ",".join(dict.fromkeys(("full", routed_to(work / "routing" / task)))))
        else:
            data, out = str(Path(args.tasks) / task), work / "knn" / task
            settings = ("--data-root", data, "--out", str(out), "--workers", "1", "--latency-repeats", "0", *KNN)
            yield Step("evaluate.py", (config, str(checkpoint), *settings), out / "results.json")
        out = work / "transfer" / task
        settings = ("--data-root", str(args.tasks), "--datasets", task, "--out", str(out), "--image-size", "64")
        yield Step(
            "transfer.py",
            (config, str(checkpoint), *settings, "--workers", "1", "--discard-features", *subnets),
            out / "results.json",
        )


def routed_to(folder: Path) -> str:
    """The sub-network that routing chose: the best on the training images."""
    return str(read_json(folder / "routing.json", "routing result")["best"])


def kept_config(checkpoint: Path) -> Path:
    """The config that a training left in its work dir."""
    configs = sorted(checkpoint.parent.glob("*.py"))
    if len(configs) != 1:
        raise ConfigError(f"{checkpoint.parent} should hold the config of its training; train it anew.")
    return configs[0]


if __name__ == "__main__":
    cli.run(main)

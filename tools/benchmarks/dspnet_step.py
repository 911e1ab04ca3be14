"""Cost of a DSPNet step against BYOL steps of the same networks one by one: time, loading included, and peak memory.

Compute: one step of all widths (n networks at a time, every draw of them equally often) over the sum of the individual
BYOL steps; below 1.0 means that DSPNet is cheaper. Loading: decoding, augmenting, collating and normalising a batch of
photographs with the config's own pipeline, which DSPNet needs once and the individual trainings once each; it is timed
alone, in one process, and added, so the ratio is of the work to be done, however many processes share it. Memory:
weights, optimiser state and the most that a step has alive, over that of BYOL with the largest network alone.
"""

import argparse
import tempfile
from itertools import combinations, cycle
from pathlib import Path

import torch
from memory import resident_bytes, step_bytes
from mmengine.optim import OptimWrapper
from photos import write_photos
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.loading import data_preprocessor, find_config, load_config, select_device

CONFIG = "dspnet/dspnet_mobilenet-v3_16xb256-coslr-300e_in1k.py"


def stepper(widths, args, device, directions="both"):
    """A function that does one training step, of networks drawn anew each time; the model and its optimiser."""
    from mmpretrain.registry import MODELS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    config = load_config(find_config(CONFIG)).model
    config.backbone.update(arch=args.arch, widths=widths, norm_cfg=dict(type="BN"))
    config.update(target_bn="batch", directions=directions)
    config.neck.norm_cfg = config.head.predictor.norm_cfg = dict(type="BN1d")
    config.data_preprocessor = dict(type="BaseDataPreprocessor")
    model = MODELS.build(config).to(device).train()
    model.first_view = 0
    names = model.backbone.subnets
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9))
    shape = (args.batch_size, 3, args.image_size, args.image_size)
    data = dict(inputs=[torch.randn(shape, device=device) for _ in range(2)])
    draws = cycle(all_draws(names, args.num_networks))

    def step() -> None:
        model.networks = next(draws)
        model.train_step(data, wrapper)
        model.update_target(0.004)

    return step, model, wrapper.optimizer


def all_draws(names, num_networks):
    """Every draw of a sandwich step: smallest, largest and all choices of others, each as often in training."""
    if len(names) == 1:
        return [tuple(names)]
    between = combinations(names[1:-1], min(num_networks, len(names)) - 2)
    return [(names[0], *others, names[-1]) for others in between]


def loader(args, folder):
    """A function that makes one batch ready for the network: decoded, augmented, collated and normalised."""
    from mmengine.dataset import default_collate
    from mmpretrain.registry import MODELS, TRANSFORMS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    config = load_config(find_config(CONFIG))
    pipeline = config.train_dataloader.dataset.dataset.pipeline
    for view in (view for step in pipeline if step.type == "MultiView" for view in step.transforms):
        for transform in view:
            if "RandomResizedCrop" in transform.type:
                transform.size = args.image_size
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in pipeline]
        preprocessor = MODELS.build(data_preprocessor(config))
    files = cycle(list_images(folder))

    def load():
        batch = []
        for _ in range(args.batch_size):
            sample = dict(img_path=str(Path(folder) / next(files)), gt_label=0)
            for transform in transforms:
                sample = transform(sample)
            batch.append(sample)
        preprocessor(default_collate(batch))

    return load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=("large", "small"), default="large")
    parser.add_argument("--widths", type=float, nargs="+", default=[0.5, 0.75, 1.0, 1.25, 1.5])
    parser.add_argument("--num-networks", type=int, default=4, help="n (default: 4)")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=2, help="over all draws of networks (default: 2)")
    parser.add_argument("--images", metavar="DIR", help="images to load (default: scikit-image's)")
    shared.add_device(parser)
    args = parser.parse_args()
    device = select_device(args.device)
    torch.manual_seed(0)
    together, model, optimizer = stepper(args.widths, args, device)
    cheaper = {name: stepper(args.widths, args, device, name)[0] for name in ("both_of_largest", "alternate")}
    alone = [stepper([width], args, device) for width in args.widths]
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            write_photos(folder)
        load = loader(args, args.images or folder)
        candidates = {"dspnet": together, "byol": lambda: [step() for step, _, _ in alone], "load": load, **cheaper}
        draws = len(all_draws(model.backbone.subnets, args.num_networks))
        # The networks of the first draws are seen for the first time there.
        seconds = alternate(candidates, args.rounds * draws, warm_up=draws)
    trainings = len(alone)
    loaded_alone = [a + trainings * b for a, b in zip(seconds["byol"], seconds["load"])]
    print(
        f"MobileNetV3-{args.arch}, widths {args.widths}, n = {args.num_networks}, {args.batch_size} images of "
        f"{args.image_size} px, {device}"
    )
    print(f"DSPNet step                     {summary(seconds['dspnet'])} s")
    print(f"{trainings} BYOL steps                    {summary(seconds['byol'])} s")
    print(f"loading a batch, two views      {summary(seconds['load'])} s in one process")
    for name, label in {"dspnet": "both", **{name: name for name in cheaper}}.items():
        loaded = [a + b for a, b in zip(seconds[name], seconds["load"])]
        print(f"DSPNet over BYOL, directions={label}:")
        print(f"  compute                       {summary(ratios(seconds[name], seconds['byol']))}")
        print(f"  with loading                  {summary(ratios(loaded, loaded_alone))}")
    step, largest, largest_optimizer = alone[-1]
    peak = resident_bytes(model, optimizer) + step_bytes(together, device)
    peak_alone = resident_bytes(largest, largest_optimizer) + step_bytes(step, device)
    print(
        f"peak memory, DSPNet over the largest BYOL: {peak / peak_alone:.3f} ({peak / 2**20:.0f} over "
        f"{peak_alone / 2**20:.0f} MiB)"
    )


if __name__ == "__main__":
    cli.run(main)

"""Images per second that one core loads, where the time goes, and how many cores feed one GPU.

Every part of the pipeline is timed by itself on the same photographs, one process and one thread: the decoders and the
augmentations that could take the place of the package's are timed beside them, where they are installed (PyTurboJPEG
and its library libturbojpeg, kornia; torchvision's are always there). Two views an image, as the config has them. The
whole pipeline takes turns with the one that mmpretrain ships for SimSiam, round by round, and with the one that leaves
colours, blur and flips to --device, where they are timed for a batch.
"""

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from photos import write_photos
from PIL import Image
from pipelines import peer_pipeline, with_size
from timing import alternate, ratios, summary

from mmssl_dynamic import cli
from mmssl_dynamic.commands import shared
from mmssl_dynamic.datasets.decoding import decode_image
from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.loading import data_preprocessor, find_config, load_config, select_device, training_pipeline

CONFIG = "sdr/sdr_simsiam_r50_256path.py"
#: Its loader crops and draws random numbers, and the rest is done a batch at a time.
ACCELERATOR = "sdr/sdr_simsiam_r50_16path_custom_accelerator.py"


def built(steps: list) -> Callable:
    """One function out of some steps of a pipeline."""
    from mmpretrain.registry import TRANSFORMS
    from mmpretrain.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with TRANSFORMS.switch_scope_and_registry("mmpretrain") as registry:
        transforms = [registry.build(step) for step in steps]

    def run(sample: dict) -> dict:
        for transform in transforms:
            sample = transform(sample)
        return sample

    return run


def decoders() -> Iterator[tuple[str, Callable[[bytes], object]]]:
    """Ways to decode a JPEG held in memory."""
    yield "mmssl_dynamic (simplejpeg)", decode_image
    yield "Pillow", lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    from torchvision.io import ImageReadMode, decode_jpeg

    yield (
        "torchvision.io",
        lambda data: decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB),
    )
    try:
        from turbojpeg import TurboJPEG

        yield "PyTurboJPEG", TurboJPEG().decode
    except (ImportError, OSError, RuntimeError):
        print("PyTurboJPEG is not installed: left out")


def torchvision_v2(size: int) -> Callable:
    """MoCo-v2's augmentations of one view as torchvision's transforms v2 on tensors."""
    from torchvision.transforms import v2

    jitter = v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8)
    blur = v2.RandomApply([v2.GaussianBlur(23, (0.1, 2.0))], p=0.5)
    crop = v2.RandomResizedCrop(size, scale=(0.2, 1.0), antialias=True)
    return v2.Compose([crop, jitter, v2.RandomGrayscale(0.2), blur, v2.RandomHorizontalFlip()])


def kornia_batch(size: int) -> Callable | None:
    """The same for a whole batch in kornia, after cropping; ``None`` where it is not installed."""
    try:
        import kornia.augmentation as K
    except ImportError:
        print("kornia is not installed: left out")
        return None
    return torch.nn.Sequential(
        K.ColorJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        K.RandomGrayscale(p=0.2),
        K.RandomGaussianBlur((23, 23), (0.1, 2.0), p=0.5),
        K.RandomHorizontalFlip(),
    )


def per_image(run: Callable, items: list, rounds: int) -> list[float]:
    """Milliseconds an item, in every round."""
    run(items[0])
    values = []
    for _ in range(rounds):
        start = time.perf_counter()
        for item in items:
            run(item)
        values.append(1000 * (time.perf_counter() - start) / len(items))
    return values


def on_device(samples: list[dict], preprocessor: dict, device: torch.device, rounds: int) -> list[float]:
    """Milliseconds an image for what a batch is given on the device: colours, blur, flips and normalisation."""
    from mmengine.dataset import default_collate
    from mmpretrain.registry import MODELS

    with MODELS.switch_scope_and_registry("mmpretrain") as registry:
        ready = registry.build(preprocessor).to(device)
    batch = default_collate(samples)

    def augment(collated: dict) -> None:
        ready(collated, training=True)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return [value / len(samples) for value in per_image(augment, [batch], rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", help=f"(default: {CONFIG})")
    parser.add_argument("--images", metavar="DIR", help="images to load (default: scikit-image's, 400 px)")
    parser.add_argument("--num-images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--gpu-images-per-second", type=float, metavar="N", help="say how many cores feed such a GPU")
    shared.add_device(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    import cv2

    cv2.setNumThreads(1)
    pipeline = training_pipeline(load_config(args.config or find_config(CONFIG)))
    views = next((step for step in pipeline if step["type"].split(".")[-1] == "MultiView"), None)
    if views is None:
        raise ConfigError(f"--config {args.config} has no MultiView in its training pipeline; give a siamese method's.")
    with tempfile.TemporaryDirectory() as folder:
        if args.images is None:
            write_photos(folder)
        root = Path(args.images or folder)
        files = [str(root / name) for name in islice(cycle(list_images(str(root))), args.num_images)]
        report(files, pipeline, views, args)


def _decoded(data: bytes) -> dict:
    """What LoadImage gives."""
    image = decode_image(data)
    return dict(img=image, img_shape=image.shape[:2])


def report(files: list[str], pipeline: list, views: dict, args: argparse.Namespace) -> None:
    """Time everything and print it."""
    contents = [Path(file).read_bytes() for file in files]
    samples = [dict(img_path=file, gt_label=0) for file in files]
    load, size = built(pipeline), built(list(views["transforms"][0]))(_decoded(contents[0]))["img"].shape[0]
    peer = built(with_size(peer_pipeline("SimSiam")[0], size))
    accelerated = load_config(find_config(ACCELERATOR))
    draw = built(with_size(training_pipeline(accelerated), size))
    candidates = {
        "own": lambda: [load(dict(sample)) for sample in samples],
        "peer": lambda: [peer(dict(sample)) for sample in samples],
        "drawn": lambda: [draw(dict(sample)) for sample in samples],
    }
    seconds = alternate(candidates, args.rounds)
    whole, of_peer, drawn = ([1000 * value / len(samples) for value in seconds[name]] for name in candidates)
    rate = 1000 / statistics.median(whole)
    print(f"{len(files)} images, two views of {size} px, one core\n")
    print(f"whole pipeline                       {summary(whole)} ms an image: {rate:.0f} images/s a core")
    print(f"mmpretrain's for SimSiam             {summary(of_peer)} ms an image")
    print(f"images a core, over mmpretrain's     {summary(ratios(of_peer, whole))}")
    device = select_device(args.device)
    rest = 1000 / statistics.median(drawn)
    print(f"the same, colours left to the device {summary(drawn)} ms an image: {rest:.0f} a core")
    print(f"images a core by that, over the whole {summary(ratios(whole, drawn))}")
    batch = [draw(dict(sample)) for sample in samples]
    values = on_device(batch, data_preprocessor(accelerated), device, args.rounds)
    print(f"colours of both views, {device.type:<13} {summary(values)} ms an image")
    for name, decode in decoders():
        print(f"decode, {name:<28} {summary(per_image(decode, contents, args.rounds))} ms")
    steps = views["transforms"][0]
    pixels = [decode_image(data) for data in contents]
    decoded = [_decoded(data) for data in contents]
    for index, step in enumerate(steps):
        kind = step["transforms"][0]["type"] if "transforms" in step else step["type"]
        before = [built(steps[:index])(dict(sample)) for sample in decoded]
        run = built([step])
        print(f"one view, {kind:<26} {summary(per_image(lambda s, run=run: run(dict(s)), before, args.rounds))} ms")
    run = built(list(steps))
    print(f"one view, all of the above           {summary(per_image(lambda s: run(dict(s)), decoded, args.rounds))} ms")
    tensors = [torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1) for image in pixels]
    v2 = torchvision_v2(size)
    print(f"one view, torchvision v2 on tensors  {summary(per_image(v2, tensors, args.rounds))} ms")
    if (kornia := kornia_batch(size)) is not None:
        batch = torch.rand(min(32, len(files)), 3, size, size, device=device)

        def augment(images: torch.Tensor) -> None:
            kornia(images)
            if device.type == "cuda":
                torch.cuda.synchronize()

        values = [value / len(batch) for value in per_image(augment, [batch], args.rounds)]
        print(f"one view, kornia on {device.type}, without crop {summary(values)} ms")
    if args.gpu_images_per_second:
        print(f"\n{args.gpu_images_per_second:g} images/s need {args.gpu_images_per_second / rate:.1f} cores a GPU")


if __name__ == "__main__":
    cli.run(main)

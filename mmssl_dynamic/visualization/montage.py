"""Pictures of a clustering: sample images of every cluster (SDR Fig. 5), and the clusters' sizes.

K clusters.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.named_images import NamedImages, holds
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.writing import write_stream

BACKGROUND = (255, 255, 255)
INK = (30, 30, 30)
FAINT = (225, 225, 225)


@dataclass(frozen=True)
class MontageRow:
    """One cluster of a montage: what is written before it and the images shown."""

    title: str
    subtitle: str
    images: Sequence[Image.Image]


def choose_rows(
    clusters: Clusters,
    image_root: str | os.PathLike[str],
    samples: int = 8,
    max_clusters: int | None = None,
    cell: int = 64,
    seed: int = 0,
    only: Sequence[int] | None = None,
) -> list[MontageRow]:
    """Random images of every cluster, or of the ``max_clusters`` largest ones, in the order of cluster numbers.

    Args:
        clusters: a split whose names are those of images.
        image_root: folder of the images, in files or packed.
        samples: images per cluster.
        max_clusters: most clusters shown. Defaults to all.
        cell: side of a picture in pixels.
        seed: of the choice.
        only: the clusters shown, in this order, instead of all.

    Raises:
        DataError: an image is missing or broken.
    """
    sizes = clusters.sizes
    shown = np.arange(clusters.num_clusters) if only is None else np.array(only, dtype=int)
    if only is None and max_clusters is not None and max_clusters < len(shown):
        shown = np.sort(np.argsort(-sizes, kind="stable")[:max_clusters])
    rng = np.random.default_rng(seed)
    found = NamedImages(image_root)
    rows = []
    for index in shown.tolist():
        members = clusters.members(index)
        picked = rng.choice(members, size=min(samples, len(members)), replace=False)
        images = [thumbnail(found.read(clusters.names[i]), cell) for i in picked]
        rows.append(MontageRow(f"{index}", f"{sizes[index]} img", images))
    return rows


def thumbnail(pixels: NDArray[np.uint8], cell: int) -> Image.Image:
    """The central square of an image, BGR (H, W, 3), ``cell`` pixels wide, RGB."""
    image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
    return ImageOps.fit(image, (cell, cell), Image.Resampling.BICUBIC)


def draw_montage(
    rows: Sequence[MontageRow], samples: int = 8, cell: int = 64, columns: int | None = None
) -> Image.Image:
    """One line per cluster; many clusters flow into several columns, so that the picture stays about square.

    Args:
        rows: clusters to draw.
        samples: pictures per line.
        cell: side of a picture in pixels.
        columns: columns of clusters. Defaults to what comes nearest to a width of 4/3 of the height.
    """
    gap, margin, label = 2, 12, 64
    line, strip = cell + gap, label + samples * (cell + gap)
    if columns is None:
        columns = max(1, round(math.sqrt(len(rows) * line * 4 / 3 / (strip + margin))))
    depth = math.ceil(len(rows) / columns)
    columns = math.ceil(len(rows) / depth)
    canvas = Image.new("RGB", (columns * (strip + margin) + margin, depth * line + 2 * margin), BACKGROUND)
    pen = ImageDraw.Draw(canvas)
    large, small = ImageFont.load_default(18), ImageFont.load_default(12)
    for number, row in enumerate(rows):
        column, place = divmod(number, depth)
        x, y = margin + column * (strip + margin), margin + place * line
        pen.text((x + label - 8, y + cell // 2 - 2), row.title, INK, font=large, anchor="rs")
        pen.text((x + label - 8, y + cell // 2 + 16), row.subtitle, INK, font=small, anchor="rs")
        for i in range(samples):
            corner = (x + label + i * (cell + gap), y)
            if i < len(row.images):
                canvas.paste(row.images[i].resize((cell, cell)), corner)
            else:  # a cluster with fewer images
                pen.rectangle((*corner, corner[0] + cell - 1, corner[1] + cell - 1), outline=FAINT)
    return canvas


def cluster_montage(
    clusters: Clusters,
    image_root: str | os.PathLike[str],
    out: str | os.PathLike[str],
    samples: int = 8,
    max_clusters: int | None = None,
    cell: int | None = None,
    seed: int = 0,
) -> Path:
    """Write a montage as PNG (or what the suffix of ``out`` says); arguments as :func:`choose_rows`.

    Without ``cell``, pictures are 64 pixels wide, and 40 where there are more than 64 clusters.

    Raises:
        DataError: an image is missing or broken.
    """
    if cell is None:
        cell = 64 if min(clusters.num_clusters, max_clusters or clusters.num_clusters) <= 64 else 40
    picture = draw_montage(choose_rows(clusters, image_root, samples, max_clusters, cell, seed), samples, cell)
    kind = Image.registered_extensions().get(Path(out).suffix.lower(), "PNG")
    write_stream(out, lambda stream: picture.save(stream, format=kind))
    return Path(out)


def find_image_root(
    features: Features, given: str | os.PathLike[str] | None = None, say: Callable[[str], object] = print
) -> Path | None:
    """The folder of the images: ``given``, or where they were when features were extracted; None if not there now.

    Args:
        features: Of the images.
        given: The folder, if it was named.
        say: Is told that there will be no montage.

    Raises:
        DataError: ``given`` does not hold the images. Better said before hours of clustering than after.
    """
    if given is not None:
        if features.names[0] in NamedImages(given):
            return Path(given)
        raise DataError(
            f"--image-root {given} holds no image {features.names[0]}; give the folder that the image names are "
            "relative to, or --no-montage."
        )
    if features.image_root is not None and holds(features.image_root, features.names[0]):
        return Path(features.image_root)
    say("no montage: the images are in no folder, or moved since; give --image-root DIR to say where they are")
    return None


def size_plot(clusters: Clusters, out: str | os.PathLike[str]) -> Path:
    """Bar plot of the clusters' sizes, largest first, with the even share N / K, as PNG."""
    sizes = clusters.sizes
    order = np.argsort(-sizes, kind="stable")
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.bar(np.arange(len(sizes)), sizes[order], width=0.85 if len(sizes) <= 64 else 1.0, color="#4878a8")
    even = len(clusters) / clusters.num_clusters
    axes.axhline(even, color="#b04030", linewidth=1, label=f"even share, {even:.0f} images")
    if len(sizes) <= 32:
        axes.set_xticks(np.arange(len(sizes)), [str(i) for i in order])
    axes.set_xlabel("cluster" if len(sizes) <= 32 else "clusters, by size")
    axes.set_ylabel("images")
    axes.set_xlim(-0.6, len(sizes) - 0.4)
    axes.set_title(f"{len(clusters)} images in {clusters.num_clusters} clusters ({clusters.method})", fontsize=11)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    write_stream(out, lambda stream: figure.savefig(stream, format="png", dpi=120))
    return Path(out)

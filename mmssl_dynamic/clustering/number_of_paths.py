"""How many paths a number of images is good for.

N images, K clusters, one for each path.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmssl_dynamic.errors import ConfigError

#: Numbers of paths of a network with four groups in its last one to four stages (SDR Table 4).
PATHS = (4, 16, 64, 256)
#: Our reading. With ImageNet's 1.28 million images 256 paths have 5,000 each. In small trainings clusters of some 400
#: images gained over one network for all, and clusters of 128 lost.
IMAGES_PER_CLUSTER = 256


@dataclass(frozen=True)
class Recommendation:
    """A number of paths for a data set.

    Attributes:
        num_images: N.
        per_cluster: Images that a cluster should have on average.
        num_paths: The largest K of :data:`PATHS` for which it has; ``None`` if there is none.
    """

    num_images: int
    per_cluster: int
    num_paths: int | None

    def reason(self, chosen: int | None = None) -> str:
        """Why, in a sentence; of another number of paths that was ``chosen``, what speaks against it."""
        images = f"{self.num_images:,} images"
        if self.num_paths is None:
            best = f"{images} are few for several paths: 4 would have {self.num_images // 4} each"
            return f"{best}, too few to train one on; train one network on all images"
        mean = self.num_images // self.num_paths
        text = f"{self.num_paths} paths suit {images}: {mean:,} each, at least {self.per_cluster}"
        if chosen is not None and chosen > self.num_paths:
            return f"{text}; {chosen} have {self.num_images // chosen:,} each, too few to train a path on"
        larger = next((k for k in PATHS if k > self.num_paths), None)
        return text if larger is None else f"{text}; {larger} would have {self.num_images // larger:,}"


def recommend(num_images: int, per_cluster: int = IMAGES_PER_CLUSTER) -> Recommendation:
    """The number of paths for a data set.

    Raises:
        ConfigError: ``per_cluster`` is not positive.
    """
    if per_cluster < 1:
        raise ConfigError(f"--images-per-cluster {per_cluster} must be at least 1.")
    fitting = [k for k in PATHS if num_images // k >= per_cluster]
    return Recommendation(num_images, per_cluster, max(fitting, default=None))


def chosen_number(given: str | int, num_images: int, per_cluster: int = IMAGES_PER_CLUSTER) -> int:
    """``--num-clusters``: a number, or ``'auto'`` for the recommended one.

    Raises:
        ConfigError: it is neither, or the images are too few for any number.
    """
    if given != "auto":
        try:
            return int(given)
        except ValueError:
            raise ConfigError(f"--num-clusters {given} must be a number or 'auto'.") from None
    found = recommend(num_images, per_cluster)
    if found.num_paths is None:
        raise ConfigError(f"{found.reason()}, or give --num-clusters 4 to split them all the same.")
    return found.num_paths

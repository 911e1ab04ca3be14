"""A data set that knows which images belong to which sub-network, and sends the sub-network's name along."""

from __future__ import annotations

import numpy as np

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.sample_request import SampleRequest
from mmssl_dynamic.datasets.seeded_dataset import SeededDataset
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import DATASETS
from mmssl_dynamic.subnets import FULL, PathSpace


@DATASETS.register_module()
class SubnetDataset(SeededDataset):
    """Any mmpretrain data set, split among the sub-networks: D_0 for W_0, cluster D_i for W_i.

    Args:
        dataset: Config of the data set with all images, D_0.
        stage_groups: Those of the backbone; cluster i belongs to path i.
        clusters_file: ``clusters.npz`` of ``tools/cluster.py``, matched to the images by their names.
        subnet_data: ``'cluster'``, or ``'full'`` to train every sub-network on D_0 (the "IN" row of SDR Table 3).

    Raises:
        ArtifactError: the clusters file is of other images or has another number of clusters than there are paths.
        ConfigError: there is no clusters file where one is needed.
    """

    sampler_type = "SubnetBatchSampler"

    def __init__(
        self,
        dataset: dict,
        stage_groups: tuple[int, ...],
        clusters_file: str | None = None,
        subnet_data: str = "cluster",
    ) -> None:
        if subnet_data not in ("cluster", "full"):
            raise ConfigError(f"subnet_data='{subnet_data}' must be 'cluster' or 'full'.")
        self.space = PathSpace(tuple(stage_groups))
        super().__init__(dataset)
        self.subnet_data = subnet_data
        self.clusters: Clusters | None = None
        self._everything = np.arange(len(self.dataset), dtype=np.int64)
        self._members: list[np.ndarray] = []
        if subnet_data == "cluster" and self.space.num_paths:
            if clusters_file is None:
                raise ConfigError(
                    "SubnetDataset needs clusters_file; make one with tools/extract_features.py and "
                    "tools/cluster.py, or set subnet_data='full'."
                )
            self.clusters = Clusters.load(clusters_file)
            self.clusters.check_paths(self.space.num_paths)
            assignment = self.clusters.align(sample_names(self.dataset))
            order = np.argsort(assignment, kind="stable")
            edges = np.searchsorted(assignment[order], np.arange(self.space.num_paths + 1))
            self._members = [order[a:b] for a, b in zip(edges, edges[1:])]

    def indices(self, name: str) -> np.ndarray:
        """Positions of the images that a sub-network trains on, ascending."""
        if name == FULL or self.subnet_data == "full":
            return self._everything
        return self._members[self.space.paths.index(self.space.check(name))]

    def __getitem__(self, draw: SampleRequest) -> dict:
        sample = super().__getitem__(draw)
        sample["data_samples"].set_field(draw.subnet, "subnet", field_type="metainfo")
        return sample

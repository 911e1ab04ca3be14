"""A data set whose samples depend on the draw alone, so that a resumed run sees what it would have seen."""

from __future__ import annotations

from torch.utils.data import Dataset

from mmssl_dynamic.datasets.batches import build_dataset
from mmssl_dynamic.datasets.sample_request import SampleRequest, seeded
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.registry import DATASETS


@DATASETS.register_module()
class SeededDataset(Dataset):
    """Any mmpretrain data set, read through :class:`~mmssl_dynamic.datasets.ResumableBatchSampler`.

    Args:
        dataset: Config of the data set.
    """

    sampler_type = "ResumableBatchSampler"

    def __init__(self, dataset: dict) -> None:
        self.dataset = build_dataset(dataset) if isinstance(dataset, dict) else dataset

    @property
    def metainfo(self) -> dict:
        """Meta information of the underlying data set."""
        return getattr(self.dataset, "metainfo", {})

    def full_init(self) -> None:
        """Nothing left to do: the data set is read when it is built."""

    def get_data_info(self, index: int) -> dict:
        """What the underlying data set knows of an image."""
        return self.dataset.get_data_info(index)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: SampleRequest) -> dict:
        if not isinstance(draw, SampleRequest):
            raise ConfigError(
                f"{type(self).__name__} is read through its batch sampler; set batch_sampler=dict(type='mmssl_dynamic."
                f"{self.sampler_type}') in train_dataloader."
            )
        with seeded(draw.seed):
            return self.dataset[draw.index]

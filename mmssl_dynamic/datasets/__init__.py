"""Data sets, transforms and samplers."""

from mmssl_dynamic.datasets.batches import Batch, ImageBatches, build_dataset
from mmssl_dynamic.datasets.colours import ColorJitter, RandomGrayscale
from mmssl_dynamic.datasets.draw_augmentations import DrawAugmentations
from mmssl_dynamic.datasets.from_batch_sampler import FromBatchSampler
from mmssl_dynamic.datasets.gaussian_blur import GaussianBlur
from mmssl_dynamic.datasets.image_folder import ImageFolder
from mmssl_dynamic.datasets.image_listing import list_images
from mmssl_dynamic.datasets.listed_images import ListedImages
from mmssl_dynamic.datasets.load_image import LoadImage, read_image
from mmssl_dynamic.datasets.names import sample_names
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.resumable_batch_sampler import ResumableBatchSampler
from mmssl_dynamic.datasets.sample_request import SampleRequest
from mmssl_dynamic.datasets.seeded_dataset import SeededDataset
from mmssl_dynamic.datasets.subnet_batch_sampler import SubnetBatchSampler
from mmssl_dynamic.datasets.subnet_dataset import SubnetDataset
from mmssl_dynamic.datasets.views import MultiView, RandomResizedCrop

__all__ = [
    "Batch",
    "SampleRequest",
    "ColorJitter",
    "DrawAugmentations",
    "FromBatchSampler",
    "GaussianBlur",
    "ImageBatches",
    "ImageFolder",
    "ListedImages",
    "LoadImage",
    "MultiView",
    "Normalisation",
    "RandomGrayscale",
    "RandomResizedCrop",
    "ResumableBatchSampler",
    "SeededDataset",
    "SubnetBatchSampler",
    "SubnetDataset",
    "build_dataset",
    "list_images",
    "read_image",
    "sample_names",
]

"""The elastic core: layers that own the full weight and compute with a selection of channels."""

from mmssl_dynamic.models.elastic.bound import BoundLayer, bound
from mmssl_dynamic.models.elastic.channels import ActiveSubnet, Channels, Selection, active_regions, select
from mmssl_dynamic.models.elastic.connect import connect_linear
from mmssl_dynamic.models.elastic.gather import active_blocks, gather, inactive_blocks
from mmssl_dynamic.models.elastic.layers import ElasticBatchNorm, ElasticConv2d, ElasticLayer, ElasticLinear
from mmssl_dynamic.models.elastic.per_network import PerNetworkLinear
from mmssl_dynamic.models.elastic.sequential import ElasticSequential, active_modules
from mmssl_dynamic.models.elastic.set_aside import SetAside
from mmssl_dynamic.models.elastic.sync import SyncBN

__all__ = [
    "ActiveSubnet",
    "BoundLayer",
    "Channels",
    "ElasticBatchNorm",
    "ElasticConv2d",
    "ElasticLayer",
    "ElasticLinear",
    "ElasticSequential",
    "PerNetworkLinear",
    "Selection",
    "SetAside",
    "SyncBN",
    "active_blocks",
    "active_modules",
    "active_regions",
    "bound",
    "connect_linear",
    "gather",
    "inactive_blocks",
    "select",
]

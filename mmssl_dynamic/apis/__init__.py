"""What the command lines do, for notebooks and programs: one verb, one function, one file.

How a verb runs (device, batch size, workers, progress bars) is one value for all of them,
:class:`~mmssl_dynamic.execution.Execution`.
"""

from mmssl_dynamic.apis.calibrate import calibrate
from mmssl_dynamic.apis.cluster import cluster
from mmssl_dynamic.apis.evaluate import evaluate
from mmssl_dynamic.apis.export import export
from mmssl_dynamic.apis.extract_features import extract_features
from mmssl_dynamic.apis.prune import prune
from mmssl_dynamic.apis.route import route
from mmssl_dynamic.apis.train import train
from mmssl_dynamic.apis.transfer import transfer
from mmssl_dynamic.apis.zoo import get_model, list_models

__all__ = [
    "calibrate",
    "cluster",
    "evaluate",
    "export",
    "extract_features",
    "get_model",
    "list_models",
    "prune",
    "route",
    "train",
    "transfer",
]

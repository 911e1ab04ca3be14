"""Evaluation: BatchNorm statistics of sub-networks, nearest neighbours, parameters and FLOPs."""

from mmssl_dynamic.evaluation.bn_bank import BNBank
from mmssl_dynamic.evaluation.calibration import calibrate_bank, calibrate_path, calibrate_prefixes
from mmssl_dynamic.evaluation.complexity import Complexity, complexity
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, knn_predict, leave_one_out_accuracy
from mmssl_dynamic.evaluation.moments import pooled_statistics
from mmssl_dynamic.evaluation.pooling import pooled_features
from mmssl_dynamic.evaluation.subnet_accuracy import SubnetAccuracy

__all__ = [
    "BNBank",
    "Complexity",
    "KNNProtocol",
    "SubnetAccuracy",
    "calibrate_bank",
    "calibrate_path",
    "calibrate_prefixes",
    "complexity",
    "knn_accuracy",
    "knn_predict",
    "leave_one_out_accuracy",
    "pooled_features",
    "pooled_statistics",
]

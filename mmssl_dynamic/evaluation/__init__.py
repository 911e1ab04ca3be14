"""Evaluation: nearest neighbours, probes, parameters and multiply-accumulates."""

from mmssl_dynamic.evaluation.complexity import Complexity, complexity
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, knn_predict, leave_one_out_accuracy
from mmssl_dynamic.evaluation.subnet_accuracy import SubnetAccuracy

__all__ = [
    "Complexity",
    "KNNProtocol",
    "SubnetAccuracy",
    "complexity",
    "knn_accuracy",
    "knn_predict",
    "leave_one_out_accuracy",
]

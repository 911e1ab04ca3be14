"""Labelled data of downstream tasks: image folders, data set configs, the transfer sets."""

from mmssl_dynamic.downstream.splits import Splits
from mmssl_dynamic.downstream.task import Task

__all__ = [
    "Splits",
    "Task",
]

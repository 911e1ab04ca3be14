"""Which network for which task under which budget: from results of networks, and latencies of a device."""

from mmssl_dynamic.selection.candidates import Candidate, TaskCandidates, read_results
from mmssl_dynamic.selection.choice import Choice, choose
from mmssl_dynamic.selection.device_table import DeviceTable, Measurement

__all__ = [
    "Candidate",
    "Choice",
    "DeviceTable",
    "Measurement",
    "TaskCandidates",
    "choose",
    "read_results",
]

"""Networks evaluated one after the other, by one process or several."""

import time
from datetime import timedelta

import torch

from mmssl_dynamic.evaluation import network_evaluation
from mmssl_dynamic.evaluation.evaluation_result import NetworkResult
from mmssl_dynamic.evaluation.latency import latency
from mmssl_dynamic.evaluation.network_evaluation import NetworkEvaluation, Timing
from mmssl_dynamic.models import SlimmableResNet
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.result_cache import ResultCache
from tests.helpers import randomise
from tests.processes import run_together

OPTIONS = dict(channels=[[8] * 4], blocks=[[1, 1, 1, 1]], zero_init_residual=False)
NAME = "w0.033333-d1111"
INPUTS = dict.fromkeys(("images", "pipeline", "normalisation", "precision", "protocol"), "the same")


class Guess:
    """A method that finds the same for every network."""

    size = 16

    def __call__(self, network, folder, label):
        return 25.0, None


def test_the_others_wait_for_the_latencies_of_the_first_process_as_long_as_it_measures(tmp_path):
    torch.manual_seed(0)
    net = randomise(SlimmableResNet(**OPTIONS))
    kept = ResultCache(tmp_path / "networks", NetworkResult.from_record, False)

    def slowly(*arguments):
        time.sleep(2)
        return latency(*arguments)

    def body(rank):
        network_evaluation.latency = slowly  # in a process of its own
        evaluation = NetworkEvaluation(Guess(), net, OPTIONS, kept, INPUTS, False, Processes.now())
        (found,) = evaluation([NAME], Timing(repeats=1))
        print(found.top1, found.latency.median_ms)

    first, second = run_together(body, tmp_path / "pair", wait=timedelta(seconds=1))
    assert (first.status, second.status) == (0, 0), second.errors
    assert first.output == second.output
    assert first.output.startswith("25.0 ")

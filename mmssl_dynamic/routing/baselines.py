"""What stands beside the sub-networks of a routing: the network that was clustered with, and random weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from mmssl_dynamic.calibration.calibrate import load_statistics
from mmssl_dynamic.calibration.moments import pooled_statistics
from mmssl_dynamic.datasets.kept_images import ImageKeeper
from mmssl_dynamic.datasets.normalisation import Normalisation
from mmssl_dynamic.datasets.sample_request import seeded
from mmssl_dynamic.downstream.splits import Splits, balanced_order, count_images, labels_of, take
from mmssl_dynamic.downstream.task import Task
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.evaluation.knn import KNNProtocol, knn_accuracy, leave_one_out_accuracy
from mmssl_dynamic.export.base import quiet_openmmlab
from mmssl_dynamic.features.pooling import pooled_features
from mmssl_dynamic.fileio import weights_fingerprint
from mmssl_dynamic.fingerprints import architecture_fingerprint, precision, running_statistics, statistics_fingerprint
from mmssl_dynamic.models.backbones import SDRResNet
from mmssl_dynamic.processes import Processes
from mmssl_dynamic.records import read_record
from mmssl_dynamic.result_cache import Key, ResultCache
from mmssl_dynamic.routing.result import Baseline
from mmssl_dynamic.subnets import FULL

RANDOM = "random weights"
_CALIBRATION = 512  # images that the statistics of random weights come from


@dataclass(frozen=True)
class BaselineTask:
    """A task that baselines are evaluated on, each once as long as nothing has changed that it depends on.

    Attributes:
        task: The labelled images.
        normalisation: What the pre-training did to pixels.
        protocol: How to classify.
        folder: Keeps results.
        batch_size: Images per batch.
        num_workers: Loader processes.
        again: Evaluate in any case.
        processes: Those that share the images out.
        kept: Where decoded images wait for the next network.
    """

    task: Task
    normalisation: Normalisation
    protocol: KNNProtocol
    folder: Path
    batch_size: int = 64
    num_workers: int = 0
    again: bool = False
    processes: Processes = Processes()
    kept: ImageKeeper | None = None

    def __call__(self, name: str, network: nn.Module) -> Baseline:
        """Accuracies of a network of plain modules, in evaluation mode.

        One that is called :data:`RANDOM` gets BatchNorm statistics of training images, as it has none of its own.
        """
        device = next(network.parameters()).device
        own = "of the training images" if name == RANDOM else statistics_fingerprint(running_statistics(network))
        inputs = {
            "network": name,
            "weights": weights_fingerprint(network.state_dict()),
            "BN statistics": own,
            "architecture": architecture_fingerprint(network),
            "precision": precision(device),
            "protocol": self.protocol.record(),
            **self.task.inputs(self.normalisation),
        }
        key = Key("evaluation", inputs)
        cache = ResultCache(self.folder, lambda record: read_record(Baseline, record), self.again)
        file = f"baseline-{name.replace(' ', '-').replace('/', '-')}"
        found = cache.load(key, file) if self.processes.first else None
        known = self.processes.told(None if found is None else found.value)
        if known is not None:
            return known
        splits = self.task.splits(self.normalisation, self.batch_size, self.num_workers, device, self.kept)
        if name == RANDOM:
            _calibrate(network, splits)
        result = Baseline(name, *self._accuracies(network, splits))
        if self.processes.first:
            cache.save(key, file, asdict(result))
        return result

    def _accuracies(self, network: nn.Module, splits: Splits) -> tuple[float, float | None]:
        """KNN accuracy in percent on the images of the choice and on test."""
        bank, labels = self._features(network, splits.train)

        def of(part: Iterable[Any]) -> float:
            queries, truth = self._features(network, part)
            return knn_accuracy(bank, labels, queries, truth, self.protocol, processes=self.processes)

        select = leave_one_out_accuracy(bank, labels, self.protocol) if splits.val is None else of(splits.val)
        return select, None if splits.test is None else of(splits.test)

    def _features(self, network: nn.Module, batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
        features, labels = pooled_features(network, batches, processes=self.processes)
        if labels is None:
            raise DataError("routing needs labels, and some images have none.")
        return features, labels


def random_path(net: SDRResNet, seed: int = 0) -> nn.Module:
    """A network of the shape of a path, before any training."""
    with seeded(seed), quiet_openmmlab():
        twin = net.plain_twin(next(iter(net.space.paths), FULL))
        twin.init_weights()
    return twin.to(next(net.parameters()).device).eval()


def _calibrate(network: nn.Module, splits: Splits) -> None:
    count = count_images(splits.train)
    order = balanced_order(labels_of(splits.train), count, seed=0)
    load_statistics(network, pooled_statistics(network, take(splits.train, order[:_CALIBRATION])))

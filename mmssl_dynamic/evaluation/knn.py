"""Exact k-nearest-neighbour classification of frozen features.

Two votes of the field, both on L2-normalised features, and a protocol of each by the paper's name (:data:`PROTOCOLS`):

* ``vote='weighted'``: every neighbour votes with exp(similarity / T), T = 0.07, k = 200 (InstDisc, Wu et al. 2018;
  DINO). SDR routes by this classifier (SDR Sec. 4.3); the paper does not give k and T, so these are our reading. It is
  the default of everything that classifies by neighbours.
* ``vote='majority'``: every neighbour has one vote (k = 20 in DSPNet Table 1a, k = 1 in CompRess).

Queries and bank are visited in chunks, so neither has to fit in the memory of the device.

Dimensions: N bank images, Q query images (of a chunk: q), B bank images of a chunk, D feature dim, K neighbours.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.neighbour_search import FaissChunk, TorchChunk
from mmssl_dynamic.processes import Processes

Array = Tensor | np.ndarray

VOTES = ("weighted", "majority")
BACKENDS = ("torch", "faiss")
_QUERY_CHUNK = 1024
_MAX_QUERY_CHUNK = 16 * _QUERY_CHUNK


@dataclass(frozen=True)
class KNNProtocol:
    """How to classify by nearest neighbours, and how much memory to use for it.

    Args:
        k: Number of neighbours. Cut, with a warning, to the size of a smaller bank.
        temperature: T of the weighted vote. Unused by the majority vote.
        vote: ``'weighted'`` or ``'majority'``. Ties go to the class of smaller index, as in scikit-learn.
        backend: ``'torch'`` (any device) or ``'faiss'`` (``IndexFlatIP``, on a CUDA device where faiss is built for it,
            else on the CPU). They agree, ties included, but for rounding.
        memory_gib: Bound on the memory of the chunks in work, in GiB; the features themselves, which may be mapped from
            a file of any size, are not counted.
        image_size: Side of the images; that of the config's ``eval_pipeline`` when left out.

    Raises:
        ConfigError: a value that cannot work.
    """

    k: int = 200
    temperature: float = 0.07
    vote: str = "weighted"
    backend: str = "torch"
    memory_gib: float = 1.0
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ConfigError(f"k={self.k} neighbours cannot vote; use k >= 1.")
        if not self.temperature > 0:
            raise ConfigError(f"temperature={self.temperature} must be positive; the usual value is 0.07.")
        if self.vote not in VOTES:
            raise ConfigError(f"unknown vote '{self.vote}'; choose one of {', '.join(VOTES)}.")
        if self.backend not in BACKENDS:
            raise ConfigError(f"unknown kNN backend '{self.backend}'; choose one of {', '.join(BACKENDS)}.")
        if not self.memory_gib > 0:
            raise ConfigError(f"memory_gib={self.memory_gib} must be positive.")
        if self.image_size is not None and self.image_size < 1:
            raise ConfigError(f"--image-size {self.image_size} must be positive.")

    @property
    def name(self) -> str:
        """Which of :data:`PROTOCOLS` this is; ``'own'`` if it is none of them."""
        return next((name for name, entry in PROTOCOLS.items() if entry.vote_settings == self.vote_settings), "own")

    @property
    def vote_settings(self) -> tuple[int, str, float | None]:
        """What decides a vote: k, the kind of vote, and the temperature where it plays a part."""
        return self.k, self.vote, self.temperature if self.vote == "weighted" else None

    def record(self) -> dict[str, Any]:
        """What has to stand beside a result: how votes are cast, and so neither the memory nor what the images are."""
        values = {name: value for name, value in asdict(self).items() if name not in ("memory_gib", "image_size")}
        return {"name": self.name, **values, "features": "global average pooled, L2-normalised"}

    @classmethod
    def of(cls, name: str | None = None, **options: Any) -> KNNProtocol:
        """One of :data:`PROTOCOLS`, or a protocol of one's own that starts from it.

        Args:
            name: Its name; :data:`DEFAULT` when left out.
            options: Arguments in place of its own; those that are ``None`` stay.

        Raises:
            ConfigError: there is none of that name, or a value cannot work.
        """
        if (name or DEFAULT) not in PROTOCOLS:
            raise ConfigError(f"unknown kNN protocol '{name}'; choose one of {', '.join(PROTOCOLS)}.")
        given = {key: value for key, value in options.items() if value is not None}
        found = replace(PROTOCOLS[name or DEFAULT], **given)
        if "temperature" in given and found.vote == "majority":
            raise ConfigError(f"--temperature {found.temperature} belongs to the weighted vote; leave it out.")
        return found


#: What the papers classify by. SDR Sec. 4.3 names neither k nor T: those of InstDisc and DINO are our reading. DSPNet
#: Table 1a: "the most frequent label of its K-nearest neighbors (K = 20)".
PROTOCOLS = {
    "sdr": KNNProtocol(k=200, temperature=0.07, vote="weighted"),
    "dspnet": KNNProtocol(k=20, vote="majority"),
}
DEFAULT = "sdr"


def protocol_text(record: Mapping[str, Any]) -> str:
    """How a result was classified, out of its record, such as ``'kNN protocol sdr: 200 neighbours, ...'``."""
    vote = "one vote each" if record["vote"] == "majority" else f"weighted with T = {record['temperature']:g}"
    return f"kNN protocol {record['name']}: {record['k']} neighbours, {vote}"


def knn_accuracy(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    query_labels: Array,
    protocol: KNNProtocol | None = None,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
) -> float:
    """Accuracy in percent of classifying ``queries`` by their nearest neighbours in ``bank``.

    Args:
        bank: Tensor or array of shape (N, D), also memory-mapped.
        bank_labels: Class indices of shape (N,).
        queries: Of shape (Q, D).
        query_labels: Class indices of shape (Q,).
        protocol: Defaults to the weighted vote of 200 neighbours.
        device: Where similarities are computed.
        processes: Those that share the queries out, in the chunks that one process takes; all have all features.

    Raises:
        DataError: empty sets, fewer than two classes, shapes that do not fit, features with NaN.
    """
    return percent(knn_correct(bank, bank_labels, queries, query_labels, protocol, device, processes))


def leave_one_out_accuracy(
    features: Array, labels: Array, protocol: KNNProtocol | None = None, device: torch.device | str = "cpu"
) -> float:
    """Accuracy in percent when every image is classified by its nearest neighbours among all *other* images.

    Uses every training image as query and as bank, so that a sub-network can be chosen on the training images
    alone. Arguments and errors are those of :func:`knn_accuracy`.
    """
    return percent(leave_one_out_correct(features, labels, protocol, device))


def knn_correct(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    query_labels: Array,
    protocol: KNNProtocol | None = None,
    device: torch.device | str = "cpu",
    processes: Processes | None = None,
) -> Tensor:
    """Whether each query is classified rightly, bool of shape (Q,). As :func:`knn_accuracy`."""
    truth = _labels(query_labels, len(queries), "query")
    return knn_predict(bank, bank_labels, queries, protocol, device, processes=processes) == truth


def leave_one_out_correct(
    features: Array, labels: Array, protocol: KNNProtocol | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Whether each image is classified rightly by the others, bool of shape (N,). As :func:`leave_one_out_accuracy`."""
    truth = _labels(labels, len(features), "training")
    return knn_predict(features, labels, features, protocol, device, leave_one_out=True) == truth


def percent(correct: Tensor) -> float:
    """Accuracy of images that are right or not."""
    return 100.0 * int(correct.sum()) / len(correct)


def knn_predict(
    bank: Array,
    bank_labels: Array,
    queries: Array,
    protocol: KNNProtocol | None = None,
    device: torch.device | str = "cpu",
    *,
    leave_one_out: bool = False,
    processes: Processes | None = None,
) -> Tensor:
    """Predicted class indices of shape (Q,), int64 on the CPU. Arguments as in :func:`knn_accuracy`.

    With ``leave_one_out``, ``queries`` must be the bank, and query ``i`` never has bank image ``i`` as a neighbour.
    """
    protocol, processes = protocol or KNNProtocol(), processes or Processes()
    labels = _labels(bank_labels, len(bank), "bank")
    k = _check(bank, labels, queries, protocol.k, leave_one_out)
    num_classes = int(labels.max()) + 1
    sizes = chunk_sizes(len(queries), len(bank), bank.shape[1], k, num_classes, protocol.memory_gib)
    starts = range(0, len(queries), sizes[0])
    own = starts[processes.rank :: processes.count]

    predictions = []
    for similarity, index in _neighbours(bank, queries, k, sizes, protocol.backend, device, leave_one_out, own):
        # The vote is taken on the CPU, where adding up is deterministic.
        votes = torch.zeros(len(index), num_classes, dtype=torch.float64)
        if protocol.vote == "weighted":
            # exp(sim / T) relative to the nearest neighbour: the same winner, and no overflow for any T.
            weights = ((similarity.double() - similarity[:, :1].double()) / protocol.temperature).exp()  # (q, K)
        else:
            weights = torch.ones(index.shape, dtype=torch.float64)
        votes.scatter_add_(1, labels[index], weights)
        predictions.append(_first_maximum(votes))
    if processes.count > 1:
        parts = processes.gathered([rows.numpy() for rows in predictions])
        predictions = [torch.from_numpy(parts[i % processes.count][i // processes.count]) for i in range(len(starts))]
    return torch.cat(predictions)


def chunk_sizes(
    num_queries: int, num_bank: int, dim: int, k: int, num_classes: int, memory_gib: float
) -> tuple[int, int]:
    """Images per chunk of queries and of bank such that the work stays within ``memory_gib``, at least one each."""
    budget = memory_gib * 2**30
    per_query = 8 * dim + 40 * k + 16 * num_classes  # features before and after normalising; candidates; votes

    def bank_chunk(queries: int) -> int:
        # Features before and after normalising; similarities, a mask on them, and some of them sorted.
        return max(1, int((budget - queries * per_query) / (8 * dim + 8 * queries)))

    most = max(1, min(num_queries, int(budget / 2 / per_query)))
    queries = min(most, _QUERY_CHUNK)
    if bank_chunk(queries) < num_bank:  # every chunk of queries goes through the whole bank: few large ones
        queries = min(most, _MAX_QUERY_CHUNK)
    return queries, min(num_bank, bank_chunk(queries))


def _neighbours(
    bank: Array,
    queries: Array,
    k: int,
    sizes: tuple[int, int],
    backend: str,
    device: torch.device | str,
    leave_one_out: bool,
    starts: Sequence[int],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Similarities and bank indices, (q, K) each on the CPU, nearest first, for the chunks of queries from ``starts``.

    Among equally similar images the one of smaller index comes first, whatever the chunk sizes.
    """
    query_chunk, bank_chunk = sizes
    target = torch.device(device)
    device = torch.device("cpu") if backend == "faiss" else target

    def searched(start: int) -> TorchChunk | FaissChunk:
        rows = _normalised(bank, start, bank_chunk, device)  # (B, D)
        return FaissChunk(rows, target) if backend == "faiss" else TorchChunk(rows)

    # A bank of one chunk stays on the device for all queries.
    whole = searched(0) if bank_chunk >= len(bank) else None
    for q_start in starts:
        query = _normalised(queries, q_start, query_chunk, device)  # (q, D)
        best = torch.empty(len(query), 0, device=device)
        best_index = torch.empty(len(query), 0, dtype=torch.int64, device=device)
        for b_start in range(0, len(bank), bank_chunk):
            chunk = whole if whole is not None else searched(b_start)
            # Column of each query itself in this chunk, if it is there (leave-one-out).
            own = torch.arange(q_start, q_start + len(query), device=device) - b_start if leave_one_out else None
            similarity, index = chunk.top(query, min(k, len(chunk)), own)
            index, order = index.sort(dim=1)
            best = torch.cat([best, similarity.gather(1, order)], dim=1)
            best_index = torch.cat([best_index, index + b_start], dim=1)
            best, order = best.sort(dim=1, descending=True, stable=True)
            best, best_index = best[:, :k], best_index.gather(1, order)[:, :k]
        yield best.cpu(), best_index.cpu()


def _first_maximum(votes: Tensor) -> Tensor:
    """Smallest class index with the most votes: ``argmax`` does not say which of equal maxima it takes."""
    classes = torch.arange(votes.shape[1])
    return torch.where(votes == votes.amax(1, keepdim=True), classes, votes.shape[1]).amin(1)


def _normalised(features: Array, start: int, length: int, device: torch.device) -> Tensor:
    """Rows ``start`` to ``start + length``, float32 and L2-normalised, on ``device``."""
    rows = features[start : start + length]
    tensor = torch.from_numpy(np.array(rows, dtype=np.float32)) if isinstance(rows, np.ndarray) else rows
    tensor = tensor.detach().to(device=device, dtype=torch.float32)
    if not bool(tensor.isfinite().all()):
        raise DataError(
            "features hold NaN or infinity; check that the weights and BatchNorm statistics of this network are sound."
        )
    return F.normalize(tensor, dim=1)


def _labels(labels: Array, expected: int, what: str) -> Tensor:
    tensor = torch.as_tensor(np.asarray(labels) if isinstance(labels, (list, tuple)) else labels).cpu()
    if tensor.shape != (expected,):
        raise DataError(f"{expected} {what} images need as many labels, not labels of shape {tuple(tensor.shape)}.")
    if expected and int(tensor.min()) < 0:
        raise DataError(f"{what} labels must be class indices from 0, not {int(tensor.min())}.")
    return tensor.to(torch.int64)


def _check(bank: Array, labels: Tensor, queries: Array, k: int, leave_one_out: bool) -> int:
    """Refuse what cannot be classified; return k, cut to the number of possible neighbours."""
    if len(bank) == 0 or len(queries) == 0:
        raise DataError("kNN needs at least one image to classify and one in the bank; check that no split is empty.")
    if bank.ndim != 2 or queries.ndim != 2 or bank.shape[1] != queries.shape[1]:
        raise DataError(f"features of shapes {tuple(bank.shape)} and {tuple(queries.shape)} cannot be compared.")
    if len(labels.unique()) < 2:
        raise DataError("kNN needs at least two classes among the training images, and here there is only one.")
    if leave_one_out and len(bank) != len(queries):
        raise DataError("leave-one-out needs the bank itself as queries.")
    possible = len(bank) - leave_one_out
    if k > possible:
        warnings.warn(f"k={k} is cut to {possible}, the number of possible neighbours.", stacklevel=3)
    return min(k, possible)

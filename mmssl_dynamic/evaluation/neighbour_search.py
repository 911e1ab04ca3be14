"""The bank images most similar to a query, exactly, in one chunk of a bank: by torch or by faiss.

Among equal similarities the images that come first in the bank are found, whatever searches.

Dimensions: q query images, B bank images of the chunk, D feature dim, k neighbours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_FAISS_GPU_K = 2048  # neighbours that faiss finds on a GPU at most


class TorchChunk:
    """Bank images (B, D) that are searched by a matrix product."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def top(self, query: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """The k images most similar to each query (q, D): similarities and columns, (q, k) each.

        ``own`` (q,) is the column of each query itself, which is no neighbour.
        """
        similarity = _similarities(query, self.rows, own)
        values, columns = similarity.topk(min(k + 1, len(self)), dim=1)
        torn = _torn(values, k)
        values, columns = values[:, :k], columns[:, :k]
        for some in _portions(torn, len(query)):
            values[some], columns[some] = _sorted_top(similarity[some], k)
        return values, columns


class FaissChunk:
    """Bank images (B, D) in faiss' exact inner-product index, on GPUs where faiss has some.

    ``cuda:1`` is that GPU; ``cuda`` alone is all that faiss sees, each of which holds a part of the bank.
    """

    def __init__(self, rows: Tensor, device: torch.device) -> None:
        import faiss

        self.rows = rows
        count = faiss.get_num_gpus() if device.type == "cuda" else 0
        self._limit = min(len(rows), _FAISS_GPU_K) if count else len(rows)
        parts, self._resources = _parts(rows.shape[1], range(count) if device.index is None else [device.index][:count])
        self._index: Any = parts[0]
        if len(parts) > 1:
            # The first part holds the first rows, so that columns are those of one index.
            shards: Any = faiss.IndexShards
            self._index = shards(rows.shape[1], True, True)  # threaded, with successive ids
            for part in parts:
                self._index.add_shard(part)
        self._index.add(rows.numpy())

    def __len__(self) -> int:
        return len(self.rows)

    def top(self, query: Tensor, k: int, own: Tensor | None) -> tuple[Tensor, Tensor]:
        """As :meth:`TorchChunk.top`."""
        wanted = min(k + 1 + (own is not None), len(self))  # the query itself may take one place
        if wanted > self._limit:
            return TorchChunk(self.rows).top(query, k, own)
        found, position = self._index.search(query.numpy(), wanted)
        values, columns = torch.from_numpy(found), torch.from_numpy(position)
        if own is not None:
            values = values.masked_fill(columns == own[:, None], -torch.inf)
            values, order = values.sort(dim=1, descending=True, stable=True)
            columns = columns.gather(1, order)
        torn = _torn(values, k)
        values, columns = values[:, :k], columns[:, :k]
        for some in _portions(torn, len(query)):
            similarity = _similarities(query[some], self.rows, None if own is None else own[some])
            values[some], columns[some] = _sorted_top(similarity, k)
        return values, columns


def _parts(dim: int, gpus: Sequence[int]) -> tuple[list[Any], list[Any]]:
    """Empty indexes of faiss, one on each of the GPUs, or one in main memory where there are none.

    The second list are the GPUs' resources, which must live as long as the indexes.
    """
    import faiss

    if not gpus:
        return [faiss.IndexFlatIP(dim)], []
    resources = [faiss.StandardGpuResources() for _ in gpus]
    for each in resources:
        each.setTempMemory(64 * 2**20)  # without it faiss reserves more than a GiB
    return [faiss.index_cpu_to_gpu(each, gpu, faiss.IndexFlatIP(dim)) for gpu, each in zip(gpus, resources)], resources


def _similarities(query: Tensor, rows: Tensor, own: Tensor | None) -> Tensor:
    """(q, D), (B, D) -> (q, B); a query is infinitely unlike itself."""
    similarity = query @ rows.T
    if own is not None:
        inside = ((own >= 0) & (own < len(rows))).nonzero().squeeze(1)
        similarity[inside, own[inside]] = -torch.inf
    return similarity


def _torn(values: Tensor, k: int) -> Tensor:
    """Queries whose rank k is one of several equal similarities, among which a search has chosen freely.

    ``values`` are the k + 1 largest of each query, (q, k + 1), or fewer where the bank has no more.
    """
    if values.shape[1] <= k:
        return torch.empty(0, dtype=torch.int64)
    return (values[:, k] == values[:, k - 1]).nonzero().squeeze(1)


def _portions(rows: Tensor, num_queries: int) -> Iterator[Tensor]:
    """Rows in portions of an eighth of the queries: sorting takes three times the memory of what is sorted."""
    if len(rows):
        yield from rows.split(max(1, num_queries // 8))


def _sorted_top(similarity: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, of equal ones those of the smallest columns."""
    values, order = similarity.sort(dim=1, descending=True, stable=True)
    return values[:, :k], order[:, :k]

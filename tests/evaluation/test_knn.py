"""kNN: exact whatever the chunks, equal to scikit-learn, and clear about bad input."""

import warnings

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from mmssl_dynamic.errors import ConfigError, DataError
from mmssl_dynamic.evaluation.knn import (
    DEFAULT,
    PROTOCOLS,
    KNNProtocol,
    chunk_sizes,
    knn_accuracy,
    knn_predict,
    leave_one_out_accuracy,
    protocol_text,
)
from mmssl_dynamic.evaluation.neighbour_search import FaissChunk


@pytest.fixture(scope="module")
def blobs():
    """Overlapping classes, so that neighbours disagree and votes matter."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(7, 12))
    labels = rng.integers(0, 7, size=300)
    features = centres[labels] + 1.5 * rng.normal(size=(300, 12))
    features = features.astype(np.float32)
    return features[:220], labels[:220], features[220:], labels[220:]


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("k", [1, 20, 200])
def test_weighted_vote_equals_scikit_learn(blobs, k, backend):
    bank, bank_labels, queries, labels = blobs
    reference = KNeighborsClassifier(
        k, algorithm="brute", metric="cosine", weights=lambda distance: np.exp((1 - distance) / 0.07)
    ).fit(bank, bank_labels)
    predictions = knn_predict(bank, bank_labels, queries, KNNProtocol(k=k, backend=backend))
    assert (predictions.numpy() == reference.predict(queries)).all()
    expected = 100 * reference.score(queries, labels)
    assert knn_accuracy(bank, bank_labels, queries, labels, KNNProtocol(k=k, backend=backend)) == pytest.approx(
        expected
    )


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("k", [1, 2, 20])
def test_majority_vote_and_its_ties_equal_scikit_learn(blobs, k, backend):
    bank, bank_labels, queries, _ = blobs
    reference = KNeighborsClassifier(k, algorithm="brute").fit(unit(bank), bank_labels)
    predictions = knn_predict(bank, bank_labels, queries, KNNProtocol(k=k, vote="majority", backend=backend))
    assert (predictions.numpy() == reference.predict(unit(queries))).all()


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("vote", ["weighted", "majority"])
def test_result_does_not_depend_on_chunk_sizes(blobs, vote, backend):
    bank, bank_labels, queries, _ = blobs
    one_chunk = KNNProtocol(k=20, vote=vote, backend=backend)
    tiny = KNNProtocol(k=20, vote=vote, backend=backend, memory_gib=2e-5)
    q, b = chunk_sizes(len(queries), len(bank), bank.shape[1], 20, 7, tiny.memory_gib)
    assert q < len(queries)
    assert b < len(bank)
    assert torch.equal(
        knn_predict(bank, bank_labels, queries, one_chunk), knn_predict(bank, bank_labels, queries, tiny)
    )


@pytest.mark.parametrize("leave_one_out", [False, True])
@pytest.mark.parametrize("memory", [1.0, 3e-6, 1e-9])
@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_among_equally_similar_images_the_first_of_the_bank_count_whatever_the_chunks(backend, memory, leave_one_out):
    rng = np.random.default_rng(0)
    # Few directions, many copies: rank k lies among equals of different classes for every query.
    directions = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]])
    bank = directions[rng.integers(0, 5, 60)].astype(np.float32)
    labels = rng.integers(0, 4, 60)
    queries = bank if leave_one_out else directions.astype(np.float32)
    exact = np.round((unit(queries.astype(np.float64)) @ unit(bank.astype(np.float64)).T), 9)
    if leave_one_out:
        np.fill_diagonal(exact, -np.inf)
    for k in (1, 4, 17):
        nearest = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        expected = [np.bincount(labels[row], minlength=4).argmax() for row in nearest]
        protocol = KNNProtocol(k=k, vote="majority", backend=backend, memory_gib=memory)
        found = knn_predict(bank, labels, queries, protocol, leave_one_out=leave_one_out)
        assert found.tolist() == expected


@pytest.fixture
def gpus(monkeypatch):
    """Lets faiss see some GPUs, on which it holds indexes of the CPU; returns what they are told."""
    faiss = pytest.importorskip("faiss")
    calls = []

    class Resources:
        def setTempMemory(self, size):
            calls.append(size)

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 3)
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(
        faiss, "index_cpu_to_gpu", lambda resources, number, index: calls.append(number) or index, raising=False
    )
    return calls


@pytest.mark.parametrize(("device", "used"), [("cuda:1", [1]), ("cuda", [0, 1, 2])])
def test_faiss_searches_on_the_gpu_it_is_given_or_on_all(blobs, gpus, device, used):
    bank, bank_labels, queries, _ = blobs
    protocol = KNNProtocol(k=5, backend="faiss")
    found = knn_predict(bank, bank_labels, queries, protocol, device)
    assert gpus == [64 * 2**20] * len(used) + used  # the bank is one chunk: its index is built once
    assert torch.equal(found, knn_predict(bank, bank_labels, queries, KNNProtocol(k=5)))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("k", [1, 6, 40])
def test_a_bank_in_shards_finds_what_one_index_finds_to_the_last_digit(gpus, own, k):
    """Rows of small whole numbers, so that many are equally near, and fewer in a shard than neighbours."""
    rows = torch.randint(-1, 2, (50, 4), generator=torch.Generator().manual_seed(0)).float()
    itself = torch.arange(10) if own else None
    values, columns = FaissChunk(rows, torch.device("cpu")).top(rows[:10], k, itself)
    found, places = FaissChunk(rows, torch.device("cuda")).top(rows[:10], k, itself)
    assert len(gpus) == 6
    assert torch.equal(found, values)
    assert torch.equal(places.sort(dim=1).values, columns.sort(dim=1).values)


def test_a_bank_that_does_not_fit_is_gone_through_a_few_times(blobs):
    q, b = chunk_sizes(50_000, 1_280_000, 2048, 200, 1000, 4.0)
    assert b < 1_280_000
    assert q > 8_000
    assert chunk_sizes(50_000, 40_000, 128, 20, 10, 4.0) == (1024, 40_000)


def test_chunks_stay_within_the_memory_given():
    for memory in (0.05, 0.5, 4.0):
        q, b = chunk_sizes(50_000, 1_280_000, 2048, 200, 1000, memory)
        assert 4 * (q * 2048 + b * 2048 + q * b) <= memory * 2**30


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_leave_one_out_equals_taking_out_one_image_after_the_other(blobs, backend):
    bank, labels = blobs[0][:60], blobs[1][:60]
    protocol = KNNProtocol(k=5, backend=backend)
    hits = 0
    for i in range(60):
        others = np.arange(60) != i
        hits += int(knn_predict(bank[others], labels[others], bank[i : i + 1], protocol)[0] == labels[i])
    assert leave_one_out_accuracy(bank, labels, protocol) == 100 * hits / 60
    chunked = KNNProtocol(k=5, backend=backend, memory_gib=1e-5)
    assert leave_one_out_accuracy(bank, labels, chunked) == 100 * hits / 60


def test_leave_one_out_never_sees_the_image_itself_even_among_duplicates():
    # Pairs of equal images with different labels: the nearest *other* image is always wrong.
    features = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)).repeat_interleave(2, dim=0)
    labels = torch.tensor([0, 1] * 6)
    for backend in ("torch", "faiss"):
        assert leave_one_out_accuracy(features, labels, KNNProtocol(k=1, backend=backend)) == 0.0


def test_k_is_cut_to_the_bank_with_a_warning(blobs):
    bank, bank_labels, queries, _ = blobs
    few = slice(0, 10)
    with pytest.warns(UserWarning, match="k=200 is cut to 10"):
        cut = knn_predict(bank[few], bank_labels[few], queries, KNNProtocol(k=200))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = knn_predict(bank[few], bank_labels[few], queries, KNNProtocol(k=10))
    assert torch.equal(cut, exact)
    with pytest.warns(UserWarning, match="cut to 9"):
        leave_one_out_accuracy(bank[few], bank_labels[few])


def test_memory_mapped_arrays_and_tensors_of_any_float_type_are_taken(blobs, tmp_path):
    bank, bank_labels, queries, _ = blobs
    np.save(tmp_path / "bank.npy", bank)
    mapped = np.load(tmp_path / "bank.npy", mmap_mode="r")
    protocol = KNNProtocol(k=20)
    expected = knn_predict(bank, bank_labels, queries, protocol)
    assert torch.equal(knn_predict(mapped, bank_labels, queries, protocol), expected)
    doubles = torch.from_numpy(bank).double()
    assert torch.equal(knn_predict(doubles, list(bank_labels), torch.from_numpy(queries), KNNProtocol(k=20)), expected)


def test_a_tiny_temperature_does_not_overflow(blobs):
    bank, bank_labels, queries, _ = blobs
    nearest = knn_predict(bank, bank_labels, queries, KNNProtocol(k=1))
    assert torch.equal(knn_predict(bank, bank_labels, queries, KNNProtocol(k=20, temperature=1e-6)), nearest)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"k": 0}, "k=0"),
        ({"temperature": 0.0}, "temperature"),
        ({"vote": "loud"}, "loud"),
        ({"backend": "annoy"}, "annoy"),
        ({"memory_gib": 0}, "memory_gib"),
    ],
)
def test_impossible_options_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        KNNProtocol(**options)


def test_impossible_data_are_refused(blobs):
    bank, bank_labels, queries, labels = blobs
    with pytest.raises(DataError, match="two classes"):
        knn_accuracy(bank, np.zeros(len(bank), int), queries, labels)
    with pytest.raises(DataError, match="empty"):
        knn_accuracy(bank, bank_labels, queries[:0], labels[:0])
    with pytest.raises(DataError, match="as many labels"):
        knn_accuracy(bank, bank_labels[:-1], queries, labels)
    with pytest.raises(DataError, match="cannot be compared"):
        knn_accuracy(bank, bank_labels, queries[:, :-1], labels)
    broken = bank.copy()
    broken[3, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        knn_accuracy(broken, bank_labels, queries, labels)


def test_the_default_is_a_protocol_of_the_papers_and_all_have_their_names():
    assert KNNProtocol() == PROTOCOLS[DEFAULT] == KNNProtocol.of()
    sdr, dspnet = KNNProtocol.of("sdr"), KNNProtocol.of("dspnet")
    assert (sdr.k, sdr.vote, sdr.temperature) == (200, "weighted", 0.07)
    assert (dspnet.k, dspnet.vote) == (20, "majority")
    assert [protocol.record()["name"] for protocol in (sdr, dspnet)] == ["sdr", "dspnet"]
    assert protocol_text(sdr.record()) == "kNN protocol sdr: 200 neighbours, weighted with T = 0.07"
    assert protocol_text(dspnet.record()) == "kNN protocol dspnet: 20 neighbours, one vote each"


def test_a_protocol_that_differs_from_the_papers_is_ones_own():
    own = KNNProtocol.of("dspnet", k=5, vote=None)
    assert (own.k, own.vote, own.name) == (5, "majority", "own")
    assert KNNProtocol.of("sdr", temperature=0.1).name == "own"
    # What decides no vote makes no other protocol.
    assert KNNProtocol.of("sdr", backend="faiss", memory_gib=2.0).name == "sdr"
    assert KNNProtocol(k=20, vote="majority", temperature=0.5).name == "dspnet"


def test_protocols_that_are_not_there_and_temperatures_without_a_use_are_refused():
    with pytest.raises(ConfigError, match="unknown kNN protocol 'dino'; choose one of sdr, dspnet"):
        KNNProtocol.of("dino")
    with pytest.raises(ConfigError, match="--temperature 0.1 belongs to the weighted vote"):
        KNNProtocol.of("dspnet", temperature=0.1)
    assert KNNProtocol.of("dspnet", vote="weighted", temperature=0.1).name == "own"

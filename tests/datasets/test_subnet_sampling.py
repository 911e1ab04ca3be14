import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets import SampleRequest, SubnetBatchSampler, SubnetDataset, build_dataset, sample_names
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError
from mmssl_dynamic.loading import load_config
from mmssl_dynamic.options.config_file import typed_options
from mmssl_dynamic.subnets import FULL
from tests.helpers import write_clusters, write_images

GROUPS = (1, 1, 2, 2)
PIPELINE = [
    dict(type="mmssl_dynamic.LoadImage"),
    dict(type="RandomResizedCrop", scale=16, backend="pillow"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackInputs"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_images(tmp_path_factory.mktemp("images"), 50)
    return build_dataset(dict(type="mmssl_dynamic.ImageFolder", data_root=str(folder), pipeline=PIPELINE))


@pytest.fixture(scope="module")
def dataset(base, tmp_path_factory):
    path = write_clusters(tmp_path_factory.mktemp("clusters") / "clusters.npz", sample_names(base), 4)
    return SubnetDataset(base, GROUPS, str(path))


def sampler(dataset, batch_size=4, rank=0, world_size=1, seed=7, phases=None, **options):
    inner = DefaultSampler(dataset, shuffle=True, seed=seed)
    inner.rank, inner.world_size = rank, world_size
    out = SubnetBatchSampler(inner, batch_size, **options)
    space = dataset.space
    spaces = [space.phase(p) for p in range(space.num_phases)]
    out.set_phases(spaces, phases or [20, 60, 240])
    return out


def run(batch_sampler, steps, start=0):
    """The batches of ``steps`` steps, epoch by epoch as a loader asks for them."""
    batch_sampler.start_at(start)
    batches = []
    while len(batches) < steps:
        batches += list(batch_sampler)
    return batches[:steps]


def test_subnets_train_on_their_own_clusters_matched_by_name(dataset, base):
    names = sample_names(base)
    parts = [dataset.indices(name) for name in dataset.space.paths]
    assert sorted(np.concatenate(parts)) == list(range(50))
    assert len(dataset.indices(FULL)) == 50
    assert not names[0].startswith("/")
    other = SubnetDataset(base, GROUPS, subnet_data="full")
    assert all(len(other.indices(name)) == 50 for name in other.space.names)


def test_every_batch_belongs_to_one_subnet_and_holds_its_images_only(dataset):
    for batch in run(sampler(dataset), 240):
        (name,) = {draw.subnet for draw in batch}
        indices = [draw.index for draw in batch]
        assert set(indices) <= set(dataset.indices(name).tolist())
        assert len(set(indices)) == len(indices) == 4


def test_a_network_sees_each_of_its_images_before_any_twice(dataset):
    batches = [b for b in run(sampler(dataset), 240) if b[0].subnet == "0-0-1-1"]
    size = len(dataset.indices("0-0-1-1"))
    assert size == 12
    per_pass = size // 4
    for first in range(0, len(batches) - per_pass, per_pass):
        seen = [draw.index for batch in batches[first : first + per_pass] for draw in batch]
        assert len(set(seen)) == len(seen)


def test_networks_are_drawn_uniformly_from_the_space_of_each_phase(dataset):
    names = [batch[0].subnet for batch in run(sampler(dataset, phases=[20, 60, 1260]), 1260)]
    assert set(names[:20]) == {FULL}
    assert set(names[20:60]) == {FULL, "0-0-0-0", "0-0-0-1"}
    counts = Counter(names[60:])
    assert set(counts) == set(dataset.space.names)
    # 1,200 draws of 5 networks: 240 each, standard deviation 14
    assert all(abs(count - 240) < 60 for count in counts.values())


@pytest.mark.parametrize("share", [0.5, 0.0, 1.0])
def test_full_share_is_the_part_of_the_steps_that_train_w0_and_the_paths_share_the_rest(dataset, share):
    names = [b[0].subnet for b in run(sampler(dataset, phases=[20, 60, 1260], full_share=share), 1260)]
    assert set(names[:20]) == {FULL}
    counts = Counter(names[60:])
    assert abs(counts[FULL] - 1200 * share) < 70  # standard deviation at most 17
    for path in dataset.space.paths:
        assert abs(counts[path] - 1200 * (1 - share) / 4) < 60


def test_full_share_of_a_list_goes_by_phase_and_uniform_draws_are_those_without_the_option(dataset):
    phases = [20, 620, 1220]
    names = [b[0].subnet for b in run(sampler(dataset, phases=phases, full_share=["uniform", 0.8, "uniform"]), 1220)]
    plain = [b[0].subnet for b in run(sampler(dataset, phases=phases), 1220)]
    assert abs(Counter(names[20:620])[FULL] - 480) < 50
    assert names[620:] == plain[620:]
    assert names[20:620] != plain[20:620]


def test_full_share_goes_on_after_a_resume_and_is_the_same_on_all_ranks(dataset):
    options = dict(full_share=[1, 0.5, 0.3])
    whole = run(sampler(dataset, batch_size=8, **options), 150)
    assert run(sampler(dataset, batch_size=8, **options), 73, start=77) == whole[77:]
    first, second = (run(sampler(dataset, rank=rank, world_size=2, **options), 150) for rank in range(2))
    assert [a + b for a, b in zip(first, second)] == whole


@pytest.mark.parametrize(
    ("typed", "share"),
    [("0.5", 0.5), ("1", 1), ("[uniform,0.5,0.3]", ("uniform", 0.5, 0.3)), ("1,0.5,0.3", (1, 0.5, 0.3))],
)
def test_a_full_share_may_be_typed(dataset, repo_root, typed, share):
    config = repo_root / "configs/sdr/sdr_simsiam_r50_16path_custom.py"
    options = typed_options(config, {"full_share": typed})
    options = load_config(config, options).train_dataloader.batch_sampler
    assert sampler(dataset, full_share=options.full_share).full_share == share


@pytest.mark.parametrize("share", ["1.5", "[0.5", "0.5,most", 1.5, "half", True, [0.5, "most"], -0.1])
def test_an_impossible_full_share_is_refused(dataset, share):
    with pytest.raises(ConfigError, match="full_share=.* must be 'uniform', a number from 0 to 1"):
        sampler(dataset, full_share=share)


def test_a_full_share_for_other_phases_is_refused(dataset):
    with pytest.raises(ConfigError, match=r"full_share=\[0.5, 0.5\] must hold 3 values"):
        sampler(dataset, full_share=[0.5, 0.5])


def test_a_resumed_sampler_continues_as_if_it_had_never_stopped(dataset):
    whole = run(sampler(dataset), 200)
    for stop in (1, 12, 37, 100, 199):
        assert run(sampler(dataset), 200 - stop, start=stop) == whole[stop:]


def test_ranks_draw_the_same_subnet_and_share_its_batch_without_overlap(dataset):
    joint = run(sampler(dataset, batch_size=8), 60)
    parts = [run(sampler(dataset, batch_size=4, rank=rank, world_size=2), 60) for rank in range(2)]
    for batch, first, second in zip(joint, *parts):
        assert batch == first + second


def test_repeats_draw_the_same_network_for_accumulated_gradients(dataset):
    names = [batch[0].subnet for batch in run(sampler(dataset, repeats=2), 240)]
    assert all(a == b for a, b in zip(names[::2], names[1::2]))
    assert len(set(names)) == 5


def test_seeds_decide_everything(dataset):
    assert run(sampler(dataset), 30) == run(sampler(dataset), 30)
    assert run(sampler(dataset), 30) != run(sampler(dataset, seed=8), 30)


def test_a_sample_depends_on_its_draw_alone_and_carries_the_subnet(dataset):
    draw = SampleRequest(3, "0-0-1-0", 123)
    one = dataset[draw]
    torch.rand(3), np.random.rand(5)
    state = torch.get_rng_state(), np.random.get_state()[1].copy()
    two = dataset[draw]
    assert torch.equal(one["inputs"], two["inputs"])
    assert one["data_samples"].subnet == "0-0-1-0"
    assert torch.equal(state[0], torch.get_rng_state())
    assert (state[1] == np.random.get_state()[1]).all()
    crops = [dataset[SampleRequest(3, FULL, seed)]["inputs"] for seed in range(6)]
    assert any(not torch.equal(a, b) for a, b in itertools.pairwise(crops))


def test_a_clusters_file_of_other_images_is_refused(base, tmp_path):
    path = write_clusters(tmp_path / "other.npz", [f"other/{i}.png" for i in range(50)], 4)
    with pytest.raises(ArtifactError, match="another data set"):
        SubnetDataset(base, GROUPS, str(path))


def test_a_clusters_file_with_another_number_of_clusters_is_refused(base, tmp_path):
    path = write_clusters(tmp_path / "five.npz", sample_names(base), 5)
    with pytest.raises(ArtifactError, match="5 clusters but the network has 4 paths"):
        SubnetDataset(base, GROUPS, str(path))


def test_a_missing_clusters_file_is_named(base):
    with pytest.raises(ConfigError, match="clusters_file"):
        SubnetDataset(base, GROUPS)
    with pytest.raises(ArtifactError, match="nowhere.npz"):
        SubnetDataset(base, GROUPS, "nowhere.npz")


def test_a_cluster_smaller_than_a_batch_is_refused_with_the_remedy(base, tmp_path):
    names = sample_names(base)
    assignment = np.array([0, 1, 2, 3] + [0] * 46, dtype=np.int32)
    Clusters(names, assignment, 4, "random").save(tmp_path / "small.npz")
    with pytest.raises(DataError, match="'0-0-0-1' has 1 images, fewer than a batch of 4"):
        sampler(SubnetDataset(base, GROUPS, str(tmp_path / "small.npz")))


def test_sampling_without_phases_or_without_the_sampler_says_what_to_add(dataset):
    inner = DefaultSampler(dataset, shuffle=True, seed=0)
    with pytest.raises(ConfigError, match="ProgressivePhaseHook"):
        next(iter(SubnetBatchSampler(inner, 4)))
    with pytest.raises(ConfigError, match="SubnetBatchSampler"):
        dataset[0]
    with pytest.raises(ConfigError, match="SubnetDataset"):
        SubnetBatchSampler(DefaultSampler([1, 2, 3], seed=0), 1)


def test_on_all_images_every_path_has_an_order_of_its_own_that_is_not_laid_out(base):
    full = SubnetDataset(base, GROUPS, subnet_data="full")
    whole = run(drawn := sampler(full, phases=[5, 10, 300]), 300)
    assert set(drawn._passes) <= {full.space.names.index(FULL)}
    passes = {}
    for name in full.space.paths:
        images = [draw.index for batch in whole if batch[0].subnet == name for draw in batch]
        first, second = images[:48], images[48:96]  # 12 batches of 4 out of 50 images
        assert len(set(first)) == len(set(second)) == 48
        assert first != second
        passes[name] = first
    assert len({tuple(order) for order in passes.values()}) == 4
    for stop in (37, 299):
        assert run(sampler(full, phases=[5, 10, 300]), 300 - stop, start=stop) == whole[stop:]
    halves = [run(sampler(full, batch_size=2, rank=rank, world_size=2, phases=[5, 10, 300]), 300) for rank in (0, 1)]
    assert [first + second for first, second in zip(*halves)] == whole


def test_draws_of_w0_are_the_same_whatever_the_paths_train_on(base, dataset):
    full = SubnetDataset(base, GROUPS, subnet_data="full")
    clustered, everything = (
        [b for b in run(sampler(data, phases=[20, 60, 240]), 240) if b[0].subnet == FULL] for data in (dataset, full)
    )
    assert clustered == everything


@pytest.mark.parametrize("share", ["uniform", 0.5, ["uniform", 0.25, 0.0]])
def test_draw_shares_are_those_of_the_draws(dataset, share):
    drawn = sampler(dataset, full_share=share, phases=[50, 4050, 12050])
    for phase, (start, end) in enumerate([(0, 50), (50, 4050), (4050, 12050)]):
        shares = drawn.draw_shares(phase)
        assert sum(shares.values()) == pytest.approx(1)
        counts = Counter(drawn.subnet_at(step) for step in range(start, end))
        assert set(counts) <= set(shares)
        for name, expected in shares.items():
            assert counts[name] / (end - start) == pytest.approx(expected, abs=0.03)

import pytest

from mmssl_dynamic.clustering import chosen_number, recommend
from mmssl_dynamic.errors import ConfigError


@pytest.mark.parametrize(
    ("images", "paths"),
    [(1023, None), (1024, 4), (4095, 4), (4096, 16), (6300, 16), (16384, 64), (65536, 256), (1_281_167, 256)],
)
def test_the_largest_number_of_paths_whose_clusters_are_large_enough_is_recommended(images, paths):
    assert recommend(images).num_paths == paths


def test_the_reason_has_the_figures():
    assert recommend(6300).reason() == "16 paths suit 6,300 images: 393 each, at least 256; 64 would have 98"
    assert recommend(2_000_000).reason(256) == "256 paths suit 2,000,000 images: 7,812 each, at least 256"
    assert "4 paths suit 2,048 images: 512 each" in recommend(2048).reason(16)
    assert recommend(2048).reason(16).endswith("; 16 have 128 each, too few to train a path on")
    assert "4 would have 125 each" in recommend(500).reason()


def test_auto_takes_the_recommended_number_and_refuses_where_there_is_none():
    assert chosen_number("auto", 6300) == 16
    assert chosen_number("auto", 6300, per_cluster=1000) == 4
    assert chosen_number("7", 6300) == 7
    with pytest.raises(ConfigError, match=r"500 images are few for several paths.*--num-clusters 4"):
        chosen_number("auto", 500)
    with pytest.raises(ConfigError, match="--num-clusters many must be a number or 'auto'"):
        chosen_number("many", 6300)
    with pytest.raises(ConfigError, match="--images-per-cluster 0"):
        recommend(10, 0)

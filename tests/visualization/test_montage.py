from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mmssl_dynamic.clusters import Clusters
from mmssl_dynamic.datasets.load_image import read_image
from mmssl_dynamic.datasets.shards import write_shards
from mmssl_dynamic.errors import DataError
from mmssl_dynamic.features.feature_file import Features
from mmssl_dynamic.visualization.montage import (
    MontageRow,
    choose_rows,
    cluster_montage,
    draw_montage,
    find_image_root,
    size_plot,
    thumbnail,
)

COLOURS = [(200, 30, 30), (30, 160, 40), (40, 60, 210)]


@pytest.fixture
def coloured(tmp_path):
    """Clusters of 5, 3 and 1 images in a colour each, and their folder."""
    assignment = [0] * 5 + [1] * 3 + [2]
    names = [f"part/{i}.png" for i in range(9)]
    (tmp_path / "images" / "part").mkdir(parents=True)
    for name, cluster in zip(names, assignment):
        Image.new("RGB", (30, 20), COLOURS[cluster]).save(tmp_path / "images" / name)
    return Clusters(names, np.array(assignment), 3, "sinkhorn"), tmp_path / "images"


def test_every_row_shows_images_of_its_own_cluster_and_no_image_twice(coloured):
    clusters, root = coloured
    rows = choose_rows(clusters, root, samples=4, cell=16)
    assert [(row.title, row.subtitle) for row in rows] == [("0", "5 img"), ("1", "3 img"), ("2", "1 img")]
    assert [len(row.images) for row in rows] == [4, 3, 1]
    for row, colour in zip(rows, COLOURS):
        assert all(image.getpixel((8, 8)) == colour for image in row.images)


def test_only_the_largest_clusters_are_shown_when_asked(coloured):
    clusters, root = coloured
    assert [row.title for row in choose_rows(clusters, root, max_clusters=2)] == ["0", "1"]


def test_pictures_stand_in_their_row_right_of_the_label(coloured):
    clusters, root = coloured
    picture = draw_montage(choose_rows(clusters, root, samples=4, cell=32), samples=4, cell=32, columns=1)
    for line, colour in enumerate(COLOURS):
        assert picture.getpixel((12 + 64 + 16, 12 + line * 34 + 16)) == colour
    label = np.asarray(picture)[12:46, 12:70]
    assert (label < 100).any(), "the label is written"


@pytest.mark.parametrize("count", [1, 5, 16, 64, 256])
def test_many_clusters_make_a_picture_that_is_not_a_strip(count):
    rows = [MontageRow(str(i), "9 img", [Image.new("RGB", (40, 40), COLOURS[0])] * 8) for i in range(count)]
    width, height = draw_montage(rows, samples=8, cell=40).size
    assert width * height < 1.2 * (count * 42 + 24) * (64 + 8 * 42 + 24)
    if count >= 16:
        assert 0.5 < width / height < 2.5


def test_a_montage_file_is_written_once_and_the_same_for_a_seed(coloured, tmp_path):
    clusters, root = coloured
    first = cluster_montage(clusters, root, tmp_path / "a.png", samples=4).read_bytes()
    assert cluster_montage(clusters, root, tmp_path / "b.png", samples=4).read_bytes() == first
    assert sorted(path.name for path in tmp_path.glob("*.*")) == ["a.png", "b.png"]


def test_a_missing_image_is_named_and_no_file_is_left(coloured, tmp_path):
    clusters, root = coloured
    (root / "part" / "8.png").unlink()
    with pytest.raises(DataError, match="8.png does not exist"):
        cluster_montage(clusters, root, tmp_path / "a.png")
    assert list(tmp_path.glob("*.*")) == []


def test_thumbnails_are_the_central_square_in_rgb(tmp_path):
    image = Image.new("RGB", (60, 20), (0, 0, 255))
    image.paste((255, 0, 0), (20, 0, 40, 20))
    image.save(tmp_path / "a.png")
    pixels = np.asarray(thumbnail(read_image(tmp_path / "a.png"), 20))
    assert pixels.shape == (20, 20, 3)
    assert (pixels == (255, 0, 0)).all()


def test_the_montage_of_packed_images_is_that_of_the_folder(coloured, tmp_path, capsys):
    clusters, root = coloured
    list(write_shards(root, tmp_path / "shards"))
    rows = np.zeros((9, 2), np.float32)
    found = find_image_root(Features(rows, clusters.names, image_root=str(tmp_path / "shards")))
    assert found == tmp_path / "shards"
    one, two = (cluster_montage(clusters, at, tmp_path / f"{at.name}.png", samples=4) for at in (root, found))
    assert one.read_bytes() == two.read_bytes()
    (found / "000001.tar.part").touch()  # it cannot be opened, which is no reason to end a clustering
    assert find_image_root(Features(rows, clusters.names, image_root=str(found))) is None
    assert "no montage: " in capsys.readouterr().out
    with pytest.raises(DataError, match="holds shards that are not finished"):
        find_image_root(Features(rows, clusters.names), found)


def test_the_image_root_is_the_given_one_or_that_of_the_features(coloured, tmp_path, capsys):
    clusters, root = coloured
    rows = np.zeros((9, 2), np.float32)
    assert find_image_root(Features(rows, clusters.names, image_root=str(root))) == root
    assert find_image_root(Features(rows, clusters.names), root) == root
    assert find_image_root(Features(rows, clusters.names, image_root=str(tmp_path / "moved"))) is None
    assert "--image-root" in capsys.readouterr().out
    with pytest.raises(DataError, match="holds no image part/0.png"):
        find_image_root(Features(rows, clusters.names), tmp_path)


@pytest.mark.parametrize("num_clusters", [3, 100])
def test_the_plot_of_sizes_is_an_image(num_clusters, tmp_path):
    assignment = np.arange(300) % num_clusters
    clusters = Clusters([str(i) for i in range(300)], assignment, num_clusters, "kmeans")
    with Image.open(size_plot(clusters, tmp_path / "sizes.png")) as image:
        assert image.size[0] > 800

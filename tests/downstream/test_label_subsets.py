"""Whose labels semi-supervised learning may use."""

import numpy as np
import pytest

from mmssl_dynamic.downstream.label_subsets import draw_labelled, labelled_by_list
from mmssl_dynamic.errors import ArtifactError, ConfigError, DataError

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 100))


def counts(labels, indices):
    return np.bincount(np.asarray(labels)[indices], minlength=int(max(labels)) + 1)


def test_draws_are_balanced_and_without_repetition():
    drawn = draw_labelled(LABELS, 0.1)
    assert len(drawn) == len(set(drawn)) == 100
    assert drawn == sorted(drawn)
    assert counts(LABELS, drawn).tolist() == [10] * 10
    remainder = counts(LABELS, draw_labelled(LABELS, 0.128))  # 12.8 of each class
    assert remainder.sum() == 128
    assert set(remainder) == {12, 13}


def test_draws_depend_on_the_seed_alone():
    assert draw_labelled(LABELS, 0.1, seed=3) == draw_labelled(LABELS, 0.1, seed=3)
    assert draw_labelled(LABELS, 0.1, seed=3) != draw_labelled(LABELS, 0.1, seed=4)


def test_every_class_gets_one_and_a_small_class_all_that_it_has():
    assert counts(LABELS, draw_labelled(LABELS, 0.001)).tolist() == [1] * 10
    uneven = [0] * 50 + [1] * 3 + [2] * 47
    assert counts(uneven, draw_labelled(uneven, 0.33)).tolist() == [15, 3, 15]
    assert len(draw_labelled(uneven, 1.0)) == 100


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5])
def test_impossible_fractions_are_refused(fraction):
    with pytest.raises(ConfigError, match="cannot be drawn"):
        draw_labelled(LABELS, fraction)


NAMES = ["a/1.png", "a/2.png", "b/1.png", "b/3.png"]


def test_a_list_names_images_with_or_without_their_folders(tmp_path):
    file = tmp_path / "list.txt"
    file.write_text("3.png\n\na/1.png\n2.png \n")
    assert labelled_by_list(NAMES, file) == [0, 1, 3]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("4.png\n", DataError, "4.png, which the training set does not have"),
        ("1.png\n", DataError, "1.png, as several training images are called"),
        (" \n", ArtifactError, "is empty"),
        (None, ArtifactError, "does not exist"),
    ],
)
def test_lists_that_do_not_fit_are_refused(tmp_path, text, error, message):
    if text is not None:
        (tmp_path / "list.txt").write_text(text)
    with pytest.raises(error, match=message):
        labelled_by_list(NAMES, tmp_path / "list.txt")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("form", ["{}", ".\\{}", "C:\\task\\train\\{}", "{};0", '"{}"'])
def test_a_list_from_windows_names_the_same_images(tmp_path, encoding, form):
    names = ["a/1.png", "a/2.png", "b/ä 3.png"]
    lines = [form.format(name.replace("/", "\\")) for name in names[1:]]
    (tmp_path / "list.txt").write_bytes("\r\n".join(lines).encode(encoding))
    assert labelled_by_list(names, tmp_path / "list.txt") == [1, 2]

"""The views of test-time augmentation form groups."""

from itertools import product

import numpy as np
import pytest

from seglab.inference.symmetry import VIEWS, average_views


def seen(view, x):
    return view.apply(x, axes=(0, 1)).tolist()


@pytest.mark.parametrize(
    ("name", "count"), [(None, 1), ("horizontal", 2), ("flips", 4), ("dihedral", 8)]
)
def test_views_are_a_group(name, count):
    """All different, the image itself among them, and one after another is a third."""
    x = np.arange(9).reshape(3, 3)
    views = [seen(view, x) for view in VIEWS[name]]
    assert len(views) == count
    assert len({str(view) for view in views}) == count
    assert views[0] == x.tolist()
    for first, second in product(VIEWS[name], repeat=2):
        both = second.apply(first.apply(x, (0, 1)), (0, 1)).tolist()
        assert both in views


def test_views_are_the_ones_their_names_say():
    x = np.arange(6).reshape(2, 3)
    assert seen(VIEWS["horizontal"][1], x) == x[:, ::-1].tolist()
    flips = [x, x[:, ::-1], x[::-1], x[::-1, ::-1]]
    assert {str(seen(v, x)) for v in VIEWS["flips"]} == {str(f.tolist()) for f in flips}
    shapes = [v.apply(x, (0, 1)).shape for v in VIEWS["dihedral"]]
    assert sorted(shapes) == 4 * [(2, 3)] + 4 * [(3, 2)]


@pytest.mark.parametrize("name", list(VIEWS))
def test_undo_brings_every_view_back(name):
    x = np.random.default_rng(0).random((2, 4, 3, 5))
    for view in VIEWS[name]:
        there = view.apply(x, axes=(1, 2))
        np.testing.assert_array_equal(view.undo(there, axes=(1, 2)), x)


def test_averaging_a_pointwise_map_changes_nothing():
    x = np.random.default_rng(1).random((2, 4, 4, 3)).astype(np.float32)

    def run(images):
        return np.moveaxis(images, -1, 0).copy()

    averaged = average_views(run, x, VIEWS["dihedral"])
    # rtol: a sum of eight equal float32 numbers, and a division.
    np.testing.assert_allclose(averaged, np.moveaxis(x, -1, 0), rtol=1e-6)

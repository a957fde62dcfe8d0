"""From maps to instances: on shapes whose answer is known, and on simulated cells."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import distance_transform_edt, label
from skimage.segmentation import find_boundaries

from seglab import data
from seglab.inference import instances_from_boundary, instances_from_distance


def disks(*centers, radius=9, shape=(40, 60)):
    """Draw disks; where two overlap, a pixel belongs to the nearer center."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    distances = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centers])
    nearest = distances.argmin(axis=0)
    return np.where(distances.min(axis=0) < radius, nearest + 1, 0)


def outlined(instances):
    """Make the classes background, interior and boundary of instances."""
    return np.where(find_boundaries(instances, mode="inner"), 2, instances > 0)


def own_distances(instances):
    """Measure each pixel's distance from the outside of its own object."""
    result = np.zeros(instances.shape)
    for number in range(1, instances.max() + 1):
        inside = np.pad(instances == number, 1)  # outside the image is outside
        result += distance_transform_edt(inside)[1:-1, 1:-1]
    return result


def quality(truth, found):
    """Panoptic quality by its definition, and the number of matches."""
    matched = []
    for i in range(1, truth.max() + 1):
        for j in np.unique(found[truth == i]):
            a, b = truth == i, found == j
            iou = (a & b).sum() / (a | b).sum()
            if j > 0 and iou > 0.5:
                matched.append(iou)
    return sum(matched) / ((truth.max() + found.max()) / 2), len(matched)


def test_two_touching_disks_are_two():
    truth = disks((20, 20), (20, 35))
    assert label(truth > 0)[1] == 1  # one region of the mask
    for found in (
        instances_from_boundary(outlined(truth)),
        instances_from_distance(distance_transform_edt(truth > 0)),
        instances_from_distance(own_distances(truth)),
    ):
        assert found.dtype == np.int32
        assert sorted(np.unique(found)) == [0, 1, 2]
        np.testing.assert_array_equal(found > 0, truth > 0)
        score, matches = quality(truth, found)
        assert matches == 2
        assert score > 0.95


def test_probabilities_split_along_the_likeliest_boundary():
    """A bar with a boundary of five columns, the first of them the likeliest."""
    probabilities = np.zeros((7, 21, 3), np.float32)
    probabilities[..., 1] = 1
    for column, likely in zip(range(5, 10), (0.9, 0.6, 0.6, 0.6, 0.6), strict=True):
        probabilities[:, column] = (0, 1 - likely, likely)
    for maps, left, right in (
        (probabilities, 5, 6),  # column 5 may fall to either side
        (probabilities.argmax(axis=-1), 7, 8),  # labels split in the middle
    ):
        found = instances_from_boundary(maps)
        assert found.max() == 2
        assert (found[:, :left] == found[0, 0]).all()
        assert (found[:, right:] == found[0, 20]).all()
        assert found[0, 0] != found[0, 20]


@pytest.fixture(scope="module")
def cells():
    return data.load("cells", count=12, size=96).train.instances


@pytest.mark.parametrize("method", ["boundary", "distance"])
def test_cells_are_recovered_from_their_true_maps(cells, method):
    """Nearly all, though a third of the cells touch another."""
    total, found_cells, true_cells = 0.0, 0, 0
    for truth in cells:
        if method == "boundary":
            found = instances_from_boundary(outlined(truth))
        else:
            found = instances_from_distance(own_distances(truth))
        score, matches = quality(truth, found)
        total += score / len(cells)
        found_cells += matches
        true_cells += truth.max()
    components = sum(label(truth > 0)[1] for truth in cells)
    assert components < 0.7 * true_cells
    assert found_cells >= 0.99 * true_cells
    assert total > 0.98


def test_classes_may_have_other_numbers():
    truth = disks((20, 20), (20, 35))
    labels = np.array([5, 0, 3])[outlined(truth)]
    np.testing.assert_array_equal(
        instances_from_boundary(labels, interior=0, boundary=3),
        instances_from_boundary(outlined(truth)),
    )


def test_an_object_too_thin_for_an_interior_is_one_object():
    labels = np.zeros((9, 9), int)
    labels[1, 1:8] = 2
    labels[4:7, 2:5] = 2
    labels[5, 3] = 1
    found = instances_from_boundary(labels)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, labels > 0)


@pytest.mark.parametrize("min_size", [0, 1, 9, 10, 1000])
def test_small_objects_are_left_out(min_size):
    truth = np.zeros((20, 20), int)
    truth[2:5, 2:5] = 1  # 9 pixels
    truth[10:16, 10:16] = 2  # 36
    expected = sum(size >= min_size for size in (9, 36))
    for found in (
        instances_from_boundary(outlined(truth), min_size=min_size),
        instances_from_distance(own_distances(truth), min_size=min_size),
    ):
        assert found.max() == expected
        assert set(np.unique(found)) == set(range(expected + 1))


def test_peaks_are_as_far_apart_as_asked():
    distance = own_distances(disks((20, 20), (20, 35)))
    assert instances_from_distance(distance, min_distance=20).max() == 1
    assert instances_from_distance(distance, threshold=50).max() == 0
    rng = np.random.default_rng(0)
    noisy = distance + rng.normal(0, 0.5, distance.shape) * (distance > 0)
    assert instances_from_distance(noisy, smoothing=0, min_distance=1).max() > 10
    assert instances_from_distance(noisy, smoothing=2, threshold=-1).max() >= 2


def test_an_object_at_the_image_border_counts():
    truth = disks((0, 0), (39, 59), (20, 30))
    for found in (
        instances_from_boundary(outlined(truth)),
        instances_from_distance(own_distances(truth)),
    ):
        assert quality(truth, found)[1] == 3
    half = own_distances(np.pad(disks((20, 20), (20, 35)), 1))[21:]
    assert instances_from_distance(half).max() == 2


shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=12)


@settings(max_examples=25)
@given(hnp.arrays(np.int8, shapes, elements=st.integers(0, 2)))
def test_every_object_pixel_has_a_number_and_no_other(labels):
    for found in (
        instances_from_boundary(labels),
        instances_from_distance((labels > 0).astype(np.float32)),
    ):
        np.testing.assert_array_equal(found > 0, labels > 0)
        assert set(np.unique(found)) <= set(range(found.max() + 1))
        # Objects are within one component of the mask, and each has its own.
        components, count = label(labels > 0)
        assert found.max() >= count
        for number in range(1, found.max() + 1):
            assert len(np.unique(components[found == number])) == 1


@pytest.mark.parametrize("value", [0, 1, 2])
def test_maps_of_one_class(value):
    found = instances_from_boundary(np.full((5, 6), value))
    assert (found == (value > 0)).all()
    assert (instances_from_distance(np.full((5, 6), 3.0)) == 1).all()
    assert (instances_from_distance(np.zeros((5, 6))) == 0).all()


LABELS, DISTANCE = np.zeros((4, 4), int), np.zeros((4, 4))


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (instances_from_boundary, {"maps": DISTANCE}, "maps are float64"),
        (instances_from_boundary, {"maps": LABELS[None]}, r"of shape \(1, 4, 4\)"),
        (instances_from_boundary, {"maps": DISTANCE[..., None]}, "classes 0 to 0"),
        (instances_from_boundary, {"maps": LABELS, "boundary": 1}, "both class 1"),
        (instances_from_boundary, {"maps": LABELS, "min_size": -1}, "min_size is -1"),
        (instances_from_distance, {"distance": LABELS}, "distance is int64"),
        (instances_from_distance, {"distance": DISTANCE[0]}, r"shape \(4,\)"),
        (instances_from_distance, {"distance": DISTANCE, "smoothing": -1}, "smoothing"),
        (instances_from_distance, {"distance": DISTANCE, "min_distance": 0}, "is 0"),
        (instances_from_distance, {"distance": DISTANCE, "min_size": 0.5}, "is 0.5"),
    ],
)
def test_bad_arguments_are_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        function(**arguments)


def test_half_precision_is_taken():
    y, x = np.mgrid[:21, :40]
    left, right = (np.hypot(y - 10, x - c) < 9 for c in (11, 27))
    distance = distance_transform_edt(left | right)
    # Distances here are below 16, where float16 has steps of 1 / 128 or less.
    np.testing.assert_array_equal(
        instances_from_distance(distance.astype(np.float16)) > 0, left | right
    )
    assert instances_from_distance(distance.astype(np.float16)).max() == 2

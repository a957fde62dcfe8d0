"""The conventions of Split and Dataset: what is taken, what is refused, and why."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from seglab.data.dataset import DataError, Dataset, Split

CLASSES = ("background", "nucleus", "boundary")


def make(n=4, height=6, width=5, channels=1, classes=CLASSES, seed=0, **more):
    rng = np.random.default_rng(seed)
    images = rng.random((n, height, width, channels), np.float32)
    masks = rng.integers(len(classes), size=(n, height, width), dtype=np.int32)
    return Split(images, masks, classes, **more)


def dataset(**more):
    return Dataset("demo", make(4, **more), make(2, **more), make(3, **more))


# What a Split takes and converts


def test_a_split_knows_its_size():
    split = make(4, 6, 5, 3)
    assert len(split) == 4
    assert split.num_classes == 3
    assert split.image_shape == (6, 5, 3)
    assert repr(split) == "Split(4 images of 6 × 5 × 3, 3 classes)"


def test_lossless_types_are_converted():
    split = Split(
        np.zeros((1, 2, 2, 1), np.float64), np.ones((1, 2, 2), np.uint8), ["a", "b"]
    )
    assert split.classes == ("a", "b")
    assert split.images.dtype == np.float32
    assert split.masks.dtype == np.int32


def test_arrays_of_the_right_type_are_not_copied():
    images = np.zeros((1, 2, 2, 1), np.float32)
    assert Split(images, np.zeros((1, 2, 2), np.int32), CLASSES).images is images


def test_an_empty_split_is_a_split():
    empty = make(4)[:0]
    assert len(empty) == 0
    assert np.isnan(empty.class_shares()).all()


# What a Split refuses: each message says what came and what to do

IMAGES = np.zeros((2, 4, 4, 1), np.float32)
MASKS = np.zeros((2, 4, 4), np.int32)


def with_value(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[..., 0]}, r"\(N, H, W, C\).*images\[\.\.\., None\]"),
        ({"images": IMAGES[:, :0]}, "no pixels"),
        ({"images": (IMAGES * 255).astype(np.uint8)}, "uint8.*/ 255"),
        ({"images": with_value(IMAGES, np.nan)}, "not finite"),
        ({"images": with_value(IMAGES, np.inf)}, "not finite"),
        ({"images": with_value(IMAGES, 255)}, r"from 0 to 255.*\[0, 1\]"),
        ({"images": with_value(IMAGES, -0.5)}, r"from -0.5 to 0.*\[0, 1\]"),
        ({"masks": MASKS[..., None]}, r"masks\[\.\.\., 0\]"),
        ({"masks": MASKS[:1]}, r"\(1, 4, 4\).*\(2, 4, 4\)"),
        ({"masks": MASKS.astype(float)}, "float64.*nearest neighbor"),
        ({"masks": MASKS.astype(bool)}, "bool.*astype"),
        ({"masks": with_value(MASKS, 255)}, "labels 255.*masks == 255"),
        ({"masks": with_value(MASKS, -1)}, "labels -1.*0 to 2"),
        ({"masks": with_value(MASKS, 3)}, "labels 3.*background, nucleus"),
        ({"masks": with_value(MASKS.astype(np.int64), 2**40)}, "int32"),
        ({"instances": MASKS[:1]}, "instances has shape"),
        ({"instances": with_value(MASKS, -2)}, "number -2"),
        ({"classes": "background"}, "tuple of names"),
        ({"classes": ()}, "tuple of names"),
        ({"classes": ("background", 1)}, "tuple of names"),
        ({"classes": ("a", "b", "a")}, "a more than once"),
        ({"ignore_index": 1}, "also the number of a class"),
        ({"ignore_index": True}, "int or None"),
        ({"ignore_index": 1.5}, "int or None"),
        ({"names": ("one",)}, "1 entries for 2 images"),
        ({"columns": {"stain": np.array(["DAPI"])}}, r"'stain'.*\(2,\)"),
    ],
)
def test_a_broken_convention_is_named(change, message):
    fields = {"images": IMAGES, "masks": MASKS, "classes": CLASSES} | change
    with pytest.raises(DataError, match=message):
        Split(**fields)


def test_the_ignore_label_is_no_unknown_class():
    split = Split(IMAGES, with_value(MASKS, 255), CLASSES, ignore_index=255)
    assert split.class_shares()[0] == 1


# Selecting


def test_a_split_is_indexed_with_all_that_belongs_to_it():
    split = make(
        5,
        instances=np.arange(5 * 30, dtype=np.int32).reshape(5, 6, 5),
        names=tuple("abcde"),
        columns={"stain": np.array(["x", "y", "x", "y", "x"])},
    )
    for index, expected in [
        (slice(1, 3), [1, 2]),
        ([4, 0, 0], [4, 0, 0]),
        (np.array([-1]), [4]),
        (split.columns["stain"] == "y", [1, 3]),
        ([], []),
        (np.zeros(5, bool), []),
    ]:
        part = split[index]
        np.testing.assert_array_equal(part.images, split.images[expected])
        np.testing.assert_array_equal(part.masks, split.masks[expected])
        np.testing.assert_array_equal(part.instances, split.instances[expected])
        assert part.names == tuple("abcde"[i] for i in expected)
        assert part.columns["stain"].tolist() == ["xyxyx"[i] for i in expected]


@pytest.mark.parametrize(
    ("index", "error"),
    [
        (0, TypeError),
        ([0.5], TypeError),
        (["a"], TypeError),
        ([True], IndexError),
        (np.array([], bool), IndexError),
        ([9], IndexError),
        ([[0]], TypeError),
    ],
)
def test_a_bad_index_is_refused(index, error):
    with pytest.raises(error):
        make(4)[index]


# Class shares


@settings(max_examples=30)
@given(arrays(np.int32, (2, 3, 4), elements=st.sampled_from([0, 1, 2, 255])))
def test_class_shares_agree_with_counting_pixels_one_by_one(masks):
    images = np.zeros((2, 3, 4, 1), np.float32)
    split = Split(images, masks, CLASSES, ignore_index=255)
    counted = [0, 0, 0]
    for label in masks.flat:
        if label != 255:
            counted[label] += 1
    if sum(counted) == 0:
        assert np.isnan(split.class_shares()).all()
    else:
        np.testing.assert_allclose(
            split.class_shares(), [n / sum(counted) for n in counted]
        )


# Dataset


def test_splits_must_agree():
    for other in (
        make(classes=("a", "b", "c")),
        make(height=7),
        make(channels=3),
        make(ignore_index=255),
    ):
        with pytest.raises(DataError, match=r"val has .* must agree"):
            Dataset("demo", make(), other, make())
    with pytest.raises(DataError, match="test is a list"):
        Dataset("demo", make(), make(), [])


def test_the_summary_names_splits_counts_and_shares():
    text = repr(dataset())
    lines = text.splitlines()
    assert lines[0] == "demo: 9 images of 6 × 5 × 1, 3 classes"
    assert lines[2].split() == ["images", "4", "2", "3"]
    shares = [float(word) for word in lines[4].replace("%", "").split()[1:]]
    expected = [100 * s.class_shares()[1] for s in dataset().splits().values()]
    np.testing.assert_allclose(shares, expected, atol=0.05)  # printed to 0.1
    assert "(ignored)" not in text
    assert "(ignored)" in repr(dataset(ignore_index=255))


def test_the_html_summary_is_escaped_and_has_headers():
    split = make(classes=("<b>", "nucleus", "boundary"))
    page = Dataset("a & b", split, split, split)._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page
    assert "a &amp; b" in page
    assert page.count('scope="col"') == 3
    assert page.count('scope="row"') == 4


# where


@pytest.fixture
def slides():
    def part(stains, sites):
        return make(
            len(stains),
            columns={"stain": np.array(stains), "site": np.array(sites)},
        )

    return Dataset(
        "slides",
        part(["DAPI", "DAPI", "H&E"], [1, 2, 1]),
        part(["DAPI", "H&E"], [1, 2]),
        part(["H&E", "DAPI"], [1, 1]),
    )


def test_where_keeps_the_images_with_the_value(slides):
    kept = slides.where(stain="DAPI")
    assert [len(s) for s in kept.splits().values()] == [2, 1, 1]
    np.testing.assert_array_equal(kept.test.images, slides.test.images[1:])
    assert [len(s) for s in slides.where(stain=["DAPI", "H&E"]).splits().values()] == [
        3,
        2,
        2,
    ]
    assert len(slides.where(stain="DAPI", site=1).train) == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"color": "red"}, "no column 'color'; its columns: site, stain"),
        ({"stain": "dapi"}, "no value 'dapi'; it has 'DAPI', 'H&E'"),
        ({"site": "1"}, "no value '1'; it has 1, 2"),
        ({"site": 2}, "no image of the test split has site = 2"),
    ],
)
def test_where_names_what_it_does_not_find(slides, query, message):
    with pytest.raises(DataError, match=message):
        slides.where(**query)


# merge_classes


def test_merging_relabels_and_keeps_the_rest():
    data = dataset()
    merged = data.merge_classes({"boundary": "nucleus"})
    assert merged.classes == ("background", "nucleus")
    assert merged.ignore_index is None
    np.testing.assert_array_equal(merged.val.masks, np.minimum(data.val.masks, 1))
    np.testing.assert_array_equal(merged.val.images, data.val.images)


def test_merging_into_none_ignores():
    data = dataset()
    merged = data.merge_classes({"nucleus": None})
    assert merged.classes == ("background", "boundary")
    assert merged.ignore_index == 255
    expected = np.array([0, 255, 1])[data.train.masks]
    np.testing.assert_array_equal(merged.train.masks, expected)


@settings(max_examples=40)
@given(
    masks=arrays(np.int32, (1, 3, 4), elements=st.sampled_from([0, 1, 2, 3, 9])),
    into=st.dictionaries(
        st.sampled_from("bcd"), st.sampled_from(["a", None]), max_size=3
    ),
)
def test_merging_agrees_with_renaming_pixel_by_pixel(masks, into):
    split = Split(np.zeros((1, 3, 4, 1), np.float32), masks, tuple("abcd"), 9)
    merged = Dataset("demo", split, split, split).merge_classes(into).train
    assert merged.ignore_index == 9
    for old, new in zip(masks.flat, merged.masks.flat, strict=True):
        name = None if old == 9 else into.get("abcd"[old], "abcd"[old])
        assert (None if new == 9 else merged.classes[new]) == name


@pytest.mark.parametrize(
    ("into", "message"),
    [
        ({"cell": "nucleus"}, "no class 'cell'; its classes: background"),
        ({"nucleus": "cell"}, "no class 'cell'"),
        ({"nucleus": "boundary", "boundary": "nucleus"}, "itself given up"),
        ({"nucleus": "nucleus"}, "itself given up"),
        (dict.fromkeys(CLASSES), "keep at least one"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused(into, message):
    with pytest.raises(DataError, match=message):
        dataset().merge_classes(into)


# map_images


def test_map_images_sees_each_split_and_may_change_channels():
    seen = []

    def gray_to_rgb(images):
        seen.append(images.shape)
        return np.repeat(images, 3, axis=-1).astype(np.float64)

    data = dataset().map_images(gray_to_rgb)
    assert seen == [(4, 6, 5, 1), (2, 6, 5, 1), (3, 6, 5, 1)]
    assert data.image_shape == (6, 5, 3)
    assert data.train.images.dtype == np.float32


@pytest.mark.parametrize(
    "fn", [lambda x: x * 2 + 1, lambda x: x[:, 1:], lambda x: x[1:], lambda x: x > 0]
)
def test_map_images_checks_what_comes_back(fn):
    with pytest.raises(DataError):
        dataset().map_images(fn)

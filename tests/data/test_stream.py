"""Arrays on disk give what arrays in memory give, and hold nothing."""

import gc
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from seglab.data import (
    DataError,
    Dataset,
    Split,
    card,
    load,
    save,
    stretch_contrast,
)
from seglab.data import stream as module
from seglab.data.folder import read_folder
from seglab.data.stream import StreamedArray, parts

WHOLE = np.random.default_rng(0).integers(0, 99, (7, 4, 5)).astype(np.int32)


def streamed(whole=WHOLE):
    """The array itself, read one entry at a time; and the numbers that were read."""
    read, lock = [], threading.Lock()

    def entry(i):
        with lock:
            read.append(i)
        return whole[i].copy()

    return StreamedArray(entry, len(whole), whole.shape[1:], whole.dtype), read


# --- the array ---------------------------------------------------------------


def test_it_has_the_looks_of_an_ndarray():
    array, read = streamed()
    for name in ("shape", "ndim", "size", "nbytes", "dtype"):
        assert getattr(array, name) == getattr(WHOLE, name), name
    assert len(array) == 7
    assert "(7, 4, 5) of int32" in repr(array)
    assert read == []


firsts = st.one_of(
    st.integers(-7, 6),
    st.slices(7),
    st.lists(st.integers(-7, 6), max_size=9),
    st.lists(st.booleans(), min_size=7, max_size=7).map(np.array),
    st.lists(st.integers(0, 6), max_size=4).map(lambda v: np.array(v, np.int64)),
)


@given(firsts)
def test_the_first_axis_is_indexed_as_numpy_indexes_it(index):
    array, read = streamed()
    expected = WHOLE[np.array(index, int) if isinstance(index, list) else index]
    given = array[index]
    np.testing.assert_array_equal(given, expected)
    assert given.dtype == expected.dtype and given.shape == expected.shape
    entries = 1 if expected.ndim == 2 else len(expected)
    assert len(read) == entries  # no more than what was asked for


@given(
    st.one_of(st.integers(-7, 6), st.slices(7)),
    st.lists(
        st.one_of(st.slices(4), st.just(0), st.just(...), st.none()), max_size=2
    ).filter(lambda rest: rest.count(...) <= 1),
)
def test_other_axes_may_follow_an_integer_or_a_slice(first, rest):
    index = (first, *rest)
    np.testing.assert_array_equal(streamed()[0][index], WHOLE[index])


@given(firsts.filter(lambda i: not isinstance(i, int)), st.slices(9))
def test_taking_reads_nothing_and_is_indexing(index, again):
    array, read = streamed()
    index = np.array(index, int) if isinstance(index, list) else index
    taken = array.take(index).take(again)
    assert read == []
    np.testing.assert_array_equal(np.asarray(taken), WHOLE[index][again])


def test_a_function_is_applied_when_it_is_read():
    array, read = streamed()
    mapped = array.map(lambda entry: entry[:2] + 1, (2, 5)).take(slice(2, 5))
    assert read == [] and mapped.shape == (3, 2, 5)
    np.testing.assert_array_equal(mapped[1:], WHOLE[3:5, :2] + 1)
    assert sorted(read) == [3, 4]


def test_it_is_walked_through_in_parts(monkeypatch):
    monkeypatch.setattr(module, "PART_BYTES", 5 * 4 * 5 * 4)
    array, _ = streamed()
    assert [len(part) for part in parts(array)] == [5, 2]
    monkeypatch.setattr(module, "PART_BYTES", 1)
    assert [len(part) for part in parts(array)] == [4, 3]
    for entry, expected in zip(array, WHOLE, strict=True):
        np.testing.assert_array_equal(entry, expected)
    assert [part is WHOLE for part in parts(WHOLE)] == [True]


def test_everything_is_read_on_request_alone(monkeypatch):
    array, _ = streamed()
    np.testing.assert_array_equal(np.asarray(array), WHOLE)
    assert np.asarray(array, np.float32).dtype == np.float32
    monkeypatch.setattr(module, "MAX_MEMORY", WHOLE.nbytes - 1)
    with pytest.raises(MemoryError, match=r"Index it: images\[:100\]"):
        np.asarray(array)


@pytest.mark.parametrize(
    "compute",
    [
        lambda a: a == 1,
        lambda a: a != 1,
        lambda a: a + 1,
        lambda a: 2 * a,
        lambda a: np.int32(2) * a,
        lambda a: WHOLE + a,
        lambda a: np.add(a, 1),
        lambda a: a < 3,
    ],
)
def test_what_would_be_wrong_or_read_everything_is_refused(compute):
    array, read = streamed()
    with pytest.raises(TypeError):
        compute(array)
    assert read == []


def test_what_only_an_ndarray_has_is_refused_with_a_hint():
    array, read = streamed()
    for name in ("max", "ravel", "T"):
        with pytest.raises(AttributeError, match=rf"images\[:8\]\.{name}"):
            getattr(array, name)
    with pytest.raises(AttributeError, match=r"has no colour\.$"):
        array.colour  # noqa: B018
    assert read == []


@pytest.mark.parametrize("index", [..., None, True, [[0, 1]], (..., 0), 1.5])
def test_an_index_begins_with_the_entries(index):
    with pytest.raises(TypeError, match="the first index of an array on disk"):
        streamed()[0][index]


def test_several_indices_after_an_array_are_refused():
    with pytest.raises(TypeError, match="In two steps"):
        streamed()[0][[0, 1], 0]


def test_an_entry_that_is_not_there():
    with pytest.raises(IndexError):
        streamed()[0][7]


def test_the_error_of_a_reader_comes_through():
    def read(i):
        raise DataError(f"entry {i} is broken")

    with pytest.raises(DataError, match=r"entry \d is broken"):
        StreamedArray(read, 4, (2,), int)[1:3]


# --- data sets ---------------------------------------------------------------


def dataset(n=12, ignore=255, channels=1):
    rng = np.random.default_rng(0)

    def split(prefix, n):
        masks = rng.integers(0, 3, (n, 10, 8)).astype(np.int32)
        if ignore is not None:
            masks[:, :2, 0] = ignore
        return Split(
            rng.random((n, 10, 8, channels), dtype=np.float32),
            masks,
            classes=("ground", "leaf", "stem"),
            ignore_index=ignore,
            instances=np.where(masks == 1, 7, 0),
            names=tuple(f"{prefix}{i:02}" for i in range(n)),
            columns={"odd": np.arange(n) % 2},
        )

    return Dataset("leaves", split("t", n), split("v", 3), split("u", 4))


@pytest.fixture(params=["leaves", "leaves.zip"])
def both(request, tmp_path):
    """One data set on disk, read into memory and left there."""
    path = save(dataset(channels=3), tmp_path / request.param)

    def read(**options):
        return (
            read_folder(path, **options),
            read_folder(path, stream=True, **options),
        )

    read.path = path
    return read


def same(one, other):
    assert repr(one) == repr(other)
    assert one._repr_html_() == other._repr_html_()
    assert (one.classes, one.ignore_index) == (other.classes, other.ignore_index)
    for name, split in one.splits().items():
        lazy = other.splits()[name]
        assert isinstance(lazy.images, StreamedArray)
        assert isinstance(lazy.masks, StreamedArray)
        assert split.names == lazy.names
        np.testing.assert_array_equal(split.columns["odd"], lazy.columns["odd"])
        np.testing.assert_array_equal(split.class_shares(), lazy.class_shares())
        for array in ("images", "masks", "instances"):
            mine, its = getattr(split, array), getattr(lazy, array)
            assert (mine.shape, mine.dtype) == (its.shape, its.dtype)
            np.testing.assert_array_equal(mine, np.asarray(its))


@pytest.mark.parametrize(
    "options", [{}, {"size": 5}, {"size": (12, 6)}, {"count": 9, "seed": 3}]
)
def test_a_streamed_set_is_the_same_set(both, options):
    same(*both(**options))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.where(odd=1),
        lambda data: data.merge_classes({"stem": "leaf"}),
        lambda data: data.merge_classes({"stem": None}),
        lambda data: data.map_images(stretch_contrast),
        lambda data: data.map_images(lambda x: x.mean(axis=-1, keepdims=True)),
        lambda data: (
            data.where(odd=[0])
            .merge_classes({"leaf": "stem"})
            .map_images(lambda x: 1 - x)
        ),
    ],
)
def test_what_makes_a_set_of_a_set_streams_on(both, change):
    same(*(change(data) for data in both()))


def test_a_part_of_a_streamed_split_is_streamed(both):
    split, lazy = (data.train for data in both())
    for where in (slice(2, 9, 3), [5, 0], np.arange(12) < 4):
        part = lazy[where]
        assert isinstance(part.images, StreamedArray)
        assert part.names == split[where].names
        np.testing.assert_array_equal(part.masks[:], split[where].masks)
        np.testing.assert_array_equal(part.class_shares(), split[where].class_shares())


def test_a_split_without_images_streams_nothing(tmp_path):
    path = save(dataset(), tmp_path / "leaves")
    memory, lazy = (read_folder(path, stream=s) for s in (False, True))
    without = [Dataset("x", d.train[:0], d.val, d.test) for d in (memory, lazy)]
    assert repr(without[0]) == repr(without[1])
    assert np.isnan(without[1].train.class_shares()).all()


def test_classes_are_numbered_by_all_masks(tmp_path):
    root = save(dataset(), tmp_path / "leaves")
    (root / "dataset.json").unlink()
    one, other = (read_folder(root, count=3, stream=s) for s in (False, True))
    assert one.classes == other.classes and repr(one) == repr(other)


def test_saving_a_streamed_set_gives_the_same_files(both, tmp_path):
    memory, lazy = both(size=6)
    written = [save(d, tmp_path / f"{i}.zip") for i, d in enumerate((memory, lazy))]
    assert written[0].read_bytes() == written[1].read_bytes()


def test_gray_and_color_and_sixteen_bits_are_scaled_alike(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    rng = np.random.default_rng(0)
    for i in range(9):
        Image.fromarray(np.eye(6, dtype=np.uint8)).save(tmp_path / f"masks/{i}.png")
        pixels = (
            rng.integers(0, 256, (6, 6)).astype(np.uint8),
            rng.integers(0, 256, (6, 6, 3)).astype(np.uint8),
            rng.integers(0, 65536, (6, 6)).astype(np.uint16),
        )[i % 3]
        Image.fromarray(pixels).save(tmp_path / f"images/{i}.png")
    memory, lazy = (read_folder(tmp_path, stream=s) for s in (False, True))
    assert lazy.image_shape == (6, 6, 3)
    for name, split in memory.splits().items():
        np.testing.assert_array_equal(split.images, lazy.splits()[name].images[:])


def test_mistakes_are_found_when_it_is_loaded(both):
    path = both.path
    if path.is_dir():
        (path / "images/t03.png").write_bytes(b"")
        with pytest.raises(DataError, match="an empty file"):
            read_folder(path, stream=True)
        (path / "images/t03.png").unlink()
        with pytest.raises(DataError, match="has no image in images/"):
            read_folder(path, stream=True)
    else:
        with pytest.raises(DataError, match="count is 99"):
            read_folder(path, stream=True, count=99)


def test_a_file_that_has_changed_is_refused(tmp_path):
    root = save(dataset(), tmp_path / "leaves")
    data = read_folder(root, stream=True)
    new = "is not what it was when the data set was loaded"
    gray = np.zeros((10, 8), np.uint8)

    def mirrored(kind):
        """Of the same size, colors and labels, at other places."""
        pixels = np.asarray(Image.open(root / kind / "t01.png"))
        assert not np.array_equal(pixels, pixels[:, ::-1])
        return np.ascontiguousarray(pixels[:, ::-1])

    for kind, pixels in {
        "images": (
            mirrored("images"),
            gray[:5],
            np.stack([gray, gray, gray + 1], -1),
        ),
        "masks": (mirrored("masks"), gray[:5], gray + 77),
        "instances": (mirrored("instances"), gray[:5]),
    }.items():
        for changed in pixels:
            Image.fromarray(changed).save(root / kind / "t01.png")
            with pytest.raises(DataError, match=f"{kind}/t01.png {new}"):
                getattr(data.train, kind)[:3]
    (root / "images/t02.png").unlink()
    with pytest.raises(DataError, match=r"images/t02\.png cannot be read"):
        data.train.images[2]


def test_a_zip_stays_open_as_long_as_it_is_read(tmp_path):
    path = save(dataset(), tmp_path / "leaves.zip")
    data = read_folder(path, stream=True)
    images = data.test[1:3].images
    expected = read_folder(path).test.images[1:3]
    del data
    gc.collect()
    np.testing.assert_array_equal(images[:], expected)


def test_a_function_of_images_must_keep_their_shape(both):
    _, lazy = both()
    with pytest.raises(DataError, match="it must keep their number"):
        lazy.map_images(lambda images: images[:, ::2])
    with pytest.raises(DataError, match="float in"):
        lazy.map_images(lambda images: (images * 255).astype(np.uint8))


def test_values_of_ordinary_arrays_are_still_checked_beside_streamed_ones(both):
    _, lazy = both()
    split = lazy.train
    with pytest.raises(DataError, match="labels 9"):
        Split(split.images, np.full((12, 10, 8), 9), split.classes)
    with pytest.raises(DataError, match="masks has shape"):
        Split(split.images, split.masks[:3], split.classes)


def test_a_set_too_large_for_memory_is_streamed(both, monkeypatch):
    monkeypatch.setattr("seglab.data.folder.MAX_MEMORY", 1000)
    with pytest.raises(DataError, match="Pass stream=True"):
        read_folder(both.path)
    assert len(read_folder(both.path, stream=True).train) == 12


def test_loading_and_counting_hold_no_more_than_a_few_images(tmp_path):
    """200 images of 160 x 160: 20 MB of floats, and as much of masks."""
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for i in range(200):
            pixels = np.full((160, 160), i % 2, np.uint8)
            Image.fromarray(pixels).save(tmp_path / kind / f"{i}.png", compress_level=1)
    whole = 200 * 160 * 160 * (4 + 4)
    tracemalloc.start()
    try:
        data = load(tmp_path, stream=True)
        repr(data.merge_classes({}))  # counts all pixels anew
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        load(tmp_path)
        assert tracemalloc.get_traced_memory()[1] > whole
    finally:
        tracemalloc.stop()
    # 4 MiB of masks at a time, relabeled and as int64 to be counted.
    assert peak < whole / 2


def test_simulated_sets_say_how_to_be_streamed(tmp_path):
    with pytest.raises(TypeError, match="cells is made in memory"):
        load("cells", stream=True)


def test_named_sets_are_streamed(tmp_path, monkeypatch):
    save(dataset(), tmp_path / "nuclei.zip")
    monkeypatch.setenv("SEGLAB_DATA", str(tmp_path))
    assert card("nuclei").kind == "archive"
    with pytest.warns(UserWarning, match="is not the nuclei archive"):
        data = load("nuclei", stream=True)
    assert isinstance(data.train.images, StreamedArray)


def test_streaming_needs_no_backend():
    code = (
        "import sys, seglab.data.stream;"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""Prediction of whole images, tiled and not: exact where it must be, and bounded."""

import tracemalloc
from itertools import product

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from seglab.inference import predict
from seglab.inference.network import Sizes
from seglab.inference.prediction import _Axis, _cut
from seglab.inference.tiling import mirror
from seglab.models import unet

ANY = (None, None, 1)


def random_image(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def twice(images):
    return 2 * images


def place_in_tile(images):
    """A map that depends on where a pixel lies in its tile, and on the tile."""
    h, w = images.shape[1:3]
    y, x = np.mgrid[:h, :w].astype(np.float32)
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    return np.stack([y + 0 * x, x * y], axis=-1)[None] / 100 + mean


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return unet(ANY, 3, width=2, depth=2)


@pytest.fixture(scope="module")
def valid_network():
    keras.utils.set_random_seed(0)
    return unet(ANY, 2, width=2, depth=2, padding="valid")


def run(model, images):
    return softmax(keras.ops.convert_to_numpy(model(images)), axis=-1)


# Exact


@settings(max_examples=40)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    tile=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    overlap=st.sampled_from([0, 0.25, 0.5, 0.8]),
    blend=st.sampled_from(["gaussian", "constant"]),
    tta=st.sampled_from([None, "horizontal", "flips", "dihedral"]),
    batch_size=st.integers(1, 5),
)
def test_a_pointwise_map_is_stitched_exactly(
    size, tile, overlap, blend, tta, batch_size
):
    image = random_image(*size, 2)
    options = {"overlap": overlap, "blend": blend, "tta": tta, "batch_size": batch_size}
    stitched = predict(
        twice, image, tile=tile, from_logits=False, progress=False, **options
    )
    assert stitched.dtype == np.float32
    # rtol: the shares of at most 25 tiles, rounded to float32, sum to 1 this closely.
    np.testing.assert_allclose(stitched, 2 * image, rtol=2e-6)


@pytest.mark.parametrize("blend", ["gaussian", "constant"])
@pytest.mark.parametrize(
    ("size", "tile", "overlap", "starts"),
    [
        # nnU-Net's example along the height.
        ((110, 40), (64, 16), 0.5, ([0, 23, 46], [0, 8, 16, 24])),
        ((30, 41), (13, 41), 0.25, ([0, 8, 17], [0])),
        ((20, 20), (10, 5), 0, ([0, 10], [0, 5, 10, 15])),
    ],
)
def test_blending_is_the_weighted_mean_of_the_tiles(size, tile, overlap, starts, blend):
    """Against sums over tiles of two-dimensional weights, in float64."""
    image = random_image(*size, 1)
    total, weights = np.zeros((*size, 2)), np.zeros((*size, 1))
    y, x = (np.arange(n) - (n - 1) / 2 for n in tile)
    weight = np.ones((*tile, 1))
    if blend == "gaussian":
        sigma = tile[0] / 8, tile[1] / 8
        weight[..., 0] = np.exp(
            -(y[:, None] ** 2 / sigma[0] ** 2 + x**2 / sigma[1] ** 2) / 2
        )
    for top, left in product(*starts):
        here = slice(top, top + tile[0]), slice(left, left + tile[1])
        total[here] += weight * place_in_tile(image[None][:, *here])[0]
        weights[here] += weight
    blended = predict(
        place_in_tile,
        image,
        tile=tile,
        overlap=overlap,
        blend=blend,
        from_logits=False,
        progress=False,
    )
    # rtol: float32 against float64.
    np.testing.assert_allclose(blended, total / weights, rtol=1e-5)


@pytest.mark.backends
@pytest.mark.parametrize("size", [(16, 24), (1, 1), (13, 50), (3, 2)])
def test_the_whole_image_goes_through_once_extended_by_its_mirror(network, size):
    image = random_image(*size, 1)
    padded = np.pad(
        image, [(0, -size[0] % 4), (0, -size[1] % 4), (0, 0)], mode="reflect"
    )
    expected = run(network, padded[None])[0, : size[0], : size[1]]
    # atol: float32; a compiled network adds in another order.
    np.testing.assert_allclose(predict(network, image), expected, atol=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("size", [(16, 24), (1, 1), (45, 70)])
def test_a_valid_network_is_fed_the_mirrored_border(valid_network, size):
    """It loses 20 pixels a side and takes multiples of 4."""
    image = random_image(*size, 1)
    border = [(20, 20 + -size[0] % 4), (20, 20 + -size[1] % 4), (0, 0)]
    padded = np.pad(image, border, mode="reflect")
    expected = run(valid_network, padded[None])[0, : size[0], : size[1]]
    np.testing.assert_allclose(predict(valid_network, image), expected, atol=1e-6)


@pytest.mark.backends
@pytest.mark.parametrize("tile", [60, (44, 56)])
def test_overlap_tiles_of_a_valid_network_are_the_whole_image(valid_network, tile):
    """The overlap-tile strategy: each label has all of its surroundings."""
    image = random_image(70, 101, 1)
    whole = predict(valid_network, image)
    tiled = predict(valid_network, image, tile=tile, progress=False)
    # atol: float32; the same sums in another order.
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def test_tiles_of_a_valid_network_abut(valid_network):
    """Tiles of 60 label 20 pixels: no more of them than that takes."""
    seen = []

    class Watch:
        def __init__(self, model):
            self.model = model

        def __getattr__(self, name):
            return getattr(self.model, name)

        def __call__(self, x):
            raise AssertionError

        def predict_on_batch(self, x):
            seen.append(x.shape)
            return self.model.predict_on_batch(x)

    predict(Watch(valid_network), random_image(60, 41, 1), tile=60, progress=False)
    assert seen == 3 * [(4, 60, 60, 1)]  # 3 x 3 tiles in batches of 4


def test_far_from_the_borders_a_tile_is_as_good_as_the_whole_image(network):
    """It lies on the grid of the network's stride, so poolings fall alike."""
    image = random_image(150, 64, 1)
    whole = predict(network, image)
    tiled = predict(network, image, tile=128, overlap=0.5, progress=False)
    # A unit sees 22 pixels to either side. Rows from 0 are in the first tile alone,
    # to row 24 (150 is extended to 152, in which the second tile starts at 24).
    np.testing.assert_allclose(tiled[:24], whole[:24], atol=1e-6)
    np.testing.assert_allclose(tiled[128:], whole[128:], atol=1e-6)
    assert not np.allclose(tiled[24:128], whole[24:128], atol=1e-6)


def test_a_network_of_one_size_is_fed_that_size():
    keras.utils.set_random_seed(0)
    model = unet((32, 24, 1), 2, width=2, depth=2)
    small = random_image(9, 20, 1)
    padded = np.pad(small, [(0, 32 - 9), (0, 4), (0, 0)], mode="reflect")
    expected = run(model, padded[None])[0, :9, :20]
    np.testing.assert_allclose(predict(model, small), expected, atol=1e-6)

    large = random_image(48, 24, 1)
    first, second = run(model, np.stack([large[:32], large[16:]]))
    tiled = predict(model, large, progress=False)
    np.testing.assert_allclose(tiled[:16], first[:16], atol=1e-6)
    np.testing.assert_allclose(tiled[32:], second[16:], atol=1e-6)


def test_uint8_is_scaled_as_the_data_are():
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    result = predict(lambda x: x, image, from_logits=False)
    np.testing.assert_array_equal(result, image.astype(np.float32) / 255)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_are_taken_as_they_are(kind):
    image = random_image(5, 6, 2).astype(kind)
    before = image.copy()
    result = predict(twice, image, tile=4, from_logits=False, progress=False)
    np.testing.assert_allclose(result, 2 * image.astype(np.float32), rtol=1e-6)
    np.testing.assert_array_equal(image, before)


# Test-time augmentation


def average_by_hand(model, image, kind):
    """Average over views of the whole image, each written out."""
    h, v = (lambda x: x[:, ::-1]), (lambda x: x[::-1])
    undone = [(lambda x: x, lambda x: x), (h, h)]
    if kind != "horizontal":
        undone += [(v, v), (lambda x: h(v(x)), lambda x: v(h(x)))]
    if kind == "dihedral":

        def t(x):
            return np.swapaxes(x, 0, 1)

        undone += [
            (lambda x, f=f: f(t(x)), lambda x, g=g: t(g(x))) for f, g in tuple(undone)
        ]
    results = [
        undo(run(model, np.ascontiguousarray(do(image))[None])[0])
        for do, undo in undone
    ]
    return np.mean(results, axis=0)


@pytest.mark.backends
@pytest.mark.parametrize("kind", ["horizontal", "flips", "dihedral"])
@pytest.mark.parametrize("size", [(32, 32), (16, 24)])
def test_augmentation_is_the_mean_over_views(network, kind, size):
    image = random_image(*size, 1)
    expected = average_by_hand(network, image, kind)
    result = predict(network, image, tta=kind)
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert not np.allclose(result, predict(network, image), atol=1e-3)


def test_averaged_over_views_any_network_turns_with_the_image(network):
    image = random_image(40, 40, 1)
    options = {"tile": 32, "overlap": 0.75, "tta": "dihedral", "progress": False}
    straight = predict(network, image, **options)
    turned = predict(network, np.rot90(image)[::-1], **options)
    np.testing.assert_allclose(turned, np.rot90(straight)[::-1], atol=1e-6)
    assert not np.allclose(
        predict(network, np.rot90(image)), np.rot90(predict(network, image)), atol=1e-3
    )


def test_augmentation_leaves_a_symmetric_network_as_it_is():
    model = keras.Sequential(
        [keras.Input(ANY), keras.layers.Conv2D(2, 3, padding="same")]
    )
    kernel = np.array([[1, 2, 1], [2, 5, 2], [1, 2, 1]], np.float32)[..., None, None]
    model.layers[0].set_weights([kernel * [[[[1, -1]]]], np.zeros(2)])
    image = random_image(20, 30, 1)
    np.testing.assert_allclose(
        predict(model, image, tta="dihedral"), predict(model, image), atol=1e-6
    )


# Files and memory


@pytest.mark.parametrize("tile", [None, 16, (8, 64)])
def test_a_file_holds_what_the_array_does(network, tile, tmp_path):
    image = random_image(50, 37, 1)
    np.save(tmp_path / "image.npy", image)
    mapped = np.load(tmp_path / "image.npy", mmap_mode="r")
    expected = predict(network, image, tile=tile, progress=False)
    file = tmp_path / "probabilities.npy"
    result = predict(network, mapped, tile=tile, out=file, progress=False)
    assert isinstance(result, np.memmap)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, expected)
    np.testing.assert_array_equal(np.load(file), expected)
    assert {path.name for path in tmp_path.iterdir()} == {file.name, "image.npy"}


def test_a_prediction_that_fails_leaves_the_old_file(tmp_path):
    calls = []

    def fails(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("out of memory")
        return images

    file = tmp_path / "out.npy"
    np.save(file, np.arange(3))
    with pytest.raises(RuntimeError, match="out of memory"):
        predict(
            fails,
            random_image(64, 64, 2),
            tile=16,
            from_logits=False,
            out=file,
            progress=False,
        )
    assert [path.name for path in tmp_path.iterdir()] == ["out.npy"]
    assert np.load(file).tolist() == [0, 1, 2]


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("size", "share"),
    # A band of tiles, what of it is finished, and a batch of tiles are the rest.
    [((1536, 512), 0.5), ((4096, 256), 0.25)],
)
def test_memory_is_bounded_by_the_tile(size, share, tmp_path):
    """NumPy's memory; a network's own is that of a batch of tiles."""
    image = random_image(*size, 1)
    result = 8 * np.prod(size)  # bytes of two classes
    both = image.nbytes + result

    def two(images):
        return np.concatenate([images, -images], axis=-1)

    options = {"tile": 128, "batch_size": 2, "progress": False}
    # The image is there already, before the measurement starts.
    inside = peak_of(lambda: predict(two, image, **options))
    assert image.nbytes + inside < 1.5 * both
    assert inside < (1 + share) * result
    to_file = peak_of(lambda: predict(two, image, out=tmp_path / "o.npy", **options))
    assert to_file < share * result


# Running the network


def test_all_batches_have_one_shape():
    """So that a compiler sees one: the last batch is filled up."""
    shapes = []

    def watch(images):
        shapes.append(images.shape)
        return images

    image = random_image(50, 30, 2)
    result = predict(
        watch, image, tile=(20, 10), batch_size=4, from_logits=False, progress=False
    )
    np.testing.assert_allclose(result, image, rtol=2e-6)
    assert shapes == 5 * [(4, 20, 10, 2)]  # 4 x 5 tiles
    shapes.clear()
    predict(watch, image, batch_size=4, from_logits=False)
    assert shapes == [(1, 50, 30, 2)]


def test_a_tile_is_not_larger_than_the_image():
    shapes = []

    def watch(images):
        shapes.append(images.shape)
        return images

    predict(watch, random_image(5, 40, 2), tile=(64, 16), from_logits=False)
    assert {shape[1:3] for shape in shapes} == {(5, 16)}


def test_progress_is_shown_of_tiles_alone(capsys):
    image = random_image(20, 20, 1)
    options = {"from_logits": False, "progress": "lines"}
    predict(twice, image, **options)
    assert capsys.readouterr().out == ""
    predict(twice, image, tile=10, **options)
    assert capsys.readouterr().out == "9 tiles in 0 s\n"


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"image": [[0.0]]}, "image is a list"),
        ({"image": np.zeros((8, 8))}, r"image\[\.\.\., None\]"),
        ({"image": np.zeros((1, 8, 8, 1))}, r"\(H, W, C\)"),
        ({"image": np.zeros((0, 8, 1))}, "at least one pixel"),
        ({"image": np.zeros((8, 8, 1), np.int64)}, "image is of int64"),
        ({"image": np.zeros((8, 8, 1), bool)}, "image is of bool"),
        ({"image": np.zeros((8, 8, 3))}, "1 channels, and this one has 3"),
        ({"tile": 0}, "integers, 1 or more"),
        ({"tile": 2.5}, "integers, 1 or more"),
        ({"tile": True}, "integers, 1 or more"),
        ({"tile": (8, 8, 1)}, r"or \(height, width\)"),
        ({"tile": 10}, "takes no height of 10 pixels. .* it takes 8 and 12"),
        ({"tile": (8, 3)}, "takes no width of 3 pixels. .* it takes 4"),
        ({"overlap": 1}, "overlap is 1"),
        ({"overlap": -0.1}, "overlap is -0.1"),
        ({"overlap": float("nan")}, "overlap is nan"),
        ({"blend": "mean"}, "blend is 'mean'"),
        ({"tta": "rotate"}, '"horizontal", "flips", "dihedral"'),
        ({"tta": True}, "tta is True"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"batch_size": 1.5}, "batch_size is 1.5"),
        ({"batch_size": 0.0}, "batch_size is 0.0"),
        ({"progress": "bar"}, "progress is 'bar'"),
    ],
)
def test_bad_arguments_are_refused_with_the_fix(network, arguments, message):
    given = {"image": np.zeros((20, 20, 1), np.float32), "tile": 8} | arguments
    with pytest.raises(ValueError, match=message):
        predict(network, **given)


def test_sizes_that_a_model_of_one_size_cannot_take():
    model = unet((16, 24, 1), 2, width=1, depth=2)
    image = random_image(16, 24, 1)
    with pytest.raises(ValueError, match="it was built for 24"):
        predict(model, image, tile=16)
    with pytest.raises(ValueError, match='Use tta="flips"'):
        predict(model, image, tta="dihedral")
    predict(model, image, tta="flips")
    half_fixed = unet((None, 24, 1), 2, width=1, depth=2)
    with pytest.raises(ValueError, match='Use tta="flips"'):
        predict(half_fixed, random_image(48, 24, 1), tta="dihedral")


@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 6),
    st.integers(0, 3),
    st.sampled_from([0, 0.5]),
)
def test_a_tile_holds_the_pixels_that_it_should(size, tiles, stride, border, overlap):
    """Also one that begins at the last row, and is that row's mirror image."""
    tile = max(tiles * stride, stride + 2 * border)
    sizes = Sizes(multiple=stride, border=border, stride=stride)
    axis = _Axis(size, tile, sizes, overlap, "constant")
    image = np.arange(size * 3.0).reshape(size, 3, 1)
    columns = np.arange(3)
    for number in range(len(axis.starts)):
        rows = axis.pixels(number)
        expected = image[np.ix_(rows, columns)]
        np.testing.assert_array_equal(_cut(image, rows, columns), expected)
        turned = image.transpose(1, 0, 2)
        np.testing.assert_array_equal(
            _cut(turned, columns, rows), expected.transpose(1, 0, 2)
        )


def test_the_last_row_is_that_of_a_mirrored_tile(network):
    """Tiles as large as the stride abut, and the last begins at the last row."""
    image = random_image(9, 9, 1)
    tiled = predict(network, image, tile=4, overlap=0, progress=False)
    last = mirror(8, 12, 9)
    np.testing.assert_array_equal(last, [8, 7, 6, 5])
    corner = run(network, image[np.ix_(last, last)][None])[0, 0, 0]
    np.testing.assert_allclose(tiled[8, 8], corner, atol=1e-6)
    turned = run(network, image[5:9, 5:9][None])[0, 0, 0]  # the same pixels, in order
    assert np.abs(turned - corner).max() > 1e-4

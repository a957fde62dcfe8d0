"""The patch classifier, and its dense form against sliding it over every pixel."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

from seglab.data import Split
from seglab.device import set_seed
from seglab.geometry import receptive_field
from seglab.models import patch_cnn, sample_patches, to_dense
from seglab.models.patch_cnn import (
    DilatedMaxPooling2D,
    MirrorPadding2D,
    smallest_patch,
)


def run(model, x):
    return ops.convert_to_numpy(model(x))


def slide(model, image):
    """Classify the patch around each pixel, one by one: the oracle of all below."""
    side, across = model.input_shape[1:3]
    before = ((side // 2, side), (across // 2, across), (0, 0))  # more than needed
    padded = np.pad(image, before, mode="reflect")
    H, W, _ = image.shape
    patches = [
        padded[row : row + side, column : column + across]
        for row in range(H)
        for column in range(W)
    ]
    return run(model, np.stack(patches)).reshape(H, W, -1)


def assert_dense_is_sliding(model, shape, seed=0):
    image = np.random.default_rng(seed).random(shape, np.float32)
    dense = to_dense(model)
    expected = slide(model, image)
    assert np.ptp(expected, axis=(0, 1)).min() > 0  # no constant map
    # atol: the same float32 products, summed in another order.
    np.testing.assert_allclose(run(dense, image[None])[0], expected, atol=2e-5)
    assert dense.count_params() == model.count_params()
    return dense


# The classifier.


def test_sizes_are_those_of_the_papers_network_n4():
    model = patch_cnn((95, 95, 1), 2)
    sizes = [layer.output.shape[1:] for layer in model.layers[1:]]
    assert sizes == [
        *((92, 92, 48), (46, 46, 48)),
        *((42, 42, 48), (21, 21, 48)),
        *((18, 18, 48), (9, 9, 48)),
        *((6, 6, 48), (3, 3, 48)),
        *((432,), (200,), (2,)),
    ]
    # Weights and biases of Table 1, layer by layer.
    expected = 48 * (16 + 1) + 48 * (25 * 48 + 1) + 2 * 48 * (16 * 48 + 1)
    expected += 200 * (9 * 48 + 1) + 2 * (200 + 1)
    assert model.count_params() == expected


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_smallest_patch_is_the_receptive_field(kernels):
    windows = [window for kernel in kernels for window in ((kernel, 1), (2, 2))]
    assert smallest_patch(kernels) == receptive_field(windows).size


def test_a_smaller_patch_is_refused():
    patch_cnn((31, 31, 1), 2, width=1, kernels=(4, 5, 4))
    with pytest.raises(ValueError, match=r"30 x 31 is too small: .* 31 x 31 and more"):
        patch_cnn((30, 31, 1), 2, width=1, kernels=(4, 5, 4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (31, 31)}, r"must be \(H, W, C\)"),
        ({"input_shape": (None, 31, 1)}, "a patch has a height and a width"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"width": 0}, "width is 0"),
        ({"hidden": 1.5}, "hidden is 1.5"),
        ({"kernels": (4, 0)}, r"kernels\[1\] is 0"),
    ],
)
def test_bad_arguments_are_refused_with_the_fix(arguments, message):
    defaults = {"input_shape": (63, 63, 1), "num_classes": 2}
    with pytest.raises(ValueError, match=message):
        patch_cnn(**defaults | arguments)


# The dense form.


@pytest.mark.backends
def test_dense_is_the_classifier_at_every_pixel():
    set_seed(0)
    model = patch_cnn((39, 39, 2), 3, width=3, kernels=(4, 5, 4), hidden=5)
    dense = assert_dense_is_sliding(model, (20, 17, 2))
    field = receptive_field(dense)
    assert (field.size, field.jump) == (39, 1)
    assert field.pixels(0) == range(-19, 20)  # centered
    dilations = {
        layer.name: layer.dilation_rate
        for layer in dense.layers
        if hasattr(layer, "dilation_rate")
    }
    assert dilations == {
        **dict.fromkeys(("conv1", "pool1"), (1, 1)),
        **dict.fromkeys(("conv2", "pool2"), (2, 2)),
        **dict.fromkeys(("conv3", "pool3"), (4, 4)),
        "dense": (8, 8),  # 2 x 2
        "logits": (1, 1),
    }


@settings(max_examples=12)
@given(st.data())
def test_dense_is_sliding_for_any_chain_of_windows(data):
    """Odd and even patches, windows, strides and dilations; poolings that drop rows."""
    draw = data.draw
    side, across = draw(st.integers(9, 15)), draw(st.integers(9, 15))
    x = patch = keras.Input((side, across, 1))
    size = [side, across]
    seen, jump = np.array([1, 1]), 1  # the receptive field's recurrence
    for _ in range(draw(st.integers(1, 3))):
        window = [draw(st.integers(1, min(3, s))) for s in size]
        stride = draw(st.integers(1, 2))
        if draw(st.booleans()):
            dilation = draw(st.integers(1, 2)) if stride == 1 else 1
            spans = [(w - 1) * dilation + 1 for w in window]
            if any(span > s for span, s in zip(spans, size, strict=True)):
                continue
            x = layers.Conv2D(3, window, stride, dilation_rate=dilation)(x)
        else:
            spans = window
            x = layers.MaxPooling2D(window, stride)(x)
        seen, jump = seen + (np.array(spans) - 1) * jump, jump * stride
        size = x.shape[1:3]
    x = layers.Dense(2)(layers.Flatten()(x))
    model = keras.Model(patch, x)
    seen = seen + (np.array(size) - 1) * jump
    if (seen <= np.array([side, across]) // 2).any():  # strides leave the center out
        with pytest.raises(ValueError, match="not the one in the center"):
            to_dense(model)
        return
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 9)), 1)
    image = np.random.default_rng(draw(st.integers(0, 99))).random(shape, np.float32)
    # atol: the same float32 products, summed in another order.
    np.testing.assert_allclose(
        run(to_dense(model), image[None])[0], slide(model, image), atol=2e-5
    )


def test_dense_is_sliding_with_every_layer_that_does_the_same_everywhere():
    set_seed(3)
    model = keras.Sequential(
        [
            keras.Input((9, 9, 1)),
            layers.Conv2D(4, 2, use_bias=False),
            layers.BatchNormalization(),
            layers.LeakyReLU(0.1),
            layers.MaxPooling2D(2),
            layers.Dense(3, activation="tanh"),  # on a map: at each place
            layers.Flatten(),
            layers.ReLU(),
            layers.Dropout(0.5),
            layers.Dense(6),
            layers.BatchNormalization(),
            layers.Activation("sigmoid"),
            layers.Dense(3, activation="softmax"),
        ]
    )
    rng = np.random.default_rng(0)  # moving means and variances that are not 0 and 1
    model.set_weights([rng.uniform(0.2, 1, w.shape) for w in model.get_weights()])
    dense = assert_dense_is_sliding(model, (7, 8, 1))
    scores = run(dense, np.zeros((1, 3, 3, 1), np.float32))
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-6)


def test_dense_is_sliding_for_a_chain_that_was_built_layer_by_layer():
    """Keras connects the layers of a Sequential anew at each `add`."""
    set_seed(0)
    model = keras.Sequential()
    model.add(keras.Input((7, 7, 1)))
    for layer in (
        layers.Conv2D(4, 2, activation="relu"),
        layers.MaxPooling2D(2),
        layers.Flatten(),
        layers.Dense(3, activation="softmax"),
    ):
        model.add(layer)
    assert_dense_is_sliding(model, (6, 9, 1))


def test_dense_of_one_pixel_wide_images():
    """Mirror images of mirror images: the padding is larger than the image."""
    set_seed(1)
    model = patch_cnn((15, 15, 1), 2, width=2, kernels=(3, 2), hidden=3)
    for shape in ((1, 1, 1), (2, 1, 1), (1, 5, 1)):
        image = np.random.default_rng(0).random(shape, np.float32)
        np.testing.assert_allclose(
            run(to_dense(model), image[None])[0], slide(model, image), atol=2e-5
        )


def test_a_pooled_map_is_not_enough():
    """What goes wrong without dilation: the convolution alone gives every 4th pixel."""
    set_seed(0)
    model = patch_cnn((15, 15, 1), 2, width=2, kernels=(3, 2), hidden=3)
    image = np.random.default_rng(0).random((1, 30, 30, 1), np.float32)
    naive = x = keras.Input((None, None, 1))
    for layer in model.layers[1:]:
        if isinstance(layer, layers.Flatten):
            kernel = layer.input.shape[1:3]
            continue
        if isinstance(layer, layers.Dense):
            new = layers.Conv2D(layer.units, kernel, activation=layer.activation)
            x, kernel = new(x), 1
            weights, bias = layer.get_weights()
            new.set_weights([weights.reshape(new.kernel.shape), bias])
        else:
            x = layer(x)
    coarse = run(keras.Model(naive, x), image)[0]
    dense = run(to_dense(model), image)[0, 7:, 7:]  # patches that begin in the image
    h, w, _ = coarse.shape
    assert h < 6
    np.testing.assert_allclose(coarse, dense[::4, ::4][:h, :w], atol=2e-5)


def test_to_dense_copies():
    model = patch_cnn((7, 7, 1), 2, width=1, kernels=(2,), hidden=2)
    dense = to_dense(model)
    before = model.get_weights()
    dense.set_weights([np.zeros_like(w) for w in dense.get_weights()])
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def refused(*stack, shape=(8, 8, 1)):
    return keras.Sequential([keras.Input(shape), *stack])


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: refused(
                layers.Conv2D(2, 3, padding="same"), layers.Flatten(), layers.Dense(2)
            ),
            r"Conv2D\) cannot be made dense: padding='same' adds a border",
        ),
        (
            lambda: refused(
                layers.MaxPooling2D(2, padding="same"),
                layers.Flatten(),
                layers.Dense(2),
            ),
            "padding='same' adds a border",
        ),
        (
            lambda: refused(layers.GlobalAveragePooling2D(), layers.Dense(2)),
            "GlobalAveragePooling2D.* known are Conv2D",
        ),
        (
            lambda: refused(
                layers.Flatten(), layers.BatchNormalization(), layers.Dense(2)
            ),
            "does not normalize the channels",
        ),
        (
            lambda: refused(
                layers.BatchNormalization(axis=1), layers.Flatten(), layers.Dense(2)
            ),
            "does not normalize the channels",
        ),
        (
            lambda: refused(
                layers.Conv2D(2, 1, data_format="channels_first", padding="valid"),
                layers.Flatten(),
                layers.Dense(2),
            ),
            "only data_format",
        ),
        (lambda: refused(layers.Flatten(), layers.ReLU()), "does not end in a dense"),
        (lambda: refused(layers.Conv2D(2, 3)), "from patches of one size"),
        (
            lambda: refused(layers.Dense(2), shape=(4,)),
            r"leads from \(None, 4\) to \(None, 2\)",
        ),
        (
            lambda: refused(
                layers.MaxPooling2D(2, strides=9),
                layers.Flatten(),
                layers.Dense(2),
                shape=(10, 10, 1),
            ),
            "of 10 pixels of a patch the model sees the first 2",
        ),
        (
            lambda: refused(
                layers.Flatten(), layers.Activation("softmax"), layers.Dense(2)
            ),
            "takes the softmax over all places of the patch",
        ),
    ],
)
def test_what_cannot_be_converted_exactly_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        to_dense(build())


def test_a_normalization_behind_a_dense_layer_may_call_its_axis_1():
    """Of (N, C) the channels are axis 1; of the map (N, H, W, C) rows are."""
    model = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            layers.Flatten(),
            layers.Dense(3),
            layers.BatchNormalization(axis=1),
            layers.Dense(2),
        ]
    )
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    image = rng.random((9, 8, 1), np.float32)
    np.testing.assert_allclose(
        run(to_dense(model), image[None])[0], slide(model, image), atol=2e-5
    )


def test_a_model_that_branches_is_refused():
    patch = keras.Input((5, 5, 1))
    a = layers.Conv2D(2, 3, name="a")(patch)
    b = layers.Conv2D(2, 3, name="b")(patch)
    x = layers.Dense(2)(layers.Flatten()(layers.Add()([a, b])))
    with pytest.raises(ValueError, match="'b' does not follow the one before it"):
        to_dense(keras.Model(patch, x))


@pytest.mark.backends
def test_a_saved_dense_model_gives_the_same_scores(tmp_path):
    model = to_dense(patch_cnn((15, 15, 1), 2, width=2, kernels=(4, 3), hidden=3))
    model.save(tmp_path / "dense.keras")
    loaded = keras.saving.load_model(tmp_path / "dense.keras")
    x = np.random.default_rng(0).random((2, 9, 6, 1), np.float32)
    np.testing.assert_array_equal(run(loaded, x), run(model, x))
    assert model.compute_output_shape((2, 9, 6, 1)) == (2, 9, 6, 2)
    np.testing.assert_allclose(model.predict(x, verbose=0), run(model, x), atol=1e-6)


def test_logits_stay_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = patch_cnn((15, 15, 1), 2, width=2, kernels=(4, 3), hidden=3)
    finally:
        keras.config.set_dtype_policy("float32")
    for network in (model, to_dense(model)):
        assert network.get_layer("conv2").compute_dtype == "bfloat16"
        logits = network(np.zeros((1, 15, 15, 1), np.float32))
        assert keras.backend.standardize_dtype(logits.dtype) == "float32"


# Its layers.


@given(st.integers(1, 6), st.integers(1, 6), st.tuples(*4 * [st.integers(0, 9)]))
@settings(max_examples=30)
def test_mirror_padding_is_numpys(height, width, border):
    x = np.arange(2.0 * height * width, dtype=np.float32).reshape(2, height, width, 1)
    padding = (border[:2], border[2:])
    expected = np.pad(x, ((0, 0), *padding, (0, 0)), mode="reflect")
    np.testing.assert_array_equal(run(MirrorPadding2D(padding), x), expected)


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
@settings(max_examples=20)
def test_dilated_pooling_by_hand(pool, dilation):
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 2)).astype(np.float32)
    (h, w), (dy, dx) = pool, dilation
    H, W = 8 - (h - 1) * dy, 9 - (w - 1) * dx
    expected = np.empty((2, H, W, 2), np.float32)
    for row in range(H):
        for column in range(W):
            window = x[:, row : row + h * dy : dy, column : column + w * dx : dx]
            expected[:, row, column] = window[:, :h, :w].max(axis=(1, 2))
    layer = DilatedMaxPooling2D(pool, dilation_rate=dilation)
    np.testing.assert_array_equal(run(layer, x), expected)
    assert layer.compute_output_shape(x.shape) == expected.shape
    same = DilatedMaxPooling2D.from_config(layer.get_config())
    np.testing.assert_array_equal(run(same, x), expected)


def test_undilated_pooling_is_keras_pooling():
    x = np.random.default_rng(0).normal(size=(1, 6, 5, 1)).astype(np.float32)
    np.testing.assert_array_equal(
        run(DilatedMaxPooling2D(2), x), run(layers.MaxPooling2D(2, strides=1), x)
    )


# Patches to train on.


def scene(N=3, H=12, W=10, channels=2, ignore_index=None, seed=0):
    """Images whose pixels tell where they are: channel 0 numbers them."""
    rng = np.random.default_rng(seed)
    images = rng.random((N, H, W, channels), np.float32)
    images[..., 0] = np.arange(N * H * W).reshape(N, H, W) / (N * H * W)
    masks = rng.choice([0, 1, 2], size=(N, H, W), p=[0.7, 0.25, 0.05])
    if ignore_index is not None:
        masks[rng.random(masks.shape) < 0.3] = ignore_index
    return Split(images, masks, ("sky", "sea", "ship"), ignore_index=ignore_index)


def centers(split, patches):
    """Find the pixels that patches are centered on, by their numbers."""
    reach = patches.shape[1] // 2
    values = patches[:, reach, reach, 0] * split.masks.size
    return np.rint(values).astype(int)


@settings(max_examples=25)
@given(
    st.integers(0, 12).map(lambda n: 2 * n + 1),
    st.integers(1, 60),
    st.sampled_from([None, 255]),
    st.booleans(),
    st.integers(0, 99),
)
def test_patches_are_cut_around_their_pixels(size, count, ignore, balanced, seed):
    split = scene(ignore_index=ignore)
    patches, labels = sample_patches(split, size, count, seed=seed, balanced=balanced)
    assert patches.shape == (count, size, size, 2)
    assert patches.dtype == np.float32
    assert labels.shape == (count,)
    assert labels.dtype == np.int32
    where = centers(split, patches)
    np.testing.assert_array_equal(labels, split.masks.ravel()[where])
    assert ignore not in labels
    reach = size // 2
    border = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    padded = np.pad(split.images, border, mode="reflect")
    for patch, pixel in zip(patches, where, strict=True):
        n, row, column = np.unravel_index(pixel, split.masks.shape)
        expected = padded[n, row : row + size, column : column + size]
        np.testing.assert_array_equal(patch, expected)


@given(st.integers(1, 100), st.integers(0, 99))
def test_balanced_classes_differ_by_one_at_most(count, seed):
    _, labels = sample_patches(scene(), 1, count, seed=seed)
    assert np.ptp(np.bincount(labels, minlength=3)) <= 1


def test_an_absent_class_is_left_out():
    split = scene()
    split.masks[split.masks == 1] = 0
    _, labels = sample_patches(split, 3, 40)
    assert np.bincount(labels).tolist() == [20, 0, 20]


def test_unbalanced_patches_follow_the_shares():
    split = scene(N=20, ignore_index=255)
    _, labels = sample_patches(split, 1, 1000, balanced=False)
    shares = np.bincount(labels, minlength=3) / 1000
    # atol: 1000 draws have a standard deviation of 0.015 at most; this is 4 of them.
    np.testing.assert_allclose(shares, split.class_shares(), atol=0.06)


@pytest.mark.parametrize("balanced", [True, False])
def test_no_pixel_is_taken_twice_unless_there_are_too_few(balanced):
    split = scene()
    patches, _ = sample_patches(split, 1, 30, balanced=balanced)
    assert len(set(centers(split, patches))) == 30
    every, _ = sample_patches(split, 1, split.masks.size, balanced=False)
    assert len(set(centers(split, every))) == split.masks.size
    assert len(sample_patches(split, 1, 5000, balanced=balanced)[1]) == 5000


def test_seed_decides_the_patches():
    first, again, other = (sample_patches(scene(), 3, 20, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 4}, "size is 4; .* such as 5"),
        ({"size": 0}, "size is 0"),
        ({"size": 3.0}, "size is 3.0"),
        ({"count": 0}, "count is 0"),
        ({"count": 2.5}, "count is 2.5"),
    ],
)
def test_bad_sampling_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        sample_patches(scene(), **{"size": 3, "count": 5} | arguments)


def test_nothing_to_sample_is_refused():
    split = scene(ignore_index=255)
    for empty in (split[:0], split):
        empty.masks[...] = 255
        with pytest.raises(ValueError, match="no annotated pixel"):
            sample_patches(empty, 3, 5)


@pytest.mark.slow
def test_a_trained_patch_cnn_segments():
    """From patches to a mask: what the book's chapter does."""
    from seglab.data import load
    from seglab.training import evaluate

    cells = load("cells", count=40, size=32)
    set_seed(0)
    model = patch_cnn((15, 15, 1), 2, width=4, kernels=(4, 3), hidden=16)
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    patches, labels = sample_patches(cells.train, 15, 2000)
    model.fit(patches, labels, batch_size=100, epochs=3, verbose=0)
    report = evaluate(to_dense(model), cells.test)
    assert report.iou[1] > 0.5

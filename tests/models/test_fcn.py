"""The FCN against the numbers of its paper and of the authors' published networks."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers, ops

from seglab.device import set_seed
from seglab.geometry import conv_output, receptive_field, transposed_conv_output
from seglab.models import bilinear_kernel, fcn, transfer_weights
from seglab.models.fcn import Bilinear, CropLike

STRIDES = (32, 16, 8)


def without_values(*args, **kwargs):
    """Build a network whose weights have shapes but no values: quick at any size."""
    with keras.StatelessScope(initialize_variables=False):
        return fcn(*args, **kwargs)


def up_to(model, name):
    return keras.Model(model.input, model.get_layer(name).output)


def run(model, images):
    return ops.convert_to_numpy(model(images))


def fill(model, seed=0):
    """Draw all weights anew: scores that are zero hide every mistake before them."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if layer.name.startswith("score_"):
            layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def paper():
    """The three networks for any size, as thin as can be; their scores are not 0."""
    options = {"padding": "paper", "width": 1, "fc_channels": 2, "dropout": 0}
    return {s: fill(fcn((None, None, 1), 2, stride=s, **options)) for s in STRIDES}


# The paper's network.


@pytest.mark.parametrize(
    ("stride", "published"),
    [(8, 134_489_759), (16, 134_815_994), (32, 136_152_917)],
)
def test_parameters_are_those_of_the_paper(stride, published):
    model = without_values((500, 375, 3), 21, stride=stride, padding="paper")
    assert model.count_params() == published
    trunk = sum(
        layer.count_params() for layer in model.layers if layer.name[:4] == "conv"
    )
    assert trunk == 14_714_688  # VGG16's convolutions
    assert model.get_layer("fc6").count_params() == 102_764_544
    assert model.get_layer("fc7").count_params() == 16_781_312


def test_a_unit_of_fc6_sees_404_pixels():
    """Table 1: receptive field 404, stride 32."""
    for padding in ("paper", "same"):
        model = without_values((224, 224, 3), 2, padding=padding, width=1)
        field = receptive_field(up_to(model, "fc6"))
        assert (field.size, field.jump) == (404, 32)
        assert receptive_field(model).jump == 1


@pytest.mark.parametrize(("size", "fc6", "pixels"), [(224, 8, 288), (500, 16, 544)])
def test_sizes_inside_the_paper_network(size, fc6, pixels):
    model = without_values((size, size, 3), 2, padding="paper", width=1, stride=32)
    assert model.get_layer("fc6").output.shape[1:3] == (fc6, fc6)
    assert model.get_layer("upscore32").output.shape[1:3] == (pixels, pixels)
    assert model.output_shape == (None, size, size, 2)


def paper_sizes(size):
    """Follow the paper's network by the formulas of Caffe's layers."""
    size = conv_output(size, 3, padding=100)
    sizes = {}
    for block in range(1, 6):
        size = conv_output(size, 2, 2, ceil=True)
        sizes[f"pool{block}"] = size
    sizes["fc6"] = conv_output(size, 7)
    return sizes


@given(st.integers(1, 1200))
def test_any_size_fits_the_published_crops(size):
    """100 zeros are enough for one pixel, and no crop reaches over a map's end."""
    sizes = paper_sizes(size)
    up2 = transposed_conv_output(sizes["fc6"], 4, 2)
    up4 = transposed_conv_output(up2, 4, 2)
    assert up2 + 5 <= sizes["pool4"]
    assert up4 + 9 <= sizes["pool3"]
    assert transposed_conv_output(sizes["fc6"], 64, 32) >= size + 19
    assert transposed_conv_output(up2, 32, 16) >= size + 27
    assert transposed_conv_output(up4, 16, 8) >= size + 31


def test_one_pixel_is_enough_and_sizes_follow_the_formulas(paper):
    assert paper_sizes(1)["pool5"] == 7
    assert paper_sizes(1)["fc6"] == 1
    for size in (1, 31):
        image = np.ones((1, size, size, 1), np.float32)
        for name, expected in paper_sizes(size).items():
            assert up_to(paper[8], name)(image).shape[1] == expected


@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 31), (97, 1), (31, 97), (224, 2), (500, 1)]
)
def test_paper_takes_any_size(paper, shape):
    image = np.random.default_rng(0).random((1, *shape, 1), np.float32)
    for stride in STRIDES:
        scores = run(paper[stride], image)
        assert scores.shape == (1, *shape, 2)
        assert np.isfinite(scores).all()
        assert paper[stride].compute_output_shape(image.shape) == scores.shape


@pytest.mark.parametrize("stride", STRIDES)
def test_published_crops_put_every_score_on_its_pixels(stride):
    """The oracle is geometry: the center of what a unit sees.

    Skips and upsampled scores that are summed, and scores and the pixels they are
    for, have the same center. A crop that is off by one moves it by a unit.
    """
    model = without_values((224, 224, 1), 2, stride=stride, padding="paper", width=1)
    offsets = {
        layer.name: layer.cropping[0][0]
        for layer in model.layers
        if isinstance(layer, layers.Cropping2D)
    }
    expected = {32: {}, 16: {"score_pool4c": 5}}
    expected[8] = {**expected[16], "score_pool3c": 9}
    assert offsets == {**expected[stride], "score": {32: 19, 16: 27, 8: 31}[stride]}

    def center(name):
        return receptive_field(up_to(model, name)).start

    def upsampled(start, jump, factor):
        # Unit 0 spreads evenly over the units 0 to 2 * factor - 1.
        return start - (factor - 0.5) * jump / factor

    position, jump = center("score_fr"), 32
    for now, name, crop in ((16, "score_pool4", 5), (8, "score_pool3", 9)):
        if now >= stride:
            position, jump = upsampled(position, jump, 2), now
            assert center(name) + crop * now == position
    assert upsampled(position, jump, stride) + offsets["score"] == 0  # first pixel


def test_layers_have_the_names_of_the_authors_code():
    names = {layer.name for layer in without_values((64, 64, 3), 21, width=1).layers}
    assert {"conv1_1", "relu5_3", "pool5", "fc6", "drop6", "fc7", "score_fr"} < names
    assert {"upscore2", "score_pool4", "fuse_pool4"} < names
    assert {"upscore_pool4", "score_pool3", "fuse_pool3", "upscore8"} < names


@pytest.mark.parametrize(
    ("upsampling", "learned"),
    [
        ("paper", {"upscore2", "upscore_pool4"}),
        ("fixed", set()),
        ("learned", {"upscore2", "upscore_pool4", "upscore8"}),
    ],
)
def test_which_upsampling_learns(upsampling, learned):
    model = without_values((64, 64, 1), 2, width=1, upsampling=upsampling)
    ups = [la for la in model.layers if isinstance(la, layers.Conv2DTranspose)]
    assert {la.name for la in ups} == {"upscore2", "upscore_pool4", "upscore8"}
    assert {la.name for la in ups if la.trainable} == learned
    assert all(la.trainable for la in model.layers if la not in ups)


def test_paper_has_its_dropout_and_no_batch_norm():
    def kinds(**options):
        model = without_values((64, 64, 1), 2, width=1, **options)
        return [type(layer).__name__ for layer in model.layers], model

    names, model = kinds(padding="paper")
    assert names.count("Dropout") == 2
    assert model.get_layer("drop6").rate == 0.5
    assert "BatchNormalization" not in names
    names, model = kinds()
    assert names.count("BatchNormalization") == 15  # 13 convolutions, fc6 and fc7
    assert not model.get_layer("conv1_1").use_bias
    assert "Dropout" not in kinds(dropout=0.0)[0]
    assert "BatchNormalization" not in kinds(batch_norm=False)[0]
    assert "BatchNormalization" in kinds(padding="paper", batch_norm=True)[0]


@pytest.mark.backends
def test_pooling_rounds_up_as_caffes():
    """What sticks out at the far end counts for nothing, below zero too."""
    x = -1 - np.random.default_rng(0).random((1, 7, 4, 2), np.float32)
    expected = np.empty((1, 4, 2, 2), np.float32)
    for row in range(4):
        for column in range(2):
            window = x[0, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            expected[0, row, column] = window.max(axis=(0, 1))
    pool = without_values((64, 64, 1), 2, width=1).get_layer("pool3")
    np.testing.assert_array_equal(run(pool, x), expected)


# Any size, with the padding of today.


@pytest.mark.parametrize(
    "shape", [(1, 1), (31, 97), pytest.param((33, 64), marks=pytest.mark.backends)]
)
def test_same_takes_any_size(shape):
    image = np.random.default_rng(0).random((1, *shape, 1), np.float32)
    for stride in (8, 32):
        options = {"stride": stride, "width": 1, "fc_channels": 2}
        fixed = fill(fcn((*shape, 1), 3, **options))
        free = fcn((None, None, 1), 3, **options)
        free.set_weights(fixed.get_weights())
        scores = run(fixed, image)
        assert scores.shape == (1, *shape, 3) == (1, *fixed.output_shape[1:])
        assert np.ptp(scores) > 0
        np.testing.assert_array_equal(run(free, image), scores)


def test_same_has_no_crop_for_multiples_of_32():
    model = without_values((64, 96, 1), 2, width=1)
    assert not any(isinstance(layer, layers.Cropping2D) for layer in model.layers)
    sizes = {
        name: model.get_layer(name).output.shape[1:3]
        for name in ("fc6", "upscore2", "pool4", "upscore_pool4", "pool3", "upscore8")
    }
    assert sizes == {
        "fc6": (2, 3),
        **dict.fromkeys(("upscore2", "pool4"), (4, 6)),
        **dict.fromkeys(("upscore_pool4", "pool3"), (8, 12)),
        "upscore8": (64, 96),
    }


def test_the_two_geometries_agree_far_from_the_border():
    """The same weights: where no padding reaches, and on the same grid, one map."""
    options = {"stride": 32, "width": 2, "fc_channels": 4, "batch_norm": False}
    set_seed(0)
    same = fill(fcn((None, None, 1), 2, padding="same", **options))
    paper = fcn((None, None, 1), 2, padding="paper", **options)
    paper.set_weights(same.get_weights())
    same, paper = (up_to(model, "score_fr") for model in (same, paper))
    x = np.random.default_rng(0).random((1, 700, 700, 1), np.float32)
    # Centers of units lie at 15.5 + 32 i for "same" and at 12.5 + 32 i for "paper".
    # Of an image without its first 29 pixels: 15.5 + 29 + 32 i = 12.5 + 32 (i + 1).
    scores = run(same, x[:, 29:, 29:])[:, 7:13, 7:13]  # 202 pixels to every border
    assert np.ptp(scores) > 0
    np.testing.assert_allclose(run(paper, x)[:, 8:14, 8:14], scores, atol=1e-5)


# Upsampling.


@pytest.mark.parametrize(
    ("size", "row"),
    # The formula of surgery.py's upsample_filt by hand: 1 - |i - center| / factor.
    [
        (1, [1]),
        (2, [1 / 2, 1 / 2]),
        (3, [1 / 2, 1, 1 / 2]),
        (4, [1 / 4, 3 / 4, 3 / 4, 1 / 4]),
        (5, [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]),
    ],
)
def test_bilinear_kernel_by_hand(size, row):
    np.testing.assert_allclose(bilinear_kernel(size), np.outer(row, row), rtol=1e-12)


@given(st.integers(1, 40))
def test_bilinear_kernel_of_every_stride_shares_one_out(factor):
    """Each output is a mean: the kernel's taps that meet in it sum to 1."""
    for size in (2 * factor, 2 * factor - 1):
        kernel = np.zeros((2 * factor, 2 * factor))
        kernel[:size, :size] = bilinear_kernel(size)
        meeting = kernel.reshape(2, factor, 2, factor).sum(axis=(0, 2))
        np.testing.assert_allclose(meeting, 1, rtol=1e-12)


@pytest.mark.backends
@pytest.mark.parametrize("factors", [(8,), (2, 4), (3,)])
def test_upsampling_interpolates_a_ramp_linearly(factors):
    """In one step or in two: on scores that do not bend it is the same."""
    rows, columns = np.mgrid[:6.0, :7.0]
    x = np.stack([2 * rows - columns, 0.5 * columns + 3], axis=-1)[None]
    for factor in factors:
        up = layers.Conv2DTranspose(
            2,
            2 * factor - factor % 2,
            strides=factor,
            padding="same",
            use_bias=False,
            kernel_initializer=Bilinear(),
        )
        x = run(up, x.astype(np.float32))
    factor = int(np.prod(factors))
    assert x.shape == (1, 6 * factor, 7 * factor, 2)
    # Pixel p has its center at (p + 1/2) / factor - 1/2, counted in units.
    p, q = ((np.mgrid[: 6 * factor, : 7 * factor] + 0.5) / factor) - 0.5
    expected = np.stack([2 * p - q, 0.5 * q + 3], axis=-1)[None]
    inside = slice(factor, -factor)  # further out, there is no unit on one side
    # atol: float32, and sums of four products below 20.
    np.testing.assert_allclose(
        x[:, inside, inside], expected[:, inside, inside], atol=1e-5
    )


@pytest.mark.parametrize("shape", [(4, 3, 2, 2), (4, 4, 2, 3)])
def test_bilinear_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"\(k, k, C, C\)"):
        Bilinear()(shape)


@pytest.mark.parametrize("size", [0, 2.5, "4"])
def test_bilinear_kernel_refuses_other_sizes(size):
    with pytest.raises(ValueError, match="size is"):
        bilinear_kernel(size)


# Stages.


def bend(scores):
    """Largest second difference of a map (N, H, W, C), the sum over both axes.

    Beyond its border it is 0, as it is to the network.
    """
    padded = np.pad(scores, ((0, 0), (2, 2), (2, 2), (0, 0)))
    return sum(np.abs(np.diff(padded, n=2, axis=axis)).max() for axis in (1, 2))


@pytest.mark.parametrize(
    ("padding", "shape"),
    [("same", (64, 96)), pytest.param("paper", (70, 90), marks=pytest.mark.backends)],
)
def test_a_finer_network_starts_from_the_coarser_ones_predictions(padding, shape):
    options = {"padding": padding, "width": 2, "fc_channels": 4}
    x = np.random.default_rng(1).random((1, *shape, 1), np.float32)
    set_seed(0)
    coarse = fill(fcn((None, None, 1), 3, stride=32, **options))
    middle = fcn((None, None, 1), 3, stride=16, **options)
    new = transfer_weights(coarse, middle)
    assert new == ("upscore2", "score_pool4", "upscore16")
    # Equal to the last bit: all maps up to the coarse scores.
    scores = run(up_to(coarse, "score_fr"), x)
    assert np.ptp(scores) > 0
    np.testing.assert_array_equal(run(up_to(middle, "score_fr"), x), scores)
    # The skip is zero: the sum is what came from below.
    before, after = (run(up_to(middle, name), x) for name in ("upscore2", "fuse_pool4"))
    np.testing.assert_array_equal(before, after)
    # What is left: two steps of interpolation instead of one. 1e-5: float32.
    difference = np.abs(run(middle, x) - run(coarse, x)).max()
    assert 0 < difference <= bend(scores) / 8 + 1e-5

    # And again from 16 to 8, now with a skip that is not zero.
    fill(middle, seed=2)
    fine = fcn((None, None, 1), 3, stride=8, **options)
    new = transfer_weights(middle, fine)
    assert new == ("upscore_pool4", "score_pool3", "upscore8")
    fused = run(up_to(middle, "fuse_pool4"), x)
    np.testing.assert_array_equal(run(up_to(fine, "fuse_pool4"), x), fused)
    difference = np.abs(run(fine, x) - run(middle, x)).max()
    assert 0 < difference <= bend(fused) / 8 + 1e-5


@given(
    st.lists(st.floats(-10, 10), min_size=1, max_size=8), st.sampled_from([2, 8, 16])
)
def test_two_steps_of_interpolation_differ_by_an_eighth_of_the_bend(values, factor):
    """The bound that `transfer_weights` states, by plain loops along one axis."""

    def upsample(values, factor):
        tent = 1 - np.abs(np.arange(2 * factor) - factor + 0.5) / factor
        out = np.zeros(len(values) * factor + factor)
        for i, value in enumerate(values):
            out[i * factor : (i + 2) * factor] += value * tent
        return out[factor // 2 : len(out) - factor // 2]  # "same"

    one = upsample(values, 2 * factor)
    two = upsample(upsample(values, 2), factor)
    largest = np.abs(np.diff(np.pad(values, 2), n=2)).max()
    assert np.abs(one - two).max() <= largest / 8 + 1e-9


def test_transfer_to_another_network_is_refused_and_changes_nothing():
    options = {"width": 1, "fc_channels": 2}
    target = fcn((32, 32, 1), 2, stride=16, **options)
    before = target.get_weights()
    with pytest.raises(ValueError, match=r"'score_fr' .* in source .* in target"):
        transfer_weights(fcn((32, 32, 1), 3, stride=32, **options), target)
    assert all(
        np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True)
    )
    other = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    with pytest.raises(ValueError, match="no layer in common"):
        transfer_weights(other, target)


# What every network here promises.


def test_scores_start_at_zero():
    """As in the paper: no class is preferred, and a skip changes nothing."""
    model = fcn((32, 40, 1), 3, width=1)
    image = np.random.default_rng(0).random((1, 32, 40, 1), np.float32)
    assert not run(model, image).any()


def test_output_are_logits():
    """Linear in the last features: no softmax, no ReLU on top."""
    model = without_values((32, 32, 1), 3, width=1)
    for layer in model.layers:
        if "score" in layer.name:
            activation = getattr(layer, "activation", keras.activations.linear)
            assert activation is keras.activations.linear


def test_a_shift_by_32_pixels_shifts_the_output():
    """In the middle of an image, where the padding is not seen."""
    set_seed(1)
    options = {"width": 2, "fc_channels": 4, "batch_norm": False}
    model = fill(fcn((None, None, 1), 2, **options))
    x = np.random.default_rng(2).random((1, 640, 640, 1), np.float32)
    far = 404 // 2 + 64  # half of what fc6 sees, and what upsampling spreads
    whole, moved = run(model, x)[0], run(model, x[:, 32:, 32:])[0]
    inner = moved[far : 608 - far, far : 608 - far]
    assert np.ptp(inner) > 0
    there = slice(far + 32, 640 - far)
    np.testing.assert_allclose(whole[there, there], inner, atol=1e-4)


@pytest.mark.backends
@pytest.mark.parametrize("padding", ["same", "paper"])
def test_a_saved_model_gives_the_same_logits(tmp_path, padding):
    x = np.random.default_rng(5).random((1, 33, 20, 1), np.float32)
    for shape in ((33, 20, 1), (None, None, 1)):
        model = fill(fcn(shape, 3, padding=padding, width=1, fc_channels=2))
        model.save(tmp_path / "fcn.keras")
        loaded = keras.saving.load_model(tmp_path / "fcn.keras")
        np.testing.assert_array_equal(run(loaded, x), run(model, x))
        assert not loaded.get_layer("upscore8").trainable


@pytest.mark.parametrize("shape", [(40, 40, 1), (None, None, 1)])
def test_logits_stay_float32_in_mixed_precision(shape):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = fcn(shape, 2, width=1)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("conv5_3").compute_dtype == "bfloat16"
    assert model.get_layer("score_pool3").compute_dtype == "float32"
    logits = model(np.zeros((1, 40, 40, 1), np.float32))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_seed_decides_the_weights():
    def weights(seed):
        set_seed(seed)
        return fcn((32, 32, 1), 2, width=1, fc_channels=2).get_weights()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_it_learns_where_a_bright_square_is():
    """All parts together: gradients reach the first layer, and a mask comes out."""
    rng = np.random.default_rng(0)
    masks = np.zeros((16, 32, 32), np.int32)
    for mask in masks:
        row, column = rng.integers(2, 16, size=2)
        mask[row : row + 12, column : column + 12] = 1
    images = (0.5 * masks + 0.3 * rng.random(masks.shape))[..., None]
    set_seed(0)
    model = fcn((32, 32, 1), 2, width=2, fc_channels=16, dropout=0)
    first = model.get_layer("conv1_1").get_weights()[0].copy()
    model.compile(
        keras.optimizers.Adam(1e-2),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        run_eagerly=True,  # five steps do not pay for a graph
    )
    history = model.fit(
        images.astype(np.float32), masks, batch_size=16, epochs=5, verbose=0
    )
    assert history.history["loss"][-1] < 0.75 * history.history["loss"][0]
    assert np.abs(model.get_layer("conv1_1").get_weights()[0] - first).min() > 0
    fixed = model.get_layer("upscore8").get_weights()[0]
    np.testing.assert_allclose(fixed[..., 0, 0], bilinear_kernel(16), rtol=1e-6)
    assert not fixed[..., 0, 1].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64)}, r"must be \(H, W, C\)"),
        ({"input_shape": (0, 64, 1)}, "height in input_shape is 0"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"width": 0}, "width is 0"),
        ({"fc_channels": 0}, "fc_channels is 0"),
        ({"stride": 4}, "stride is 4; it must be 8, 16 or 32"),
        ({"padding": "valid"}, 'padding is \'valid\'; it must be "same" or "paper"'),
        ({"upsampling": True}, "upsampling is True"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_bad_arguments_are_refused_with_the_fix(arguments, message):
    with pytest.raises(ValueError, match=message):
        fcn(**{"input_shape": (64, 64, 1), "num_classes": 2} | arguments)


def test_crop_like_cuts_at_its_offset():
    x = np.arange(2 * 7 * 8 * 3, dtype=np.float32).reshape(2, 7, 8, 3)
    like = np.zeros((2, 3, 5, 1), np.float32)
    layer = CropLike(2)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(layer([x, like])), x[:, 2:5, 2:7]
    )
    assert CropLike.from_config(layer.get_config()).offset == 2

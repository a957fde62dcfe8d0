"""The U-Net against the numbers of its paper, and what it promises to callers."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from seglab.models import unet
from seglab.models.unet import output_size


def trainable_count(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def without_values(*args, **kwargs):
    """Build a network whose weights have shapes but no values: quick at any size."""
    with keras.StatelessScope(initialize_variables=False):
        return unet(*args, **kwargs)


@pytest.mark.parametrize(
    ("channels", "classes", "published"),
    # Reference implementations without batch norm agree on these counts.
    [(1, 1, 31_030_593), (1, 2, 31_030_658), (3, 1, 31_031_745), (3, 2, 31_031_810)],
)
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_parameters_are_those_of_the_paper(channels, classes, published, padding):
    model = without_values(
        (572, 572, channels) if padding == "valid" else (512, 512, channels),
        classes,
        padding=padding,
        batch_norm=False,
    )
    assert model.count_params() == published


@pytest.mark.backends
def test_parameters_with_batch_norm_are_those_of_public_implementations():
    model = without_values((64, 64, 3), 2)
    assert trainable_count(model) == 31_037_698
    # Moving mean and variance are two more for each scale and offset.
    scales = sum(
        int(np.prod(v.shape)) for v in model.trainable_variables if v.name == "gamma"
    )
    assert model.count_params() == 31_037_698 + 2 * scales


def test_sizes_and_crops_are_those_of_figure_1():
    model = unet((572, 572, 1), 2, width=1, padding="valid", batch_norm=False)
    conv_sizes = [
        layer.output.shape[1]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    assert conv_sizes == [
        *(570, 568, 282, 280, 138, 136, 66, 64, 30, 28),  # contracting, bottleneck
        *(54, 52, 102, 100, 198, 196, 390, 388),  # expansive
        388,  # logits
    ]
    ups = [
        layer.output.shape[1]
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2DTranspose)
    ]
    assert ups == [56, 104, 200, 392]
    crops = [
        layer.cropping
        for layer in model.layers
        if isinstance(layer, keras.layers.Cropping2D)
    ]
    assert crops == [((c, c), (c, c)) for c in (4, 16, 40, 88)]
    # 23 convolutional layers, counting the up-convolutions.
    assert len(conv_sizes) + len(ups) == 23


def valid_by_hand(size, depth):
    """Follow a valid U-Net layer by layer; None where a pooling meets an odd size."""
    for _ in range(depth):
        size -= 4
        if size <= 0 or size % 2:
            return None
        size //= 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size if size > 0 else None


@given(st.integers(1, 700), st.integers(1, 5))
def test_output_size_of_valid_follows_the_layers(size, depth):
    expected = valid_by_hand(size, depth)
    if expected is None:
        with pytest.raises(ValueError, match="takes"):
            output_size(size, depth=depth)
    else:
        assert output_size(size, depth=depth) == expected


@given(st.integers(1, 200), st.integers(1, 5))
def test_output_size_of_same_is_the_size_of_multiples(size, depth):
    if size % 2**depth:
        with pytest.raises(ValueError, match=f"takes {2**depth}, {2 * 2**depth}, "):
            output_size(size, depth=depth, padding="same")
    else:
        assert output_size(size, depth=depth, padding="same") == size


@given(st.integers(1, 700), st.integers(1, 5), st.sampled_from(["same", "valid"]))
def test_the_sizes_that_an_error_names_fit_and_are_nearest(size, depth, padding):
    import re

    try:
        output_size(size, depth=depth, padding=padding)
    except ValueError as error:
        named = re.search(
            r"(?:nearest are|smallest is) (\d+)(?: and (\d+))?", str(error)
        )
        sizes = [int(n) for n in named.groups() if n]
        for good in sizes:
            assert output_size(good, depth=depth, padding=padding)
        assert all(abs(good - size) <= 2**depth for good in sizes) or len(sizes) == 1
        assert size < sizes[-1]


@settings(max_examples=5)
@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([True, False]))
def test_output_has_the_promised_shape(n, depth, batch_norm):
    height, width = 2**depth, 3 * 2**depth
    model = unet(
        (height, width, 3), 4, width=2, depth=depth, batch_norm=batch_norm, dropout=0.5
    )
    x = np.zeros((n, height, width, 3), np.float32)
    assert tuple(model(x).shape) == (n, height, width, 4)


@pytest.mark.backends
@pytest.mark.parametrize(
    ("padding", "shape", "expected"),
    [("same", (8, 16), (8, 16)), ("valid", (48, 44), (8, 4))],
)
def test_forward_same_and_valid(padding, shape, expected):
    image = np.random.default_rng(0).random((1, *shape, 1), np.float32)
    model = unet((*shape, 1), 3, width=2, depth=2, padding=padding)
    logits = ops.convert_to_numpy(model(image))
    assert logits.shape == model.compute_output_shape(image.shape) == (1, *expected, 3)
    assert np.isfinite(logits).all()
    # Logits: no softmax and no ReLU on top.
    assert model.layers[-1].activation is keras.activations.linear
    assert not np.allclose(logits.sum(axis=-1), 1)


def test_valid_sees_what_same_sees_far_from_the_border():
    """The same weights: where no padding reaches, the two maps are one.

    With one pooling; with more, "valid" lays its pooling grid elsewhere.
    """
    x = np.random.default_rng(1).random((1, 40, 40, 1), np.float32)
    options = {"width": 2, "depth": 1, "batch_norm": False}
    same = unet(x.shape[1:], 2, padding="same", **options)
    valid = unet(x.shape[1:], 2, padding="valid", **options)
    valid.set_weights(same.get_weights())
    inner = ops.convert_to_numpy(same(x))[:, 8:-8, 8:-8]
    # atol: the two add the same float32 terms, maybe in another order.
    np.testing.assert_allclose(ops.convert_to_numpy(valid(x)), inner, atol=1e-5)


def test_a_shift_by_the_stride_shifts_the_output():
    """A U-Net is a filter bank: equivariant to shifts of 2**depth pixels."""
    rng = np.random.default_rng(2)
    x = rng.random((1, 160, 160, 1), np.float32)
    model = unet((None, None, 1), 2, width=2, depth=2, padding="valid")
    whole = ops.convert_to_numpy(model(x[:, :156]))
    shifted = ops.convert_to_numpy(model(x[:, 4:]))
    np.testing.assert_allclose(whole[:, 4:], shifted[:, :-4], atol=1e-5)


def test_initial_weights_have_he_variance():
    model = unet((32, 32, 1), 2, width=32, depth=2)
    for name, fan_in in (("bottleneck_conv1", 9 * 128), ("up0_conv0", 9 * 64)):
        weights = ops.convert_to_numpy(model.get_layer(name).kernel)
        # rtol: some 70 000 draws; the variance of their variance is below 1 %.
        np.testing.assert_allclose(weights.var(), 2 / fan_in, rtol=0.05)


def test_dropout_stands_at_the_end_of_the_contracting_path():
    model = unet((32, 32, 1), 2, width=2, depth=3, dropout=0.5)
    dropped = [
        layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)
    ]
    assert dropped == ["down2_dropout", "bottleneck_dropout"]
    assert not any(
        isinstance(layer, keras.layers.Dropout)
        for layer in unet((32, 32, 1), 2, width=2, depth=3).layers
    )


@pytest.mark.parametrize("batch_norm", [False, True])
def test_separable_convolutions_have_the_weights_of_their_two_parts(batch_norm):
    plain = without_values((64, 64, 3), 2, width=16, batch_norm=batch_norm)
    slim = without_values(
        (64, 64, 3), 2, width=16, batch_norm=batch_norm, separable=True
    )
    kernels = [
        layer.kernel.shape
        for layer in plain.layers
        if isinstance(layer, keras.layers.Conv2D)
    ]
    saved = sum(
        9 * c_in * c_out - (9 * c_in + c_in * c_out)
        for side, _, c_in, c_out in kernels
        if side == 3 and c_in != 3  # the first stays whole
    )
    assert trainable_count(slim) == trainable_count(plain) - saved


def test_separable_convolutions_keep_the_variance():
    """He's rule: the mean square of what goes in comes out, so far as ReLU lets it."""
    model = unet((32, 32, 1), 2, width=64, depth=1, batch_norm=False, separable=True)
    layer = model.get_layer("bottleneck_conv1")
    x = np.random.default_rng(6).standard_normal((4, 32, 32, 128), np.float32)
    x = np.maximum(x, 0)
    y = ops.convert_to_numpy(layer(x))[:, 1:-1, 1:-1]
    # He: 2 / fan_in makes up for the half that ReLU takes. rtol: 128 filters of 9.
    np.testing.assert_allclose((y**2).mean(), 2 * (x**2).mean(), rtol=0.25)


@pytest.mark.backends
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_residual_blocks_add_what_went_in(padding):
    """With a second convolution of zeros, the shortcut is all that comes out."""
    model = unet(
        (48, 48, 3), 2, width=4, depth=1, padding=padding, batch_norm=False,
        residual=True,
    )  # fmt: skip
    conv = model.get_layer("down0_conv1")
    conv.set_weights([np.zeros_like(w) for w in conv.get_weights()])
    x = np.random.default_rng(7).random((1, 48, 48, 3), np.float32)
    block = keras.Model(model.input, model.get_layer("down0_relu1").output)
    kernel, bias = model.get_layer("down0_shortcut").get_weights()
    inner = x[:, 2:-2, 2:-2] if padding == "valid" else x
    expected = np.maximum(inner @ kernel[0, 0] + bias, 0)
    # atol: float32 sums of three terms.
    np.testing.assert_allclose(ops.convert_to_numpy(block(x)), expected, atol=1e-6)


def test_residual_unet_has_the_weights_of_its_shortcuts_more():
    options = {"width": 8, "depth": 2, "batch_norm": False}
    more = trainable_count(unet((16, 16, 1), 2, residual=True, **options))
    pairs = [(1, 8), (8, 16), (16, 32), (32, 16), (16, 8)]  # channels of the blocks
    less = trainable_count(unet((16, 16, 1), 2, **options))
    assert more - less == sum(c_in * c_out + c_out for c_in, c_out in pairs)


def test_options_leave_size_and_receptive_field():
    from seglab.geometry import receptive_field

    plain = unet((32, 32, 1), 2, width=2, depth=2)
    other = unet((32, 32, 1), 2, width=2, depth=2, residual=True, separable=True)
    assert other.output_shape == plain.output_shape
    assert receptive_field(other) == receptive_field(plain)


def test_seed_decides_the_weights():
    from seglab.device import set_seed

    def weights(seed):
        set_seed(seed)
        return unet((16, 16, 1), 2, width=2, depth=1).get_weights()

    first, again, other = weights(3), weights(3), weights(4)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_logits_stay_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = unet((16, 16, 1), 2, width=2)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("up0_conv1").compute_dtype == "bfloat16"
    logits = model(np.zeros((1, 16, 16, 1), np.float32))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


@pytest.mark.backends
def test_a_saved_model_gives_the_same_logits(tmp_path):
    x = np.random.default_rng(5).random((2, 32, 16, 1), np.float32)
    for shape in ((32, 16, 1), (None, None, 1)):
        model = unet(shape, 3, width=2, depth=2, dropout=0.1)
        model.save(tmp_path / "unet.keras")
        loaded = keras.saving.load_model(tmp_path / "unet.keras")
        np.testing.assert_array_equal(
            ops.convert_to_numpy(model(x)), ops.convert_to_numpy(loaded(x))
        )


def test_a_file_of_fixed_size_needs_no_seglab_to_load():
    assert "seglab" not in unet((16, 16, 1), 2, width=2, dropout=0.1).to_json()
    assert "seglab" in unet((None, 16, 1), 2, width=2).to_json()  # its size check


@pytest.mark.backends
@pytest.mark.parametrize("call", ["call", "predict", "shape"])
def test_any_size_network_refuses_odd_sizes_in_its_own_words(call):
    model = unet((None, None, 1), 2, width=2, depth=3)
    assert model.compute_output_shape((None, 64, 40, 1)) == (None, 64, 40, 2)
    x = np.zeros((1, 64, 100, 1), np.float32)
    run = {
        "call": model,
        "predict": lambda x: model.predict(x, verbose=0),
        "shape": lambda x: model.compute_output_shape(x.shape),
    }[call]
    with pytest.raises(ValueError, match=r"width is 100; .* nearest are 96 and 104"):
        run(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64)}, r"must be \(H, W, C\)"),
        ({"input_shape": (1, 64, 64, 1)}, "without the batch axis"),
        ({"input_shape": (64, 64, None)}, "no number of channels"),
        ({"input_shape": (64, 64, 0)}, "channels in input_shape is 0"),
        ({"input_shape": (100, 64, 1)}, "height is 100.*96 and 112"),
        ({"input_shape": (64, 100, 1)}, "width is 100"),
        ({"input_shape": (64, 64, 1), "padding": "valid"}, "smallest is 188"),
        ({"input_shape": (190, 188, 1), "padding": "valid"}, "188 and 204"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"width": 0}, "width is 0"),
        ({"width": 7.5}, "width is 7.5"),
        ({"depth": 0}, "depth is 0"),
        ({"padding": "SAME"}, "padding is 'SAME'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"dropout": float("nan")}, "dropout is nan"),
        ({"num_classes": True}, "num_classes is True"),
    ],
)
def test_bad_arguments_are_refused_with_the_fix(arguments, message):
    with pytest.raises(ValueError, match=message):
        unet(**{"input_shape": (64, 64, 1), "num_classes": 2} | arguments)

"""Sizes and receptive fields against published numbers, Keras and brute force."""

import math
import subprocess
import sys
from fractions import Fraction

import keras
import numpy as np
import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
from keras import layers

from seglab.geometry import (
    ReceptiveField,
    conv_output,
    layer_table,
    receptive_field,
    same_padding,
    transposed_conv_output,
)
from seglab.models import fcn, mobilenet_unet, patch_cnn, segnet, to_dense, unet
from seglab.models.pooling import MaxPoolingWithIndices2D, MaxUnpooling2D

sizes, kernels, strides = st.integers(1, 40), st.integers(1, 7), st.integers(1, 5)
dilations, paddings = st.integers(1, 3), st.integers(0, 4)

CONV, POOL = (3, 1), (2, 2)
VGG16 = [*[CONV] * 2, POOL, *[CONV] * 2, POOL, *([*[CONV] * 3, POOL] * 3), (7, 1)]
ALEXNET = [(11, 4), (3, 2), (5, 1), (3, 2), *[CONV] * 3, (3, 2), (6, 1)]
SEGNET_BASIC = [(7, 1), POOL] * 4
UNET = [*([CONV, CONV, POOL] * 4), CONV, CONV]


# Sizes.


@given(sizes, kernels, strides, paddings, dilations)
def test_conv_output_counts_the_windows(size, kernel, stride, padding, dilation):
    span = (kernel - 1) * dilation + 1
    starts = [
        start
        for start in range(-padding, size + padding, stride)
        if start + span <= size + padding
    ]
    if starts:
        assert conv_output(size, kernel, stride, padding, dilation) == len(starts)
    else:
        with pytest.raises(ValueError, match="does not fit once"):
            conv_output(size, kernel, stride, padding, dilation)


@given(sizes, kernels, strides, paddings)
def test_ceil_adds_the_window_that_sticks_out(size, kernel, stride, padding):
    """PyTorch's rule: cover the end, but never start behind the input."""
    assume(size + 2 * padding >= kernel)
    assume(padding <= kernel // 2)  # PyTorch takes no more
    count = conv_output(size, kernel, stride, padding, ceil=True)
    starts = [-padding]
    while starts[-1] + kernel < size + padding and starts[-1] + stride < size:
        starts.append(starts[-1] + stride)
    assert count == len(starts)


@pytest.mark.parametrize(
    # Caffe's FCN: pad 100, poolings that round up, fc6 of 7 x 7 without padding.
    ("image", "fc6", "upscore"),
    [(1, 1, 64), (224, 8, 288), (500, 16, 544)],
)
def test_sizes_of_the_published_fcn(image, fc6, upscore):
    size = conv_output(image, 3, padding=100)
    for _ in range(5):
        size = conv_output(size, 2, 2, ceil=True)
    size = conv_output(size, 7)
    assert size == fc6
    assert transposed_conv_output(size, 64, 32) == upscore


@settings(max_examples=60)
@given(sizes, kernels, strides, dilations, st.sampled_from(["same", "valid"]))
def test_conv_output_is_the_shape_of_keras(size, kernel, stride, dilation, padding):
    assume(stride == 1 or dilation == 1)  # Keras refuses both
    assume(padding == "same" or size >= (kernel - 1) * dilation + 1)
    output = keras.ops.conv(
        np.zeros((1, size, 1), np.float32),
        np.zeros((kernel, 1, 1), np.float32),
        strides=stride,
        padding=padding,
        dilation_rate=dilation,
    )
    assert conv_output(size, kernel, stride, padding, dilation) == output.shape[1]


@settings(max_examples=60)
@given(
    st.integers(1, 12),
    kernels,
    strides,
    st.sampled_from(["same", "valid"]),
    st.sampled_from([None, 0, 1, 2]),
)
def test_transposed_output_is_the_shape_of_keras(size, kernel, stride, padding, extra):
    assume(extra is None or extra < stride)
    try:
        ours = transposed_conv_output(
            size, kernel, stride, padding, output_padding=extra
        )
    except ValueError:  # nothing is left: TensorFlow fails too
        assume(False)
    # TensorFlow runs no other: its convolution back must give the size.
    assume(padding == "valid" or math.ceil(ours / stride) == size)
    output = keras.ops.conv_transpose(
        np.zeros((1, size, 1), np.float32),
        np.zeros((kernel, 1, 1), np.float32),
        strides=stride,
        padding=padding,
        output_padding=extra,
    )
    assert ours == output.shape[1]


@given(sizes, kernels, strides, paddings, dilations)
def test_transposed_output_inverts_the_size(size, kernel, stride, padding, dilation):
    span = (kernel - 1) * dilation + 1
    assume(size + 2 * padding >= span)
    small = conv_output(size, kernel, stride, padding, dilation)
    lost = (size + 2 * padding - span) % stride  # Dumoulin and Visin's a
    back = (small - 1) * stride + span - 2 * padding + lost
    assume(back - lost >= 1)
    ours = transposed_conv_output(small, kernel, stride, padding, dilation, lost)
    assert ours == back == size


@given(sizes, kernels, strides, dilations)
def test_same_padding_is_the_least_that_gives_the_size(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    assert after - before in (0, 1)
    windows = math.ceil(size / stride)
    padded = size + before + after
    assert conv_output(padded, kernel, stride, 0, dilation) >= windows
    if before + after:
        span = (kernel - 1) * dilation + 1
        assert padded == (windows - 1) * stride + span


# Receptive fields of lists.


@pytest.mark.parametrize(
    ("windows", "size", "jump"),
    [
        (VGG16[:10], 44, 8),  # pool3
        (VGG16[:14], 100, 16),  # pool4
        (VGG16[:18], 212, 32),  # pool5
        (VGG16, 404, 32),  # fc6; Long et al. (2015), Table 1
        (ALEXNET[:-1], 195, 32),
        (ALEXNET, 355, 32),  # fc6; Long et al. (2015), Table 1
        (SEGNET_BASIC, 106, 16),  # Badrinarayanan et al. (2017): "106 x 106"
        (UNET, 140, 16),
        ([], 1, 1),
    ],
)
def test_published_receptive_fields(windows, size, jump):
    field = receptive_field(windows)
    assert (field.size, field.jump) == (size, jump)


@given(st.lists(st.tuples(kernels, strides, dilations, paddings), max_size=6))
def test_a_chain_follows_the_recurrence(windows):
    size = jump = 1
    start = Fraction(0)
    for k, s, d, p in windows:
        size += (k - 1) * d * jump
        start += (Fraction((k - 1) * d, 2) - p) * jump
        jump *= s
    field = receptive_field(windows)
    assert (field.size, field.jump, field.start) == (size, jump, start)
    seen = field.pixels(3)
    assert len(seen) == size
    assert Fraction(seen[0] + seen[-1], 2) == start + 3 * jump


def test_same_and_valid_in_a_list():
    assert receptive_field([(3, 1, 1, "same")]).start == 0
    assert receptive_field([(3, 1, 1, "valid")]).start == 1
    # 8 pixels, kernel 3, stride 2: one zero, at the end.
    assert receptive_field([(3, 2, 1, "same")]).pixels(0) == range(3)


# Receptive fields of models, against what changes when a pixel does.


def ones(model):
    """Set all weights to 1, so that nothing a unit sees cancels."""
    model.set_weights([np.ones_like(w) for w in model.get_weights()])
    return model


def seen_pixels(model, axis=0):
    """Give for each output unit on a line the input pixels that change it."""
    _, *shape = model.inputs[0].shape
    n = shape[axis]
    base = np.zeros((1, *shape), np.float32)
    images = np.zeros((n, *shape), np.float32)
    for i in range(n):
        images[i][(i,) if axis == 0 else (slice(None), i)] = 1  # one row or column
    change = keras.ops.convert_to_numpy(abs(model(images) - model(base))).max(
        -1
    )  # (n, h, w)
    change = change.max(axis=2 - axis)  # (n, units)
    return [set(np.flatnonzero(change[:, o])) for o in range(change.shape[1])]


def check_against_perturbation(model, axis=0, border=0):
    """Compare first and last pixel: between them a dilated kernel has holes.

    Within `border` pixels of the image's end units may see less than their field:
    what lies in the padding of a layer inside is not seen, nor what was cropped.
    """
    n = model.inputs[0].shape[1 + axis]
    field = receptive_field(model, axis=("height", "width")[axis])
    for unit, seen in enumerate(seen_pixels(ones(model), axis)):
        expected = set(field.pixels(unit)) & set(range(n))
        assert seen <= expected, unit
        if expected and border <= min(expected) and max(expected) < n - border:
            assert (min(seen), max(seen)) == (min(expected), max(expected)), unit


def chain(n, *stack):
    return keras.Sequential([keras.Input((n, 3, 1)), *stack])


KINDS = (
    *("conv", "dilated", "depthwise", "separable", "max", "average"),
    *("transposed", "nearest", "bilinear", "pad", "crop"),
)
one_layer = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "k": st.integers(1, 4),
        "s": st.integers(1, 2),
        "padding": st.sampled_from(["same", "valid"]),
    }
)


def build(kind, k, s, padding):
    if kind == "dilated":
        return layers.Conv2D(2, (k, 1), dilation_rate=(s, 1), padding=padding)
    if kind in ("nearest", "bilinear"):
        return layers.UpSampling2D((s, 1), interpolation=kind)
    if kind == "pad":
        return layers.ZeroPadding2D(((s, k), (0, 0)))
    if kind == "crop":
        return layers.Cropping2D(((s - 1, k - 1), (0, 0)))
    if kind in ("max", "average"):
        cls = layers.MaxPooling2D if kind == "max" else layers.AveragePooling2D
        return cls((k, 1), (s, 1), padding)
    if kind == "transposed":
        return layers.Conv2DTranspose(2, (k, 1), (s, 1), padding=padding)
    if kind == "conv":
        return layers.Conv2D(2, (k, 1), (s, 1), padding=padding)
    if kind == "depthwise":  # TensorFlow wants equal strides
        return layers.DepthwiseConv2D((k, 1), padding=padding)
    return layers.SeparableConv2D(2, (k, 1), padding=padding)


@settings(max_examples=25, phases=[Phase.generate])
@given(st.integers(75, 85), st.lists(one_layer, min_size=1, max_size=3))
def test_chains_of_keras_layers_against_perturbation(n, stack):
    model = chain(n, *(build(**layer) for layer in stack))
    # Three layers take off or add at most 4 units each, 1, 2 and 4 pixels apart.
    check_against_perturbation(model, border=28)


def test_branches_take_the_largest_path():
    image = keras.Input((24, 24, 1))
    x = layers.Conv2D(2, 3, padding="same")(image)
    wide = layers.Conv2D(2, (5, 3), dilation_rate=2, padding="same")(x)
    down = layers.MaxPooling2D(2)(x)
    up = layers.Conv2DTranspose(2, 2, strides=2)(down)
    model = keras.Model(image, layers.Concatenate()([x, wide, up]))
    assert receptive_field(model, axis="height").size == 11
    check_against_perturbation(model, axis=0)
    check_against_perturbation(model, axis=1)
    with pytest.raises(ValueError, match="along the height the model has"):
        receptive_field(model)


def test_sums_and_operations_join_branches_too():
    image = keras.Input((16, 16, 2))
    x = layers.Conv2D(2, 3, padding="same")(image)
    x = keras.ops.relu(x + layers.Conv2D(2, 3, padding="same")(x))
    x = layers.BatchNormalization()(layers.Add()([x, image]))
    x = layers.Softmax()(layers.LayerNormalization()(x))
    assert receptive_field(keras.Model(image, x)) == receptive_field(
        [(3, 1, 1, 1), (3, 1, 1, 1)]
    )


def test_unet_bottleneck_and_the_whole_unet():
    model = unet((32, 32, 1), 2, width=1, batch_norm=False)
    bottleneck = keras.Model(model.input, model.get_layer("bottleneck_relu1").output)
    field = receptive_field(bottleneck)
    assert (field.size, field.jump) == (140, 16)
    small = unet((64, 64, 1), 2, width=1, depth=2, batch_norm=False)
    assert receptive_field(small).jump == 1
    check_against_perturbation(small)
    any_size = unet((None, None, 1), 2, width=1, depth=2)
    assert receptive_field(any_size) == receptive_field(small)
    valid = unet((92, 92, 1), 2, width=1, depth=2, padding="valid", batch_norm=False)
    check_against_perturbation(valid)


@pytest.mark.parametrize(
    ("name", "size"),
    # Araujo, Norris and Sim (2019), their table of networks.
    [("VGG16", 212), ("ResNet50", 483), ("MobileNet", 315)],
)
def test_published_fields_of_whole_keras_models(name, size):
    with keras.StatelessScope(initialize_variables=False):  # shapes, no values
        model = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=(224, 224, 3)
        )
    field = receptive_field(model)
    assert (field.size, field.jump) == (size, 32)


def test_a_model_within_a_model_and_a_shared_layer():
    conv = layers.Conv2D(1, 3, padding="same")
    encoder = keras.Sequential([keras.Input((16, 16, 1)), conv, layers.MaxPooling2D(2)])
    image = keras.Input((16, 16, 1))
    model = keras.Model(image, encoder(conv(image)))
    assert receptive_field(model) == receptive_field([(3, 1, 1, 1), (3, 1, 1, 1), POOL])


def test_a_stride_above_the_kernel_leaves_units_that_see_nothing():
    model = chain(8, layers.Conv2DTranspose(1, (1, 1), (3, 1)))
    field = receptive_field(model, axis="height")
    assert [len(field.pixels(u)) for u in range(4)] == [1, 0, 0, 1]
    assert field.size == 1
    assert field.jump == pytest.approx(1 / 3)
    assert field.center(3) == 1
    assert math.isnan(field.center(4))
    check_against_perturbation(model)


def up_to(model, name):
    return keras.Model(model.input, model.get_layer(name).output)


@pytest.mark.parametrize("padding", ["paper", "same"])
def test_fields_of_our_fcn(padding):
    model = fcn((None, None, 3), 2, width=1, stride=8, padding=padding)
    for name, size, jump in [("pool3", 44, 8), ("pool4", 100, 16), ("fc6", 404, 32)]:
        field = receptive_field(up_to(model, name))
        assert (field.size, field.jump) == (size, jump)
    # Its crops align the scores with the pixels: the field of a pixel holds it.
    field = receptive_field(model)
    assert field.jump == 1
    assert all(unit in field.pixels(unit) for unit in range(64))


def test_fields_of_our_segnet():
    model = segnet((None, None, 3), 2, width=1, basic=True)
    field = receptive_field(up_to(model, "down3_conv0"))
    assert field.size == 98
    row = {row.layer: row for row in layer_table(model, 360)}
    assert row["down3_pool"].field.size == 106  # Badrinarayanan et al.: "106 x 106"
    assert receptive_field(model).jump == 1


def test_fields_of_our_other_networks():
    model = mobilenet_unet((64, 64, 3), 2, width=1, weights=None)
    sizes = [row.field.size for row in layer_table(model) if row.field.jump == 32]
    assert max(sizes) == 315  # MobileNet's: Araujo et al. (2019)
    dense = to_dense(patch_cnn((19, 19, 1), 2, width=1, kernels=(4, 3), hidden=2))
    # It labels each pixel by the patch around it, mirrored at the border.
    assert receptive_field(dense) == receptive_field([(19, 1, 1, 9)])


@pytest.mark.parametrize("options", [{"residual": True}, {"separable": True}])
def test_fields_of_other_unets_against_perturbation(options):
    model = unet((48, 48, 1), 2, width=2, depth=1, batch_norm=False, **options)
    check_against_perturbation(model)


def test_unpooling_sees_what_its_values_and_indices_see():
    """A unit changes only if the maximum moves: many random images show its field."""
    image = keras.Input((30, 30, 1))
    x = layers.Conv2D(2, (3, 1), padding="same")(image)
    pooled, indices = MaxPoolingWithIndices2D()(x)
    deep = layers.Conv2D(2, (3, 1), padding="same")(pooled)
    model = keras.Model(image, MaxUnpooling2D()([deep, indices, x]))
    field = receptive_field(model, axis="height")
    assert (field.size, field.jump) == (8, 1)
    rng = np.random.default_rng(0)
    seen = [set() for _ in range(30)]
    for _ in range(12):
        model.set_weights([rng.random(w.shape) - 0.3 for w in model.get_weights()])
        base = rng.random((1, 30, 30, 1), np.float32)
        images = np.repeat(base, 30, axis=0)
        for i in range(30):
            images[i, i] = rng.random((30, 1))
        change = keras.ops.convert_to_numpy(abs(model(images) - model(base)))
        for i, unit in np.argwhere(change.max(axis=(2, 3)) > 0):
            seen[unit].add(i)
    for unit, pixels in enumerate(seen):
        expected = set(field.pixels(unit)) & set(range(30))
        assert pixels <= expected
        assert (min(pixels), max(pixels)) == (min(expected), max(expected))


class Spread(layers.Layer):
    """Sums of pixels 2 apart, every second one; and of two images at once."""

    def call(self, images):
        first, second = images
        return (first + second)[:, :-2:2, :-2:2] + (first + second)[:, 2::2, 2::2]

    def receptive_window(self, axis):
        return 2, 2, 2


def test_a_layer_of_ones_own_declares_its_window():
    image = keras.Input((21, 21, 1))
    x = layers.Conv2D(1, 3, padding="same")(image)
    model = keras.Model(image, layers.Conv2D(1, 2)(Spread()([x, image])))
    assert receptive_field(model) == receptive_field([(3, 1, 1, 1), (2, 2, 2), (2, 1)])
    check_against_perturbation(model)


def test_a_declared_window_is_checked():
    class Odd(layers.ReLU):
        def receptive_window(self, axis):
            return (3,)

    with pytest.raises(ValueError, match=r"receptive_window of layer 'odd' is \(3,\)"):
        receptive_field(keras.Sequential([keras.Input((8, 8, 1)), Odd(name="odd")]))


@given(st.lists(st.tuples(kernels, strides, dilations, paddings), max_size=5))
def test_centers_are_halfway(windows):
    field = receptive_field(windows)
    for unit in (-3, 0, 5):
        seen = field.pixels(unit)
        assert field.center(unit) == (seen[0] + seen[-1]) / 2
        assert field.center(unit) == field.start + unit * field.jump


# Tables.


def test_the_sizes_of_the_published_unet():
    """Ronneberger et al. (2015), Figure 1: after each convolution and pooling."""
    down = [570, 568, 284, 282, 280, 140, 138, 136, 68, 66, 64, 32, 30, 28]
    up = [56, 54, 52, 104, 102, 100, 200, 198, 196, 392, 390, 388, 388]
    model = unet((None, None, 1), 2, width=1, padding="valid", batch_norm=False)
    windows = ("Conv2D", "MaxPooling2D", "Conv2DTranspose")
    rows = [
        row
        for row in layer_table(model, 572)
        if row.layer != "image" and type(model.get_layer(row.layer)).__name__ in windows
    ]
    assert [row.size for row in rows] == [*down, *up]


def test_the_sizes_of_the_published_fcn_in_a_table():
    model = fcn((None, None, 3), 2, width=1, padding="paper")
    sizes = {row.layer: row.size for row in layer_table(model, 500)}
    assert (sizes["pool5"], sizes["fc6"], sizes["score"]) == (22, 16, 500)
    assert layer_table(model)[-1].size is None
    assert "  any  " in repr(layer_table(model))


@given(
    st.integers(20, 60),
    st.lists(st.tuples(kernels, strides, dilations, paddings), max_size=3),
)
def test_a_table_of_windows_follows_sizes_and_fields(size, windows):
    try:
        rows = layer_table(windows, size)
    except ValueError as error:
        assert "does not fit once" in str(error)
        return
    assert rows[0].layer == "image" and len(rows) == len(windows) + 1
    for i, row in enumerate(rows[1:]):
        size = conv_output(size, windows[i][0], windows[i][1], *windows[i][:1:-1])
        assert row.size == size
        assert row.field == receptive_field(windows[: i + 1])


def test_same_padding_in_a_table_knows_the_size():
    # 9 pixels, kernel 3, stride 2: one zero at each end; of 8, one at the end.
    start = [layer_table([(3, 2, 1, "same")], n)[1].field.start for n in (9, 8, None)]
    assert start == [0, 1, 1]


def test_a_table_of_a_model_is_its_layers():
    image = keras.Input((24, 20, 1))
    conv = layers.Conv2D(2, 3, padding="same", name="conv")
    x = layers.MaxPooling2D(name="pool")(conv(image))
    y = layers.Conv2D(2, 5, padding="same", name="wide")(x)
    model = keras.Model(image, layers.Concatenate(name="both")([x, y]))
    for axis in ("height", "width"):
        table = layer_table(model, axis=axis)
        assert [row.layer for row in table] == ["image", "conv", "pool", "wide", "both"]
        for row in table[1:]:
            layer = model.get_layer(row.layer)
            assert row.size == layer.output.shape[1 if axis == "height" else 2]
            assert row.field == receptive_field(up_to(model, row.layer))


def test_a_layer_that_is_called_twice_has_two_rows():
    image = keras.Input((9, 9, 1))
    conv = layers.Conv2D(1, 3, name="conv")
    table = layer_table(keras.Model(image, conv(conv(image))))
    assert [(row.layer, row.size) for row in table[1:]] == [("conv", 7), ("conv", 5)]


def test_behind_flatten_all_is_seen():
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(2, 3, name="conv"),
            layers.Flatten(name="flat"),
            layers.Dense(3, name="dense"),
        ]
    )
    table = layer_table(model)
    assert [row.field is None for row in table] == [False, False, True, True]
    assert repr(table).splitlines()[-1].split() == ["dense", "all"]
    assert table._repr_html_().count("<tr>") == 5


def test_names_in_a_table_are_text():
    table = layer_table({"<b>": (3, 1)})
    assert "<b>" in repr(table) and "&lt;b&gt;" in table._repr_html_()
    assert [row.layer for row in layer_table([(3, 1), (2, 2)])[1:]] == [
        "layer 1",
        "layer 2",
    ]


# Mistakes.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: conv_output(0, 3), "size is 0; it must be an integer, 1 or more"),
        (lambda: conv_output(5, 3, 0), "stride is 0"),
        (lambda: conv_output(5, 2.5), "kernel is 2.5"),
        (lambda: conv_output(5, 3, padding=-1), "padding is -1"),
        (lambda: conv_output(5, 3, padding="full"), 'must be "same", "valid" or'),
        (lambda: conv_output(5, 3, dilation=True), "dilation is True"),
        (lambda: conv_output(4, 3, dilation=2), "spans 5 pixels"),
        (lambda: transposed_conv_output(1, 3, padding=2), "takes them all off"),
        (lambda: transposed_conv_output(1, 3, output_padding=-1), "output_padding"),
        (lambda: same_padding(3, 0), "kernel is 0"),
        (lambda: receptive_field([3]), r"layers\[0\] is 3; it must be \(kernel"),
        (lambda: receptive_field("vgg16"), "layers is a str"),
        (lambda: receptive_field([(3, 1)], axis=0), "axis is 0"),
        (lambda: receptive_field({"c": 3}), r"layers\['c'\] is 3; it must be"),
        (lambda: layer_table([(3, 1)], 0), "size is 0"),
        (lambda: layer_table([(3, 1)], axis=None), "axis is None"),
        (lambda: layer_table(chain(8, layers.ReLU()), 9), "the model takes 8 pixels"),
        (lambda: layer_table([(9, 1)], 5), "does not fit once"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numpy_integers_are_integers():
    one = np.int64(1)
    assert transposed_conv_output(np.int32(5), np.int64(3), 1 * one, one) == 5


@pytest.mark.parametrize(
    ("stack", "message"),
    [
        ([layers.Flatten()], "sees the whole image"),
        ([layers.GlobalAveragePooling2D()], "sees the whole image"),
        ([layers.Reshape((3, 8, 1))], r"\(Reshape\) sees is not known"),
        ([layers.UpSampling2D(2, interpolation="bicubic")], "is not known here"),
        ([layers.LayerNormalization(axis=(1, 2))], "is not known here"),
        ([layers.ZeroPadding2D(1, data_format="channels_first")], "channels_last"),
    ],
)
def test_layers_that_have_no_field_are_named(stack, message):
    with pytest.raises(ValueError, match=message):
        receptive_field(chain(8, *stack))


def test_models_that_have_no_field_are_refused():
    with pytest.raises(ValueError, match="not connected"):
        receptive_field(keras.Sequential([layers.Conv2D(1, 3)]))
    image, other = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="2 inputs and 1 outputs"):
        receptive_field(keras.Model([image, other], layers.Add()([image, other])))
    joined = layers.Concatenate(axis=1)([image, layers.ReLU()(image)])
    with pytest.raises(ValueError, match="concatenates along axis 1"):
        receptive_field(keras.Model(image, joined))
    with pytest.raises(ValueError, match=r"\(N, H, W, C\)"):
        receptive_field(keras.Sequential([keras.Input((8,)), layers.Dense(2)]))
    product = layers.Dot(axes=-1)([image, layers.ReLU()(image)])
    with pytest.raises(ValueError, match=r"\(Dot\) sees is not known"):
        receptive_field(keras.Model(image, product))
    pooled = layers.MaxPooling2D(8)(image)  # (1, 1): broadcast over the image
    with pytest.raises(ValueError, match="joins branches of total strides"):
        receptive_field(keras.Model(image, layers.Add()([image, pooled])))


def test_geometry_needs_no_keras():
    code = (
        "import sys, seglab.geometry as g; g.receptive_field([(3, 1)]);"
        "sys.exit(any(m in sys.modules for m in ('keras', 'tensorflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_repr_reads_as_numbers():
    field = receptive_field([(2, 2)])
    assert isinstance(field, ReceptiveField)
    assert repr(field) == "ReceptiveField(size=2, jump=2, start=0.5)"


@pytest.mark.parametrize("size", range(5, 12))
def test_a_table_at_a_size_has_the_fields_of_that_size(size):
    """Where a "same" window with a stride begins depends on whether the size is odd."""
    image = keras.Input((None, None, 1))
    x = layers.Conv2D(1, 3, strides=2, padding="same")(image)
    x = layers.Conv2D(1, 3, strides=2, padding="same")(x)
    found = layer_table(keras.Model(image, x), size=size)
    window = (3, 2, 1, "same")
    expected = layer_table([window, window], size=size)
    assert [row.size for row in found] == [row.size for row in expected]
    assert [row.field.start for row in found] == [row.field.start for row in expected]

"""Every layer against Keras, against finite differences and against its definition."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from keras import layers as kl

from seglab.scratch import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    ConvTranspose2D,
    Dense,
    Flatten,
    MaxPool2D,
    MaxUnpool2D,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    UpSample,
    col2im,
    conv2d_loops,
    gradient_check,
    he_normal,
    im2col,
    interpolation_matrix,
)

tf = pytest.importorskip("tensorflow")  # for its gradients

# float32 has 24 bits, 6e-8; sums of some hundred terms in another order lose two
# digits of it. Gradients of weights sum over all pixels, hence the relative part.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SAME_VALID = st.sampled_from(["same", "valid"])


def noise(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def weights_of(layer):
    """Parameters in Keras's order."""
    return [layer.params[n] for n in ("W", "b", "gamma", "beta") if n in layer.params]


def check_against_keras(ours, theirs, x, *, training=False):
    """Compare output, gradient of the input and of each parameter."""
    theirs.build(x.shape)
    if ours.params:
        for name in ours.params:
            ours.params[name] = noise(*ours.params[name].shape, seed=len(name) + 5)
        theirs.set_weights(
            weights_of(ours)
            + (
                [ours.moving_mean, ours.moving_variance]
                if isinstance(ours, BatchNorm)
                else []
            )
        )
    y = ours.forward(x, training)
    grad = noise(*y.shape, seed=1)
    dx = ours.backward(grad)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        expected = theirs(tensor, **({"training": True} if training else {}))
        total = tf.reduce_sum(expected * grad)
    variables = [v.value for v in theirs.trainable_variables]
    dx_keras, *dw_keras = tape.gradient(total, [tensor, *variables])
    assert y.dtype == dx.dtype == np.float32
    np.testing.assert_allclose(y, expected, **CLOSE)
    np.testing.assert_allclose(dx, dx_keras, **CLOSE)
    names = [n for n in ("W", "b", "gamma", "beta") if n in ours.params]
    for name, dw in zip(names, dw_keras, strict=True):
        assert ours.grads[name].dtype == np.float32
        np.testing.assert_allclose(ours.grads[name], dw, err_msg=name, **CLOSE)


@settings(max_examples=25)
@given(
    st.tuples(st.integers(5, 9), st.integers(5, 9)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 2),
    SAME_VALID,
    st.booleans(),
)
def test_conv2d_is_that_of_keras(size, kernel, stride, dilation, padding, bias):
    assume(stride == 1 or dilation == 1)  # Keras refuses both
    assume(padding == "same" or (kernel - 1) * dilation < min(size))
    options = {"padding": padding}
    ours = Conv2D(3, 4, kernel, stride, dilation=dilation, bias=bias, **options)
    theirs = kl.Conv2D(
        4, kernel, stride, dilation_rate=dilation, use_bias=bias, **options
    )
    check_against_keras(ours, theirs, noise(2, *size, 3))


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.integers(1, 5),
    st.integers(1, 3),
    SAME_VALID,
    st.booleans(),
)
def test_transposed_convolution_is_that_of_keras(size, kernel, stride, padding, bias):
    ours = ConvTranspose2D(3, 2, kernel, stride, padding, bias=bias)
    theirs = kl.Conv2DTranspose(2, kernel, stride, padding, use_bias=bias)
    check_against_keras(ours, theirs, noise(2, *size, 3))


@settings(max_examples=20)
@given(
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    st.integers(1, 4),
    st.integers(1, 3),
    SAME_VALID,
    st.sampled_from(["max", "average"]),
)
def test_pooling_is_that_of_keras(size, window, stride, padding, kind):
    ours, theirs = {
        "max": (MaxPool2D, kl.MaxPooling2D),
        "average": (AveragePool2D, kl.AveragePooling2D),
    }[kind]
    x = noise(2, *size, 3)
    check_against_keras(
        ours(window, stride, padding), theirs(window, stride, padding), x
    )


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_upsampling_is_that_of_keras(factor, interpolation):
    theirs = kl.UpSampling2D(factor, interpolation=interpolation)
    check_against_keras(UpSample(factor, interpolation), theirs, noise(2, 5, 1, 3))


@pytest.mark.parametrize(
    ("ours", "theirs", "shape"),
    [
        (Dense(5, 3), kl.Dense(3), (4, 5)),
        (Dense(5, 3), kl.Dense(3), (2, 4, 3, 5)),
        (Flatten(), kl.Flatten(), (2, 4, 3, 5)),
        (ReLU(), kl.ReLU(), (2, 4, 3, 5)),
        (Sigmoid(), kl.Activation("sigmoid"), (2, 4, 3, 5)),
        (Softmax(), kl.Softmax(), (2, 4, 3, 5)),
    ],
    ids=lambda v: type(v).__name__ if not isinstance(v, tuple) else str(len(v)),
)
def test_other_layers_are_those_of_keras(ours, theirs, shape):
    check_against_keras(ours, theirs, noise(*shape))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(2, 4, 3, 5), (8, 5)])
def test_batch_norm_is_that_of_keras(shape, training):
    ours, theirs = BatchNorm(5), kl.BatchNormalization()
    check_against_keras(ours, theirs, noise(*shape), training=training)


def test_moving_averages_are_those_of_keras():
    ours, theirs = BatchNorm(3, momentum=0.7), kl.BatchNormalization(momentum=0.7)
    for step in range(5):
        x = 3 + 2 * noise(4, 5, 5, 3, seed=step)
        ours.forward(x, training=True)
        theirs(x, training=True)
    np.testing.assert_allclose(ours.moving_mean, theirs.moving_mean, rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance, theirs.moving_variance, rtol=1e-5)
    np.testing.assert_allclose(ours.forward(x), theirs(x), **CLOSE)


# Finite differences, in float64.

PADDED = [0, 2, "same"]


@pytest.mark.parametrize(
    "layer",
    [
        *(Conv2D(3, 2, 3, s, p, d) for s in (1, 2) for p in PADDED for d in (1, 2)),
        *(ConvTranspose2D(3, 2, k, 2, p) for k in (1, 3, 4) for p in ("same", 0)),
        ConvTranspose2D(3, 2, 3, 2, 1),
        *(MaxPool2D(3, s, p) for s in (2, 3) for p in PADDED),
        *(AveragePool2D(3, s, p) for s in (2, 3) for p in PADDED),
        *(UpSample(3, i) for i in ("nearest", "bilinear")),
        *(Dense(3, 2), Sequential(Flatten(), Dense(7 * 6 * 3, 2))),
        *(ReLU(), Sigmoid(), Softmax(), BatchNorm(3)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_gradients_are_finite_differences(layer):
    x = noise(2, 7, 6, 3, dtype=np.float64)
    check = gradient_check(layer, x, samples=20)
    assert set(check.errors) == {"x", *layer.params}
    assert check.error < 1e-6, check


def test_unpooling_gradient_and_a_whole_network():
    pool = MaxPool2D(2)
    network = Sequential(
        *(Conv2D(2, 3, 3, padding="same"), BatchNorm(3), ReLU(), pool),
        *(Conv2D(3, 3, 1), MaxUnpool2D(pool), ConvTranspose2D(3, 2, 2, 2), Sigmoid()),
    )
    check = gradient_check(network, noise(2, 5, 6, 2), training=True)
    assert check.error < 1e-6, check


# Definitions and identities.


@settings(max_examples=30)
@given(
    st.integers(3, 6),
    st.integers(1, 3),
    st.integers(1, 3),
    st.sampled_from(["same", "valid", 0, 1, 3]),
    st.integers(1, 2),
)
def test_matrix_product_equals_loops(size, kernel, stride, padding, dilation):
    assume((kernel - 1) * dilation < size)
    layer = Conv2D(2, 3, kernel, stride, padding, dilation, seed=1)
    layer.params["b"] = noise(3)
    x = noise(2, size, size + 1, 2)
    loops = conv2d_loops(
        x, layer.params["W"], layer.params["b"], stride, padding, dilation
    )
    np.testing.assert_allclose(layer.forward(x), loops, **CLOSE)
    without = Conv2D(2, 3, kernel, stride, padding, dilation, bias=False)
    loops = conv2d_loops(x, without.params["W"], None, stride, padding, dilation)
    np.testing.assert_allclose(without.forward(x), loops, **CLOSE)


@given(
    st.integers(3, 8),
    st.integers(1, 3),
    st.integers(1, 4),
    st.sampled_from(["same", "valid", 0, 1, 2]),
    st.integers(1, 2),
)
@settings(max_examples=30)
def test_col2im_is_the_transpose_of_im2col(size, kernel, stride, padding, dilation):
    """<im2col(x), w> = <x, col2im(w)> for all x and w defines the transpose."""
    assume((kernel - 1) * dilation < size)
    window = (kernel, stride, padding, dilation)
    x = noise(1, size, size + 2, 2, dtype=np.float64)
    windows = im2col(x, *window)
    w = noise(*windows.shape, seed=1, dtype=np.float64)
    assert (windows * w).sum() == pytest.approx((x * col2im(w, x.shape, *window)).sum())


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_transposed_convolution_is_the_transposed_matrix(padding):
    """Write the convolution as a matrix, column by column, and transpose it."""
    conv = Conv2D(1, 1, 3, 2, padding, bias=False)
    up = ConvTranspose2D(1, 1, 3, 2, padding, bias=False)
    up.params["W"] = conv.params["W"]
    small = noise(1, 3, 3, 1, dtype=np.float64)
    large = up.forward(small)
    n = large.shape[1]
    pixels = np.eye(n * n).reshape(n * n, n, n, 1)
    matrix = conv.forward(pixels).reshape(n * n, -1).T  # (9, n * n)
    np.testing.assert_allclose(large.ravel(), matrix.T @ small.ravel())


def test_a_1x1_convolution_is_a_dense_layer_at_each_pixel():
    conv, dense = Conv2D(4, 3, 1, seed=3), Dense(4, 3, seed=3)
    dense.params["W"] = conv.params["W"][0, 0]
    x = noise(2, 5, 6, 4)
    np.testing.assert_allclose(conv.forward(x), dense.forward(x), **CLOSE)


def test_a_dense_layer_on_a_flattened_image_is_a_convolution_as_large_as_it():
    dense, conv = Dense(5 * 5 * 2, 3, seed=0), Conv2D(2, 3, 5)
    conv.params["W"] = dense.params["W"].reshape(5, 5, 2, 3)
    x = noise(4, 5, 5, 2)
    flat = dense.forward(Flatten().forward(x))
    np.testing.assert_allclose(conv.forward(x)[:, 0, 0], flat, **CLOSE)


@given(st.integers(2, 7), st.integers(2, 7), st.integers(1, 3))
def test_indices_say_where_the_maxima_are(height, width, size):
    assume(size <= min(height, width))
    x = noise(2, height, width, 3)
    pool = MaxPool2D(size)
    y = pool.forward(x)
    for n, i, j, c in np.ndindex(*y.shape):
        window = x[n, i * size : (i + 1) * size, j * size : (j + 1) * size, c]
        assert y[n, i, j, c] == window.max()
        assert x[n].reshape(-1, 3)[pool.indices[n, i, j, c], c] == y[n, i, j, c]
    up = MaxUnpool2D(pool)
    restored = up.forward(y)
    kept = restored != 0
    np.testing.assert_array_equal(restored[kept], x[kept])
    assert kept.sum() == y.size
    np.testing.assert_array_equal(pool.forward(restored).clip(0), y.clip(0))


def test_of_equal_values_the_first_wins_as_in_keras():
    x = np.zeros((1, 4, 4, 1), np.float32)
    check_against_keras(MaxPool2D(3, 1), kl.MaxPooling2D(3, 1), x)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_interpolation_keeps_constants_and_the_mean(interpolation):
    matrix = interpolation_matrix(5, 3, interpolation)
    np.testing.assert_allclose(matrix.sum(axis=1), 1)
    np.testing.assert_allclose(matrix.sum(axis=0), 3)


def test_batch_norm_normalizes():
    y = BatchNorm(2, epsilon=0).forward(5 + 3 * noise(64, 4, 4, 2), training=True)
    np.testing.assert_allclose(y.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(axis=(0, 1, 2)), 1, atol=1e-5)


def test_float64_stays_float64():
    layer = Sequential(Conv2D(1, 2, 3), BatchNorm(2), ReLU(), MaxPool2D(), UpSample())
    layer.cast(np.float64)
    x = noise(1, 8, 8, 1, dtype=np.float64)
    y = layer.forward(x, training=True)
    assert y.dtype == layer.backward(y).dtype == np.float64
    assert {g.dtype for g in layer.grads.values()} == {np.dtype(np.float64)}


def test_weights_may_be_set_by_hand_in_another_dtype():
    for layer in (Conv2D(1, 1, 1), ConvTranspose2D(1, 1, 1)):
        layer.params["b"] = np.array([0.1])  # float64
        assert layer.forward(np.zeros((1, 2, 2, 1), np.float32)).max() == 0.1


def test_large_scores_do_not_overflow():
    x = np.array([[1e4, -1e4], [-1e4, -1e4]], np.float32)
    with np.errstate(all="raise", under="ignore"):
        assert Softmax().forward(x).tolist() == [[1, 0], [0.5, 0.5]]
        assert Sigmoid().forward(x).tolist() == [[1, 0], [0, 0]]


def test_he_normal_has_the_variance_of_the_paper():
    w = he_normal((200, 500), fan_in=200, seed=0)
    # 100 000 draws: the variance's standard error is 0.45 %; five of them.
    assert w.var() * 200 / 2 == pytest.approx(1, rel=0.025)
    rng = np.random.default_rng(0)
    first, second = Conv2D(1, 2, 3, seed=rng), Conv2D(1, 2, 3, seed=rng)
    assert not np.array_equal(first.params["W"], second.params["W"])
    again = Conv2D(1, 2, 3, seed=0)
    np.testing.assert_array_equal(first.params["W"], again.params["W"])


# Mistakes.


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: Conv2D(3, 2, 3).forward(noise(1, 8, 8, 1)),
            ValueError,
            r"Conv2D got x of shape \(1, 8, 8, 1\); it must be \(N, H, W, 3\)",
        ),
        (lambda: Conv2D(1, 2, 3).forward(noise(8, 8, 1)), ValueError, "must be"),
        (
            lambda: Conv2D(1, 2, 3).forward(np.zeros((1, 8, 8, 1), int)),
            TypeError,
            "array of floats",
        ),
        (lambda: ReLU().backward(noise(2)), ValueError, "call forward"),
        (lambda: MaxPool2D().backward(noise(2)), ValueError, "call forward"),
        (lambda: MaxPool2D(2, padding=2), ValueError, "below the side"),
        (lambda: MaxUnpool2D(MaxPool2D(3, 2)), ValueError, "overlap"),
        (lambda: UpSample(1.5), ValueError, "UpSample got factor=1.5"),
        (lambda: Conv2D(1, 1, (3, 3)), ValueError, r"kernel=\(3, 3\).*one number"),
        (lambda: Conv2D(0, 1, 3), ValueError, "Conv2D got in_channels=0"),
        (lambda: ConvTranspose2D(1, 1, 2, 0), ValueError, "stride=0"),
        (lambda: Dense(1, 0), ValueError, "out_channels=0"),
        (lambda: MaxPool2D((2, 2)), ValueError, r"size=\(2, 2\)"),
        (lambda: AveragePool2D(2, 0), ValueError, "AveragePool2D got stride=0"),
        (lambda: BatchNorm(True), ValueError, "channels=True"),
        (lambda: UpSample(2, "cubic"), ValueError, "interpolation is 'cubic'"),
        (lambda: Sequential([ReLU()]), TypeError, "entry 0 is a list"),
        (lambda: Conv2D(1, 1, 5).forward(noise(1, 4, 4, 1)), ValueError, "fit once"),
    ],
)
def test_mistakes_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_unpooling_needs_the_shape_that_the_pooling_gave():
    pool = MaxPool2D()
    with pytest.raises(ValueError, match="call forward"):
        MaxUnpool2D(pool).forward(noise(1, 2, 2, 1))
    pool.forward(noise(1, 4, 4, 1))
    with pytest.raises(ValueError, match="one place for each value"):
        MaxUnpool2D(pool).forward(noise(1, 2, 2, 3))

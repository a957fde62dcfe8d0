"""Which sizes a network takes: against what the paper says, and by trying."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import layers

from seglab.inference import predict
from seglab.inference.network import Network, Sizes, _sizes
from seglab.models import unet
from seglab.models.unet import output_size

ANY = (None, None, 1)


def sequential(shape, *steps):
    return keras.Sequential([keras.Input(shape), *steps])


def conv(kernel=3, padding="same", strides=1):
    return layers.Conv2D(2, kernel, padding=padding, strides=strides)


def skip(pool, shape=ANY):
    """A network with a skip, and nothing that checks sizes for it."""
    image = keras.Input(shape)
    x = conv()(image)
    y = layers.UpSampling2D(pool)(layers.MaxPooling2D(pool)(x))
    return keras.Model(image, conv()(layers.Concatenate()([x, y])))


def resized():
    """A network that takes any size: it crops what it pads."""
    image = keras.Input(ANY)
    small = layers.MaxPooling2D(2, padding="same")(conv()(image))
    large = layers.UpSampling2D(2)(small)
    cut = layers.Lambda(
        lambda both: both[0][:, : keras.ops.shape(both[1])[1]][
            :, :, : keras.ops.shape(both[1])[2]
        ],
        output_shape=lambda shapes: (*shapes[1][:3], shapes[0][3]),
    )
    return keras.Model(image, conv()(cut([large, image])))


NETWORKS = {
    "U-Net": (lambda: unet(ANY, 2, width=2, depth=3), Sizes(8, 0, 0, 8)),
    "valid U-Net": (  # 188, 204, ..., 572: Figure 1 of the paper
        lambda: unet(ANY, 2, width=1, padding="valid"),
        Sizes(16, 572 % 16, (572 - 388) // 2, 16),
    ),
    "valid U-Net in a model": (
        lambda: sequential(
            ANY, unet(ANY, 2, width=1, depth=2, padding="valid"), layers.ReLU()
        ),
        Sizes(4, 0, 20, 4),
    ),
    "convolutions": (lambda: sequential(ANY, conv(), conv()), Sizes()),
    "valid convolutions": (
        lambda: sequential(ANY, conv(3, "valid"), conv(5, "valid")),
        Sizes(border=3),
    ),
    # 6 and 10 pixels give maps of 1 and 2, times 4 less 2: 2 and 6.
    "valid, no skip": (
        lambda: sequential(
            ANY, conv(3, "valid"), layers.MaxPooling2D(4), layers.UpSampling2D(4)
        ),
        Sizes(4, 2, 1, 4),
    ),
    "pooling": (
        lambda: sequential(ANY, layers.MaxPooling2D(4), layers.UpSampling2D(4)),
        Sizes(4, 0, 0, 4),
    ),
    "pooling that rounds up": (
        lambda: sequential(
            ANY, conv(strides=2), layers.Conv2DTranspose(2, 4, 2, padding="same")
        ),
        Sizes(2, 0, 0, 2),
    ),
    "skip": (lambda: skip(2), Sizes(2, 0, 0, 2)),
    "skip of 3": (lambda: skip(3), Sizes(3, 0, 0, 3)),
    "any size": (resized, Sizes(1, 0, 0, 2)),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request):
    build, expected = NETWORKS[request.param]
    return build(), expected


def test_sizes_are_found(network):
    model, expected = network
    assert _sizes(model) == (expected, expected)
    assert _sizes(model) is _sizes(model)  # looked for once


def test_the_sizes_found_are_taken(network):
    """The network runs on the next sizes that are said to fit, and keeps the border."""
    model, sizes = network
    for pixels in (1, 2, 7):
        size = sizes.fit(pixels)
        assert size - 2 * sizes.border >= pixels
        assert sizes.takes(size)
        result = model(np.zeros((1, size, size, 1), np.float32))
        assert tuple(result.shape[1:3]) == 2 * (size - 2 * sizes.border,)


@given(st.integers(1, 700), st.sampled_from(["same", "valid"]))
def test_fit_is_the_next_size_that_a_unet_takes(size, padding):
    sizes = {"same": Sizes(16, 0, 0, 16), "valid": Sizes(16, 12, 92, 16)}[padding]

    def taken(n):
        try:
            return output_size(n, padding=padding) >= size
        except ValueError:
            return False

    assert sizes.fit(size) == next(n for n in range(1, 2000) if taken(n))


def test_a_model_of_one_size():
    one = Sizes(only=24), Sizes(only=16)
    assert _sizes(unet((24, 16, 1), 2, width=1, depth=2)) == one
    valid = unet((44, 48, 1), 2, width=1, depth=2, padding="valid")
    assert _sizes(valid) == (Sizes(border=20, only=44), Sizes(border=20, only=48))
    half = unet((16, None, 1), 2, width=1, depth=2)
    assert _sizes(half) == (Sizes(only=16), Sizes(4, 0, 0, 4))
    assert Sizes(only=24).fit(5) == Sizes(only=24).fit(99) == 24
    assert not Sizes(only=24).takes(23)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([conv(strides=2)], "makes a map of"),
        ([layers.UpSampling2D(2)], "makes a map of"),
        ([conv(2, "valid")], "makes a map of"),  # a border on one side alone
        ([layers.GlobalAveragePooling2D()], "one score for each class at each pixel"),
    ],
)
@pytest.mark.parametrize("shape", [ANY, (32, 32, 1)])
def test_a_network_that_does_not_label_pixels_is_refused(steps, message, shape):
    model = sequential(shape, *steps)
    with pytest.raises(ValueError, match=message):
        predict(model, np.zeros((32, 32, 1)))


class OnlyNear(layers.Layer):
    """Takes sizes from a list."""

    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes

    def call(self, x):
        return x

    def compute_output_shape(self, input_shape):
        if input_shape[1] is not None and input_shape[1] not in self.sizes:
            raise ValueError("not this size")
        return input_shape


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (range(100), "takes no images of 1920 to 2049"),
        (range(1900, 2100), "and not of 2880"),
    ],
)
def test_a_network_that_takes_odd_sizes_is_refused(sizes, message):
    model = sequential(ANY, OnlyNear(sizes))
    with pytest.raises(ValueError, match=message):
        predict(model, np.zeros((32, 32, 1)))


def test_channels_and_inputs_are_checked():
    with pytest.raises(ValueError, match="3 channels, and this one has 1"):
        Network(unet((None, None, 3), 2, width=1, depth=1), 1, True)
    first, second = keras.Input(ANY), keras.Input(ANY)
    with pytest.raises(ValueError, match="one input"):
        Network(keras.Model([first, second], [first, second]), 1, True)
    with pytest.raises(ValueError, match="one output"):
        Network(keras.Model(first, [conv()(first), conv()(first)]), 1, True)
    with pytest.raises(ValueError, match="model is a str"):
        Network("model.keras", 1, True)


@pytest.mark.parametrize(
    "last",
    [
        lambda: layers.Softmax(),
        lambda: layers.Activation("softmax"),
        lambda: layers.Conv2D(2, 1, activation="softmax"),
        lambda: layers.Conv2D(2, 1, activation="sigmoid"),
    ],
)
def test_probabilities_are_not_taken_for_logits(last):
    model = sequential(ANY, conv(), last())
    with pytest.raises(ValueError, match=r"applies (softmax|sigmoid)"):
        Network(model, 1, from_logits=True)
    Network(model, 1, from_logits=False)


def test_one_channel_of_logits_is_refused():
    with pytest.raises(ValueError, match="softmax makes 1 everywhere"):
        Network(lambda x: x, 1, True).run(np.zeros((1, 2, 2, 1), np.float32))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda x: x[0],
        lambda x: x[:, 1:],
        lambda x: x[:, :, ::2],
        lambda x: np.concatenate([x, x]),
        lambda x: x.mean(axis=(1, 2)),
    ],
)
def test_a_callable_that_changes_the_size_is_refused(wrong):
    network = Network(wrong, 2, True)
    with pytest.raises(ValueError, match=r"expected a score .* \(1, 4, 6, 'K'\)"):
        network.run(np.zeros((1, 4, 6, 2), np.float32))


def test_softmax_of_large_logits():
    from scipy.special import softmax

    logits = np.random.default_rng(0).normal(0, 1e4, (2, 3, 4, 5)).astype(np.float32)
    maps = Network(lambda x: x, 5, True).run(logits)
    # atol: float32 probabilities.
    np.testing.assert_allclose(
        np.moveaxis(maps, 0, -1), softmax(logits, axis=-1), atol=1e-6
    )


def test_what_the_model_returns_is_left_alone():
    x = np.random.default_rng(0).random((1, 3, 3, 1)).astype(np.float32)
    before = x.copy()
    maps = Network(lambda images: images, 1, from_logits=False).run(x)
    maps *= 2
    np.testing.assert_array_equal(x, before)


def test_a_subclassed_model_is_run_as_it_is():
    class Own(keras.Model):
        def call(self, x):
            return keras.ops.concatenate([x, -x], axis=-1)

    image = np.random.default_rng(0).random((5, 7, 1)).astype(np.float32)
    result = predict(Own(), image, from_logits=False)
    np.testing.assert_array_equal(result, np.concatenate([image, -image], axis=-1))

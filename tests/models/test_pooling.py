"""Pooling with indices and unpooling against loops, NumPy and PyTorch."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from seglab import scratch
from seglab.geometry import receptive_field
from seglab.models.pooling import MaxPoolingWithIndices2D, MaxUnpooling2D


def pool(x):
    return [ops.convert_to_numpy(y) for y in MaxPoolingWithIndices2D()(x)]


def unpool(*inputs):
    return ops.convert_to_numpy(MaxUnpooling2D()(list(inputs)))


def pool_by_loop(x):
    """Values and indices of one channel of one image, window by window."""
    rows, cols = -(-x.shape[0] // 2), -(-x.shape[1] // 2)
    values, indices = np.empty((rows, cols)), np.empty((rows, cols), int)
    for i in range(rows):
        for j in range(cols):
            best = -np.inf
            for tap, (a, b) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
                inside = 2 * i + a < x.shape[0] and 2 * j + b < x.shape[1]
                if inside and x[2 * i + a, 2 * j + b] > best:
                    best = x[2 * i + a, 2 * j + b]
                    values[i, j], indices[i, j] = best, tap
    return values, indices


shapes = st.tuples(
    st.integers(1, 2), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3)
)


@settings(max_examples=25)
@given(shapes, st.integers(0, 9), st.sampled_from([2, 100]))
def test_values_and_indices_are_those_of_a_loop(shape, seed, levels):
    """Of two levels, so that windows of equal values are many; all negative."""
    x = np.random.default_rng(seed).integers(-levels, 0, shape).astype(np.float32)
    values, indices = pool(x)
    for n in range(shape[0]):
        for c in range(shape[3]):
            expected = pool_by_loop(x[n, ..., c])
            np.testing.assert_array_equal(values[n, ..., c], expected[0])
            np.testing.assert_array_equal(indices[n, ..., c], expected[1])


@settings(max_examples=25)
@given(shapes, st.integers(0, 9))
def test_unpooling_is_that_of_the_numpy_layer(shape, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 3, shape).astype(np.float32)  # with ties
    layer = scratch.MaxPool2D(2, padding="same")
    layer.forward(x)
    new = rng.standard_normal(layer.indices.shape, np.float32)
    expected = scratch.MaxUnpool2D(layer).forward(new)
    np.testing.assert_array_equal(unpool(new, pool(x)[1], x), expected)


@pytest.mark.backends
def test_equal_values_have_one_index_and_get_one_gradient():
    x = np.ones((2, 5, 6, 3), np.float32)
    values, indices = pool(x)
    assert indices.dtype == np.int32
    assert not indices.any()
    whole = unpool(values, indices, x)
    assert whole.sum() == values.size
    np.testing.assert_array_equal(whole[:, ::2, ::2], 1)


@pytest.mark.backends
@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (5, 7), (None, None)])
def test_compiled_and_not_they_do_the_same(jit_compile, shape):
    if jit_compile and keras.backend.backend() == "torch":
        pytest.skip("PyTorch's compiler takes half a minute to start")
    size = (5, 8) if None in shape else shape
    x = np.random.default_rng(0).standard_normal((2, *size, 2), np.float32)
    image = keras.Input((*shape, 2))
    values, indices = MaxPoolingWithIndices2D()(image)
    model = keras.Model(image, MaxUnpooling2D()([3 * values, indices, image]))
    assert model.output_shape == (None, *shape, 2)
    model.compile(jit_compile=jit_compile)
    expected = np.zeros_like(x)
    for n, c in np.ndindex(2, 2):
        v, k = pool_by_loop(x[n, ..., c])
        for i, j in np.ndindex(v.shape):
            expected[n, 2 * i + k[i, j] // 2, 2 * j + k[i, j] % 2, c] = 3 * v[i, j]
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


@pytest.mark.backends
def test_gradients_are_those_of_the_numpy_layers():
    """One step of gradient descent on the image itself: its change is the gradient."""
    rng = np.random.default_rng(1)
    x = rng.integers(0, 3, (1, 5, 4, 2)).astype(np.float32)  # with ties

    class Image(keras.layers.Layer):
        def build(self, _):
            self.x = self.add_weight(shape=x.shape)

        def call(self, _):
            return self.x

        def compute_output_shape(self, _):
            return x.shape

    wanted = rng.standard_normal(x.shape, np.float32)
    start = keras.Input((1,))
    image = Image()(start)
    values, indices = MaxPoolingWithIndices2D()(image)
    model = keras.Model(start, MaxUnpooling2D()([values * values, indices, image]))
    model.set_weights([x])
    model.compile(keras.optimizers.SGD(1.0), loss=lambda y, p: ops.sum((p - y) ** 2))
    model.train_on_batch(np.zeros((1, 1)), wanted)
    change = x - model.get_weights()[0]

    layer = scratch.MaxPool2D(2, padding="same")
    back = scratch.MaxUnpool2D(layer)
    v = layer.forward(x)
    y = back.forward(v * v)
    expected = layer.backward(2 * v * back.backward(2 * (y - wanted)))
    # rtol: float32 products in another order; atol: x - (x - gradient) rounds.
    np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.backends
def test_unpooling_is_that_of_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x = np.random.default_rng(2).standard_normal((2, 6, 8, 3), np.float32)
    theirs = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    pooled, where = F.max_pool2d(theirs, 2, return_indices=True)
    expected = F.max_unpool2d(pooled * 2, where, 2).numpy().transpose(0, 2, 3, 1)
    values, indices = pool(x)
    np.testing.assert_array_equal(unpool(2 * values, indices, x), expected)


@pytest.mark.backends
def test_indices_stay_whole_in_half_precision():
    x = np.random.default_rng(3).random((1, 4, 4, 2), np.float32)
    layer = MaxPoolingWithIndices2D(dtype="mixed_bfloat16")
    symbolic = layer(keras.Input((4, 4, 2)))
    values, indices = layer(x)
    for tensor in (values, symbolic[0]):
        assert keras.backend.standardize_dtype(tensor.dtype) == "bfloat16"
    for tensor in (indices, symbolic[1]):
        assert keras.backend.standardize_dtype(tensor.dtype) == "int32"
    unpooling = MaxUnpooling2D(dtype="mixed_bfloat16")
    whole = unpooling([values, indices, ops.cast(x, "bfloat16")])
    assert keras.backend.standardize_dtype(whole.dtype) == "bfloat16"


def test_values_and_places_may_have_any_number_of_channels_of_like():
    x = np.random.default_rng(4).random((1, 5, 3, 2), np.float32)
    values, indices = pool(x)
    assert unpool(values, indices, x[..., :1]).shape == (1, 5, 3, 2)


def test_layers_are_rebuilt_from_their_configuration():
    for layer in (
        MaxPoolingWithIndices2D(name="a"),
        MaxUnpooling2D(name="b", dtype="mixed_bfloat16"),
    ):
        config = keras.saving.serialize_keras_object(layer)
        again = keras.saving.deserialize_keras_object(config)
        assert again.get_config() == layer.get_config()


def test_geometry_knows_the_pooling():
    image = keras.Input((8, 8, 1))
    values, _ = MaxPoolingWithIndices2D()(keras.layers.Conv2D(1, 3)(image))
    field = receptive_field(keras.Model(image, values))
    assert (field.size, field.jump) == (4, 2)

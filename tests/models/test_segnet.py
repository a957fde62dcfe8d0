"""SegNet against the numbers of its paper, and against its layers in NumPy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab import scratch
from seglab.geometry import receptive_field
from seglab.models import segnet


def trainable_count(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


def paper_size(**options):
    """Build the paper's network for CamVid; its weights have shapes but no values."""
    with keras.StatelessScope(initialize_variables=False):
        return segnet((360, 480, 3), 11, **options)


@pytest.mark.parametrize(
    ("basic", "published"),
    # Weights of convolutions, and scales and offsets of batch norm.
    [(False, 29_433_483 + 15_872), (True, 1_415_051 + 1_024)],
)
def test_parameters_are_those_of_the_paper(basic, published):
    assert trainable_count(paper_size(basic=basic)) == published


def test_the_encoder_is_that_of_vgg16():
    model = paper_size()
    encoder = [
        layer
        for layer in model.layers
        if layer.name.startswith("down") and isinstance(layer, keras.layers.Conv2D)
    ]
    assert len(encoder) == 13
    assert sum(trainable_count(layer) for layer in encoder) == 14_714_688


def test_sizes_are_those_that_the_authors_list():
    """upsample_h and upsample_w of their configuration for 360 x 480."""
    model = paper_size()
    sizes = [model.get_layer(f"up{level}_unpool").output.shape[1:3] for level in (4, 3)]
    assert sizes == [(23, 30), (45, 60)]
    assert model.output_shape == (None, 360, 480, 11)


def test_basic_sees_106_pixels():
    """Badrinarayanan et al., section 3.1, of a feature at the deepest level."""
    model = segnet((64, 64, 3), 2, width=1, basic=True)
    deepest = keras.Model(model.input, model.get_layer("down3_pool").output[0])
    assert receptive_field(deepest).size == 106


def forward_in_numpy(model, x):
    """Run the layers one after another; each unpooling takes the latest pooling."""
    pools = []
    for layer in model.layers[1:]:
        weights = [w.astype(np.float64) for w in layer.get_weights()]
        if isinstance(layer, keras.layers.Conv2D):
            kernel = weights[0]
            half = kernel.shape[0] // 2
            padded = np.pad(x, ((0, 0), (half, half), (half, half), (0, 0)))
            windows = np.lib.stride_tricks.sliding_window_view(
                padded, kernel.shape[:2], axis=(1, 2)
            )  # (N, H, W, C, k, k)
            x = np.einsum("nhwcij,ijcd->nhwd", windows, kernel) + sum(weights[1:])
        elif isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = weights
            x = gamma * (x - mean) / np.sqrt(variance + layer.epsilon) + beta
        elif isinstance(layer, keras.layers.ReLU):
            x = np.maximum(x, 0)
        elif layer.name.endswith("unpool"):
            x = scratch.MaxUnpool2D(pools.pop()).forward(x)
        else:
            pools.append(scratch.MaxPool2D(2, padding="same"))
            x = pools[-1].forward(x)
    return x


@pytest.mark.parametrize(
    ("basic", "size"),
    [(False, (45, 38)), pytest.param(True, (21, 16), marks=pytest.mark.backends)],
)
def test_the_network_is_its_layers_in_a_row(basic, size):
    keras.utils.set_random_seed(0)
    model = segnet((*size, 2), 3, width=2, basic=basic)
    rng = np.random.default_rng(0)
    # Batch norm that does something: scales, offsets, means and variances.
    model.set_weights([w + 0.1 * rng.random(w.shape) for w in model.get_weights()])
    x = rng.random((2, *size, 2), np.float32)
    logits = model.predict(x, verbose=0)
    expected = forward_in_numpy(model, x.astype(np.float64))
    # Relative to the largest: float32 sums through up to 26 layers. Where two values
    # of a window differ by less than that, their places might swap; none do here.
    np.testing.assert_allclose(logits, expected, atol=1e-4 * abs(expected).max())


@pytest.fixture(scope="module")
def any_size():
    return {b: segnet((None, None, 1), 2, width=2, basic=b) for b in (False, True)}


@settings(max_examples=5)
@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_any_size_is_taken_and_given_back(any_size, height, width, basic):
    model = any_size[basic]
    x = np.zeros((1, height, width, 1), np.float32)
    assert tuple(model(x).shape) == (1, height, width, 2)
    assert model.compute_output_shape(x.shape) == (1, height, width, 2)


def test_the_decoder_of_basic_has_no_relu(any_size):
    names = [layer.name for layer in any_size[True].layers if "relu" in layer.name]
    assert names == [f"down{level}_relu0" for level in range(4)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64)}, r"must be \(H, W, C\)"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"width": 2.0}, "width is 2.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        segnet(**{"input_shape": (64, 64, 1), "num_classes": 2} | arguments)

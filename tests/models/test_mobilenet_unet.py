"""The pretrained U-Net: its encoder against Keras's own MobileNet, layer by layer."""

import sys
import warnings

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.metrics import roc_auc_score

from seglab import data
from seglab.data import MissingDataError, places
from seglab.models import mobilenet_unet
from seglab.models.mobilenet_unet import WEIGHTS

LAYERS = [
    "conv0_conv",
    *(f"conv{i}_{part}" for i in range(1, 14) for part in ("depthwise", "pointwise")),
]
"""The encoder's layers with weights, in the order of the paper's Table 1."""


@pytest.fixture(scope="module")
def keras_mobilenet():
    """Keras's MobileNet with random weights, and batch norm that adds an offset."""
    model = keras.applications.MobileNet(
        (64, 96, 3), alpha=0.25, include_top=False, weights=None
    )
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            offset = rng.normal(0, 0.3, layer.beta.shape)
            ones = np.ones_like(offset)
            # gamma, beta, moving mean, moving variance: y = x + beta.
            layer.set_weights([ones, offset, 0 * ones, ones - layer.epsilon])
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            kernel = layer.get_weights()[0]
            fan_in = np.prod(kernel.shape) / kernel.shape[-1]
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                fan_in = 9
            layer.set_weights([rng.normal(0, np.sqrt(2 / fan_in), kernel.shape)])
    return model


@pytest.fixture(scope="module")
def arrays(keras_mobilenet):
    """Its weights, under the names that the file has."""
    convolutions, norms = (
        [layer for layer in keras_mobilenet.layers if isinstance(layer, kinds)]
        for kinds in (
            keras.layers.Conv2D | keras.layers.DepthwiseConv2D,
            keras.layers.BatchNormalization,
        )
    )
    found = {"fc/kernel": np.zeros((256, 1001), np.float32)}  # not used
    for name, conv, norm in zip(LAYERS, convolutions, norms, strict=True):
        found[f"{name}/kernel"] = conv.get_weights()[0]
        found[f"{name}/bias"] = norm.get_weights()[1]
    return found


@pytest.fixture(scope="module")
def file(arrays, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / WEIGHTS
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="module")
def network(file):
    keras.utils.set_random_seed(0)
    return mobilenet_unet((64, 96, 3), 3, width=2, weights=file)


def encoder_weights(model):
    return [w for name in LAYERS for w in model.get_layer(name).get_weights()]


@pytest.mark.backends
def test_the_encoder_is_the_mobilenet_of_keras(network, keras_mobilenet):
    """Forward, at the end of each size: the five maps from which skips leave."""
    ours = keras.Model(
        network.input,
        [
            network.get_layer(f"{name}_relu").output
            for name in (
                *("conv1_pointwise", "conv3_pointwise", "conv5_pointwise"),
                *("conv11_pointwise", "conv13_pointwise"),
            )
        ],
    )
    theirs = keras.Model(
        keras_mobilenet.input,
        [
            keras_mobilenet.get_layer(f"conv_pw_{i}_relu").output
            for i in (1, 3, 5, 11, 13)
        ],
    )
    image = np.random.default_rng(1).random((2, 64, 96, 3), np.float32)
    scaled = np.round(image * 255) / 128 - 1  # as the authors' integers were
    found = ours.predict(np.round(image * 255) / 255, verbose=0)
    expected = theirs.predict(scaled.astype(np.float32), verbose=0)
    for a, b in zip(found, expected, strict=True):
        assert b.std() > 0.1  # not all zero or all six
        # float32 through 27 layers, of values up to 6.
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_skips_leave_from_the_last_map_of_each_size(network):
    skips = [
        network.get_layer(f"up{level}_concat")._inbound_nodes[0].input_tensors[0]
        for level in range(5)
    ]
    assert [s._keras_history.operation.name for s in skips] == [
        "rescale",
        *(f"conv{i}_pointwise_relu" for i in (1, 3, 5, 11)),
    ]
    assert [s.shape[1:] for s in skips] == [
        *((64, 96, 3), (32, 48, 16), (16, 24, 32), (8, 12, 64), (4, 6, 128))
    ]
    assert network.get_layer("conv13_pointwise_relu").output.shape[1:] == (2, 3, 256)
    assert network.output_shape == (None, 64, 96, 3)


def test_the_encoder_has_the_weights_of_a_quarter_mobilenet(network, keras_mobilenet):
    """Keras's, with one offset a channel instead of batch norm's four numbers."""
    kernels = sum(
        int(np.prod(w.shape)) for w in keras_mobilenet.weights if "kernel" in w.name
    )
    offsets = sum(
        int(np.prod(w.shape)) for w in keras_mobilenet.weights if w.name == "beta"
    )
    ours = sum(w.size for w in encoder_weights(network))
    assert ours == kernels + offsets


def test_images_are_given_as_integers_minus_one(network):
    """Black is -1, and white just short of 1: value / 128 - 1, of 0 to 255."""
    rescale = network.get_layer("rescale")
    ends = ops.convert_to_numpy(rescale(np.array([0.0, 128 / 255, 1.0], np.float32)))
    np.testing.assert_allclose(ends, [-1, 0, 127 / 128], atol=1e-6)


def test_gray_is_the_same_gray_in_three_channels(network, file):
    gray = mobilenet_unet((64, 96, 1), 3, width=2, weights=file)
    gray.set_weights(network.get_weights())
    image = np.random.default_rng(2).random((1, 64, 96, 1), np.float32)
    np.testing.assert_array_equal(
        ops.convert_to_numpy(gray(image)),
        ops.convert_to_numpy(network(np.repeat(image, 3, axis=-1))),
    )


def one_step(model):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing the graph for one step would take longer than the step.
    eager = keras.backend.backend() == "tensorflow"
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=eager)
    rng = np.random.default_rng(3)
    x = rng.random((2, *model.input_shape[1:]), np.float32)
    model.train_on_batch(x, rng.integers(0, 3, x.shape[:3]))


def test_a_frozen_encoder_stays_until_it_is_thawed(file, tmp_path):
    model = mobilenet_unet((32, 32, 3), 3, width=2, weights=file)
    before = encoder_weights(model)
    up = model.get_layer("up4_conv0").get_weights()[0]
    one_step(model)
    assert all(map(np.array_equal, before, encoder_weights(model)))
    assert not np.array_equal(up, model.get_layer("up4_conv0").get_weights()[0])
    # Frozen it stays in a file, which needs neither seglab nor the weights' file.
    model.save(tmp_path / "model.keras")
    assert "seglab" not in model.to_json()
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_weights) == len(model.trainable_weights)
    for layer in loaded.layers:
        layer.trainable = True
    one_step(loaded)
    assert not any(map(np.array_equal, before, encoder_weights(loaded)))


@pytest.mark.parametrize(
    ("weights", "frozen", "expected"),
    [("file", None, 0), (None, None, 54), ("file", False, 54), (None, True, 0)],
)
def test_what_is_frozen(file, weights, frozen, expected):
    model = mobilenet_unet(
        (32, 32, 3),
        2,
        width=1,
        weights=file if weights else None,
        frozen=frozen,
    )
    encoder = [model.get_layer(name) for name in LAYERS]
    assert sum(len(layer.trainable_weights) for layer in encoder) == expected
    assert model.get_layer("logits").trainable


def test_random_weights_keep_the_signal():
    """He's rule: through 27 layers without batch norm it neither dies nor explodes."""
    keras.utils.set_random_seed(0)
    model = mobilenet_unet((64, 64, 3), 2, width=1, weights=None)
    image = np.random.default_rng(4).random((2, 64, 64, 3), np.float32)
    deepest = keras.Model(model.input, model.get_layer("conv13_pointwise_relu").output)
    assert 0.03 < deepest.predict(image, verbose=0).std() < 6


def test_any_size_network_takes_multiples_of_32():
    model = mobilenet_unet((None, None, 1), 2, width=1, weights=None)
    assert model.compute_output_shape((1, 64, 96, 1)) == (1, 64, 96, 2)
    with pytest.raises(ValueError, match=r"width is 100.*nearest are 96 and 128"):
        model(np.zeros((1, 64, 100, 1), np.float32))


# The file


def test_the_file_is_found_where_the_data_are(file, monkeypatch):
    monkeypatch.setenv("SEGLAB_DATA", str(file.parent))
    with pytest.warns(UserWarning, match="not hold the weights that the book was"):
        found = mobilenet_unet((32, 32, 3), 2, width=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a file that is named, nothing is expected
        named = mobilenet_unet((32, 32, 3), 2, width=1, weights=str(file))
    assert all(map(np.array_equal, encoder_weights(found), encoder_weights(named)))


def test_a_missing_file_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("SEGLAB_DATA", str(tmp_path))
    module = sys.modules["seglab.models.mobilenet_unet"]  # not the function
    monkeypatch.setattr(module, "places", lambda: (tmp_path,))
    with pytest.raises(MissingDataError) as error:
        mobilenet_unet((32, 32, 3), 2)
    for said in (str(tmp_path / WEIGHTS), "SEGLAB_DATA", "weights=None", "sha256"):
        assert said in str(error.value)
    with pytest.raises(MissingDataError, match='neither "imagenet" nor the path'):
        mobilenet_unet((32, 32, 3), 2, weights=tmp_path / "none.npz")


@pytest.mark.parametrize(
    "kind", ["text", "array", "truncated", "encrypted", "missing", "shape"]
)
def test_a_wrong_file_is_refused(kind, arrays, tmp_path):
    path, name = tmp_path / "weights.npz", "conv3_depthwise/bias"
    if kind == "text":
        path.write_text("not weights")
    elif kind == "array":
        with path.open("wb") as out:
            np.save(out, np.zeros(3))
    elif kind == "truncated":
        np.savez(path, **arrays)
        path.write_bytes(path.read_bytes()[:-1000])
    elif kind == "encrypted":  # a flipped bit says so
        np.savez(path, **arrays)
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 8] |= 1
        path.write_bytes(content)
    elif kind == "missing":
        np.savez(
            path, **{k: a for k, a in arrays.items() if k != "conv3_depthwise/bias"}
        )
    else:
        np.savez(path, **arrays | {name: np.zeros(7)})
    message = {
        "text": "not a file of weights",
        "array": "not a file of weights",
        "truncated": "not a file of weights",
        "encrypted": "not a file of weights",
        "missing": f"'{name}' is missing",
        "shape": rf"'{name}' has shape \(7,\), and must have shape \(32,\)",
    }[kind]
    with pytest.raises(ValueError, match=message):
        mobilenet_unet((32, 32, 3), 2, width=1, weights=path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (64, 64, 4)}, "channels must be 3, or 1"),
        ({"input_shape": (64, 80, 3)}, "width is 80; .* depth 5 .* 64 and 96"),
        ({"num_classes": 0}, "num_classes is 0"),
        ({"width": 0}, "width is 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    defaults = {"input_shape": (64, 64, 3), "num_classes": 2, "weights": None}
    with pytest.raises(ValueError, match=message):
        mobilenet_unet(**defaults | arguments)


# The weights of ImageNet


needs_file = pytest.mark.skipif(
    not any((place / WEIGHTS).is_file() for place in places())
    or data.find("pets") is None,
    reason=f"needs {WEIGHTS} and pets.zip in SEGLAB_DATA",
)


@pytest.mark.data
@needs_file
def test_the_encoder_tells_dogs_from_cats():
    """With the file's own classifier behind it: the scaling and the order are right.

    Of ImageNet's 1000 classes, 151 to 268 are breeds of dog and 281 to 285 are cats.
    """
    pets = data.load("pets", size=128)
    images, species = pets.test.images, pets.test.columns["species"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is the file of the book
        model = mobilenet_unet((128, 128, 3), 2, width=1)
    encoder = keras.Model(model.input, model.get_layer("conv13_pointwise_relu").output)
    path = next(p / WEIGHTS for p in places() if (p / WEIGHTS).is_file())
    with np.load(path) as file:
        kernel, bias = file["fc/kernel"], file["fc/bias"]
    features = encoder.predict(images, verbose=0).mean(axis=(1, 2))  # (N, 256)
    scores = (features @ kernel + bias)[:, 1:]  # class 0 is "background"
    dog, cat = (
        np.log(np.exp(scores[:, classes]).sum(axis=1))
        for classes in (slice(151, 269), slice(281, 286))
    )
    # Chance is 0.5. The photographs were squashed, and enlarged from 96 pixels.
    assert roc_auc_score(species == "dog", dog - cat) > 0.9

"""The autoencoder against principal components, and its bottleneck against cheating."""

import keras
import numpy as np
import pytest
from keras import ops
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from seglab.models import autoencoder, segmentation_head, unet


def halves(model):
    return model.get_layer("encoder"), model.get_layer("decoder")


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return autoencoder((16, 24, 2), width=2, depth=2, code_size=5)


@pytest.fixture
def images():
    return np.random.default_rng(0).random((3, 16, 24, 2), np.float32)


# The autoencoder


def test_the_output_is_the_decoded_code_and_nothing_else(model, images):
    encoder, decoder = halves(model)
    code = encoder(images)
    assert tuple(code.shape) == (3, 5)
    np.testing.assert_array_equal(numbers(model(images)), numbers(decoder(code)))
    assert model.output_shape == (None, 16, 24, 2)


def test_shapes_halve_and_double_level_by_level(model):
    encoder, decoder = halves(model)
    shapes = [
        layer.output.shape[1:]
        for half in (encoder, decoder)
        for layer in half.layers
        if isinstance(
            layer,
            keras.layers.Conv2D | keras.layers.MaxPooling2D | keras.layers.Dense,
        )
    ]
    assert shapes == [
        *((16, 24, 2), (8, 12, 2), (8, 12, 4), (4, 6, 4)),
        *((5,), (4 * 6 * 4,)),
        *((8, 12, 4), (16, 24, 2), (16, 24, 2)),
    ]


@pytest.mark.backends
def test_a_saved_autoencoder_keeps_its_halves(model, images, tmp_path):
    model.save(tmp_path / "autoencoder.keras")
    loaded = keras.saving.load_model(tmp_path / "autoencoder.keras")
    np.testing.assert_array_equal(numbers(loaded(images)), numbers(model(images)))
    for half, again in zip(halves(model), halves(loaded), strict=True):
        assert half.name == again.name
        assert half.output_shape == again.output_shape
    codes = [numbers(halves(m)[0](images)) for m in (model, loaded)]
    np.testing.assert_array_equal(*codes)
    assert "seglab" not in model.to_json()  # it loads with Keras alone


def test_a_linear_autoencoder_draws_in_k_dimensions():
    model = autoencoder((6, 5, 2), depth=0, code_size=3)
    x = np.random.default_rng(1).random((40, 6, 5, 2), np.float32)
    drawn = numbers(model(x)).reshape(40, -1)
    spread = np.linalg.svd(drawn - drawn.mean(axis=0), compute_uv=False)
    assert (spread > 1e-4 * spread[0]).sum() == 3
    # Linear up to an offset: the image of a mixture is the mixture of the images.
    mixed = numbers(model((x[:1] + 3 * x[1:2]) / 4)).ravel()
    np.testing.assert_allclose(mixed, (drawn[0] + 3 * drawn[1]) / 4, atol=1e-5)


@pytest.fixture(scope="module")
def digits():
    return load_digits().images[:300, :, :, None].astype(np.float32) / 16


@pytest.fixture(scope="module")
def pca(digits):
    return PCA(4, svd_solver="full").fit(digits.reshape(len(digits), -1))


def with_principal_components(pca):
    model = autoencoder((8, 8, 1), depth=0, code_size=4)
    encoder, decoder = halves(model)
    W = pca.components_.T  # (64, 4)
    encoder.set_weights([W, -pca.mean_ @ W])
    decoder.set_weights([W.T, pca.mean_])
    return model


@pytest.mark.backends
def test_principal_components_are_weights_of_the_linear_autoencoder(digits, pca):
    flat = digits.reshape(len(digits), -1)
    expected = pca.inverse_transform(pca.transform(flat))
    drawn = numbers(with_principal_components(pca)(digits)).reshape(expected.shape)
    np.testing.assert_allclose(drawn, expected, atol=1e-5)  # float32


def test_principal_components_cannot_be_improved(digits, pca):
    """A long step down the gradient does not move the weights: the slope is zero."""
    model = with_principal_components(pca)
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(10.0), "mse")
    model.train_on_batch(digits, digits)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old, atol=1e-4)
    # The test can fail: from other weights the same step is long.
    model.set_weights([w + 0.1 for w in before])
    model.train_on_batch(digits, digits)
    moved = [
        np.abs(new - old - 0.1).max()
        for old, new in zip(before, model.get_weights(), strict=True)
    ]
    assert max(moved) > 0.1


def test_training_the_linear_autoencoder_finds_the_principal_components(digits, pca):
    keras.utils.set_random_seed(1)
    model = autoencoder((8, 8, 1), depth=0, code_size=4)
    rate = keras.optimizers.schedules.CosineDecay(0.1, 400)
    model.compile(keras.optimizers.Adam(rate), "mse")
    for _ in range(400):
        model.train_on_batch(digits, digits)
    flat = digits.reshape(len(digits), -1)
    best = ((pca.inverse_transform(pca.transform(flat)) - flat) ** 2).mean()
    reached = ((numbers(model(digits)) - digits) ** 2).mean()
    # No linear map through 4 numbers does better (Eckart and Young); 1 % is left over.
    assert best * 0.9999 < reached < best * 1.01
    learned = halves(model)[1].get_layer("dense").get_weights()[0]  # (4, 64)
    # Cosines of the angles between the two spaces of 4 dimensions.
    cosines = np.linalg.svd(
        pca.components_ @ np.linalg.qr(learned.T)[0], compute_uv=False
    )
    assert cosines.min() > 0.99


def test_noise_is_added_in_training_alone():
    model = autoencoder((8, 8, 1), width=2, depth=1, code_size=2, noise=0.5)
    noise = model.get_layer("noise")
    x = np.zeros((4, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(numbers(noise(x, training=False)), 0)
    added = numbers(noise(x, training=True))
    # 256 draws: the standard deviation of their standard deviation is 0.022.
    np.testing.assert_allclose(added.std(), 0.5, atol=0.1)
    np.testing.assert_array_equal(numbers(model(x)), numbers(model(x)))
    plain = autoencoder((8, 8, 1), width=2, depth=1)
    assert "noise" not in [layer.name for layer in plain.layers]


def test_output_is_float32_in_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        models = [autoencoder((8, 8, 1), width=2, depth=d) for d in (0, 1)]
    finally:
        keras.config.set_dtype_policy("float32")
    x = np.zeros((1, 8, 8, 1), np.float32)
    for model in models:
        assert keras.backend.standardize_dtype(model(x).dtype) == "float32"
    assert halves(models[1])[0].get_layer("code").compute_dtype == "bfloat16"


# Segmentation


def test_the_head_stands_on_the_convolutions_of_the_encoder(model, images):
    encoder, _ = halves(model)
    network = segmentation_head(model, 3)
    assert network.output_shape == (None, 16, 24, 3)
    features = network.get_layer("encoder")(images)
    assert tuple(features.shape) == (3, 4, 6, 4)
    flat = numbers(features).reshape(3, -1)
    kernel, bias = encoder.get_layer("code").get_weights()
    # rtol, atol: float32 sums of 96 terms.
    np.testing.assert_allclose(
        flat @ kernel + bias, numbers(encoder(images)), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "frozen", [pytest.param(True, marks=pytest.mark.backends), False]
)
def test_a_frozen_encoder_stays_and_a_fine_tuned_one_moves(frozen, images, tmp_path):
    model = autoencoder((16, 24, 2), width=2, depth=2, code_size=5)
    source = [w.copy() for w in model.get_weights()]
    network = segmentation_head(model, 2, frozen=frozen)
    network.save(tmp_path / "head.keras")  # and so does one that comes from a file
    for trained in (network, keras.saving.load_model(tmp_path / "head.keras")):
        before = trained.get_layer("encoder").get_weights()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        trained.compile(keras.optimizers.SGD(0.1), loss)
        masks = (images[..., 0] > 0.5).astype(np.int32)
        trained.train_on_batch(images, masks)
        same = [
            np.array_equal(a, b)
            for a, b in zip(
                before, trained.get_layer("encoder").get_weights(), strict=True
            )
        ]
        # Batch norm's averages too: frozen, it does not adapt to the new images.
        assert all(same) if frozen else not any(same)
    # The autoencoder's own weights are where they were.
    for a, b in zip(source, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_frozen_encoder_can_be_thawed():
    model = segmentation_head(autoencoder((8, 8, 1), width=2, depth=1), 2)
    assert len(model.get_layer("encoder").trainable_weights) == 0
    model.get_layer("encoder").trainable = True
    assert len(model.get_layer("encoder").trainable_weights) == 3


def test_a_head_on_a_loaded_autoencoder(model, images, tmp_path):
    model.save(tmp_path / "autoencoder.keras")
    loaded = keras.saving.load_model(tmp_path / "autoencoder.keras")
    features = [
        numbers(segmentation_head(m, 2).get_layer("encoder")(images))
        for m in (model, loaded)
    ]
    np.testing.assert_array_equal(*features)


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (32, 32)}, r"must be \(H, W, C\)"),
        ({"input_shape": (None, 32, 1)}, "needs a fixed height and width"),
        ({"input_shape": (30, 32, 1)}, "height is 30; .* depth 3 .* 24 and 32"),
        ({"input_shape": (32, 4, 1)}, "width is 4; .* nearest 8"),
        ({"width": 0}, "width is 0"),
        ({"code_size": 1.5}, "code_size is 1.5"),
        ({"depth": -1}, "depth is -1; it must be an integer, 0 or more"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"noise": float("nan")}, "noise is nan"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        autoencoder(**{"input_shape": (32, 32, 1)} | arguments)


def test_a_head_needs_an_autoencoder_with_convolutions(model):
    with pytest.raises(ValueError, match="'unet', which has no layers"):
        segmentation_head(unet((16, 16, 1), 2, width=2, depth=1), 2)
    with pytest.raises(ValueError, match="depth 0: no convolutions"):
        segmentation_head(autoencoder((4, 4, 1), depth=0), 2)
    with pytest.raises(ValueError, match="num_classes is 0"):
        segmentation_head(model, 0)

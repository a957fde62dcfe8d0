"""What every network promises: files, exports, half precision."""

import keras
import numpy as np
import pytest
from keras import ops

from seglab import models

BACKEND = keras.backend.backend()


def head(frozen=True):
    source = models.autoencoder((8, 8, 1), width=2, depth=1, code_size=4)
    return models.segmentation_head(source, 3, frozen=frozen)


def patch(**options):
    return models.patch_cnn(
        (13, 13, 1), 3, width=2, kernels=(4, 3), hidden=4, **options
    )


BUILD = {
    "unet": lambda: models.unet(
        (None, None, 1), 3, width=2, depth=1, residual=True, separable=True, dropout=0.1
    ),
    "segnet": lambda: models.segnet((15, 21, 1), 3, width=2, basic=True),
    "autoencoder": lambda: models.autoencoder(
        (8, 8, 1), width=2, depth=1, code_size=4, noise=0.1
    ),
    "segmentation_head": head,
    "mobilenet_unet": lambda: models.mobilenet_unet(
        (32, 32, 1), 3, width=2, weights=None
    ),
    "fcn": lambda: models.fcn(
        (16, 16, 1), 3, stride=8, width=1, fc_channels=2, padding="paper"
    ),
    "patch_cnn": patch,
    "to_dense": lambda: models.to_dense(patch()),
}
"""The smallest of each kind that has all its layers."""

NAMES = ("unet", "segnet") if BACKEND == "jax" else tuple(BUILD)
"""JAX compiles each for long; these two have all kinds of layers of our own."""


def build(name):
    """Build a network with weights that make every layer do something."""
    keras.utils.set_random_seed(0)
    model = BUILD[name]()
    rng = np.random.default_rng(0)
    # Offsets, and batch norm's averages, start at what does nothing.
    model.set_weights([w + 0.1 * rng.random(w.shape) for w in model.get_weights()])
    return model


def images_for(model, n=2):
    shape = [16 if size is None else size for size in model.input_shape[1:]]
    return np.random.default_rng(1).random((n, *shape), np.float32)


def run(model, x):
    """Give the output in the way that is quickest to start."""
    if BACKEND == "jax":
        return model.predict(x, verbose=0)
    return ops.convert_to_numpy(model(x))


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return build(request.param)


def assert_close(found, expected):
    # Converters fuse and reorder float32 sums; relative to the largest logit.
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_every_public_network_is_here():
    networks = set(models.__all__) - {
        *("bilinear_kernel", "sample_patches", "transfer_weights"),  # no networks
    }
    assert networks == set(BUILD)


@pytest.mark.backends
def test_a_saved_network_gives_the_same_output(model, tmp_path):
    x = images_for(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(run(loaded, x), run(model, x))
    assert [w.name for w in loaded.trainable_weights] == [
        w.name for w in model.trainable_weights
    ]


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="a format of TensorFlow's")
def test_exports_to_saved_model_and_litert(model, tmp_path):
    import tensorflow as tf

    x = images_for(model)
    expected = run(model, x)
    model.export(tmp_path / "saved", format="tf_saved_model", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    assert_close(loaded.serve(tf.constant(x)).numpy(), expected)

    # What model.export(..., format="litert") does with a SavedModel; see below.
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    assert_close(run_litert(x, model_content=converter.convert()), expected)


def run_litert(x, **model):
    """Run a LiteRT model with the operations that every device has."""
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(**model)
    (input_,), (output,) = (
        interpreter.get_input_details(),
        interpreter.get_output_details(),
    )
    interpreter.resize_tensor_input(input_["index"], x.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(input_["index"], x)
    interpreter.invoke()
    return interpreter.get_tensor(output["index"])


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX cannot, PyTorch needs more")
def test_exports_to_litert_in_one_line(tmp_path):
    model = build("segmentation_head")
    x = images_for(model)
    model.export(tmp_path / "model.tflite", format="litert", verbose=False)
    found = run_litert(x, model_path=str(tmp_path / "model.tflite"))
    assert_close(found, run(model, x))


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="other converters")
def test_exports_to_onnx(model, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    x = images_for(model)
    expected = run(model, x)
    model.export(tmp_path / "model.onnx", format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: x})
    assert_close(found, expected)


@pytest.mark.backends
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "policy", ["mixed_bfloat16", *(["mixed_float16"] if BACKEND != "jax" else [])]
)
def test_trains_a_step_in_half_precision(name, policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = BUILD[name]()
    finally:
        keras.config.set_dtype_policy("float32")
    x = images_for(model)
    if name == "autoencoder":
        y, loss = x, "mse"
    else:
        y = np.zeros(model.compute_output_shape(x.shape)[:-1], np.int32)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Tracing TensorFlow's graph for one step would take longer than the step.
    model.compile("sgd", loss, run_eagerly=BACKEND == "tensorflow")
    before = [w.copy() for w in model.get_weights()]
    assert np.isfinite(model.train_on_batch(x, y))
    after = model.get_weights()
    assert all(np.isfinite(w).all() for w in after)
    assert not all(map(np.array_equal, before, after))
    assert model.compute_dtype == policy.removeprefix("mixed_")
    # The weights, and the output that the loss takes exponentials of, are float32.
    assert {w.dtype for w in after} <= {np.dtype("float32"), np.dtype("uint32")}
    assert model.output.dtype == "float32"

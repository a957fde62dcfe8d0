"""The Keras metric against the NumPy one, and against its misuses."""

import keras
import numpy as np
import pytest
from keras import ops

from seglab import metrics
from seglab.metrics import MeanIoU, confusion_matrix

IGNORE = 255


@pytest.fixture
def batches():
    """Three batches of different sizes; class 3 is nowhere, class 2 only invented."""
    rng = np.random.default_rng(0)
    sizes = [(4, 6, 5), (4, 6, 5), (1, 6, 5)]
    truths = [rng.choice([0, 1, IGNORE], size, p=[0.6, 0.3, 0.1]) for size in sizes]
    logits = [rng.normal(size=(*size, 4)).astype("float32") for size in sizes]
    for scores in logits:
        scores[..., 3] = -9
    return list(zip(truths, logits, strict=True))


def counted(batches):
    return sum(
        confusion_matrix(truth, logits.argmax(axis=-1), 4, IGNORE)
        for truth, logits in batches
    )


@pytest.mark.backends
@pytest.mark.parametrize("dtype", ["uint8", "int32", "int64", "float32"])
def test_same_as_the_confusion_matrix_of_all_batches(batches, dtype):
    metric = MeanIoU(4, IGNORE)
    for truth, logits in batches:
        metric.update_state(truth.astype(dtype), logits)
    matrix = counted(batches)
    np.testing.assert_array_equal(metric.confusion_matrix(), matrix)
    # rtol: float32.
    expected = metrics.mean_iou(matrix)
    assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    named = MeanIoU(4, IGNORE, classes=("a", "b", "c", "d"))
    for truth, logits in batches:
        named.update_state(truth.astype(dtype), logits)
    each = [float(named.result()[f"iou_{label}"]) for label in "abcd"]
    np.testing.assert_allclose(each, metrics.iou(matrix), rtol=1e-6)
    metric.reset_state()
    assert not metric.confusion_matrix().any()
    assert np.isnan(float(metric.result()))


@pytest.mark.backends
def test_logits_probabilities_and_labels_give_the_same(batches):
    truth, logits = batches[0]
    forms = [
        logits,
        np.asarray(ops.softmax(logits, axis=-1)),
        logits.argmax(axis=-1),
        logits.argmax(axis=-1)[..., None].astype("uint8"),
    ]
    results = set()
    for form in forms:
        for labels in (truth, truth[..., None]):
            metric = MeanIoU(4, IGNORE)
            metric.update_state(labels, form)
            results.add(float(metric.result()))
    assert len(results) == 1


@pytest.mark.backends
def test_one_channel_needs_a_threshold():
    truth = np.array([[[0, 1, 1]]])
    probabilities = np.array([[[0.1, 0.6, 0.4]]], "float32")
    logits = np.log(probabilities / (1 - probabilities))
    for threshold, scores in ((0.5, probabilities), (0, logits)):
        for y_pred in (scores, scores[..., None]):
            metric = MeanIoU(2, threshold=threshold)
            metric.update_state(truth, y_pred)
            assert float(metric.result()) == 0.5
    # What Keras's metric makes of it: 0.6 is cut off to class 0, without a word.
    theirs = keras.metrics.MeanIoU(2)
    theirs.update_state(truth, probabilities)
    assert float(theirs.result()) == pytest.approx(1 / 6)
    with pytest.raises(
        ValueError, match=r"pass threshold=0\.5, for logits threshold=0"
    ):
        MeanIoU(2).update_state(truth, probabilities)


@pytest.fixture(scope="module")
def trained():
    """A convolution after an epoch, its history, and what it was trained on."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 4, 4, 2)).astype("float32")
    y = (x[..., 0] > 0).astype("int32")
    y[:, 0] = IGNORE
    image = keras.Input((4, 4, 2))
    model = keras.Model(image, keras.layers.Conv2D(2, 1)(image))
    loss = keras.losses.SparseCategoricalCrossentropy(True, IGNORE)
    model.compile(
        "adam", loss, metrics=[MeanIoU(2, IGNORE, classes=("dark", "bright"))]
    )
    stop = keras.callbacks.EarlyStopping("val_mean_iou")
    options = {"batch_size": 4, "validation_data": (x, y), "callbacks": [stop]}
    history = model.fit(x, y, verbose=0, **options).history
    # In mode="auto" Keras asks the metric whether more is better.
    assert stop.monitor_op in (ops.greater, np.greater)
    matrix = confusion_matrix(y, model.predict(x, verbose=0).argmax(-1), 2, IGNORE)
    return model, history, x, y, matrix


@pytest.mark.backends
def test_in_training(trained):
    _, history, _, _, matrix = trained
    # rel: float32.
    expected = pytest.approx(metrics.mean_iou(matrix), rel=1e-6)
    assert history["val_mean_iou"][0] == expected
    for k, label in enumerate(("dark", "bright")):
        expected = pytest.approx(metrics.iou(matrix)[k], rel=1e-6)
        assert history[f"val_iou_{label}"][0] == expected


@pytest.mark.backends
def test_from_a_file_and_compiled_by_xla(trained, tmp_path):
    model, _, x, y, matrix = trained
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    # PyTorch's compiler needs a C++ compiler, and minutes.
    loaded.jit_compile = keras.backend.backend() != "torch"
    scores = loaded.evaluate(x, y, batch_size=4, verbose=0, return_dict=True)
    assert scores["mean_iou"] == pytest.approx(metrics.mean_iou(matrix), rel=1e-6)


@pytest.mark.backends
def test_a_label_that_is_no_class_is_an_error_at_the_latest_at_the_end(trained):
    y = np.zeros((4, 8, 8), "int32")
    y[0, 0, 0] = IGNORE
    metric = MeanIoU(2)
    metric.update_state(y, np.zeros_like(y))
    with pytest.raises(ValueError, match="1 pixels had a label that is no class"):
        metric.result()
    model = keras.models.clone_model(trained[0])
    model.compile(metrics=[MeanIoU(2)])
    with pytest.raises(ValueError, match="ignore_index, which is None"):
        model.evaluate(*trained[2:4], verbose=0)


@pytest.mark.parametrize(
    ("truth", "prediction"),
    [([[[0.5]]], [[[0]]]), ([[[0]]], [[[7]]]), ([[[-1]]], [[[0]]])],
)
def test_fractions_and_predictions_out_of_range_are_no_classes(truth, prediction):
    metric = MeanIoU(2)
    metric.update_state(np.array(truth), np.array(prediction))
    with pytest.raises(ValueError, match="1 pixels had a label"):
        metric.result()
    # Below an ignored pixel, anything may stand.
    metric = MeanIoU(2, IGNORE)
    metric.update_state(np.array([[[IGNORE, 0]]]), np.array([[[7, 0]]]))
    assert float(metric.result()) == 1


@pytest.mark.backends
def test_counts_are_exact_where_float32_and_int32_are_not():
    metric = MeanIoU(2)
    batch = np.zeros((1, 64, 64), "uint8")
    one = np.zeros((1, 1, 1), "uint8")
    # As if 2**33 pixels had been counted: the two digits, set by hand.
    metric._high.assign(ops.convert_to_tensor([[2.0**11, 0], [0, 0]]))
    metric._low.assign(ops.convert_to_tensor([[2.0**22 - 1, 0], [0, 0]]))
    metric.update_state(one, one)
    assert metric.confusion_matrix()[0, 0] == 2**33 + 2**22
    metric.update_state(batch, batch)
    metric.update_state(one, one)
    assert metric.confusion_matrix()[0, 0] == 2**33 + 2**22 + 64 * 64 + 1
    # In float32 the last one would have been lost.
    big = np.float32(2**33)
    assert big + np.float32(1) == big


def test_a_batch_of_more_than_one_digit(monkeypatch):
    from seglab.metrics import streaming

    monkeypatch.setattr(streaming, "_BASE", 8)
    metric = MeanIoU(2)
    total = np.zeros((2, 2), int)
    rng = np.random.default_rng(0)
    for n in (1, 7, 8, 9, 30, 64, 3):
        truth, labels = rng.integers(0, 2, (2, 1, 1, n))
        metric.update_state(truth, labels)
        total += confusion_matrix(truth, labels, 2)
        np.testing.assert_array_equal(metric.confusion_matrix(), total)
        assert (ops.convert_to_numpy(metric._low) < 8).all()


@pytest.mark.parametrize(
    ("options", "y_true", "y_pred", "message"),
    [
        ({}, (2, 4, 4), (2, 4, 4, 5), r"5 channels, where num_classes=2"),
        ({"threshold": 0}, (2, 4, 4), (2, 4, 4, 2), "threshold=0 take 1"),
        ({}, (2, 4, 4, 2), (2, 4, 4, 2), r"one-hot: pass labels, ops\.argmax"),
        ({}, (2, 4, 4), (2, 4, 5, 2), r"must be labels, \(N, H, W\)"),
        ({}, (2, 4, 4), (2, 4), r"must be labels, \(N, H, W\)"),
        ({}, (2, 4, 4), (2, 4, 4, 1), "may be a label, a probability or a logit"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(options, y_true, y_pred, message):
    metric = MeanIoU(2, **options)
    with pytest.raises(ValueError, match=message):
        metric.update_state(np.zeros(y_true, "int32"), np.zeros(y_pred, "float32"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "num_classes is 0"),
        ({"num_classes": 2.5}, r"num_classes is 2\.5"),
        ({"num_classes": 3, "threshold": 0.5}, "tells 2 classes apart"),
        ({"num_classes": 3, "classes": ("a", "b")}, "classes names 2 classes"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        MeanIoU(**arguments)


def test_labels_with_a_threshold_and_weights_are_refused():
    labels = np.zeros((1, 2, 2), "int32")
    with pytest.raises(ValueError, match="labels need no threshold, which is 0"):
        MeanIoU(2, threshold=0).update_state(labels, labels)
    with pytest.raises(ValueError, match="takes no sample_weight"):
        MeanIoU(2).update_state(labels, labels, sample_weight=np.ones(1))


def test_configuration_survives_a_round_trip():
    metric = MeanIoU(2, IGNORE, threshold=0.5, classes=("a", "b"), name="miou")
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert isinstance(copy, MeanIoU)
    assert copy.get_config() == metric.get_config()
    assert copy.classes == ("a", "b")


def test_metrics_load_keras_only_for_the_metric():
    assert "MeanIoU" in dir(metrics)
    with pytest.raises(AttributeError, match="nothing_here"):
        metrics.nothing_here  # noqa: B018


@pytest.mark.backends
@pytest.mark.parametrize(
    ("dtype", "ignore"), [("bool", 255), ("uint8", 256), ("uint8", -1), ("int8", 255)]
)
def test_an_ignore_label_that_the_masks_cannot_hold_ignores_nothing(dtype, ignore):
    """Cast to the masks' dtype it would be a class: 255 of booleans is True."""
    truth = np.array([[[1, 0], [0, 1]]], dtype)
    labels = np.array([[[0, 0], [1, 1]]], "int32")
    metric = MeanIoU(2, ignore)
    metric.update_state(truth, labels)
    expected = confusion_matrix(truth, labels, 2, ignore)
    np.testing.assert_array_equal(metric.confusion_matrix(), expected)
    assert expected.sum() == 4


def test_a_fraction_is_not_the_ignore_label():
    metric = MeanIoU(2, 255)
    metric.update_state(np.array([[[255.5, 0.0]]], "float32"), np.zeros((1, 1, 2), int))
    with pytest.raises(ValueError, match="no class"):
        metric.result()

"""Evaluation against counting by hand."""

import keras
import numpy as np
import pytest
from keras import ops

from seglab.data import Split
from seglab.metrics import confusion_matrix
from seglab.training import evaluate
from seglab.training.evaluation import stream_logits


@pytest.fixture
def threshold():
    """A network that answers "bright" above 0.5, exactly."""
    image = keras.Input((None, None, 1))
    layer = keras.layers.Conv2D(2, 1)
    model = keras.Model(image, layer(image))
    layer.set_weights([np.array([[[[0.0, 1.0]]]]), np.array([0.5, 0.0])])
    return model


@pytest.mark.backends
def test_report_is_what_counting_gives(threshold, dataset):
    report = evaluate(threshold, dataset.test, batch_size=2)  # 5 images: 2, 2, 1
    predicted = (dataset.test.images[..., 0] > 0.5).astype(int)
    expected = confusion_matrix(dataset.test.masks, predicted, 2, per_image=True)
    np.testing.assert_array_equal(report.confusions, expected)
    assert report.classes == dataset.classes


@pytest.mark.parametrize("batch_size", [1, 3, 4, 5, 100])
def test_batch_size_does_not_change_the_result(threshold, dataset, batch_size):
    report = evaluate(threshold, dataset.test, batch_size=batch_size)
    whole = evaluate(threshold, dataset.test)
    np.testing.assert_array_equal(report.confusions, whole.confusions)


def test_all_batches_have_one_shape(threshold, dataset, monkeypatch):
    shapes = []
    monkeypatch.setattr(
        threshold, "predict_on_batch", lambda x: shapes.append(x.shape) or x
    )
    parts = list(stream_logits(threshold, dataset.test.images, 3))
    assert shapes == [(3, 8, 8, 1), (3, 8, 8, 1)]
    np.testing.assert_array_equal(
        np.concatenate([logits for _, logits in parts]), dataset.test.images
    )
    assert [(p.start, p.stop) for p, _ in parts] == [(0, 3), (3, 5)]


def test_ignored_pixels_are_left_out(threshold, dataset):
    test = dataset.test
    masks = test.masks.copy()
    masks[:, :3] = 255
    report = evaluate(threshold, Split(test.images, masks, test.classes, 255))
    assert report.confusion.sum() == len(test) * 5 * 8


def test_a_smaller_output_is_compared_with_the_center(threshold, dataset):
    """A network that crops gives the same counts as masks cropped beforehand."""
    image = keras.Input((8, 8, 1))
    cropped = keras.Model(
        image, threshold(keras.layers.Cropping2D(((1, 1), (2, 2)))(image))
    )
    report = evaluate(cropped, dataset.test)
    inner = Split(
        dataset.test.images[:, 1:-1, 2:-2],
        dataset.test.masks[:, 1:-1, 2:-2],
        dataset.classes,
    )
    expected = evaluate(threshold, inner)
    np.testing.assert_array_equal(report.confusions, expected.confusions)


def test_an_empty_split_and_a_bad_batch_size_are_refused(threshold, dataset):
    with pytest.raises(ValueError, match="no images"):
        evaluate(threshold, dataset.test[:0])
    with pytest.raises(ValueError, match="batch_size is 0"):
        evaluate(threshold, dataset.test, batch_size=0)


def test_evaluation_leaves_the_weights_alone(make_model, dataset):
    model = make_model()
    before = [ops.convert_to_numpy(w).copy() for w in model.weights]
    evaluate(model, dataset.test)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, ops.convert_to_numpy(new))

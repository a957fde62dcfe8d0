"""Calibration: the expected calibration error against torchmetrics and MONAI."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics.calibration import calibration_binning
from torchmetrics.functional.classification import (
    binary_calibration_error,
    multiclass_calibration_error,
)

from seglab.metrics import expected_calibration_error, reliability

IGNORE = 255


def ask_torchmetrics(probabilities, truth, bins=15, ignore_index=None):
    return float(
        multiclass_calibration_error(
            torch.as_tensor(probabilities),
            torch.as_tensor(truth),
            num_classes=probabilities.shape[-1],
            n_bins=bins,
            norm="l1",
            ignore_index=ignore_index,
        )
    )


@st.composite
def predictions(draw, most=4, ignored=True):
    """Probabilities that lie on no edge of a bin, where float32 would decide."""
    n, C = draw(st.integers(1, 20)), draw(st.integers(2, most))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet(np.full(C, draw(st.sampled_from([0.3, 1, 5]))), n)
    truth = draw(arrays(np.int64, n, elements=st.integers(0, C - 1)))
    if ignored:
        truth[1:] = np.where(draw(arrays(bool, n - 1)), IGNORE, truth[1:])
    return probabilities.astype("float32"), truth


@settings(max_examples=60)
@given(predictions(), st.sampled_from([1, 10, 15]))
def test_error_is_torchmetrics(pair, bins):
    probabilities, truth = pair
    assume(probabilities.max(axis=-1).max() < 1)
    theirs = ask_torchmetrics(probabilities, truth, bins, IGNORE)
    ours = expected_calibration_error(probabilities, truth, bins, IGNORE)
    # atol: sums in float32.
    assert theirs == pytest.approx(ours, abs=1e-5)


@settings(max_examples=30)
@given(predictions(most=2, ignored=False))
def test_bins_of_two_classes_are_monais_of_the_labeled_one(pair):
    """MONAI bins each class: of two, the labeled one is the one above one half."""
    probabilities, truth = pair
    hot = np.eye(2, dtype="float32")[truth]
    p, t = (torch.as_tensor(x.T[None, :, None]) for x in (probabilities, hot))
    confidence, accuracy, counts = (x.numpy()[0] for x in calibration_binning(p, t, 10))
    ours = reliability(probabilities, truth, 10)
    upper = slice(5, 10)
    np.testing.assert_array_equal(ours.counts[upper], counts.sum(axis=0)[upper])
    both = np.nansum(confidence * counts, axis=0)[upper]
    np.testing.assert_allclose(ours.total_confidence[upper], both, rtol=1e-5)
    right = np.nansum(accuracy * counts, axis=0)[upper]
    np.testing.assert_allclose(ours.correct[upper], right, atol=1e-4)


def test_certainty(differs):
    probabilities = np.array([[1, 0], [1, 0], [0.96, 0.04]], "float32")
    truth = np.array([0, 1, 0])
    why = "a confidence of exactly 1 has a bin of its own, beside the last one"
    theirs = ask_torchmetrics(probabilities, truth)
    ours = expected_calibration_error(probabilities, truth)
    differs("confidences 1, 1 and 0.96", "torchmetrics, multiclass", theirs, ours, why)


def test_one_probability_for_two_classes(differs):
    p = np.array([0.1, 0.2, 0.9, 0.8], "float32")
    truth = np.array([0, 0, 1, 0])
    theirs = binary_calibration_error(torch.as_tensor(p), torch.as_tensor(truth))
    ours = expected_calibration_error(np.stack([1 - p, p], axis=-1), truth)
    why = "compares p with the share of class 1, not confidence with accuracy"
    differs("p of class 1: .1 .2 .9 .8", "torchmetrics, binary", theirs, ours, why)


def test_classes_apart(differs):
    probabilities = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1]], "float32")
    truth = np.array([0, 1])
    hot = np.eye(3, dtype="float32")[truth]
    p, t = (torch.as_tensor(x.T[None, :, None]) for x in (probabilities, hot))
    confidence, accuracy, counts = (x.numpy()[0] for x in calibration_binning(p, t, 15))
    errors = (
        np.nansum(counts * abs(confidence - accuracy), axis=-1) / 2
    )  # of each class
    ours = expected_calibration_error(probabilities, truth)
    why = "bins every class in each image, also those that are not the label"
    differs("3 classes, 2 pixels", "MONAI, mean over classes", errors.mean(), ours, why)

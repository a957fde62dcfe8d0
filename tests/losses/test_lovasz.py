"""Lovász-softmax: its definition by sets, and its values at decided predictions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seglab import metrics
from seglab.losses import Lovasz

IGNORE = 255


def one_minus_iou(truth, wrong):
    """If exactly the pixels in `wrong` are labeled wrongly; all are sets."""
    prediction = truth ^ wrong
    union = truth | prediction
    return 1 - len(truth & prediction) / len(union)


def lovasz(masks, logits):
    """The extension by its definition: a set of wrong pixels that grows."""
    p = np.exp(logits - logits.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    pixels = [place for place in np.ndindex(*masks.shape) if masks[place] != IGNORE]
    values = []
    for k in range(logits.shape[-1]):
        truth = {place for place in pixels if masks[place] == k}
        if not truth:
            continue
        error = {q: abs((q in truth) - p[q][k]) for q in pixels}
        wrong, before, value = set(), 0.0, 0.0
        for place in sorted(pixels, key=error.get, reverse=True):
            wrong = wrong | {place}
            now = one_minus_iou(truth, wrong)
            value += error[place] * (now - before)
            before = now
        values.append(value)
    return np.mean(values) if values else 0.0


def lovasz_of_images(masks, logits):
    values = [
        lovasz(masks[[n]], logits[[n]])
        for n in range(len(masks))
        if (masks[n] != IGNORE).any()
    ]
    return np.mean(values) if values else 0.0


@pytest.mark.backends
@pytest.mark.parametrize("per_image", [False, True])
def test_lovasz_and_its_gradient_by_the_definition(per_image, batch, agrees):
    oracle = lovasz_of_images if per_image else lovasz
    agrees(Lovasz(ignore_index=IGNORE, per_image=per_image), oracle, *batch())


@settings(max_examples=15)
@given(
    st.integers(0, 999),
    st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4)),
    st.sampled_from([0, 0.5, 0.95]),
    st.booleans(),
)
def test_any_batch_by_the_definition(batch, agrees, seed, shape, ignored, per_image):
    oracle = lovasz_of_images if per_image else lovasz
    loss = Lovasz(ignore_index=IGNORE, per_image=per_image)
    data = batch(shape, 4, seed=seed, ignored=ignored)
    agrees(loss, oracle, *data, gradient=False)


@settings(max_examples=15)
@given(st.integers(0, 999), st.booleans())
def test_at_decided_predictions_it_is_one_minus_the_iou(seed, per_image):
    rng = np.random.default_rng(seed)
    truth = rng.choice([0, 1, 2, IGNORE], (2, 5, 6), p=[0.5, 0.3, 0, 0.2])
    guess = rng.integers(0, 4, truth.shape)
    # exp(-100) is 0 in float32: probabilities of 0 and 1.
    logits = 100 * np.eye(4, dtype=np.float32)[guess]
    value = float(Lovasz(ignore_index=IGNORE, per_image=per_image)(truth, logits))
    matrix = metrics.confusion_matrix(truth, guess, 4, IGNORE, per_image=per_image)
    scores = np.atleast_2d(metrics.iou(matrix))
    present = np.atleast_2d(matrix.sum(axis=-1) > 0)
    expected = np.mean([1 - s[p].mean() for s, p in zip(scores, present, strict=True)])
    assert value == pytest.approx(expected, abs=1e-6)


@settings(max_examples=15)
@given(st.integers(0, 999), st.floats(0.05, 0.95))
def test_between_predictions_it_is_convex(seed, share):
    """In the probabilities, of which two classes have one each."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 2, (1, 3, 4))
    a, b = rng.uniform(0.01, 0.99, (2, *truth.shape))

    def loss(p):
        logits = np.stack([np.log(1 - p), np.log(p)], axis=-1).astype(np.float32)
        return float(Lovasz()(truth, logits))

    chord = share * loss(a) + (1 - share) * loss(b)
    assert loss(share * a + (1 - share) * b) <= chord + 1e-6


def test_equal_errors_have_no_order_to_depend_on(differentiate):
    """Undecided everywhere: the loss is one half whatever the sort does with ties."""
    truth = np.array([[[0, 1, 1, 0, 1]]])
    value, gradient = differentiate(Lovasz(), truth, np.zeros((1, 1, 5, 2), np.float32))
    assert value == pytest.approx(0.5)
    assert np.isfinite(gradient).all()


def test_many_pixels_keep_their_share(differentiate):
    """A slope of one in 262144 is not the rounded difference of two numbers near 1."""
    truth = np.zeros((1, 512, 512), np.int32)
    truth[0, :256] = 1
    p = np.random.default_rng(0).uniform(0.3, 0.7, truth.shape)
    logits = np.stack([np.log(1 - p), np.log(p)], axis=-1).astype(np.float32)
    value, _ = differentiate(Lovasz(), truth, logits)
    # In float64, from the sorted errors of each class.
    expected = []
    for k, q in enumerate((1 - p, p)):
        t = (truth == k).ravel().astype(float)
        error = np.abs(t - q.ravel())
        order = np.argsort(-error)
        left = t.sum() - np.cumsum(t[order])
        union = t.sum() + np.cumsum(1 - t[order])
        grows = np.diff(1 - left / union, prepend=0)
        expected.append(error[order] @ grows)
    assert value == pytest.approx(np.mean(expected), rel=1e-5)

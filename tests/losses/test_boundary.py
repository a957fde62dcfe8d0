"""The boundary loss against SciPy's distance transform and the paper's formula."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from keras import ops
from scipy import ndimage
from scipy.special import softmax

from seglab.losses import Boundary, Dice, signed_distance

IGNORE = 255
MASKS = hnp.arrays(
    np.int32,
    st.tuples(st.integers(1, 2), st.integers(1, 9), st.integers(1, 9)),
    elements=st.sampled_from([0, 1, 2, IGNORE]),
)


def distance_by_scipy(masks, C):
    """To the nearest pixel of the class, and of another class, from SciPy."""
    phi = np.zeros((*masks.shape, C))
    for n, mask in enumerate(masks):
        for k in range(C):
            inside, outside = mask == k, (mask != k) & (mask != IGNORE)
            if not (inside.any() and outside.any()):
                continue
            to_class = ndimage.distance_transform_edt(~inside)
            to_others = ndimage.distance_transform_edt(~outside)
            phi[n, ..., k] = np.where(inside, 0.5 - to_others, to_class - 0.5)
    return phi


def boundary(masks, logits):
    """Equation 4 of the paper, divided by the number of pixels and classes."""
    C = logits.shape[-1]
    phi, p = distance_by_scipy(masks, C), softmax(logits, axis=-1)
    counted = masks != IGNORE
    of_prediction = (phi * p)[counted].sum()
    of_truth = phi[np.eye(C, dtype=bool)[np.where(counted, masks, 0)]][
        counted.ravel()
    ].sum()
    return (of_prediction - of_truth) / (C * max(counted.sum(), 1))


@settings(max_examples=25)
@given(MASKS)
def test_distance_is_that_of_scipy(masks):
    phi = ops.convert_to_numpy(signed_distance(masks, 3, ignore_index=IGNORE))
    assert phi.dtype == np.float32
    counted = masks != IGNORE
    expected = distance_by_scipy(masks, 3)
    # Square roots of whole numbers, in float32.
    np.testing.assert_allclose(phi[counted], expected[counted], rtol=1e-6, atol=1e-6)
    assert np.isfinite(phi).all()


@pytest.mark.backends
def test_distance_in_a_large_image():
    masks = np.zeros((2, 61, 90), np.int32)
    masks[0, 0, 0] = masks[1, 60, 89] = 1
    masks[1, 30:, :7] = 2
    phi = ops.convert_to_numpy(signed_distance(masks, 3))
    np.testing.assert_allclose(phi, distance_by_scipy(masks, 3), rtol=1e-6)


def test_two_classes_mirror_each_other():
    masks = np.random.default_rng(0).integers(0, 2, (1, 8, 8))
    phi = ops.convert_to_numpy(signed_distance(masks, 2))
    np.testing.assert_array_equal(phi[..., 0], -phi[..., 1])
    assert ((phi[..., 1] < 0) == (masks == 1)).all()
    assert np.abs(phi).min() == 0.5


@pytest.mark.backends
def test_loss_and_its_gradient_by_the_paper(batch, agrees):
    agrees(Boundary(ignore_index=IGNORE), boundary, *batch((2, 4, 5)))


@settings(max_examples=15)
@given(MASKS, st.integers(0, 99))
def test_any_batch_by_the_paper(agrees, masks, seed):
    logits = np.random.default_rng(seed).normal(size=(*masks.shape, 3))
    loss = Boundary(ignore_index=IGNORE)
    agrees(loss, boundary, masks, logits.astype(np.float32), gradient=False)


def test_the_dropped_constant_has_no_gradient(batch, differentiate):
    """The paper's loss is the mean of probability times distance."""
    masks, logits = batch((2, 4, 5), ignored=0)
    phi = distance_by_scipy(masks, 3).astype(np.float32)

    def of_the_paper(y, x):
        return ops.mean(ops.softmax(x, axis=-1) * phi)

    _, expected = differentiate(of_the_paper, masks, logits)
    _, gradient = differentiate(Boundary(), masks, logits)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-7)


def test_an_error_costs_its_distance():
    truth = np.array([[[0] * 6 + [1] * 4]])
    costs = []
    for column in range(6):
        guess = truth.copy()
        guess[..., column] = 1
        logits = 100 * np.eye(2, dtype=np.float32)[guess]
        costs.append(float(Boundary()(truth, logits)))
    # Both classes count a wrong pixel: twice, over 10 pixels and 2 classes.
    np.testing.assert_allclose(costs, (np.arange(6, 0, -1) - 0.5) / 10, rtol=1e-5)


def test_a_class_without_a_boundary_adds_nothing(differentiate):
    truth = np.ones((2, 3, 3), np.int32)
    logits = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).astype(np.float32)
    value, gradient = differentiate(Boundary(), truth, logits)
    assert value == 0
    assert not gradient.any()
    # So it is for a sum: what is left is Dice.
    both = 0.5 * Boundary() + Dice()
    assert float(both(truth, logits)) == float(Dice()(truth, logits))


def test_signed_distance_refuses_what_has_no_boundary():
    with pytest.raises(ValueError, match="num_classes is 1"):
        signed_distance(np.zeros((1, 2, 2), int), num_classes=1)
    with pytest.raises(ValueError, match="y_true holds the label 5"):
        signed_distance(np.array([[[0, 5]]]), num_classes=2)
    signed_distance(np.array([[[0, 255]]]), num_classes=2, ignore_index=255)

"""Class weights by exact fractions, and by what they are for."""

from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab.data import Split
from seglab.losses import (
    CrossEntropy,
    effective_number_weights,
    median_frequency_weights,
)

# Pixels of the eleven classes in the 367 training masks of CamVid (SegNet's copy).
CAMVID = [
    *(10682767, 14750079, 623349, 20076880, 2845085, 6166762),
    *(743859, 714595, 3719877, 405385, 184967),
]
TABLES = st.lists(
    st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=4
).filter(lambda table: np.any(table))


@given(TABLES)
def test_median_frequency_by_fractions(table):
    frequency = {}
    for k in range(3):
        having = [row for row in table if row[k]]
        if having:
            pixels = sum(row[k] for row in having)
            frequency[k] = Fraction(pixels, sum(map(sum, having)))
    middle = median(frequency.values())
    expected = [float(middle / frequency[k]) if k in frequency else 0 for k in range(3)]
    np.testing.assert_allclose(median_frequency_weights(table), expected)


def test_median_frequency_of_camvid():
    weights = median_frequency_weights(CAMVID)
    # Eleven classes, so the middle one (bicycles' rank aside) weighs exactly 1.
    assert sorted(weights)[5] == 1
    np.testing.assert_allclose(weights * CAMVID, 2845085)
    assert weights.argmax() == 10 and weights.argmin() == 3


@given(st.lists(st.integers(0, 2000), min_size=1, max_size=5).filter(any))
def test_effective_number_as_the_sum_that_it_is(counts):
    """E_n = 1 + β + ... + β^(n-1): what each further pixel adds, one by one."""
    beta = 0.99
    E = [sum(beta**j for j in range(n)) for n in counts]
    raw = np.array([1 / e if e else 0 for e in E])
    expected = raw / raw[raw > 0].mean()
    np.testing.assert_allclose(effective_number_weights(counts, beta), expected)


def test_effective_number_between_its_limits():
    np.testing.assert_allclose(effective_number_weights(CAMVID, 0), 1)
    inverse = 1 / np.array(CAMVID)
    # 1 - β is a thousandth of one pixel's share: n β^n is 1 to 1 %.
    limit = effective_number_weights(CAMVID, 1 - 1e-10)
    np.testing.assert_allclose(limit, inverse / inverse.mean(), rtol=0.01)
    # For so many pixels, the values meant for images change nothing.
    np.testing.assert_allclose(effective_number_weights(CAMVID, 0.9999), 1, rtol=1e-6)


def split(masks, ignore_index=None):
    masks = np.array(masks)
    images = np.zeros((*masks.shape, 1), np.float32)
    return Split(images, masks, ("a", "b", "c"), ignore_index=ignore_index)


def test_a_split_is_counted_image_by_image():
    part = split([[[0, 0, 0, 1]], [[0, 255, 255, 255]]], ignore_index=255)
    table = [[3, 1, 0], [1, 0, 0]]
    # Class 0: 4 of 5 pixels. Class 1: 1 of the 4 of its image. Class 2: none.
    f = np.array([4 / 5, 1 / 4])
    expected = [*(np.median(f) / f), 0]
    np.testing.assert_allclose(median_frequency_weights(part), expected)
    np.testing.assert_allclose(median_frequency_weights(table), expected)
    np.testing.assert_allclose(
        effective_number_weights(part, 0.5), effective_number_weights([4, 1, 0], 0.5)
    )


def test_balanced_classes_count_alike():
    """Whatever the sizes, the loss is the mean of the classes' own means."""
    part = split([[[0] * 6 + [1] * 3 + [2]]])
    logits = np.random.default_rng(0).normal(size=(1, 1, 10, 3)).astype(np.float32)
    loss = CrossEntropy(class_weights=median_frequency_weights(part))
    alone = []
    for k in range(3):
        of_class = part.masks == k
        masks, scores = part.masks[of_class], logits[of_class]  # (P,), (P, 3)
        alone.append(float(CrossEntropy()(masks[None, None], scores[None, None])))
    assert float(loss(part.masks, logits)) == pytest.approx(np.mean(alone), rel=1e-5)


@pytest.mark.parametrize("counts", [[-1, 2], [0, 0], [np.nan, 1], [[[1]]], []])
def test_what_is_no_count_is_refused(counts):
    with pytest.raises(ValueError, match="counts is"):
        median_frequency_weights(counts)
    with pytest.raises(ValueError, match="counts is"):
        effective_number_weights(counts, 0.9)


@pytest.mark.parametrize("beta", [-0.1, 1, 2, np.nan])
def test_beta_is_at_least_0_and_below_1(beta):
    with pytest.raises(ValueError, match="beta is"):
        effective_number_weights([1, 2], beta)

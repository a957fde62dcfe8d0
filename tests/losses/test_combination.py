"""Sums of losses: they are sums, read as written, and come apart again."""

import keras
import numpy as np
import pytest

from seglab.losses import Boundary, CrossEntropy, Dice, Lovasz, Sum

IGNORE = 255


@pytest.mark.backends
def test_value_and_gradient_are_the_weighted_sums(batch, differentiate):
    data = batch()
    parts = [CrossEntropy(ignore_index=IGNORE), Dice(ignore_index=IGNORE)]
    (a, slope_a), (b, slope_b) = (differentiate(part, *data) for part in parts)
    value, slope = differentiate(0.5 * parts[0] + 3 * parts[1], *data)
    assert value == pytest.approx(0.5 * a + 3 * b, rel=1e-6)
    np.testing.assert_allclose(slope, 0.5 * slope_a + 3 * slope_b, rtol=1e-4, atol=1e-7)


def test_sums_are_written_in_any_way():
    a, b, c = CrossEntropy(), Dice(), Lovasz()
    for total in (
        0.5 * a + b + 2 * c,
        0.5 * a + (b + c * 2),
        2 * (0.25 * a + 0.5 * b + c),
        Sum([a, b, c], weights=[0.5, 1, 2]),
        Sum([0.5 * a + b, c], weights=[1, np.float32(2)]),
    ):
        assert total.losses == [a, b, c]
        assert total.weights == [0.5, 1, 2]
        assert repr(total) == "0.5 * cross_entropy + 1 * dice + 2 * lovasz"


def test_other_losses_can_be_in_it(batch):
    masks, logits = batch(ignored=0)
    theirs = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(theirs(masks, logits)) + float(Dice()(masks, logits))
    for total in (theirs + Dice(), Dice() + theirs):
        assert float(total(masks, logits)) == pytest.approx(expected, rel=1e-6)
        assert total.ignore_index is None
    again = Sum.from_config((theirs + Dice()).get_config())
    assert float(again(masks, logits)) == pytest.approx(expected, rel=1e-6)


def test_weights_of_pixels_reach_each_part(batch):
    masks, logits = batch(ignored=0)
    pixels = np.random.default_rng(0).random(masks.shape)
    once, twice = CrossEntropy(), CrossEntropy() + CrossEntropy()
    expected = 2 * float(once(masks, logits, pixels))
    assert float(twice(masks, logits, pixels)) == pytest.approx(expected, rel=1e-6)


def test_ignore_index_is_that_of_the_parts():
    total = Dice(ignore_index=IGNORE) + 0.01 * Boundary(ignore_index=IGNORE)
    assert total.ignore_index == IGNORE
    assert Sum([keras.losses.MeanSquaredError()]).ignore_index is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dice() + Dice(ignore_index=0), r"different ignore_index \(dice: None"),
        (lambda: Sum([]), "0 losses and 0 weights"),
        (lambda: Sum([Dice()], weights=[1, 2]), "1 losses and 2 weights"),
        (lambda: Sum([Dice]), "must be a keras.losses.Loss object"),
        (lambda: -1 * Dice(), "a weight is -1"),
        (lambda: float("nan") * Dice(), "a weight is nan"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("other", ["dice", None, 3, Dice])
def test_only_losses_can_be_added(other):
    with pytest.raises(TypeError):
        Dice() + other
    with pytest.raises(TypeError):
        other + Dice()
    with pytest.raises(TypeError):
        Dice() * (other if other != 3 else "3")

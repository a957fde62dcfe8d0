"""Schedules against their formulas, Keras's schedules and PyTorch's."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seglab.training.schedules import (
    Constant,
    Cosine,
    OneCycle,
    OverSteps,
    Polynomial,
    WarmUp,
)

ALL = [
    Constant(0.01),
    Cosine(0.01),
    Cosine(0.01, end=0.001),
    Polynomial(0.01),
    Polynomial(0.01, power=2, end=0.001),
    OneCycle(0.01),
    OneCycle(0.01, rise=0.5, start_factor=0, end_factor=0.1),
    WarmUp(Cosine(0.01), share=0.1),
    WarmUp(Polynomial(0.01), share=0.25, start=0.001),
    WarmUp(WarmUp(Constant(0.01)), share=0.5),
]


def at(schedule, steps):
    """The rate at each step, as a Keras optimizer would read it."""
    rate = OverSteps(schedule, steps)
    return np.array([float(rate(step)) for step in range(steps + 1)])


@pytest.mark.parametrize(
    ("schedule", "keras_schedule"),
    [
        (Cosine(0.3), ("CosineDecay", {})),
        (Cosine(0.3, end=0.03), ("CosineDecay", {"alpha": 0.1})),
        (Polynomial(0.3), ("PolynomialDecay", {"power": 0.9, "end_learning_rate": 0})),
        (
            Polynomial(0.3, power=2, end=0.01),
            ("PolynomialDecay", {"power": 2, "end_learning_rate": 0.01}),
        ),
    ],
)
def test_the_same_as_keras(schedule, keras_schedule):
    name, options = keras_schedule
    theirs = getattr(keras.optimizers.schedules, name)(0.3, 20, **options)
    expected = [float(theirs(step)) for step in range(21)]
    # float32: 1e-6 of the peak.
    np.testing.assert_allclose(at(schedule, 20), expected, atol=3e-7)


def test_warm_up_is_that_of_keras():
    theirs = keras.optimizers.schedules.CosineDecay(
        0.02, 15, warmup_target=0.3, warmup_steps=5
    )
    ours = at(WarmUp(Cosine(0.3), share=0.25, start=0.02), 20)
    expected = [float(theirs(step)) for step in range(21)]
    np.testing.assert_allclose(ours, expected, atol=3e-7)


ONE_CYCLE = {
    0: 0.04,
    10: 0.28,
    20: 0.76,
    30: 1.0,
    40: 0.9504846320134737,
    50: 0.8117456539497631,
    60: 0.6112620219362893,
    70: 0.388741978063711,
    80: 0.1882583460502373,
    90: 0.0495193679865268,
    100: 4e-06,
}
"""Of torch 2.13.0: OneCycleLR(max_lr=1, total_steps=101, pct_start=31 / 101), which
puts the peak at step 30 of 0 to 100. (PyTorch's peak is at pct_start * total_steps - 1,
and its last step at total_steps - 1.)"""


def test_one_cycle_is_that_of_pytorch():
    ours = OneCycle(1.0)
    for step, expected in ONE_CYCLE.items():
        assert ours(step / 100) == pytest.approx(expected, abs=1e-12)


@pytest.mark.backends
@pytest.mark.parametrize("rise", [0.1, 0.3, 0.5])
def test_one_cycle_against_pytorch_itself(rise):
    torch = pytest.importorskip("torch")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=0.5, total_steps=101, pct_start=(100 * rise + 1) / 101
    )
    ours = OneCycle(0.5, rise=rise)
    for step in range(101):
        expected = schedule.get_last_lr()[0]
        assert ours(step / 100) == pytest.approx(expected, abs=1e-9), step
        if step < 100:
            optimizer.step()
            schedule.step()


@given(st.floats(0, 1), st.floats(1e-6, 10), st.floats(0.1, 3))
def test_polynomial_is_its_formula(p, peak, power):
    assert Polynomial(peak, power=power)(p) == pytest.approx(peak * (1 - p) ** power)


@given(st.sampled_from(ALL), st.floats(0, 1))
def test_rates_stay_between_nothing_and_the_peak(schedule, p):
    rate = schedule(p)
    assert isinstance(rate, float)
    assert 0 <= rate <= 0.01 * (1 + 1e-12)


@pytest.mark.parametrize("schedule", ALL)
def test_shapes_and_ends(schedule):
    p = np.linspace(0, 1, 12).reshape(3, 4)
    rates = schedule(p)
    assert rates.shape == (3, 4)
    assert [schedule(float(x)) for x in p.ravel()] == rates.ravel().tolist()
    # Beyond either end nothing changes, and nothing is NaN.
    assert schedule(-1) == schedule(0)
    assert schedule(2) == schedule(1)


@pytest.mark.backends
@pytest.mark.parametrize("schedule", ALL)
def test_a_tensor_gives_the_same_rate(schedule):
    steps = 7  # thirds and sevenths round
    expected = schedule(np.arange(steps + 1) / steps)
    np.testing.assert_allclose(at(schedule, steps), expected, atol=2e-9)
    assert math.isfinite(float(OverSteps(schedule, steps)(10 * steps)))


@pytest.mark.backends
@pytest.mark.parametrize("schedule", ALL)
def test_a_schedule_is_stored_with_its_optimizer(schedule):
    optimizer = keras.optimizers.SGD(OverSteps(schedule, 40))
    config = keras.saving.serialize_keras_object(optimizer)
    back = keras.saving.deserialize_keras_object(config)
    assert back._learning_rate.schedule == schedule
    assert back._learning_rate.steps == 40


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Constant(0), "rate is 0; it must be above 0"),
        (lambda: Cosine(-1), "peak is -1"),
        (lambda: Cosine(math.nan), "peak is nan"),
        (lambda: Cosine(0.1, end=-1), "end is -1; it must be 0 or more"),
        (lambda: Polynomial(math.inf), "peak is inf.*finite"),
        (lambda: Polynomial(0.1, power=0), "power is 0"),
        (lambda: OneCycle(0.1, rise=1), "rise is 1; it must be between 0 and 1"),
        (lambda: OneCycle(0.1, end_factor=-1), "end_factor is -1"),
        (lambda: WarmUp(Cosine(0.1), share=0), "share is 0"),
        (lambda: WarmUp(0.1), "schedule is 0.1; WarmUp comes before"),
        (lambda: replace(OneCycle(0.1), peak=0), "peak is 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()

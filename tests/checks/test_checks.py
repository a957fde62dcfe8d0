"""Every exercise that can be checked accepts its solution and refuses a stub."""

import numpy as np
import pytest

from seglab import checks
from seglab.checks import EXERCISES, Exercise, check
from seglab.checks.exercise import Verdict


def stub(*arguments): ...


@pytest.mark.parametrize("label", sorted(EXERCISES))
def test_an_exercise_tells_right_from_wrong(label):
    exercise = EXERCISES[label]
    right = exercise.judge(exercise.solution)
    assert right, right.message
    assert right.message.startswith("Right")
    for hint, answer in exercise.wrong.items():
        assert f": {hint}." in exercise.judge(answer).message
    for answer in (stub, ..., None, *exercise.wrong.values()):
        verdict = exercise.judge(answer)
        assert not verdict
        assert verdict.message.startswith("Not yet: ")
        assert "\n" not in verdict.message
        assert "0x" not in verdict.message  # no two runs share an address


@pytest.mark.parametrize("label", sorted(EXERCISES))
def test_cases_are_several_and_the_same_each_time(label):
    cases = EXERCISES[label].cases
    if cases is None:
        return
    first, again = (list(cases(np.random.default_rng(0))) for _ in range(2))
    assert len(first) >= 3
    np.testing.assert_equal(first, again)


def test_labels_name_the_page_they_are_of():
    for page in checks._PAGES:
        name = page.__name__.rpartition(".")[2].replace("_", "-")
        assert page.EXERCISES
        assert all(label.startswith(f"ex-{name}-") for label in page.EXERCISES)
    assert len(EXERCISES) == sum(len(page.EXERCISES) for page in checks._PAGES)


def test_an_unknown_label_names_the_nearest():
    with pytest.raises(ValueError, match="'ex-evaluation-halve'; there is ex-evalu"):
        check("ex-evaluation-halve", 1)
    with pytest.raises(ValueError, match="'zzz'; there is ex-"):
        check("zzz", 1)


double = Exercise(lambda x: 2 * x, lambda rng: [(1,), (np.ones((5, 5)),)])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (stub, "stub gave None for (1); expected 2"),
        (lambda x: x, "your function gave 1 for (1); expected 2"),
        (lambda x: "2", "your function gave '2' for (1); expected 2"),
        (lambda x: x / 0, "your function raised for (1) ZeroDivisionError: division"),
        (lambda: 2, "your function raised for (1) TypeError"),
        (lambda x: [2], "gave an array of shape (1,) for (1); expected a number"),
        (
            lambda x: np.sum(2 * x),
            "gave 50 for (an array of shape (5, 5)); expected shape (5, 5)",
        ),
        (
            lambda x: 2 * x if np.ndim(x) == 0 else np.r_[2 * x[:3], 3 * x[3:]],
            "gave 3 at [3, 0] for (an array of shape (5, 5)); expected 2",
        ),
        (lambda x: np.full(np.shape(x), np.nan)[()], "gave nan for (1); expected 2"),
        (2, "expected a function, got 2"),
    ],
)
def test_a_wrong_function_is_told_where_it_failed(answer, message):
    verdict = double.judge(answer)
    assert not verdict
    assert message in repr(verdict)


def test_a_mistake_that_is_listed_is_named_and_no_other():
    twice = Exercise(
        lambda x: 2 * x,
        lambda rng: [(1,), (3,)],
        wrong={"that is the square": lambda x: x * x, "it raises": lambda x: x / 0},
    )
    assert "expected 2: that is the square." in twice.judge(lambda x: x**2).message
    assert twice.judge(lambda x: x).message.endswith("expected 2.")
    assert "that is" not in twice.judge(lambda x: x**2 if x < 3 else 5).message
    assert "it raises" not in twice.judge(lambda x: x / 0).message
    pair = Exercise((1, 2), wrong={"first": (3, 4), "second": (1, 4)})
    assert "3, is not right: first." in pair.judge((3, 9)).message
    assert "4, is not right: second." in pair.judge((1, 4)).message
    assert pair.judge((1, 9)).message.endswith("9, is not right.")


def test_an_answer_may_spoil_what_it_is_given():
    def spoil(x):
        result = 2 * x
        if isinstance(x, np.ndarray):
            x[:] = 7
        return result

    image = np.ones((2, 2))
    assert Exercise(lambda x: 2 * x, lambda rng: [(image,), (image,)]).judge(spoil)
    assert (image == 1).all()


def test_lists_and_integers_are_numbers_too():
    halves = Exercise(lambda x: np.array([x / 2, 1]), lambda rng: [(2,), (4,), (6,)])
    assert halves.judge(lambda x: [x // 2, 1])
    assert not halves.judge(lambda x: [[x], [1, 2]])  # no array at all


def test_functions_may_give_several_things():
    split = Exercise(
        lambda x: (x, "even" if x % 2 == 0 else "odd", x > 2, None),
        lambda rng: [(2,), (3,)],
    )
    assert split.judge(split.solution)
    assert split.judge(
        lambda x: [x, "even" if x % 2 == 0 else "odd", np.bool_(x > 2), None]
    )
    verdict = split.judge(lambda x: (x, "even", False, None))
    assert verdict.message == (
        "Not yet: your function gave 'even' as value 2 for (3); expected 'odd'."
    )
    assert "expected 4 values" in split.judge(lambda x: x).message
    assert "gave 1 as value 3" in split.judge(lambda x: (x, "even", 1, None)).message


def test_numbers_are_compared_within_the_tolerance():
    third = Exercise(1 / 3, tolerance=0.01)
    assert third.judge(0.333)
    assert repr(third.judge(np.float32(1 / 3))) == "Right."
    assert repr(third.judge(0.3)) == "Not yet: 0.3 is not right."
    assert repr(third.judge(...)) == "Not yet: the answer is still to be filled in."
    assert not third.judge("a third")
    assert not third.judge([1 / 3, 1 / 3])
    assert Exercise(np.nan).judge(float("nan"))


def test_a_verdict_is_true_or_false_and_prints_its_message():
    assert Verdict(True, "Right.")
    assert not Verdict(False, "Not yet.")
    assert repr(Verdict(False, "Not yet.")) == "Not yet."


def test_long_values_are_shown_by_their_kind():
    assert "got list" in double.judge(list(range(100))).message
    assert "[1, 2]" in Exercise(3).judge(np.array([1, 2])).message

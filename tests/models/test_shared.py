"""The checks that every network makes of its arguments."""

import numpy as np
import pytest

from seglab.models._shared import check_arguments, check_choice, check_dropout


@pytest.mark.parametrize(
    "shape", [(64, 48, 3), [None, 48, 1], (None, None, np.int64(3))]
)
def test_good_shapes_pass(shape):
    check_arguments(shape, 2, width=np.int32(8))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 64), r"input_shape is \(64, 64\); it must be \(H, W, C\)"),
        ((2, 64, 64, 1), "without the batch axis"),
        ((64, 64, None), "no number of channels"),
        ((0, 64, 1), "the height in input_shape is 0"),
        ((64, -1, 1), "the width in input_shape is -1"),
        ((64, 64.0, 1), "the width in input_shape is 64.0"),
        ((64, 64, 0), "the number of channels in input_shape is 0"),
    ],
)
def test_bad_shapes_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        check_arguments(shape, 2)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "8", None, float("nan")])
def test_what_must_count_is_an_integer_from_1(value):
    with pytest.raises(ValueError, match=r"num_classes is .* an integer, 1 or more"):
        check_arguments((8, 8, 1), value)
    with pytest.raises(ValueError, match=r"depth is .* an integer, 1 or more"):
        check_arguments((8, 8, 1), 2, width=3, depth=value)


def test_choices_are_spelled_out():
    check_choice("stride", 16, (8, 16, 32))
    with pytest.raises(ValueError, match="stride is 4; it must be 8, 16 or 32"):
        check_choice("stride", 4, (8, 16, 32))


@pytest.mark.parametrize("dropout", [1, -0.1, float("nan")])
def test_dropout_is_a_share_below_1(dropout):
    check_dropout(0)
    with pytest.raises(ValueError, match=r"dropout is .* at least 0 and below 1"):
        check_dropout(dropout)

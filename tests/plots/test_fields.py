"""Receptive fields: the picture says what following the windows by hand says."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from seglab import geometry
from seglab.plots import alt_text, pyramid, receptive_field

VGG_START = [(3, 1), (3, 1), (2, 2), (3, 1), (3, 1), (2, 2)]


def field_rectangle(figure):
    """Rows and columns that the drawn frame encloses."""
    frames = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    frame = next(p for p in frames if not p.get_fill() and p.get_linewidth() == 2)
    x, y = frame.get_x() + 0.5, frame.get_y() + 0.5
    return (y, y + frame.get_height() - 1), (x, x + frame.get_width() - 1)


def test_the_frame_encloses_the_pixels_that_the_unit_sees():
    # Two 3-convolutions see 5, pooling 6 and a jump of 2; twice: 16 and 4. Unit u
    # begins at pixel 4 u.
    figure = receptive_field(VGG_START, np.zeros((64, 80)), unit=(3, 5))
    assert field_rectangle(figure) == ((12, 27), (20, 35))
    assert "rows 12 to 27, columns 20 to 35" in alt_text(figure)
    assert figure.legends[0].get_texts()[0].get_text() == "field: 16 × 16"


def test_by_default_the_field_is_in_the_middle():
    rows, columns = field_rectangle(receptive_field(VGG_START, np.zeros((64, 81))))
    # Nearer than half a jump: no other unit's field is.
    assert abs(sum(rows) / 2 - 31.5) <= 2
    assert abs(sum(columns) / 2 - 40) <= 2


def test_fields_models_and_pairs():
    image = np.zeros((40, 40))
    tall, wide = (geometry.receptive_field([(k, 1)]) for k in (9, 3))
    figure = receptive_field((tall, wide), image, unit=(10, 10))
    assert field_rectangle(figure) == ((10, 18), (10, 12))
    one = receptive_field(tall, image, unit=(10, 10))
    assert field_rectangle(one) == ((10, 18), (10, 18))
    keras = pytest.importorskip("keras")
    model = keras.Sequential([keras.Input((40, 40, 1)), keras.layers.Conv2D(1, (9, 3))])
    of_model = receptive_field(model, image, unit=(10, 10))
    assert field_rectangle(of_model) == field_rectangle(figure)


def test_what_sticks_out_is_padding():
    inside = receptive_field([(5, 1)], np.zeros((9, 9)), unit=(2, 2))
    assert "padding" not in alt_text(inside)
    figure = receptive_field([(5, 1, 1, 2)], np.zeros((9, 9)), unit=(0, 8))
    assert field_rectangle(figure) == ((-2, 2), (6, 10))
    ax = figure.axes[0]
    assert ax.get_xlim()[1] > 10.5 and ax.get_ylim()[1] < -2.5
    assert figure.legends[0].get_texts()[-1].get_text() == "padding"
    # The image lies over it.
    hatched = next(p for p in ax.patches if p.get_hatch())
    assert hatched.get_zorder() < ax.images[0].get_zorder()


def test_the_effect_is_painted_and_measured():
    heat = np.zeros((9, 9))
    heat[3:6, 4] = [1, 4, 1]  # one pixel of the 25 has more than half
    figure = receptive_field([(5, 1)], np.full((9, 9), 0.5), effective=heat)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    assert to_hex(drawn[4, 4]) == "#d55e00"
    np.testing.assert_allclose(drawn[0, 0], 0.5)
    assert "Half of the effect comes from 4 % of the field." in alt_text(figure)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": (50, 0)}, "sees rows 50 to 52 .* nothing of the image"),
        ({"effective": np.ones((3, 3))}, r"effective has shape \(3, 3\)"),
        ({"effective": -np.ones((9, 9))}, "absolute values"),
        ({"effective": np.zeros((9, 9))}, "not all 0"),
        ({"effective": np.full((9, 9), np.nan)}, "0 or more"),
        ({"image": np.full((9, 9), 2.0)}, "image has values"),
        ({"field": [(3,)]}, "must be .kernel, stride"),
        ({"field": (geometry.receptive_field([(3, 1)]),) * 3}, "3 receptive fields"),
    ],
)
def test_what_does_not_fit_is_named(options, message):
    good = {"field": [(3, 1)], "image": np.zeros((9, 9))}
    with pytest.raises(ValueError, match=message):
        receptive_field(**good | options)


LAYERS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    min_size=1,
    max_size=3,
)


def followed(layers):
    """Units of each level that unit 0 of the last depends on, window by window."""
    levels = [{0}]
    for kernel, stride, dilation in reversed(layers):
        below = set()
        for unit in levels[0]:
            for tap in range(kernel):
                below.add(unit * stride + tap * dilation)
        levels.insert(0, below)
    return levels


def center_of(layers, unit):
    """Center of a unit's window in the pixels, layer by layer."""
    for kernel, stride, dilation in reversed(layers):
        unit = unit * stride + (kernel - 1) * dilation / 2
    return unit


@settings(max_examples=15)
@given(LAYERS)
def test_a_pyramid_marks_the_units_that_count(layers):
    figure = pyramid(layers)
    marked = [
        line for line in figure.axes[0].lines if to_hex(line.get_color()) == "#e69f00"
    ]
    assert len(marked) == len(layers) + 1
    for level, (line, units) in enumerate(zip(marked, followed(layers), strict=True)):
        places = [center_of(layers[:level], u) for u in sorted(units)]
        np.testing.assert_allclose(line.get_xdata(), places)
        assert set(line.get_ydata()) == {level}
    # No line is drawn twice, and each joins neighbors in height.
    for level, bundle in enumerate(figure.axes[0].collections):
        kernel = layers[level][0]
        assert len(bundle.get_segments()) == kernel * len(followed(layers)[level + 1])
    pixels = followed(layers)[0]
    size = geometry.receptive_field(layers).size
    assert f"on {len(pixels)} of {size} pixels" in alt_text(figure).replace(
        "depends ", ""
    )


def test_a_pyramid_names_its_layers():
    figure = pyramid([(3, 1), (2, 2), (3, 1, 4)])
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == ["pixels", "kernel 3", "kernel 2\nstride 2", "kernel 3\ndilation 4"]
    assert figure.axes[0].get_xlabel() == "receptive field: 20 pixels, jump 2"


@pytest.mark.parametrize("layers", [[], [(3, 1)] * 9, [(65, 1)], VGG_START * 2])
def test_a_pyramid_that_cannot_be_seen_is_refused(layers):
    with pytest.raises(ValueError, match="a picture shows 1 to 8 layers"):
        pyramid(layers)

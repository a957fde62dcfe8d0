"""Error maps: wrong pixels are marked on the image, as in side_by_side."""

import numpy as np
import pytest

from seglab.plots import alt_text, error_map, side_by_side


def scene(size=(6, 8)):
    rng = np.random.default_rng(0)
    truth, guess = rng.integers(0, 3, (2, *size))
    truth[0] = 255
    return rng.random((*size, 3)), truth, guess


def covered(ax, size):
    """Pixels under each patch of an axes, by the look of its hatch."""
    rows, columns = np.indices(size).reshape(2, -1)
    points = np.stack([columns, rows], axis=1)
    return {
        patch.get_hatch(): patch.get_path().contains_points(points).reshape(size)
        for patch in ax.patches
    }


def test_errors_are_those_of_side_by_side():
    image, truth, guess = scene()
    figure = error_map(image, truth, guess, ignore_index=255)
    marked = covered(figure.axes[0], truth.shape)
    expected = side_by_side(image, truth, guess, ignore_index=255)
    for hatch, region in covered(expected.axes[2], truth.shape).items():
        np.testing.assert_array_equal(marked[hatch], region)
    wrong = (truth != guess) & (truth != 255)
    missed, invented, confused, _ = marked.values()
    np.testing.assert_array_equal(missed | invented | confused, wrong)
    assert (
        alt_text(figure).split("Errors:")[1] == alt_text(expected).split("Errors:")[1]
    )


def test_the_image_stays_visible_between_black_and_white():
    image = np.linspace(0, 1, 12).reshape(3, 4)
    nothing = np.zeros((3, 4), int)
    drawn = np.asarray(error_map(image, nothing, nothing).axes[0].images[0].get_array())
    assert drawn.min() >= 0.3 and drawn.max() <= 0.8
    assert (np.diff(drawn[..., 0].ravel()) > 0).all()
    # Three channels, all alike: no color competes with that of a class.
    np.testing.assert_array_equal(drawn[..., 0], drawn[..., 2])


def test_a_batch_has_a_panel_for_each():
    image, truth, guess = (np.stack([a] * 4) for a in scene())
    figure = error_map(image, truth, guess, ignore_index=255, titles=list("abcd"))
    assert [ax.get_title() for ax in figure.axes] == list("abcd")
    assert alt_text(figure).startswith("4 images with errors marked: a; b; c; d.")
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["missed", "invented", "wrong class", "not annotated"]


def test_without_a_background_every_error_is_a_wrong_class():
    truth, guess = np.array([[0, 1]]), np.array([[1, 1]])
    figure = error_map(np.zeros((1, 2)), truth, guess, background=None)
    assert "50 % wrong class" in alt_text(figure)


def test_a_perfect_prediction_has_no_legend():
    image, truth, _ = scene()
    truth[0] = 1
    figure = error_map(image, truth, truth)
    assert figure.legends == []
    assert alt_text(figure) == "An image with its errors marked. There are no errors."


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((3, 3), int)}, "truth is 3 × 3"),
        ({"prediction": np.zeros((3, 3), int)}, "prediction is 3 × 3"),
        ({"prediction": np.zeros((4, 4))}, "prediction has dtype float64"),
        ({"image": np.full((4, 4), 3.0)}, "image has values"),
        ({"titles": ("a", "b")}, "titles has 2 entries for 1 images"),
        ({"truth": np.full((4, 4), -1)}, "truth has labels -1"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    good = {
        "image": np.zeros((4, 4)),
        "truth": np.zeros((4, 4), int),
        "prediction": np.zeros((4, 4), int),
    }
    with pytest.raises(ValueError, match=message):
        error_map(**good | change)

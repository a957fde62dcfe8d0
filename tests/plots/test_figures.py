"""Figures: what they draw, that it can be read, and that they cost nothing."""

import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text

from seglab import plots
from seglab.plots.colors import relative_luminance
from seglab.plots.curves import spread
from seglab.plots.panels import find_errors, pixel_path

PHONE = 350  # CSS pixels that a page 390 wide leaves for a figure


def history(epochs=5, classes=("background", "cell")):
    steps = np.arange(1, epochs + 1)
    return SimpleNamespace(
        loss=list(1 / steps),
        val_loss=list(1.1 / steps),
        val_iou=np.linspace(0.2, 0.9, epochs * len(classes)).reshape(epochs, -1),
        classes=classes,
    )


def scene(classes=3, ignore=False, size=(16, 24)):
    rng = np.random.default_rng(0)
    image = rng.random(size)
    truth = rng.integers(0, classes, size)
    if ignore:
        truth[:3] = 255
    return image, truth, rng.integers(0, classes, size)


DIGITS = ("background", *"0123456789")
FIGURES = {
    "show": lambda: plots.show([scene()[0]] * 5, titles=list("abcde")),
    "show masks": lambda: plots.show(
        [scene()[0]] * 2, [scene()[1]] * 2, classes=("sky", "road", "car")
    ),
    "one image": lambda: plots.show([scene()[0]], titles=["image"]),
    "truth": lambda: plots.side_by_side(*scene()[:2]),
    "errors": lambda: plots.side_by_side(*scene(2, size=(64, 64)), classes=("a", "b")),
    "many": lambda: plots.side_by_side(
        *(np.stack([a] * 3) for a in scene(11, ignore=True)),
        classes=DIGITS,
        ignore_index=255,
    ),
    "curves": lambda: plots.learning_curves(history()),
    "one epoch": lambda: plots.learning_curves(history(1)),
    "many curves": lambda: plots.learning_curves(history(classes=DIGITS)),
    "matrix": lambda: plots.confusion_matrix([[90, 10], [5, 15]], ("ground", "cell")),
    "large matrix": lambda: plots.confusion_matrix(np.eye(11), DIGITS),
    "counts": lambda: plots.confusion_matrix(
        [[9e7, 10], [12345, 0]], ("background", "nucleus"), normalize=None
    ),
    "seeds": lambda: plots.learning_curves([history(), history(3), history(5)]),
    "many seeds": lambda: plots.learning_curves([history(classes=DIGITS)] * 2),
    "error map": lambda: plots.error_map(*scene(2)),
    "error maps": lambda: plots.error_map(
        *(np.stack([a] * 5) for a in scene(4, ignore=True)),
        ignore_index=255,
        titles=["IoU 0.10"] * 5,
    ),
    "kernel": lambda: plots.kernels([[-1, 0, 1]] * 3),
    "kernels": lambda: plots.kernels(noise(3, 3, 1, 20)),
    "later kernels": lambda: plots.kernels(noise(5, 3, 3, 16)),
    "map": lambda: plots.feature_maps(noise(9, 7, 1)),
    "maps": lambda: plots.feature_maps(abs(noise(16, 24, 10))),
    "many maps": lambda: plots.feature_maps(
        noise(8, 8, 40), columns=8, one_scale=False
    ),
    "field": lambda: plots.receptive_field([(3, 1), (2, 2)] * 2, scene()[0]),
    "effective field": lambda: plots.receptive_field(
        [(31, 1)], scene()[0], effective=abs(noise(16, 24))
    ),
    "pyramid": lambda: plots.pyramid([(3, 1), (2, 2), (3, 1, 2), (1, 1)]),
    "large pyramid": lambda: plots.pyramid([(3, 1), (3, 2)] * 4),
    "reliability": lambda: plots.reliability_diagram(
        [np.nan, 0.5, 0.9], [np.nan, 0.7, 0.8], [0, 10, 90]
    ),
}


def noise(*shape):
    return np.random.default_rng(0).normal(size=shape)


@pytest.fixture(scope="module", params=FIGURES)
def figure(request):
    made = FIGURES[request.param]()
    FigureCanvasAgg(made)
    made.canvas.draw()
    return made


def test_text_is_large_enough_on_a_phone(figure):
    scale = PHONE / (72 * figure.get_figwidth())  # pixels a point
    texts = [t for t in figure.findobj(Text) if t.get_text() and t.get_visible()]
    assert texts
    assert min(t.get_fontsize() for t in texts) >= 11
    assert min(t.get_fontsize() for t in texts) * scale >= 8


def test_nothing_is_cut_off(figure):
    box = figure.get_tightbbox(figure.canvas.get_renderer())  # inches
    room = 0.01  # one pixel: glyph boxes are rounded outwards
    assert min(box.x0, box.y0) >= -room
    assert box.x1 <= figure.get_figwidth() + room
    assert box.y1 <= figure.get_figheight() + room


def test_every_figure_has_words_and_no_default_title(figure):
    alt = plots.alt_text(figure)
    assert len(alt) > 8
    assert alt.endswith(".")
    assert "nan" not in alt
    assert figure.get_suptitle() == ""
    assert figure.get_facecolor() == (1, 1, 1, 1)  # a white card in a dark theme


def test_panels_across_are_at_most_three(figure):
    grids = [ax.get_gridspec() for ax in figure.axes]  # None for a color bar
    assert max(grid.ncols for grid in grids if grid is not None) <= 3


def test_it_is_displayed_once_with_its_words(figure):
    data, metadata = figure._repr_mimebundle_()
    assert set(data) == {"image/png"}
    assert metadata["image/png"]["alt"] == plots.alt_text(figure)
    assert metadata["image/png"]["width"] <= 650
    assert plt.get_fignums() == []  # pyplot would show it a second time


@pytest.mark.slow
def test_nothing_leaks_and_rcparams_are_left_alone():
    before = dict(matplotlib.rcParams)
    for make in FIGURES.values():
        make().canvas.draw()
    assert plt.get_fignums() == []
    assert dict(matplotlib.rcParams) == before


def test_works_without_display_backend_or_deep_learning():
    code = (
        "import sys, numpy as np, seglab.plots as p; "
        "p.show([np.zeros((4, 4))]).savefig(sys.argv[1]); "
        "assert not {'keras', 'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, "/dev/null"], check=True, env={})


def test_style_is_undone():
    before = matplotlib.rcParams["font.size"]
    with plots.style():
        assert matplotlib.rcParams["font.size"] == 11
    assert matplotlib.rcParams["font.size"] == before


def test_subplots_refuses_what_cannot_be_read():
    with pytest.raises(ValueError, match="columns is 4"):
        plots.subplots(1, 4)
    with pytest.raises(ValueError, match="width is 8"):
        plots.subplots(width=8)


def test_alt_text_wants_our_figure():
    with pytest.raises(TypeError, match=r"seglab\.plots"):
        plots.alt_text(matplotlib.figure.Figure())


# --- side_by_side


LABELS = st.sampled_from([0, 1, 2, 255])


@given(
    hnp.arrays(np.int32, (3, 4), elements=LABELS),
    hnp.arrays(np.int32, (3, 4), elements=st.integers(0, 2)),
)
def test_errors_like_a_loop(truth, prediction):
    kinds = find_errors(truth, prediction, ignore_index=255)
    for place in np.ndindex(truth.shape):
        y, p = int(truth[place]), int(prediction[place])
        right = y in (255, p)
        expected = {
            "missed": not right and p == 0,
            "invented": not right and y == 0,
            "wrong class": not right and y > 0 and p > 0,
        }
        assert {kind: bool(kinds[kind][place]) for kind in kinds} == expected


def test_without_a_background_every_error_is_a_wrong_class():
    kinds = find_errors(np.array([[0, 1]]), np.array([[1, 1]]), background=None)
    assert [int(kinds[kind].sum()) for kind in kinds] == [0, 0, 1]


@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_pixel_path_covers_exactly_the_marked_pixels(region):
    if not region.any():
        return
    path = pixel_path(region)
    rows, columns = np.indices(region.shape).reshape(2, -1)
    inside = path.contains_points(np.stack([columns, rows], axis=1))
    np.testing.assert_array_equal(inside.reshape(region.shape), region)


def test_errors_are_told_apart_by_lightness_and_hatch():
    image, truth, guess = np.zeros((4, 4)), np.zeros((4, 4), int), np.zeros((4, 4), int)
    truth[0], guess[3] = 1, 1
    patches = plots.side_by_side(image, truth, guess).axes[2].patches
    missed, invented = patches
    assert missed.get_hatch() != invented.get_hatch()
    lightness = [
        relative_luminance(np.array(p.get_facecolor())) for p in (missed, invented)
    ]
    assert lightness == [0, 1]


def test_side_by_side_legend_names_what_is_there():
    image, truth, guess = scene(3, ignore=True)
    figure = plots.side_by_side(
        image, truth, guess, classes=("sky", "road", "car", "cow"), ignore_index=255
    )
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    expected = ["sky", "road", "car", "not annotated", "missed", "invented"]
    assert names == [*expected, "wrong class"]


def test_side_by_side_of_a_perfect_prediction():
    image, truth, _ = scene(2)
    figure = plots.side_by_side(image, truth, truth)
    assert "There are no errors." in plots.alt_text(figure)
    assert figure.axes[2].patches[:] == []


def test_side_by_side_with_nothing_annotated():
    truth = np.full((4, 4), 255)
    figure = plots.side_by_side(np.zeros((4, 4)), truth, truth * 0, ignore_index=255)
    assert "No pixel is annotated." in plots.alt_text(figure)


def test_small_shares_are_not_rounded_to_nothing():
    truth = np.zeros((100, 100), int)
    truth[0, :30] = 1
    alt = plots.alt_text(plots.side_by_side(truth * 1.0, truth, truth * 0))
    assert "class 1 (0.3 %)" in alt
    assert "0.3 % missed" in alt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": np.zeros((3, 3), int)}, "truth is 3 × 3"),
        ({"prediction": np.zeros((3, 3), int)}, "must agree"),
        ({"prediction": np.zeros((4, 4))}, "prediction has dtype float64"),
        ({"prediction": np.full((4, 4), 9)}, "prediction has labels 9"),
        ({"truth": np.full((4, 4), 255)}, "truth has labels 255.*ignore_index"),
        ({"titles": ("only one",)}, "titles has 1"),
        ({"image": np.full((4, 4), 3.0)}, "image has values"),
    ],
)
def test_side_by_side_explains_what_is_wrong(change, message):
    good = {
        "image": np.zeros((4, 4)),
        "truth": np.zeros((4, 4), int),
        "prediction": np.zeros((4, 4), int),
        "classes": ("a", "b"),
    }
    with pytest.raises(ValueError, match=message):
        plots.side_by_side(**{**good, **change})


def test_batches_must_have_one_length():
    batch = np.zeros((2, 4, 4, 1)), np.zeros((3, 4, 4), int)
    with pytest.raises(ValueError, match="3 masks for 2 images"):
        plots.side_by_side(*batch)


# --- show


def test_show_draws_the_arrays_it_got():
    image = np.random.default_rng(0).random((5, 7, 3))
    figure = plots.show([image, 1 - image], titles=["a", "b"])
    drawn = [np.asarray(ax.images[0].get_array()) for ax in figure.axes]
    np.testing.assert_allclose(drawn, [image, 1 - image])
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": np.zeros((4, 4))}, "a list of arrays"),
        ({"images": []}, "0 entries"),
        ({"images": [np.zeros((4, 4))] * 25}, "25 entries"),
        ({"images": [np.zeros((4, 4))], "titles": []}, "titles has 0"),
        ({"images": [np.zeros((4, 4))], "masks": []}, "0 entries"),
        ({"images": [np.zeros((4, 4))], "classes": ["a"]}, "give masks"),
        ({"images": [np.full((4, 4), 2.0)]}, r"images\[0\] has values"),
        ({"images": [np.zeros((4, 4))] * 4, "columns": 4}, "columns is 4"),
        ({"images": [np.zeros((4, 4))] * 9, "columns": 1}, "9 rows"),
    ],
)
def test_show_explains_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.show(**arguments)


# --- learning_curves


def test_curves_hold_the_history():
    past = history(4, ("background", "a", "b"))
    left, right = plots.learning_curves(past, loss_label="loss (nats)").axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), past.loss)
    np.testing.assert_allclose(left.lines[1].get_ydata(), past.val_loss)
    np.testing.assert_allclose(
        [line.get_ydata() for line in right.lines], past.val_iou.T
    )
    np.testing.assert_array_equal(right.lines[0].get_xdata(), [1, 2, 3, 4])
    assert left.get_ylabel() == "loss (nats)"
    assert (left.get_xlabel(), right.get_xlabel()) == ("epoch", "epoch")
    assert {text.get_text() for text in right.texts} == set(past.classes)
    colors = [to_rgb(line.get_color()) for line in right.lines]
    np.testing.assert_allclose(colors, plots.class_colors(3))


def test_the_epoch_whose_weights_were_kept_is_marked():
    past = history()
    past.best_epoch = 2
    figure = plots.learning_curves(past)
    assert list(figure.axes[1].lines[-1].get_xdata()) == [3, 3]
    assert "epoch 3 were kept" in plots.alt_text(figure)


def test_of_several_trainings_the_median_and_the_whole_range():
    past = [history(4, ("a", "b")) for _ in range(3)]
    for factor, one in zip((1.0, 0.7, 0.4), past, strict=True):
        one.loss, one.val_iou = [factor * x for x in one.loss], factor * one.val_iou
        one.best_epoch = 1
    past[0].val_iou[0, 1] = np.nan  # in one training the class was absent
    figure = plots.learning_curves(past)
    left, right = figure.axes
    np.testing.assert_allclose(left.lines[0].get_ydata(), past[1].loss)
    assert len(right.lines) == 2  # no epoch is marked: each has its own
    middle = [line.get_ydata() for line in right.lines]
    ious = np.stack([one.val_iou for one in past])
    np.testing.assert_allclose(middle, np.nanmedian(ious, axis=0).T)
    for k, band in enumerate(right.collections):
        corners = band.get_paths()[0].vertices
        for epoch in range(1, 5):
            heights = corners[corners[:, 0] == epoch, 1]
            known = ious[:, epoch - 1, k][~np.isnan(ious[:, epoch - 1, k])]
            assert heights.min() == pytest.approx(known.min())
            assert heights.max() == pytest.approx(known.max())
    assert "medians of 3 trainings" in plots.alt_text(figure)
    assert "a 0.56 (0.32 to 0.80)" in plots.alt_text(figure)


def test_a_training_that_ended_early_leaves_the_others():
    short, long = history(2), history(5)
    left, _ = plots.learning_curves([short, long]).axes
    expected = np.array(long.loss)
    np.testing.assert_allclose(left.lines[0].get_ydata(), expected)
    assert len(left.lines[0].get_xdata()) == 5


def test_bands_of_many_classes_are_left_out():
    left, right = plots.learning_curves([history(classes=DIGITS)] * 2).axes
    assert len(left.collections) == 2
    assert len(right.collections) == 0


def test_trainings_on_other_classes_are_not_mixed():
    with pytest.raises(ValueError, match="different classes"):
        plots.learning_curves([history(), history(classes=("background", "coin"))])
    with pytest.raises(ValueError, match="empty list"):
        plots.learning_curves([])


def test_lines_differ_in_more_than_color():
    left, right = plots.learning_curves(history(4, ("a", "b", "c", "d"))).axes
    for ax in (left, right):
        dashes = [line.get_linestyle() for line in ax.lines]
        assert len(set(dashes)) == len(dashes)


def test_a_class_that_was_absent_is_a_gap():
    past = history()
    past.val_iou[:, 1] = np.nan
    figure = plots.learning_curves(past)
    figure.canvas.draw()
    assert "cell absent" in plots.alt_text(figure)


@settings(max_examples=50)
@given(
    hnp.arrays(float, st.integers(1, 9), elements=st.floats(0, 1, width=32)),
    st.floats(0.02, 0.1),
)
def test_labels_are_spread_in_order_and_inside(heights, gap):
    placed = spread(heights, gap)
    order = np.argsort(heights, kind="stable")
    assert (np.diff(placed[order]) >= gap - 1e-9).all()
    assert placed.min() >= -1e-9
    assert placed.max() <= 1 + 1e-9


def test_labels_with_room_stay():
    np.testing.assert_allclose(spread(np.array([0.9, 0.1, 0.5]), 0.1), [0.9, 0.1, 0.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": [], "val_loss": []}, "no epoch"),
        ({"val_loss": [1.0]}, "val_loss"),
        ({"val_iou": np.zeros((5, 3))}, "with 2 classes"),
    ],
)
def test_curves_explain_what_is_wrong(change, message):
    with pytest.raises(ValueError, match=message):
        plots.learning_curves(SimpleNamespace(**{**vars(history()), **change}))


# --- confusion_matrix


COUNTS = hnp.arrays(np.int64, (3, 3), elements=st.integers(0, 10**7))


@settings(max_examples=10)
@given(COUNTS, st.sampled_from(["truth", "prediction", None]))
def test_text_of_a_cell_is_readable_on_it(counts, normalize):
    figure = plots.confusion_matrix(counts, ("a", "b", "c"), normalize=normalize)
    ax = figure.axes[0]
    shades = np.asarray(ax.images[0].get_array())
    assert len(ax.texts) == 9
    for text in ax.texts:
        column, row = map(int, text.get_position())
        pair = [np.array(to_rgb(text.get_color())), shades[row, column]]
        dark, light = sorted(float(relative_luminance(color)) for color in pair)
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def cells(figure, size):
    texts = [text.get_text() for text in figure.axes[0].texts]
    return np.reshape(texts, (size, size)).tolist()


def test_matrix_prints_shares_of_the_truth_the_prediction_or_counts():
    counts, names = [[80, 20], [10, 10]], ("a", "b")
    by = {
        how: cells(plots.confusion_matrix(counts, names, normalize=how), 2)
        for how in ("truth", "prediction", None)
    }
    assert by["truth"] == [["80 %", "20 %"], ["50 %", "50 %"]]
    assert by["prediction"] == [["89 %", "67 %"], ["11 %", "33 %"]]
    assert by[None] == [["80", "20"], ["10", "10"]]


def test_a_class_without_pixels_has_no_share():
    figure = plots.confusion_matrix([[5, 0], [0, 0]], ("a", "b"))
    assert cells(figure, 2) == [["100 %", "0 %"], ["–", "–"]]
    assert "No pixel is truly b." in plots.alt_text(figure)


def test_rows_are_truth():
    figure = plots.confusion_matrix([[0, 7], [0, 0]], ("a", "b"), normalize=None)
    assert cells(figure, 2)[0][1] == "7"
    assert figure.axes[0].get_ylabel().startswith("true class")
    assert figure.axes[0].get_xlabel().startswith("predicted class")


@pytest.mark.parametrize(
    ("matrix", "classes", "options", "message"),
    [
        (np.zeros((2, 3)), ("a", "b"), {}, "must be"),
        (np.zeros((5, 2, 2)), ("a", "b"), {}, "axis=0"),
        (np.zeros((2, 2)), ("a",), {}, "one name for each"),
        (np.zeros((2, 2)), "ab", {}, "one name for each"),
        (-np.ones((2, 2)), ("a", "b"), {}, "negative"),
        (np.full((2, 2), np.nan), ("a", "b"), {}, "missing"),
        (np.eye(17), tuple("abcdefghijklmnopq"), {}, "17 classes"),
        (np.eye(2), ("a", "b"), {"normalize": "rows"}, "normalize is 'rows'"),
    ],
)
def test_matrix_explains_what_is_wrong(matrix, classes, options, message):
    with pytest.raises(ValueError, match=message):
        plots.confusion_matrix(matrix, classes, **options)

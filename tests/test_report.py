"""What a report says, and that it says the same everywhere."""

import csv
import io
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console

from seglab import metrics
from seglab.report import Report

CONFUSIONS = np.array(
    [
        [[50, 2, 0], [3, 9, 0], [0, 0, 0]],
        [[40, 0, 0], [8, 16, 0], [0, 0, 0]],
    ]
)
CLASSES = ("background", "cell", "mitosis")


@pytest.fixture
def report():
    return Report(CLASSES, CONFUSIONS, title="cells, test")


def test_metrics_are_those_of_the_summed_matrix(report):
    total = CONFUSIONS.sum(axis=0)
    np.testing.assert_array_equal(report.confusion, total)
    for name in ("iou", "dice", "precision", "recall"):
        np.testing.assert_array_equal(
            getattr(report, name), getattr(metrics, name)(total)
        )
    assert report.mean_iou == metrics.mean_iou(total)
    assert report.pixel_accuracy == (50 + 9 + 40 + 16) / CONFUSIONS.sum()
    assert report.pixels.tolist() == [92, 36, 0]


def test_image_iou_is_each_image_alone(report):
    # By hand: image 0 has 9 of 14 cell pixels in both, image 1 has 16 of 24.
    np.testing.assert_allclose(report.image_iou[:, 1], [9 / 14, 16 / 24])
    # The mean over images is another number than the data set's.
    assert report.image_iou[:, 1].mean() != report.iou[1]


def test_text_is_fixed_whatever_the_terminal(report, monkeypatch):
    expected = "\n".join(
        [
            "cells, test, 2 images",
            " class         IoU   Dice  precision  recall  pixels",
            " background  0.874  0.933      0.891   0.978      92",
            " cell        0.658  0.794      0.926   0.694      36",
            " mitosis         –      –          –       –       0",
            " mean IoU    0.766                               128",
            "Pixel accuracy 0.898; "
            "answering “background” everywhere would reach 0.719.",
            "– is 0/0: there are no such pixels.",
        ]
    )
    assert str(report) == expected
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert str(report) == expected
    assert repr(report) == (
        "Report(cells, test, 2 images, IoU: background 0.874, cell 0.658, mitosis –)"
    )


def test_pixel_accuracy_never_stands_before_the_classes(report):
    for text in (str(report), report._repr_html_()):
        assert text.index("cell") < text.index("Pixel accuracy")
        assert "everywhere would reach 0.719" in text


def test_rich_prints_the_same_table(report):
    out = io.StringIO()
    Console(file=out, width=100, color_system=None).print(report)
    assert [line.rstrip() for line in out.getvalue().splitlines()] == str(
        report
    ).splitlines()


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.open, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_html_is_an_accessible_table():
    odd = ("back<ground>", "[bold]cell & co")
    parser = _Tags()
    parser.feed(Report(odd, CONFUSIONS[:, :2, :2])._repr_html_())
    assert not parser.open  # every tag is closed, in order
    headers = [attrs for tag, attrs in parser.seen if tag == "th"]
    # Six columns, then one row header a class and one for the mean.
    assert [h["scope"] for h in headers] == ["col"] * 6 + ["row"] * 3
    assert "caption" in {tag for tag, _ in parser.seen}
    assert set(odd) <= set(parser.text)  # names are escaped, not obeyed
    assert "[bold]cell & co" in str(Report(odd, CONFUSIONS[:, :2, :2]))


def test_json_and_csv_hold_the_table(report, tmp_path):
    plain = json.loads(report.to_json(tmp_path / "report.json"))
    assert plain == json.loads((tmp_path / "report.json").read_text())
    assert plain == report.to_dict()
    assert plain["confusion"] == report.confusion.tolist()
    assert plain["classes"][2]["iou"] is None  # NaN is no JSON
    rows = list(csv.DictReader(io.StringIO(report.to_csv(tmp_path / "report.csv"))))
    assert (tmp_path / "report.csv").read_text() == report.to_csv()
    assert [row["name"] for row in rows] == list(CLASSES)
    assert float(rows[1]["iou"]) == report.iou[1]
    assert rows[2]["iou"] == ""


# Intervals


def test_interval_is_the_bootstrap_of_the_images(report):
    options = {"resamples": 100, "seed": 3}
    got = report.interval(confidence=0.8, **options)
    samples = metrics.bootstrap(CONFUSIONS, **options)
    np.testing.assert_allclose(got, np.quantile(samples, [0.1, 0.9]))
    got = report.interval(metrics.dice, confidence=0.8, **options)
    samples = metrics.bootstrap(CONFUSIONS, metrics.dice, **options)
    np.testing.assert_allclose(got, np.quantile(samples, [0.1, 0.9], axis=0))
    assert np.isnan(got.low[2])  # mitosis is nowhere
    low, high = report.interval()
    assert low < report.mean_iou < high


def test_intervals_are_beside_the_iou_everywhere_and_only_if_asked_for(report):
    shown = report.with_intervals(0.9)
    low, high = shown.interval(metrics.iou, confidence=0.9)
    mean = shown.interval(confidence=0.9)
    lines = str(shown).splitlines()
    assert "90 % interval" in lines[1]
    assert lines[2].split()[:4] == [
        *("background", "0.874", f"{low[0]:.3f}–{high[0]:.3f}", "0.933")
    ]
    assert f"{mean.low:.3f}–{mean.high:.3f}" in lines[5]
    assert lines[-1].startswith("Intervals: percentile bootstrap, 2000 resamples")
    # A class that is nowhere has none, and the rest of the table is the same.
    assert lines[4].split() == ["mitosis", "–", "–", "–", "–", "0"]
    assert [line for line in lines if line in str(report).splitlines()][-2:] == [
        line
        for line in str(report).splitlines()
        if "everywhere" in line or "0/0" in line
    ]
    parser = _Tags()
    parser.feed(shown._repr_html_())
    assert len([tag for tag, _ in parser.seen if tag == "th"]) == 7 + 4
    assert f"{low[1]:.3f}–{high[1]:.3f}" in parser.text
    plain = json.loads(shown.to_json())
    assert plain["confidence"] == 0.9
    assert plain["resamples"] == 2000
    assert [plain["mean_iou_low"], plain["mean_iou_high"]] == list(mean)
    assert plain["classes"][2]["iou_low"] is None
    rows = list(csv.DictReader(io.StringIO(shown.to_csv())))
    assert list(rows[0])[:4] == ["name", "iou", "iou_low", "iou_high"]
    assert float(rows[1]["iou_high"]) == high[1]
    assert "iou_low" not in report.to_dict()["classes"][0]
    assert len(next(csv.DictReader(io.StringIO(report.to_csv())))) == 6


def test_one_image_or_none_gives_no_interval():
    for confusions in (CONFUSIONS[:1], CONFUSIONS[:0]):
        report = Report(CLASSES, confusions, confidence=0.95)
        assert np.isnan(report.interval()).all()
        assert "nan" not in str(report)
        assert report.to_dict()["mean_iou_low"] is None
    one = str(Report(CLASSES, CONFUSIONS[:1], confidence=0.95))
    assert one.endswith("Fewer than two images give no interval.")


@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_is_a_share(report, confidence):
    with pytest.raises(ValueError, match=f"confidence is {confidence}"):
        report.with_intervals(confidence)


def test_no_images_and_no_pixels_are_reported_not_raised():
    for confusions in (np.zeros((0, 2, 2), int), np.zeros((1, 2, 2), int)):
        report = Report(("a", "b"), confusions)
        assert "No pixel was counted." in str(report)
        assert np.isnan(report.mean_iou)
        assert report.to_dict()["mean_iou"] is None


@pytest.mark.parametrize("shape", [(3, 3), (2, 2, 2), (2, 3, 2)])
def test_matrices_that_do_not_fit_the_classes_are_refused(shape):
    with pytest.raises(ValueError, match=r"it must be \(N, 3, 3\)"):
        Report(CLASSES, np.zeros(shape, int))


def test_a_report_is_text_in_a_notebook_too(report, monkeypatch):
    """Rich would display it there in place of giving it back."""
    outside = str(report)
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(report) == outside != ""

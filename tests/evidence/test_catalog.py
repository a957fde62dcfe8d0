"""The book's experiments are well declared, and a small cell can be measured."""

import functools
from dataclasses import replace

import numpy as np
import pytest

from seglab import data, device
from seglab.evidence import ExperimentError, Results, Row, catalog, read, verdicts
from seglab.evidence.catalog import comparison, real_images
from seglab.evidence.experiment import describe
from seglab.evidence.runner import measure_cell


@pytest.mark.parametrize("name", catalog.names())
def test_it_is_declared_under_its_name(name):
    experiment = catalog.get(name)
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert experiment.tolerance
    assert list(experiment.cells())
    results = read(experiment)  # the book's rows, where there are some
    assert results.stale == 0
    assert len(verdicts(experiment, results)) == len(experiment.rules)


@pytest.mark.parametrize("name", catalog.names())
def test_every_rule_can_be_judged_once_all_is_measured(name):
    """No setting has one arm alone, which would stay undecided for ever."""
    experiment = catalog.get(name)
    zeros = {metric: np.zeros(()) for metric in experiment.metrics}
    rows = tuple(Row(cell, zeros, {}) for cell in experiment.cells())
    for verdict in verdicts(experiment, Results(rows)):
        assert verdict.judgements, verdict.rule.claim
        for judged in verdict.judgements:
            assert judged.seeds >= 3, (verdict.rule.claim, judged.setting)


@pytest.mark.parametrize("name", catalog.names())
def test_the_full_grid_holds_the_books_grid(name):
    """So that the book's rows count there, and more seeds judge the same rules."""
    experiment = catalog.get(name)
    full = experiment.at_full_scale()
    assert full.definition == experiment.definition
    cells = {describe(cell) for cell in full.cells()}
    assert {describe(cell) for cell in experiment.cells()} <= cells


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ExperimentError, match="'comparisn'; there is comparison"):
        catalog.get("comparisn")


@pytest.fixture
def small(monkeypatch):
    """A few small images, and a training of moments."""
    for name in comparison.SETS:
        monkeypatch.setitem(comparison.SETS[name], "count", 12)
    monkeypatch.setattr(comparison, "EPOCHS", 2)
    monkeypatch.setattr(comparison, "SECONDS", 0.3)
    monkeypatch.setattr(comparison, "PATCHES", 100)
    monkeypatch.setattr(comparison, "PIXELS", 500)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "data"),
    [
        ("otsu", "cells"),
        ("forest", "digits"),
        ("patch_cnn", "digits"),
        ("fcn16", "cells"),
        ("autoencoder", "digits"),
        ("segnet", "cells"),
        ("unet", "digits"),
    ],
)
def test_every_family_is_measured(small, model, data):
    experiment = catalog.get("comparison")
    cell = {"model": model, "data": data, "budget": "epochs", "seed": 0}
    _, row = measure_cell(experiment, cell)
    assert isinstance(row, dict), row.message
    classes = {"cells": 2, "digits": 11}[data]
    assert len(row["class_iou"]) == classes
    assert row["mean_iou"] == pytest.approx(np.nanmean(row["class_iou"]))
    assert (row["parameters"] > 0) == (model != "otsu")
    assert row["train_seconds"] >= 0
    assert row["image_ms"] > 0


@pytest.mark.slow
def test_a_budget_of_seconds_stops_within_an_epoch(small, monkeypatch):
    monkeypatch.setitem(comparison.SETS["cells"], "count", 60)
    cell = {"model": "unet", "data": "cells", "budget": "seconds", "seed": 0}
    _, row = measure_cell(catalog.get("comparison"), cell)
    assert isinstance(row, dict), row.message
    assert row["train_seconds"] >= 0.3
    assert row["steps"] > 1


def test_a_method_is_left_out_where_it_makes_no_sense():
    cells = list(catalog.get("comparison").cells())
    assert not any(c["model"] == "otsu" and c["data"] == "digits" for c in cells)
    assert len(cells) == 5 * (7 * 2 * 2 + 1 * 2 + 1 + 2)
    assert {c["data"] for c in cells if c["model"] == "mobilenet_unet"} == {"digits"}


def test_each_network_trains_at_the_rate_that_did_best():
    rows = read(catalog.get("comparison-rates"))
    assert len(rows) == len(list(catalog.get("comparison-rates").cells()))
    for name, rate in comparison.RATES.items():
        model, data = name.split()
        tried = sorted(
            rows.where(model=model, data=data), key=lambda r: r.metrics["mean_iou"]
        )
        assert tried[-1].cell["rate"] == rate


def test_where_masks_are_wrong_is_told():
    """A line of class 1 and a square of class 2, scored by hand."""
    mask = np.zeros((1, 9, 9), np.int32)
    mask[0, 1, 1:8] = 1  # seven pixels, each at an edge
    mask[0, 4:7, 2:5] = 2  # nine pixels, of which the middle is at no edge
    labels = mask.copy()
    labels[0, 1, 4] = 0  # the line breaks in two
    labels[0, 5, 3] = 1  # the middle has a wrong name
    found = comparison.scores(mask, labels, 3)
    assert found["object_iou"] == pytest.approx(15 / 16)
    assert found["named"] == pytest.approx(14 / 15)
    assert found["pieces"] == pytest.approx(3 / 2)
    # Around the line 3 x 9 pixels are near an edge; around the square 5 x 5, less the
    # middle. Of these one is wrong, and of the other 30 the middle.
    assert found["edge_error"] == pytest.approx(1 / (27 + 24))
    assert found["inner_error"] == pytest.approx(1 / 30)


def test_nothing_found_has_no_names():
    mask = np.ones((1, 4, 4), np.int32)
    mask[0, 0] = 0
    found = comparison.scores(mask, np.zeros_like(mask), 2)
    assert np.isnan(found["named"])
    assert found["pieces"] == found["object_iou"] == 0


def images_and_masks(side=96, count=12, classes=3, ignore=None):
    """Make a small set of squares, with instances, in the place of an archive."""
    masks = np.zeros((count, side, side), np.int32)
    masks[:, 30:60, 30:70] = 1
    masks[:, 34:38, 20:40] = classes - 1
    rng = np.random.default_rng(0)
    images = (masks / classes + 0.2 * rng.random(masks.shape)).clip(0, 1)
    if ignore is not None:
        masks[:, 50:55, 50:55] = ignore
    names = tuple(f"class {k}" for k in range(classes))
    instances = np.where(masks == 1, 1, 0)
    color = np.repeat(images[..., None].astype(np.float32), 3, axis=-1)
    part = data.Split(color, masks, names, ignore, instances)
    return data.Dataset("squares", train=part, val=part, test=part)


@pytest.fixture
def squares(monkeypatch):
    """Load squares under the names of the real sets, and train for moments."""

    def load(name, size=None):
        if name == "pets":
            whole = images_and_masks(side=size)
            names = ("background", "pet", "boundary")
            parts = (replace(s, classes=names) for s in whole.splits().values())
            return data.Dataset(name, *parts)
        return images_and_masks(ignore=255 if name == "aerial" else None)

    monkeypatch.setattr(data, "load", load)
    monkeypatch.setattr(real_images, "TRAIN", 8)
    monkeypatch.setattr(real_images, "VAL", 4)
    monkeypatch.setattr(real_images, "EPOCHS", 3)
    monkeypatch.setattr(real_images, "WIDTH", 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("nuclei", "contrast"),
        ("nuclei", "fat"),
        ("pets", "scratch"),
        ("pets", "void"),
        ("aerial", "plain"),
        ("road", "weights"),
        ("road", "dice"),
    ],
)
def test_recipes_are_measured(squares, name, recipe):
    cell = {"data": name, "recipe": recipe, "seed": 0}
    _, row = measure_cell(catalog.get("real-images"), cell)
    assert isinstance(row, dict), row.message
    assert len(row["class_iou"]) == (2 if name == "pets" else 3)
    assert row["mean_iou"] == pytest.approx(np.nanmean(row["class_iou"]))
    assert row["rarest_iou"] in row["class_iou"]
    assert row["steps"] == 3
    assert 0 < row["accuracy"] <= 1


@pytest.mark.slow
def test_tuning_trains_the_encoder_at_the_end(squares, monkeypatch):
    """Its encoder starts as transfer's, which does not move, and moves."""
    from seglab import models

    without_file = functools.partial(models.mobilenet_unet, frozen=True)
    monkeypatch.setattr(
        models,
        "mobilenet_unet",
        lambda *shape, width, weights: without_file(*shape, width=width, weights=None),
    )
    found = {}
    for recipe in ("transfer", "tuned"):
        dataset = real_images.prepare("pets", recipe, seed=0)
        network, steps = real_images.train(dataset, recipe, seed=0)
        found[recipe] = network.get_layer("conv0_conv").get_weights()[0]
        assert steps == 3
    device.set_seed(0)
    first = real_images.build(dataset, "transfer").get_layer("conv0_conv")
    np.testing.assert_array_equal(found["transfer"], first.get_weights()[0])
    assert np.abs(found["tuned"] - found["transfer"]).max() > 0


def test_recipes_change_what_they_say(squares):
    """Each spoils training and validation labels, and never those of the test."""
    clean = real_images.prepare("pets", "plain", seed=0)
    void = real_images.prepare("pets", "void", seed=0)
    assert clean.ignore_index == 255
    where = clean.train.masks == 255
    assert where.any()
    assert not void.train.masks[where].any()
    np.testing.assert_array_equal(void.train.masks[~where], clean.train.masks[~where])
    np.testing.assert_array_equal(void.test.masks, clean.test.masks)
    nuclei = real_images.prepare("nuclei", "plain", seed=0)
    for recipe in ("shaky", "fat"):
        spoilt = real_images.prepare("nuclei", recipe, seed=0)
        other = real_images.prepare("nuclei", recipe, seed=1)
        assert (spoilt.train.masks != nuclei.train.masks).any()
        assert (spoilt.val.masks != nuclei.val.masks).any()
        assert (spoilt.train.masks == other.train.masks).all() == (recipe == "fat")
        np.testing.assert_array_equal(spoilt.test.masks, nuclei.test.masks)
        np.testing.assert_array_equal(spoilt.train.images, nuclei.train.images)


def test_a_road_is_cut_at_the_bottom_and_the_others_in_the_middle():
    dataset = images_and_masks()
    assert real_images.SIDE == 64
    np.testing.assert_array_equal(
        real_images.cut(dataset.train, "road").masks,
        dataset.train.masks[:, 32:, 16:80],
    )
    np.testing.assert_array_equal(
        real_images.cut(dataset.train, "nuclei").instances,
        dataset.train.instances[:, 16:80, 16:80],
    )


def test_a_nucleus_has_a_rim_of_one_pixel():
    """Two nuclei that touch: each has its rim, also where they meet."""
    objects = np.zeros((6, 9), int)
    objects[1:5, 1:4], objects[1:5, 4:8] = 1, 2
    assert real_images.with_rims(objects).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
        [0, 2, 2, 2, 2, 2, 2, 2, 0],
        [0, 2, 1, 2, 2, 1, 1, 2, 0],
        [0, 2, 1, 2, 2, 1, 1, 2, 0],
        [0, 2, 2, 2, 2, 2, 2, 2, 0],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.skipif(data.find("nuclei") is None, reason="needs nuclei")
def test_rims_are_those_of_the_archive():
    part = data.load("nuclei", count=60).train
    ours = np.stack([real_images.with_rims(objects) for objects in part.instances])
    inner = np.s_[:, 1:-1, 1:-1]  # a nucleus at the border goes on outside
    np.testing.assert_array_equal(ours[inner], part.masks[inner])


def test_each_set_has_the_recipes_that_it_gives_a_reason_for():
    cells = list(catalog.get("real-images").cells())
    assert len(cells) == 3 * sum(map(len, real_images.USED.values())) == 60
    assert {cell["recipe"] for cell in cells} == set(real_images.RECIPES)
    for rule in catalog.get("real-images").rules:  # each has rows to judge
        for name in rule.within["data"]:
            for arm in (rule.more, rule.less):
                assert arm["recipe"] in real_images.USED[name]

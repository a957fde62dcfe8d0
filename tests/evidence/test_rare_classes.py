"""Rare classes of real images: which class is scored, and by what."""

from dataclasses import replace

import numpy as np
import pytest

from seglab import data
from seglab.evidence import catalog
from seglab.evidence.catalog import carry_over, rare_classes
from seglab.evidence.runner import measure_cell


@pytest.fixture
def drawn(pretend):
    """Drawn cells under the names of the real sets, with as many classes."""
    names = {
        "nuclei": ("background", "nucleus", "boundary"),
        "road": ("background", "lane", "crack", "pothole"),
    }

    def relabel(name, split):
        last = len(names[name]) - 1
        # Cells by how bright they are; the background stays 0.
        shades = (1 + (split.images[..., 0] * last).astype(np.int32)).clip(1, last)
        return replace(
            split, masks=split.masks * shades, classes=names[name], instances=None
        )

    return pretend(relabel, epochs=1)


@pytest.mark.parametrize(
    ("name", "share"),
    [
        pytest.param(
            name,
            share,
            marks=pytest.mark.skipif(data.find(name) is None, reason=f"needs {name}"),
        )
        for name, share in (("nuclei", 1 / 20), ("road", 1 / 50))
    ],
)
def test_the_named_class_is_rare_and_in_all_parts(name, share):
    """Not every rare class is the one that is meant: it is found by its name."""
    dataset = carry_over.load(name)
    rare = dataset.classes.index(rare_classes.RARE[name])
    for split in dataset.splits().values():
        pixels = (split.masks == rare).sum(axis=(1, 2))  # (N,)
        assert (pixels > 0).sum() >= 10  # images that hold some of it
    assert 0 < dataset.train.class_shares()[rare] < share


@pytest.mark.skipif(data.find("road") is None, reason="needs road")
def test_the_class_with_the_fewest_pixels_of_the_road_is_another():
    dataset = carry_over.load("road")
    assert dataset.classes == ("background", "lane", "crack", "pothole")
    assert dataset.train.class_shares().argmin() == 0  # the strip beside the lane


@pytest.mark.slow
@pytest.mark.parametrize("name", rare_classes.RARE)
def test_scores_are_of_the_named_class(drawn, name):
    """The parts of the mean fit together, and the oracle is a loop over pixels."""
    cell = {"data": name, "loss": "ce+dice", "rate": 0.01, "seed": 0}
    _, row = measure_cell(catalog.get("rare-classes"), cell)
    assert isinstance(row, dict), row.message
    each = np.array(row["class_iou"])
    dataset = carry_over.load(name)
    rare = dataset.classes.index(rare_classes.RARE[name])
    assert row["rare_iou"] == each[rare]
    assert row["others_iou"] == pytest.approx(np.delete(each, rare).mean(), rel=1e-12)
    assert row["mean_iou"] == pytest.approx(each.mean(), rel=1e-12)
    if name == "road":
        assert row["crack_iou"] == each[dataset.classes.index("crack")]
    else:
        assert np.isnan(row["crack_iou"])
    model = carry_over.compiled(name, "adam", "ce+dice", ())
    labels = model.predict(dataset.test.images, verbose=0).argmax(axis=-1)
    for k, iou in enumerate(each):
        truth, found = dataset.test.masks == k, labels == k
        assert iou == pytest.approx((truth & found).sum() / (truth | found).sum())

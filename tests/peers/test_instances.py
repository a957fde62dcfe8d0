"""Objects: panoptic quality against torchmetrics, average precision against COCO's."""

import contextlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torchmetrics.functional.detection import panoptic_quality as ask_torchmetrics

from seglab.metrics import coco_ap, dsb2018_score, panoptic_quality

often = settings(max_examples=60)


@st.composite
def instance_maps(draw, images=3):
    shape = draw(st.tuples(*(st.integers(1, n) for n in (images, 5, 5))))
    ids = st.sampled_from([0, 0, 1, 2, 3])
    truth, other = (draw(arrays(np.int64, shape, elements=ids)) for _ in range(2))
    kept = draw(arrays(bool, shape, elements=st.sampled_from([True, True, False])))
    return truth, np.where(kept, truth, other)


def panoptic(maps):
    """Pairs (category, instance): 1 is a thing, 0 the one kind of stuff."""
    return torch.as_tensor(np.stack([(maps > 0).astype(int), maps], axis=-1))


@often
@given(instance_maps())
def test_panoptic_quality_is_torchmetrics(maps):
    truth, prediction = maps
    ours = panoptic_quality(truth, prediction)
    if ours.tp + ours.fp + ours.fn == 0:
        return
    theirs = ask_torchmetrics(
        *(panoptic(prediction), panoptic(truth)),
        things={1},
        stuffs={0},
        return_sq_and_rq=True,
        return_per_class=True,
    )[0].numpy()  # things come first
    assert theirs[0] == pytest.approx(ours.pq, abs=1e-6)
    assert theirs[1] == pytest.approx(np.nan_to_num(ours.sq), abs=1e-6)
    assert theirs[2] == pytest.approx(ours.rq, abs=1e-6)


def ask_coco(truth, prediction, scores):
    """Average precision of one class, by COCO's own code."""
    coco = pytest.importorskip("pycocotools.coco")
    from pycocotools import mask as masks
    from pycocotools.cocoeval import COCOeval

    def objects(maps, scores=None):
        rows = []
        for n, image in enumerate(maps):
            for k, i in enumerate(i for i in np.unique(image) if i):
                found = np.asfortranarray((image == i).astype(np.uint8))
                area = float(found.sum())
                row = {"id": len(rows) + 1, "image_id": n + 1, "category_id": 1}
                row |= {"segmentation": masks.encode(found), "area": area, "iscrowd": 0}
                if scores is not None:
                    row["score"] = scores[n][k]
                rows.append(row)
        return rows

    with contextlib.redirect_stdout(io.StringIO()):
        true = coco.COCO()
        sizes = dict(zip(("height", "width"), truth[0].shape, strict=True))
        images = [{"id": n + 1, **sizes} for n in range(len(truth))]
        categories = [{"id": 1, "name": "object"}]
        true.dataset = {"images": images, "categories": categories}
        true.dataset["annotations"] = objects(truth)
        true.createIndex()
        found = coco.COCO()
        found.dataset = {**true.dataset, "annotations": objects(prediction, scores)}
        found.createIndex()
        evaluation = COCOeval(true, found, "segm")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[0]


@settings(max_examples=40)
@given(instance_maps(), st.randoms(use_true_random=False))
def test_average_precision_is_cocos(maps, random):
    truth, prediction = maps
    if not truth.any() or not prediction.any():
        return
    counts = [len(set(np.unique(image)) - {0}) for image in prediction]
    order = list(range(sum(counts)))
    random.shuffle(order)  # all scores differ
    scores = [[order.pop() / 100 for _ in range(count)] for count in counts]
    ours = coco_ap(truth, prediction, scores)
    assert ask_coco(truth, prediction, scores) == pytest.approx(ours, abs=1e-9)


def test_three_average_precisions(differs):
    """One object found, one invented: what is called average precision."""
    truth = np.array([[[1, 1, 1, 1, 0, 0]]])
    prediction = np.array([[[1, 1, 1, 0, 0, 2]]])  # IoU 3/4
    scores = [[0.9, 0.8]]
    ours = dsb2018_score(truth, prediction)
    assert ours == 0.25  # 5 of 10 thresholds, 1 / (1 + 1 + 0) each
    theirs = ask_coco(truth, prediction, scores)
    why = "area under precision-recall; at an IoU of 0.75, 0.75 is passed; needs scores"
    differs("one found, one invented", "COCO AP", theirs, ours, why)

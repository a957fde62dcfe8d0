"""A rule's word, from rows that were made by hand."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from seglab.evidence import (
    Comparison,
    Experiment,
    ExperimentError,
    Results,
    Row,
    TunedComparison,
    verdicts,
)


def rows(values):
    """Make rows from {(model, data): one value for each seed}."""
    return Results(
        tuple(
            Row(
                {"model": model, "data": data, "seed": seed},
                {"iou": np.array(value)},
                {"rules": "", "seconds": "1"},
            )
            for (model, data), found in values.items()
            for seed, value in enumerate(found)
            if value is not None
        )
    )


RULE = Comparison(
    claim="A U-Net is better than an FCN, by 0.02.",
    metric="iou",
    more={"model": "unet"},
    less={"model": "fcn"},
    effect=0.02,
)

FCN = np.array([0.70, 0.60, 0.65, 0.72, 0.58])


@pytest.mark.parametrize(
    ("gaps", "word"),
    [
        ((0.05, 0.06, 0.04, 0.05, 0.07), "supported"),
        ((0.01, 0.00, 0.01, 0.005, 0.01), "refuted"),  # a difference, too small
        ((-0.05, -0.06, -0.04, -0.05, -0.07), "refuted"),
        ((0.0, 0.0, 0.0, 0.0, 0.0), "refuted"),
        ((-0.1, 0.1, -0.05, 0.2, 0.05), "undecided"),
        ((0.05, 0.06), "undecided"),  # two seeds
        ((0.05, np.nan, 0.04, 0.05, 0.07), "undecided"),
    ],
)
def test_one_setting(gaps, word):
    fcn = FCN[: len(gaps)]
    verdict = RULE.judge(rows({("fcn", "cells"): fcn, ("unet", "cells"): fcn + gaps}))
    assert verdict.word == word
    (judged,) = verdict.judgements
    assert judged.setting == {"data": "cells"}
    assert judged.seeds == len(gaps)
    np.testing.assert_allclose(judged.difference, np.mean(gaps), atol=1e-12)
    assert word.upper() in str(verdict) and word in str(judged)


@pytest.mark.parametrize(
    ("cells", "digits", "word"),
    [
        (0.1, 0.1, "supported"),
        (0.0, -0.1, "refuted"),
        (0.1, -0.1, "depends"),
        (0.1, None, "undecided"),
    ],
)
def test_several_settings(cells, digits, word):
    wide = np.array([0.3, -0.3, 0.2, -0.2, 0.0])
    found = rows(
        {
            ("fcn", "cells"): FCN,
            ("unet", "cells"): FCN + cells,
            ("fcn", "digits"): FCN,
            ("unet", "digits"): FCN + (wide if digits is None else digits),
        }
    )
    assert RULE.judge(found).word == word


def test_seeds_are_paired_so_what_a_seed_does_to_both_cancels():
    found = rows({("fcn", "cells"): FCN, ("unet", "cells"): FCN + 0.05})
    (judged,) = RULE.judge(found).judgements
    np.testing.assert_allclose([judged.low, judged.high], 0.05)
    # A seed that only one arm has is left out.
    unet = [None, *(FCN[1:] + 0.05)]
    found = rows({("fcn", "cells"): FCN, ("unet", "cells"): unet})
    assert RULE.judge(found).judgements[0].seeds == 4


def test_a_claim_may_be_limited_to_some_settings():
    rule = Comparison(
        claim="On cells.",
        metric="iou",
        more={"model": "unet"},
        less={"model": "fcn"},
        within={"data": ("cells",)},
    )
    found = rows(
        {
            ("fcn", "cells"): FCN,
            ("unet", "cells"): FCN + 0.1,
            ("fcn", "digits"): FCN,
            ("unet", "digits"): FCN - 0.1,
        }
    )
    assert rule.judge(found).word == "supported"


def test_no_rows_decide_nothing():
    assert RULE.judge(Results(())).word == "undecided"


def test_the_interval_is_scipys_bootstrap():
    gaps = np.array([0.05, 0.08, 0.01, 0.11, 0.04])
    found = rows({("fcn", "cells"): FCN, ("unet", "cells"): FCN + gaps})
    (judged,) = RULE.judge(found).judgements
    oracle = stats.bootstrap(
        (gaps,), np.mean, method="percentile", n_resamples=100_000
    ).confidence_interval
    # Two draws of 10,000 and 100,000 resamples: quantiles of the mean move by 0.001.
    np.testing.assert_allclose([judged.low, judged.high], oracle, atol=2e-3)


@pytest.mark.parametrize(("seeds", "share"), [(5, 0.85), (10, 0.90)])
def test_coverage_is_what_the_docstring_says(seeds, share):
    t = stats.t(seeds - 1)
    bound = 1.96 * np.sqrt((seeds - 1) / seeds)
    assert t.cdf(bound) - t.cdf(-bound) == pytest.approx(share, abs=0.01)


def test_each_rule_of_an_experiment_gets_its_verdict():
    experiment = Experiment(
        name="two-rules",
        question="?",
        measure=lambda model, data, seed: {"iou": 0},
        factors={"model": ("fcn", "unet"), "data": ("cells",)},
        metrics={"iou": ""},
        rules=[
            RULE,
            Comparison(
                claim="The other way round.",
                metric="iou",
                more={"model": "fcn"},
                less={"model": "unet"},
            ),
        ],
    )
    found = rows({("fcn", "cells"): FCN, ("unet", "cells"): FCN + 0.1})
    assert [v.word for v in verdicts(experiment, found)] == ["supported", "refuted"]


TUNED = TunedComparison(
    claim="Adam is better than SGD, each at its best rate.",
    metric="iou",
    more={"optimizer": "adam"},
    less={"optimizer": "sgd"},
    effect=0.02,
    over="rate",
    chosen_by="val_iou",
)


def tuned_rows(values):
    """Make rows of two sets from {(optimizer, rate): (val_iou, iou)}, three seeds."""
    return Results(
        tuple(
            Row(
                {"optimizer": optimizer, "rate": rate, "data": data, "seed": seed},
                {"val_iou": np.array(val), "iou": np.array(iou + 0.001 * seed)},
                {"rules": "", "seconds": "1"},
            )
            for data in ("cells", "digits")
            for (optimizer, rate), (val, iou) in values.items()
            for seed in range(3)
        )
    )


def test_each_arm_has_the_level_that_did_best_on_validation_images():
    """SGD's best rate is ten times Adam's, and Adam's luckiest one is not its best."""
    results = tuned_rows(
        {
            ("adam", 0.01): (0.70, 0.71),
            ("adam", 0.1): (0.60, 0.90),  # better on test images: not to be looked at
            ("sgd", 0.01): (0.20, 0.21),
            ("sgd", 0.1): (0.66, 0.65),
        }
    )
    verdict = TUNED.judge(results)
    assert verdict.word == "supported"
    assert [found.setting for found in verdict.judgements] == [
        {"data": "cells"},
        {"data": "digits"},
    ]
    for found in verdict.judgements:
        assert found.difference == pytest.approx(0.71 - 0.65)
        assert found.seeds == 3
    chosen = results.best("rate", "val_iou")
    assert len(chosen) == 2 * 2 * 3
    assert chosen.where(optimizer="adam").levels("rate") == (0.01,)
    assert chosen.where(optimizer="sgd").levels("rate") == (0.1,)


def test_a_level_that_failed_once_is_not_the_best():
    results = tuned_rows(
        {
            ("adam", 0.01): (0.3, 0.3),
            ("adam", 0.1): (np.nan, 0.9),
            ("sgd", 0.01): (np.nan, 0.1),
            ("sgd", 0.1): (np.nan, 0.1),
        }
    )
    chosen = results.best("rate", "val_iou")
    assert chosen.where(optimizer="adam").levels("rate") == (0.01,)
    assert len(chosen.where(optimizer="sgd").levels("rate")) == 1
    with pytest.raises(ValueError, match="'width' is no factor; there is optimizer"):
        results.best("width", "val_iou")
    with pytest.raises(ValueError, match="'accuracy' is no metric"):
        results.best("rate", "accuracy")
    assert len(Results(()).best("rate", "val_iou")) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"over": "optimizer"}, "tunes 'optimizer'; expected a factor that it does"),
        ({"over": "width"}, r"tunes 'width'; .*: \['rate', 'data'\]"),
        ({"chosen_by": "iou"}, r"chooses by 'iou'; .*: \['val_iou'\]"),
        ({"chosen_by": "loss"}, "chooses by 'loss'"),
        ({"metric": "loss"}, "is on 'loss'"),
    ],
)
def test_a_tuned_rule_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ExperimentError, match=message):
        Experiment(
            name="tuned",
            question="?",
            measure=lambda optimizer, rate, data, seed: {"iou": 0, "val_iou": 0},
            factors={
                "optimizer": ("adam", "sgd"),
                "rate": (0.01, 0.1),
                "data": ("cells", "digits"),
            },
            metrics={"iou": "", "val_iou": ""},
            rules=[dataclasses.replace(TUNED, **changes)],
        )

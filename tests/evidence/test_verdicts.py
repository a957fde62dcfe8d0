"""A rule's word, from rows that were made by hand."""

import numpy as np
import pytest
from scipy import stats

from seglab.evidence import Comparison, Experiment, Results, Row, verdicts


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

"""Rules on two levels of a factor: at one setting, or each at its best rate."""

from __future__ import annotations

from typing import Any

from seglab.evidence.experiment import Level
from seglab.evidence.verdicts import Comparison, TunedComparison


def better(
    factor: str,
    more: Level,
    less: Level,
    claim: str,
    *,
    metric: str = "mean_iou",
    by: float = 0.01,
    settles: str = "",
    **within: Level,
) -> Comparison:
    """Declare that a level has more of a metric than another, wherever else."""
    return Comparison(
        claim=claim,
        metric=metric,
        more={factor: more},
        less={factor: less},
        effect=by,
        within={name: (level,) for name, level in within.items()},
        statement=settles,
    )


def better_at_best(
    *arms: Any, chosen_by: str = "val_iou", **options: Any
) -> TunedComparison:
    """Declare the same of two levels that each have the rate that suits them best."""
    rule = better(*arms, **options)
    return TunedComparison(**vars(rule), over="rate", chosen_by=chosen_by)

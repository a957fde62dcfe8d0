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
    return Comparison(**_spell(factor, more, less, claim, metric, by, settles, within))


def better_at_best(
    factor: str,
    more: Level,
    less: Level,
    claim: str,
    *,
    metric: str = "mean_iou",
    by: float = 0.01,
    settles: str = "",
    **within: Level,
) -> TunedComparison:
    """Declare the same of two levels that each have the rate that suits them best."""
    return TunedComparison(
        **_spell(factor, more, less, claim, metric, by, settles, within),
        over="rate",
        chosen_by="val_iou",
    )


def _spell(
    factor: str,
    more: Level,
    less: Level,
    claim: str,
    metric: str,
    by: float,
    settles: str,
    within: dict[str, Level],
) -> dict[str, Any]:
    return {
        "claim": claim,
        "metric": metric,
        "more": {factor: more},
        "less": {factor: less},
        "effect": by,
        "within": {name: (level,) for name, level in within.items()},
        "statement": settles,
    }

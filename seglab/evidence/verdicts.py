"""What follows from the rows, by rules that were stated before there were any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from seglab.evidence.experiment import ExperimentError, Level, spell
from seglab.evidence.results import Results

if TYPE_CHECKING:
    from seglab.evidence.experiment import Experiment

Word = Literal["supported", "refuted", "depends", "undecided"]

RESAMPLES = 10_000
LEAST = 3
"""Seeds below which an interval is not worth drawing."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    r"""A rule: one arm has more of a metric than another, by at least so much.

    The arms are compared seed by seed, with all other factors equal: what a seed does
    to both cancels. For each setting of the other factors the differences are averaged
    over the seeds, with a bootstrap interval. The claim is *supported* where the whole
    interval is above `effect`, *refuted* where none of it is (the difference, if there
    is one, is smaller, or the other way round), and *undecided* where a part of it is,
    or where there are fewer than three pairs.

    Parameters
    ----------
    claim : str
        What the rule decides, as a sentence.
    metric : str
        A metric that is one number.
    more, less : mapping of str to level
        The arm that should have more, and the one that should have less: levels of the
        same factors.
    effect : float, default 0
        The smallest difference that matters, in the metric's unit.
    within : mapping of str to sequence, default all
        Levels of other factors to which the claim is limited.
    confidence : float, default 0.95
        Of the interval.
    statement : str, optional
        Which of the tutorial's statements it helps to settle, such as ``"C1"``.

    Notes
    -----
    A percentile bootstrap of few seeds is too narrow: of n normal differences a 95 %
    interval covers :math:`P(|t_{n-1}| < 1.96 \sqrt{(n-1)/n})`, which is 0.85 for five
    seeds and 0.90 for ten. So demand an effect that matters, not merely one above 0.
    """

    claim: str
    metric: str
    more: Mapping[str, Level]
    less: Mapping[str, Level]
    effect: float = 0.0
    within: Mapping[str, Sequence[Level]] = field(default_factory=dict)
    confidence: float = 0.95
    statement: str = ""

    def check(self, experiment: Experiment) -> None:
        """Refuse a rule that the experiment cannot answer.

        Raises
        ------
        ExperimentError
            When it names what the experiment does not have, or its arms do not differ.
        """
        rule = f"the rule {self.claim!r} of {experiment.name}"
        if self.metric not in experiment.metrics:
            raise ExperimentError(
                f"{rule} is on {self.metric!r}; the metrics are "
                f"{list(experiment.metrics)}."
            )
        if set(self.more) != set(self.less) or dict(self.more) == dict(self.less):
            raise ExperimentError(
                f"{rule} compares {dict(self.more)} with {dict(self.less)}; expected "
                "different levels of the same factors."
            )
        asked = [*self.more.items(), *self.less.items()]
        asked += [(name, level) for name in self.within for level in self.within[name]]
        for name, level in asked:
            if level not in experiment.factors.get(name, ()):
                raise ExperimentError(
                    f"{rule} asks for {name} = {level!r}; "
                    f"{name} has {list(experiment.factors.get(name, ()))}."
                )
        if not 0 < self.confidence < 1:
            raise ExperimentError(
                f"{rule} has the confidence {self.confidence}; it must lie between 0 "
                "and 1."
            )

    def judge(self, results: Results) -> Verdict:
        """Apply the rule to rows."""
        return self._compare(results)

    def _compare(self, results: Results, tuned: str = "") -> Verdict:
        """Compare the arms seed by seed; `tuned` names a factor that may differ."""
        pairs: dict[tuple[tuple[str, Level], ...], dict[str, dict[Level, float]]] = {}
        for row in results:
            others = tuple(
                (name, level)
                for name, level in row.cell.items()
                if name not in ("seed", tuned, *self.more)
            )
            if any(level not in self.within.get(n, (level,)) for n, level in others):
                continue
            for arm, levels in (("more", self.more), ("less", self.less)):
                if all(row.cell[name] == level for name, level in levels.items()):
                    there = pairs.setdefault(others, {"more": {}, "less": {}})
                    there[arm][row.cell["seed"]] = float(row.metrics[self.metric])
        judged = []
        for others, arms in pairs.items():
            seeds = [seed for seed in arms["more"] if seed in arms["less"]]
            gaps = np.array([arms["more"][s] - arms["less"][s] for s in seeds])
            judged.append(self._judge(dict(others), gaps))
        return Verdict(self, combine(found.word for found in judged), tuple(judged))

    def _judge(self, setting: dict[str, Level], gaps: NDArray[np.float64]) -> Judgement:
        mean = float(gaps.mean()) if gaps.size else float("nan")
        if gaps.size < LEAST or not np.isfinite(gaps).all():
            return Judgement(setting, gaps.size, mean, np.nan, np.nan, "undecided")
        # Each resample draws n of the n seeds with replacement; (R, n) @ (n,).
        times = np.random.default_rng(0).multinomial(
            gaps.size, np.full(gaps.size, 1 / gaps.size), size=RESAMPLES
        )
        tails = [(1 - self.confidence) / 2, (1 + self.confidence) / 2]
        low, high = np.quantile(times @ gaps / gaps.size, tails)
        word: Word = "undecided"
        if low > self.effect:
            word = "supported"
        elif high <= self.effect:
            word = "refuted"
        return Judgement(setting, gaps.size, mean, float(low), float(high), word)


@dataclass(frozen=True, kw_only=True)
class TunedComparison(Comparison):
    """A comparison in which each arm has the level of a factor that suits it best.

    To compare two optimizers at one learning rate is to compare which of them the rate
    was chosen for. Here each arm, in each setting of the other factors, gets the level
    of `over` at which the mean of `chosen_by` over the seeds is highest; then the arms
    are compared by `metric` as in a `Comparison`.

    Parameters
    ----------
    over : str
        The factor that is tuned, such as a learning rate.
    chosen_by : str
        A metric that is one number, of the validation images.
    claim, metric, more, less, effect, within, confidence, statement
        As in `Comparison`.
    """

    over: str
    chosen_by: str

    def check(self, experiment: Experiment) -> None:
        """Refuse a rule that the experiment cannot answer.

        Raises
        ------
        ExperimentError
            When it names what the experiment does not have, tunes a factor that it
            also compares, or chooses by the metric that it compares.
        """
        super().check(experiment)
        rule = f"the rule {self.claim!r} of {experiment.name}"
        if self.over not in experiment.factors or self.over in self.more:
            free = [name for name in experiment.factors if name not in self.more]
            raise ExperimentError(
                f"{rule} tunes {self.over!r}; expected a factor that it does not "
                f"compare: {free}."
            )
        if self.chosen_by not in experiment.metrics or self.chosen_by == self.metric:
            others = [name for name in experiment.metrics if name != self.metric]
            raise ExperimentError(
                f"{rule} chooses by {self.chosen_by!r}; expected another metric than "
                f"the one it compares: {others}."
            )

    def judge(self, results: Results) -> Verdict:
        """Choose each arm's level, then apply the rule."""
        return self._compare(results.best(self.over, self.chosen_by), self.over)


@dataclass(frozen=True)
class Judgement:
    """A rule's answer in one setting of the other factors.

    Parameters
    ----------
    setting : dict
        Their levels.
    seeds : int
        Pairs of rows.
    difference : float
        The mean of *more* minus *less*.
    low, high : float
        Its interval; NaN for fewer than three pairs.
    word : {"supported", "refuted", "undecided"}
    """

    setting: dict[str, Level]
    seeds: int
    difference: float
    low: float
    high: float
    word: Word

    def __str__(self) -> str:
        levels = ", ".join(f"{name}={spell(v)}" for name, v in self.setting.items())
        return (
            f"{levels or 'all rows'}: {self.difference:+.3g} "
            f"({self.low:+.3g} to {self.high:+.3g}, {self.seeds} seeds): {self.word}"
        )


@dataclass(frozen=True)
class Verdict:
    """A rule, its answer, and the answers in each setting that it rests on.

    Parameters
    ----------
    rule : Comparison
    word : {"supported", "refuted", "depends", "undecided"}
        Supported or refuted if it is so in every setting; *depends* if it is supported
        in some and refuted in others; else undecided.
    judgements : tuple of Judgement
    """

    rule: Comparison
    word: Word
    judgements: tuple[Judgement, ...]

    def __str__(self) -> str:
        lines = [f"{self.rule.claim} {self.word.upper()}"]
        return "\n  ".join([*lines, *map(str, self.judgements)])


def verdicts(experiment: Experiment, results: Results) -> list[Verdict]:
    """Judge the rows by each rule of the experiment, in order."""
    return [rule.judge(results) for rule in experiment.rules]


def combine(words: Iterable[Word]) -> Word:
    """Make one word of several: theirs if they agree, else *depends* or *undecided*."""
    found = set(words)
    if {"supported", "refuted"} <= found:
        return "depends"
    return found.pop() if len(found) == 1 else "undecided"

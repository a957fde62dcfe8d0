"""The main effects of the tuning questions, once more on real images.

What was found on drawn images may not hold on others. So the main effects are measured
again, on two sets, with the same small U-Net and each arm at its own best rate.
*nuclei*: micrographs, with the rim of each nucleus as a class of its own, thin and the
rarest; for the losses too. *pets*: animal or not. Of each image a window of `SIDE` x
`SIDE` pixels is taken, or all of it made that small, and of each set `TRAIN` images: no
more than in the other experiments, so the scores are no records. The windows of a third
set, *road*, are for `seglab.evidence.catalog.rare_classes`, which names the class that
it scores: the one with the fewest pixels is there not the one that is meant.

The images are the same for all seeds: an interval says nothing about other images.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import numpy as np

from seglab.evidence.catalog.knobs import RATES, RATES_OF_MOMENTUM
from seglab.evidence.catalog.recipe import (
    METRICS,
    OPTIMIZERS,
    TEST,
    TOLERANCE,
    VAL,
    Training,
    make_loss,
    mean_iou,
    scores,
    unet,
)
from seglab.evidence.catalog.rules import better, better_at_best
from seglab.evidence.experiment import Experiment, Value
from seglab.evidence.verdicts import Comparison

SIDE = 48
TRAIN = 96
EPOCHS = 10
BATCH = 8

LOSSES = ("weighted", "dice", "focal", "tversky", "lovasz")
ARMS: dict[str, dict[str, Any]] = {
    "none": {},
    "momentum": {"optimizer": "momentum"},
    "sigmoid": {"activation": "sigmoid"},
    "small weights": {"initializer": "small"},
    "batches of 32": {"batch": 32},
    "augmentation": {"augment": True},
    "dropout": {"dropout": 0.5},
    "squared error": {"loss": "mse"},
    **{name: {"loss": name} for name in LOSSES},
}
USED = {
    "nuclei": tuple(ARMS),
    "pets": tuple(arm for arm in ARMS if arm not in LOSSES),
}
# A pet has a top, a cell has none.
FLIPS: dict[str, Any] = {"nuclei": True, "pets": "horizontal"}
TOO_HIGH = 0.1  # a rate for Adam


@functools.lru_cache
def load(data: str) -> Any:
    """Load a part of a set, the images small."""
    from seglab import data as data_sets

    if data == "pets":  # made small: an animal must stay whole
        whole = data_sets.load(data, size=SIDE).merge_classes({"boundary": "pet"})
    else:
        whole = data_sets.load(data)
    if data == "nuclei":
        whole = whole.map_images(data_sets.stretch_contrast)
    return replace(
        whole,
        train=part(whole.train, TRAIN, data),
        val=part(whole.val, VAL, data),
        test=part(whole.test, TEST, data),
    )


def part(split: Any, count: int, data: str) -> Any:
    """Take images at equal distances, and of each the middle; of a road its bottom."""
    chosen = split[np.linspace(0, len(split) - 1, count).astype(int)]
    height, width, _ = split.image_shape
    top = height - SIDE if data == "road" else (height - SIDE) // 2
    left = (width - SIDE) // 2
    window = np.s_[:, top : top + SIDE, left : left + SIDE]
    return replace(
        chosen, images=chosen.images[window], masks=chosen.masks[window], instances=None
    )


@functools.lru_cache(maxsize=64)
def compiled(
    data: str, optimizer: str, loss: str, knobs: tuple[tuple[str, Any], ...]
) -> Any:
    """Build a network, and compile it once for all trainings of this kind."""
    import keras

    dataset = load(data)
    network = unet(dataset.image_shape, dataset.num_classes, **dict(knobs))
    kind, options = OPTIMIZERS[optimizer]
    network.compile(
        optimizer=getattr(keras.optimizers, kind)(1e-3, **options),
        loss=make_loss(loss, dataset),
        jit_compile=False,
    )
    return network


def train(
    data: str,
    rate: float,
    seed: int,
    *,
    optimizer: str = "adam",
    loss: str = "cross-entropy",
    batch: int = BATCH,
    augment: bool = False,
    **knobs: Any,
) -> Training:
    """Train a network from new first weights, and look at it after each epoch."""
    from seglab import data as data_sets
    from seglab import device, training

    dataset = load(data)
    model = compiled(data, optimizer, loss, tuple(sorted(knobs.items())))
    model.optimizer.learning_rate = rate
    device.set_seed(seed)
    start = unet(dataset.image_shape, dataset.num_classes, **knobs)
    training.restart(model, start)
    rng = np.random.default_rng(seed)
    found = Training(model, dataset, model.get_weights(), [])
    found.curve.append(mean_iou(model, dataset.val))
    for _ in range(EPOCHS):
        x, y = dataset.train.images, dataset.train.masks
        if augment:
            x, y = data_sets.Augment(flip=FLIPS[data])(x, y, rng)
        order = rng.permutation(len(x))
        history = model.fit(
            x[order], y[order], batch_size=batch, shuffle=False, verbose=0
        )
        found.losses += history.history["loss"]
        found.curve.append(mean_iou(model, dataset.val))
        if found.curve[-1] > max(found.curve[:-1]):
            found.best = model.get_weights()
    return found


def measure(data: str, arm: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train one arm on one data set, and score the network."""
    return scores(train(data, rate, seed, **ARMS[arm]))


def skip(data: str, arm: str, rate: float) -> bool:
    """Leave out what a set is not for, and give momentum its own rates."""
    if arm not in USED[data]:
        return True
    if arm == "none" and rate == TOO_HIGH:
        return False
    return rate not in (RATES_OF_MOMENTUM if arm == "momentum" else RATES)


def on(rule: Comparison, *sets: str) -> Comparison:
    """Limit a rule to sets that have both of its arms."""
    return replace(rule, within={**rule.within, "data": sets})


EXPERIMENT = Experiment(
    name="carry-over",
    question="Do the main effects hold on real images?",
    measure=measure,
    factors={
        "data": tuple(USED),
        "arm": tuple(ARMS),
        "rate": tuple(sorted({*RATES, *RATES_OF_MOMENTUM})),
    },
    metrics=METRICS,
    skip=skip,
    rules=(
        *(
            on(better_at_best("arm", more, less, claim), "nuclei", "pets")
            for more, less, claim in (
                ("none", "momentum", "Adam is better than momentum."),
                ("none", "sigmoid", "ReLU is better than the sigmoid."),
                ("none", "small weights", "He's weights are better than small ones."),
                (
                    *("none", "batches of 32"),
                    "Batches of 8 are better than of 32, over equally many images.",
                ),
                ("augmentation", "none", "Augmentation helps."),
                ("dropout", "none", "Dropout helps."),
                (
                    *("none", "squared error"),
                    "Cross-entropy is better than the squared error.",
                ),
            )
        ),
        on(
            better(
                *("rate", 0.01, TOO_HIGH),
                "For Adam a rate of 0.01 is better than 0.1.",
                by=0.02,
                arm="none",
            ),
            *("nuclei", "pets"),
        ),
        *(
            on(
                better_at_best(
                    *("arm", loss, "none"),
                    f"{loss.capitalize()} finds the rarest class better than "
                    "cross-entropy.",
                    metric="rarest_iou",
                    by=0.02,
                ),
                "nuclei",
            )
            for loss in LOSSES
        ),
    ),
    tolerance=TOLERANCE,
    full={"seed": range(20)},
)

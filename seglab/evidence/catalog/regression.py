"""A number for each pixel instead of a class: losses, last layers, weights, penalties.

The number is the distance to the edge of the cells, as networks predict it that tell
touching cells apart. *distance*: of a pixel in a cell to the nearest one outside, and 0
elsewhere. *signed*: the same, and outside minus the distance to the nearest cell. Both
are cut off at `FAR` pixels and divided by it, so that a distance lies in [0, 1] and a
signed one in [-1, 1].

Each arm turns one knob of the recipe's U-Net, and has its own best rate. Those on few
images are trained as in `seglab.evidence.catalog.regularizers`, at one rate.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.evidence.catalog import recipe
from seglab.evidence.catalog.regularizers import BATCH_EACH, COUNT, EPOCHS_EACH, RATE
from seglab.evidence.catalog.rules import better, better_at_best
from seglab.evidence.experiment import Experiment, Value
from seglab.evidence.verdicts import TunedComparison

FAR = 8  # pixels
BINS = 9  # distances 0, 1, ..., 8 as classes
FEW: dict[str, Any] = {"count": COUNT, "epochs": EPOCHS_EACH, "batch": BATCH_EACH}
ARMS: dict[str, dict[str, Any]] = {
    "squares": {},
    "absolute": {"answer": "absolute"},
    "bins": {"answer": "bins"},
    "relu": {"answer": "relu"},
    "sigmoid": {"answer": "sigmoid"},
    # without batch normalization, which undoes the scale of the first weights
    "he": {"norm": False},
    "small": {"norm": False, "initializer": "small"},
    "few": FEW,
    "few l1": {**FEW, "l1": 1e-4},
    "few l2": {**FEW, "l2": 1e-3},
}
BOTH_TARGETS = ("squares", "relu", "sigmoid")
WORST = -1.0
"""An R2 below it counts as this: how wrong a failure is does not matter."""


def distances(masks: NDArray[np.int32], target: str) -> NDArray[np.float32]:
    """Measure each pixel's distance to the edge; masks (N, H, W) to (N, H, W, 1)."""
    from scipy.ndimage import distance_transform_edt

    found = []
    for inside in masks > 0:
        far = distance_transform_edt(inside) if inside.any() else 0.0 * inside
        if target == "signed" and not inside.all():
            far = far - distance_transform_edt(~inside)
        found.append(np.clip(far / FAR, -1, 1))
    return np.stack(found)[..., None].astype(np.float32)


def error(answer: str, wanted: Any, z: Any) -> Any:
    """Average an answer's loss over pixels; wanted (N, H, W, 1), z (N, H, W, C)."""
    from keras import ops

    if answer == "bins":
        label = ops.cast(ops.round(wanted[..., 0] * FAR), "int32")  # (N, H, W)
        each = ops.sparse_categorical_crossentropy(label, z, from_logits=True)
        return ops.mean(each)
    gap = read_out(answer, z) - wanted
    return ops.mean(ops.abs(gap) if answer == "absolute" else gap**2)


def read_out(answer: str, z: Any) -> Any:
    """Turn the network's outputs (N, H, W, C) into distances (N, H, W, 1)."""
    from keras import ops

    if answer == "bins":  # what is to be expected of the softmax
        centers = ops.arange(BINS, dtype="float32") / FAR
        return ops.sum(ops.softmax(z) * centers, axis=-1, keepdims=True)
    last = {"relu": ops.relu, "sigmoid": ops.sigmoid}
    return last[answer](z) if answer in last else z


@functools.lru_cache(maxsize=16)
def compiled(count: int, answer: str, knobs: tuple[tuple[str, Any], ...]) -> Any:
    """Build a network, and compile it once for all trainings of this kind."""
    import keras

    network = build(count, answer, dict(knobs))
    network.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=functools.partial(error, answer),
        jit_compile=False,
    )
    return network


def build(count: int, answer: str, knobs: dict[str, Any]) -> Any:
    """Build the recipe's U-Net with as many outputs as the answer needs."""
    channels = BINS if answer == "bins" else 1
    return recipe.unet(recipe.load("cells", count).image_shape, channels, **knobs)


def measure(target: str, arm: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train one arm, and score it after each epoch."""
    import keras

    from seglab import device, training

    options: dict[str, Any] = {
        **{"count": recipe.TRAIN, "epochs": recipe.EPOCHS, "batch": recipe.BATCH},
        **{"answer": "squares"},
        **ARMS[arm],
    }
    count, epochs, batch, answer = (
        options.pop(name) for name in ("count", "epochs", "batch", "answer")
    )
    dataset = recipe.load("cells", count)
    wanted = {
        name: distances(split.masks, target) for name, split in dataset.splits().items()
    }
    model = compiled(count, answer, tuple(sorted(options.items())))
    model.optimizer.learning_rate = rate
    device.set_seed(seed)
    training.restart(model, build(count, answer, options))

    def score(name: str) -> tuple[float, float]:
        z = model.predict_on_batch(getattr(dataset, name).images)
        answers = keras.ops.convert_to_numpy(read_out(answer, z))
        return fit_of(answers, wanted[name])

    rng = np.random.default_rng(seed)
    best, spent = model.get_weights(), [math.nan]
    curve = [score("val")[0]]
    for _ in range(epochs):
        order = rng.permutation(count)[: count // batch * batch]
        spent = []
        for chosen in order.reshape(-1, batch):
            loss = model.train_on_batch(
                dataset.train.images[chosen], wanted["train"][chosen]
            )
            spent.append(float(loss))
            model.reset_metrics()  # else Keras gives the mean of all steps so far
        curve.append(score("val")[0])
        if curve[-1] > max(curve[:-1]):
            best = model.get_weights()
    last, _ = score("test")
    model.set_weights(best)
    r2, off = score("test")
    return {
        "r2": r2,
        "off": off,
        "last_r2": last,
        "val_r2": max(curve),
        "speed": float(np.mean(curve[1:])),
        "diverged": float(not math.isfinite(float(np.mean(spent)))),
        "curve": curve,
    }


def fit_of(found: NDArray[Any], wanted: NDArray[Any]) -> tuple[float, float]:
    """Give R2, at least `WORST`, and the mean absolute error in pixels."""
    gap = found.astype(np.float64) - wanted
    r2 = 1 - float(np.mean(gap**2)) / float(np.var(wanted, dtype=np.float64))
    if not math.isfinite(r2):
        return WORST, float(FAR)
    return max(r2, WORST), FAR * float(np.mean(np.abs(gap)))


def skip(target: str, arm: str, rate: float) -> bool:
    """Ask of both targets the last layers alone, and of few images one rate."""
    if target == "signed" and arm not in BOTH_TARGETS:
        return True
    return arm.startswith("few") and rate != RATE


def closer(
    target: str, more: str, less: str, claim: str, settles: str = ""
) -> TunedComparison:
    """Declare that one arm has the higher R2, each at its best rate."""
    return better_at_best(
        *("arm", more, less, claim),
        metric="r2",
        by=0.02,
        settles=settles,
        chosen_by="val_r2",
        target=target,
    )


EXPERIMENT = Experiment(
    name="regression",
    question="What if each pixel gets a number instead of a class?",
    measure=measure,
    factors={
        "target": ("distance", "signed"),
        "arm": tuple(ARMS),
        "rate": (0.003, 0.01, 0.03),
    },
    metrics={
        "r2": "R2 of the distances of the test images, best epoch",
        "off": "mean absolute error of the same in pixels",
        "last_r2": "R2 of the test images, last epoch",
        "val_r2": "R2 of the validation images, best epoch",
        "speed": "mean over the epochs of the R2 of the validation images",
        "diverged": "1 if the loss became infinite or no number, else 0",
        "curve": "R2 of the validation images before the training and after each epoch",
    },
    skip=skip,
    rules=(
        closer(
            *("distance", "squares", "bins"),
            "For distances, squared errors are better than cross-entropy of bins.",
            settles="Q9a",
        ),
        closer(
            *("distance", "absolute", "squares"),
            "For distances, absolute errors are better than squared ones.",
        ),
        closer(
            *("distance", "relu", "squares"),
            "For distances, a ReLU at the end is better than nothing.",
            settles="Q10a",
        ),
        closer(
            *("signed", "relu", "squares"),
            "For signed distances, a ReLU at the end is better than nothing.",
            settles="Q10a",
        ),
        closer(
            *("distance", "squares", "sigmoid"),
            "For distances, nothing at the end is better than a sigmoid.",
        ),
        closer(
            *("distance", "small", "he"),
            "For distances, small weights are better than He's.",
            settles="Q13a",
        ),
        *(
            better(
                *("arm", arm, "few"),
                f"For distances, an {words} penalty helps where images are few.",
                metric="last_r2",
                by=0.02,
                settles="Q14a",
                target="distance",
            )
            for arm, words in (("few l1", "L1"), ("few l2", "L2"))
        ),
    ),
    tolerance={"r2": 0.15, "speed": 0.15},
    full={"seed": range(20)},
)

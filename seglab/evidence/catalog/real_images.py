"""The same training on four sets of real images, and what one change of it is worth.

The plain recipe is the same everywhere: a U-Net, cross-entropy, the images as they are.
Each other recipe changes one thing, where the set gives a reason for it: see `RECIPES`.
Everything else is fixed, and was fixed before: the images, 64 x 64 pixels of each, the
`EPOCHS`, the batch, Adam's rate. So a difference between two recipes is that of the one
change, at this budget. It is a small one: `TRAIN` images and a minute of a processor
core, where any of these sets allows more of both, so the numbers are no records.

What is fair, and what is not: no setting was chosen by its score on test images (one
trial was scored on them; the images were made fewer then because of its time), and none
was chosen for a recipe alone, so each recipe has the rate that suits it or not. The
transferred network is another one than the U-Net, so a third stands beside them: the
same network with random weights, ``scratch``. Spoilt labels are spoilt in training and
validation images alike, since whoever has bad labels has them in both; test labels
never are. The ignore label is left out of the measurement in every recipe, also where
training was told that it is a class.

Seeds are of the first weights, the order of the images, and the spoilt labels. The
images are the same for all seeds: an interval says nothing about other images.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.evidence.experiment import Experiment, Value
from seglab.evidence.verdicts import Comparison

TRAIN, VAL = 120, 30
SIDE = 64
EPOCHS = 9
BATCH = 8
RATE = 3e-3
WIDTH = 8

# What is changed, in words; only the sets of USED try it.
RECIPES = {
    "plain": "a U-Net, cross-entropy, the images as they are",
    "contrast": "the contrast of each image stretched",
    "weights": "classes weighted by the inverse of their frequency",
    "dice": "cross-entropy plus Dice",
    "scratch": "a U-Net on MobileNet, from random weights",
    "transfer": "the same, its encoder learned from ImageNet, and frozen",
    "tuned": "the same, its encoder trained on for the last epochs",
    "void": "pixels to be ignored trained as class 0",
    "shaky": "masks moved by up to two pixels, each another way",
    "fat": "objects drawn one pixel too large",
}
USED = {
    "nuclei": ("plain", "contrast", "weights", "dice", "shaky", "fat"),
    "pets": ("plain", "scratch", "transfer", "tuned", "void"),
    "aerial": ("plain", "scratch", "transfer", "void"),
    "road": ("plain", "weights", "dice", "scratch", "transfer"),
}


def measure(data: str, recipe: str, *, seed: int) -> dict[str, Value]:
    """Train one recipe on one data set and measure it on all of its test images."""
    dataset = prepare(data, recipe, seed)
    started = time.process_time()
    network, steps = train(dataset, recipe, seed)
    seconds = time.process_time() - started
    return {
        **scores(dataset, network),
        "train_seconds": seconds,
        "steps": steps,
        "parameters": network.count_params(),
    }


def prepare(data: str, recipe: str, seed: int) -> Any:
    """Load a part of a set as a recipe wants it."""
    from seglab import data as data_sets

    if data == "pets":  # squeezed: an animal must stay whole
        dataset = data_sets.load(data, size=SIDE).merge_classes({"boundary": None})
    else:  # cut out: thin classes must keep their pixels
        dataset = data_sets.load(data)
    if recipe == "contrast":
        dataset = dataset.map_images(data_sets.stretch_contrast)
    dataset = replace(
        dataset,
        train=cut(some(dataset.train, TRAIN), data),
        val=cut(some(dataset.val, VAL), data),
        test=cut(dataset.test, data),
    )
    if recipe in ("void", "shaky", "fat"):
        rng = np.random.default_rng([7, seed])
        train, val = (spoil(part, recipe, rng) for part in (dataset.train, dataset.val))
        dataset = replace(dataset, train=train, val=val)
    return dataset


def some(split: Any, count: int) -> Any:
    """Choose images at equal distances, the same ones for every seed."""
    return split[np.linspace(0, len(split) - 1, count).astype(int)]


def cut(split: Any, data: str) -> Any:
    """Cut out the middle, SIDE x SIDE; of a road the middle of the bottom."""
    height, width, _ = split.image_shape
    top = height - SIDE if data == "road" else (height - SIDE) // 2
    left = (width - SIDE) // 2
    rows, columns = slice(top, top + SIDE), slice(left, left + SIDE)
    parts: dict[str, Any] = {
        "images": split.images[:, rows, columns],
        "masks": split.masks[:, rows, columns],
    }
    if split.instances is not None:
        parts["instances"] = split.instances[:, rows, columns]
    return replace(split, **parts)


def spoil(split: Any, how: str, rng: np.random.Generator) -> Any:
    """Spoil the labels of a split in one way."""
    from scipy import ndimage
    from skimage.segmentation import expand_labels

    if how == "void":
        masks = np.where(split.masks == split.ignore_index, 0, split.masks)
    elif how == "shaky":
        moves = rng.integers(-2, 3, size=(len(split), 2))
        masks = np.stack(
            [
                ndimage.shift(mask, move, order=0, mode="nearest")
                for mask, move in zip(split.masks, moves, strict=True)
            ]
        )
    else:
        masks = np.stack(
            [with_rims(expand_labels(objects, 1)) for objects in split.instances]
        )
    return replace(split, masks=masks.astype(np.int32))


def with_rims(objects: NDArray[Any]) -> NDArray[np.int32]:
    """Label nuclei from their numbers (H, W): 1 inside, 2 on the outermost pixel.

    A pixel is on the rim if one of its four neighbors is not of the same nucleus.
    """
    from seglab.plots.arrays import rim

    return np.where(objects > 0, 1 + rim(objects), 0).astype(np.int32)


def train(dataset: Any, recipe: str, seed: int) -> tuple[Any, int]:
    """Train a recipe's network with its loss; give it, and the steps it took."""
    from seglab import device, losses, training

    device.set_seed(seed)
    network = build(dataset, recipe)
    ignored = dataset.ignore_index
    weights: list[float] | None = None
    if recipe == "weights":
        weights = losses.median_frequency_weights(dataset.train).tolist()
    loss: Any = losses.CrossEntropy(class_weights=weights, ignore_index=ignored)
    if recipe == "dice":
        loss = loss + losses.Dice(ignore_index=ignored)
    phases = [(EPOCHS, RATE)]
    if recipe == "tuned":
        last = EPOCHS // 3
        phases = [(EPOCHS - last, RATE), (last, RATE / 10)]
    for number, (epochs, rate) in enumerate(phases):
        if number:
            for layer in network.layers:
                layer.trainable = True
        training.fit(
            *(network, dataset),
            epochs=epochs,
            batch_size=BATCH,
            learning_rate=rate,
            loss=loss,
            seed=seed,
            progress=False,
        )
    return network, EPOCHS * -(-len(dataset.train) // BATCH)


def build(dataset: Any, recipe: str) -> Any:
    """Build the network of a recipe."""
    from seglab import models

    shape, classes = dataset.image_shape, dataset.num_classes
    if recipe in ("scratch", "transfer", "tuned"):
        weights = None if recipe == "scratch" else "imagenet"
        return models.mobilenet_unet(shape, classes, width=WIDTH, weights=weights)
    return models.unet(shape, classes, width=WIDTH)


def scores(dataset: Any, network: Any) -> dict[str, Value]:
    """Score a network on the test images; ignored pixels count nowhere."""
    from seglab import metrics, training

    report = training.evaluate(network, dataset.test)
    matrix = report.confusion  # (C, C), rows = truth
    rarest = int(np.argmin(dataset.train.class_shares()))
    either = matrix.sum() - matrix[0, 0]  # an object in the truth, or found
    return {
        "mean_iou": report.mean_iou,
        "class_iou": report.iou.tolist(),
        "rarest_iou": float(report.iou[rarest]),
        "object_iou": float(matrix[1:, 1:].sum() / either),
        "accuracy": float(metrics.pixel_accuracy(matrix)),
    }


def skip(data: str, recipe: str) -> bool:
    """Leave out the recipes that a set gives no reason for."""
    return recipe not in USED[data]


def better(
    one: str, other: str, metric: str, by: float, claim: str, *sets: str
) -> Comparison:
    """Declare that one recipe has more of a metric than another, on these sets."""
    return Comparison(
        claim=claim,
        metric=metric,
        more={"recipe": one},
        less={"recipe": other},
        effect=by,
        within={"data": sets},
    )


EXPERIMENT = Experiment(
    name="real-images",
    question="What is each remedy for a trouble of real images worth?",
    measure=measure,
    factors={"data": tuple(USED), "recipe": tuple(RECIPES)},
    metrics={
        "mean_iou": "mean over the classes of the data set's IoU, test images",
        "class_iou": "IoU of each class",
        "rarest_iou": "IoU of the class with the fewest training pixels",
        "object_iou": "IoU of all that is not class 0, whatever its class",
        "accuracy": "share of the annotated test pixels that are right",
        "train_seconds": "processor seconds of training, with its validation",
        "steps": "training steps",
        "parameters": "numbers that the network stores",
    },
    seeds=range(3),
    skip=skip,
    rules=(
        better(
            *("contrast", "plain", "mean_iou", 0.02),
            "Stretching each micrograph's contrast raises the mean IoU.",
            "nuclei",
        ),
        better(
            *("weights", "plain", "rarest_iou", 0.02),
            "Class weights raise the IoU of the rarest class.",
            *("nuclei", "road"),
        ),
        better(
            *("weights", "plain", "mean_iou", 0.0),
            "Class weights raise the mean IoU too.",
            *("nuclei", "road"),
        ),
        better(
            *("dice", "plain", "rarest_iou", 0.02),
            "A Dice term raises the IoU of the rarest class.",
            *("nuclei", "road"),
        ),
        better(
            *("transfer", "plain", "mean_iou", 0.02),
            "A frozen encoder that knows ImageNet beats a U-Net.",
            *("pets", "aerial", "road"),
        ),
        better(
            *("transfer", "scratch", "mean_iou", 0.02),
            "It is better than the same network with random weights.",
            *("pets", "aerial", "road"),
        ),
        better(
            *("tuned", "transfer", "mean_iou", 0.01),
            "Training the encoder on, in the last epochs, adds to that.",
            "pets",
        ),
        better(
            *("plain", "void", "mean_iou", 0.02),
            "Training pixels without a label as class 0 lowers the mean IoU.",
            *("pets", "aerial"),
        ),
        better(
            *("plain", "shaky", "object_iou", 0.02),
            "Masks that are off by up to two pixels, each another way, lower the IoU "
            "of nuclei.",
            "nuclei",
        ),
        better(
            *("plain", "fat", "object_iou", 0.02),
            "Outlines that all lie one pixel too far out lower the IoU of nuclei.",
            "nuclei",
        ),
        better(
            *("shaky", "fat", "object_iou", 0.02),
            "The constant error costs more than the random one.",
            "nuclei",
        ),
    ),
    tolerance={"mean_iou": 0.1, "object_iou": 0.1, "steps": 0.5, "parameters": 0.5},
    full={"seed": range(10)},
)

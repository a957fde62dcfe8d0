"""Families of models where images are few, where they are coarse, and where neither.

Each network has the comparison's width, rate and training, with a budget of processor
seconds: of few images it sees each more often, as one would let it. *usual* is the
comparison's data; *few* has the first `FEW` of its training images; *coarse* has every
image at `SMALL` pixels, a third of the cells' height and half of the digits'. Cells are
the easy task, digits the hard one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seglab.evidence.catalog import comparison
from seglab.evidence.catalog.rules import better
from seglab.evidence.experiment import Experiment, Value

FEW = 12
SMALL = 16
EFFECT = 0.02
USUAL, COARSE = "usual", "coarse"
OTHERS = {"fcn8": "an FCN-8s", "autoencoder": "an autoencoder's encoder"}


def measure(model: str, data: str, images: str, *, seed: int) -> dict[str, Value]:
    """Train one model on such images, and measure it on the test images."""
    from seglab import data as data_sets

    dataset = data_sets.load(data, seed=0, **comparison.SETS[data])
    if images == "few":
        dataset = replace(dataset, train=dataset.train[:FEW])
    if images == COARSE:
        dataset = replace(
            dataset,
            **{name: shrink(split) for name, split in dataset.splits().items()},
        )
    network, clock = comparison.train(
        *(model, dataset, "seconds", comparison.RATES[f"{model} {data}"], seed)
    )
    labels, _ = comparison.predict(network, dataset.test.images)
    found = comparison.scores(dataset.test.masks, labels, dataset.num_classes)
    return {
        **{name: found[name] for name in ("mean_iou", "class_iou", "object_iou")},
        "steps": clock.steps,
    }


def shrink(split: Any, side: int = SMALL) -> Any:
    """Average the image over squares; of the mask keep the label in their middle."""
    images = split.images  # (N, H, W, C), H = W a multiple of the side
    count, height, _, channels = images.shape
    step = height // side
    blocks = images.reshape(count, side, step, side, step, channels)
    middle = slice(step // 2, None, step)
    return replace(
        split,
        images=blocks.mean(axis=(2, 4)),
        masks=split.masks[:, middle, middle],
        instances=None,
    )


EXPERIMENT = Experiment(
    name="choosing",
    question="Which model for few images, coarse images, an easy or a hard task?",
    measure=measure,
    factors={
        "model": ("patch_cnn", "fcn8", "autoencoder", "unet"),
        "data": ("cells", "digits"),
        "images": (USUAL, "few", COARSE),
    },
    metrics={
        "mean_iou": "mean over the classes of the data set's IoU, test images",
        "class_iou": "IoU of each class",
        "object_iou": "IoU of all that is not background, whatever its class",
        "steps": "training steps",
    },
    rules=tuple(
        rule
        for other, name in OTHERS.items()
        for rule in (
            better(
                *("model", "patch_cnn", other),
                f"Where images are few, a patch CNN is better than {name}.",
                by=EFFECT,
                settles="Q4a",
                images="few",
            ),
            better(
                *("model", "patch_cnn", other),
                f"Where images are coarse, a patch CNN is better than {name}.",
                by=EFFECT,
                settles="Q4b",
                images=COARSE,
            ),
            better(
                *("model", "patch_cnn", other),
                f"On the easy task, a patch CNN is better than {name}.",
                by=EFFECT,
                settles="Q4c",
                images=USUAL,
                data="cells",
            ),
            better(
                *("model", other, "patch_cnn"),
                f"On the hard task, {name} is better than a patch CNN.",
                by=EFFECT,
                settles="Q4c",
                images=USUAL,
                data="digits",
            ),
            # On the usual images, which are neither few nor coarse:
            *(
                better(
                    *("model", other, "patch_cnn"),
                    f"Where images are not {words}, {name} is better than a patch CNN.",
                    by=EFFECT,
                    settles=statement,
                    images=USUAL,
                )
                for words, statement in (("few", "Q4a"), ("coarse", "Q4b"))
            ),
        )
    )
    + tuple(
        better(
            *("model", "unet", "patch_cnn"),
            f"A U-Net is better than a patch CNN on {images} images.",
            by=EFFECT,
            images=images,
        )
        for images in (USUAL, "few", COARSE)
    ),
    tolerance={"mean_iou": 0.1},
    full={
        "model": (
            "patch_cnn",
            "fcn32",
            "fcn16",
            "fcn8",
            "autoencoder",
            "segnet",
            "unet",
        ),
        "seed": range(20),
    },
)

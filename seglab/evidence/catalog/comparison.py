"""Families of models on the same images, with the same training, over seeds.

Two budgets, since neither alone is fair. *Epochs*: every network sees the training
images equally often, however long that takes. *Seconds*: every network trains equally
long, however often it sees them. Seconds are of the processor, in training steps alone:
compiling and validating are not counted. Another program on the machine shortens them
all the same, since caches and memory are shared: the rows tell how many steps fitted.

The loss is cross-entropy plus Dice: on cross-entropy alone, ten rare classes stay
background for most of so short a training. The autoencoder spends half of its budget on
giving back images, and half on masks. Of the patch CNN, which sees patches in place of
images, an epoch is `PATCHES` of them: to classify every pixel of every image once would
take a hundred times as long. It sees each class equally often, by cross-entropy, and
the logarithms of the true shares are added to its scores. The two classical baselines
have no budget.

Each network trains by Adam at the rate that did best on *validation* images among the
three of `RATES_TRIED`, with a seed that the comparison does not use: the experiment
``comparison-rates``, whose rows are stored too. The width of each is such that it has a
tenth of the paper's channels or so: see `WIDTHS`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.evidence.experiment import Experiment, Value
from seglab.evidence.verdicts import Comparison

EPOCHS = 12
SECONDS = 15.0
BATCH = 16
PATCHES = 2_000
PATCH = 31
SETS: dict[str, dict[str, Any]] = {
    "cells": {"count": 150, "size": 48},
    "digits": {
        **{"count": 600, "size": 32},
        **{"digits_per_image": 1, "digit_size": 20, "difficulty": 0},
    },
}

WIDTHS = {
    "patch_cnn": 8,
    "fcn32": 4,
    "fcn16": 4,
    "fcn8": 4,
    "autoencoder": 8,
    "segnet": 8,
    "unet": 8,
    "mobilenet_unet": 8,
}
CLASSICAL = ("otsu", "forest")
RATES_TRIED = (1e-3, 3e-3, 1e-2)
RATES = {
    "patch_cnn cells": 0.003,
    "patch_cnn digits": 0.003,
    "fcn32 cells": 0.003,
    "fcn32 digits": 0.003,
    "fcn16 cells": 0.01,
    "fcn16 digits": 0.003,
    "fcn8 cells": 0.01,
    "fcn8 digits": 0.01,
    "autoencoder cells": 0.01,
    "autoencoder digits": 0.001,
    "segnet cells": 0.01,
    "segnet digits": 0.01,
    "unet cells": 0.01,
    "unet digits": 0.003,
    "mobilenet_unet digits": 0.003,
}

Labels = NDArray[Any]


def measure(model: str, data: str, budget: str, *, seed: int) -> dict[str, Value]:
    """Train one model on one data set and measure it on the test images."""
    from seglab import data as data_sets

    dataset = data_sets.load(data, seed=0, **SETS[data])
    if model in CLASSICAL:
        return classical(model, dataset, seed)
    rate = RATES[f"{model} {data}"]
    return trained(model, dataset, budget, rate, seed, dataset.test)


def measure_rate(model: str, data: str, rate: float, *, seed: int) -> dict[str, Value]:
    """Train at a rate, and measure on the validation images."""
    from seglab import data as data_sets

    dataset = data_sets.load(data, seed=0, **SETS[data])
    found = trained(model, dataset, "epochs", rate, seed, dataset.val)
    return {"mean_iou": found["mean_iou"], "train_seconds": found["train_seconds"]}


def trained(
    model: str, dataset: Any, budget: str, rate: float, seed: int, split: Any
) -> dict[str, Value]:
    """Train a network within a budget, and score it on a split."""
    network, clock = train(model, dataset, budget, rate, seed)
    labels, milliseconds = predict(network, split.images)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.keras"
        network.save(path)
        megabytes = path.stat().st_size / 1e6
    return {
        **scores(split.masks, labels, dataset.num_classes),
        "parameters": network.count_params(),
        "train_seconds": clock.spent,
        "steps": clock.steps,
        "image_ms": milliseconds,
        "megabytes": megabytes,
    }


def train(
    model: str, dataset: Any, budget: str, rate: float, seed: int
) -> tuple[Any, Clock]:
    """Train a network within a budget; give it, and the clock that was watching."""
    import keras

    from seglab import device

    device.set_seed(seed)
    clock = Clock(SECONDS if budget == "seconds" else np.inf)
    if model == "patch_cnn":
        network = train_patches(model, dataset, budget, rate, seed, clock)
    elif model == "autoencoder":
        network = train_twice(model, dataset, budget, rate, seed, clock)
    else:
        network = train_masks(model, dataset, budget, rate, seed, clock)
    # Without its optimizer, which a trained network no longer needs.
    return keras.Model(network.inputs, network.outputs), clock


class Clock:
    """Processor seconds in training steps, and a stop when they are spent."""

    def __init__(self, limit: float) -> None:
        self.limit, self.spent, self.steps = limit, 0.0, 0

    @property
    def over(self) -> bool:
        """Whether the budget is spent."""
        return self.spent >= self.limit

    def watch(self, network: Any, share: float = 1.0) -> Any:
        """Make a callback that stops this network at a share of the limit."""
        import keras

        begun = 0.0
        first = True  # the step that is compiled

        def begin(batch: int, logs: Any) -> None:
            nonlocal begun
            begun = time.process_time()

        def end(batch: int, logs: Any) -> None:
            nonlocal first
            if not first:
                self.spent += time.process_time() - begun
            first = False
            self.steps += 1
            if self.spent >= share * self.limit:
                network.stop_training = True

        return keras.callbacks.LambdaCallback(
            on_train_batch_begin=begin, on_train_batch_end=end
        )


def epochs_for(budget: str, share: float = 1.0) -> int:
    """Give the passes that a budget has, or more than any seconds last for."""
    return round(share * EPOCHS) if budget == "epochs" else 10_000


def build(model: str, dataset: Any) -> Any:
    """Build a network that gives a score for each class at each pixel."""
    from seglab import models

    shape, classes, width = dataset.image_shape, dataset.num_classes, WIDTHS[model]
    if model.startswith("fcn"):
        return models.fcn(shape, classes, stride=int(model[3:]), width=width)
    makes: dict[str, Callable[..., Any]] = {
        "segnet": models.segnet,
        "unet": models.unet,
        "mobilenet_unet": models.mobilenet_unet,
    }
    return makes[model](shape, classes, width=width)


def train_masks(
    model: str, dataset: Any, budget: str, rate: float, seed: int, clock: Clock
) -> Any:
    """Train on images with their masks."""
    from seglab import losses, training

    network = build(model, dataset)
    training.fit(
        network,
        dataset,
        epochs=epochs_for(budget),
        loss=losses.CrossEntropy() + losses.Dice(),
        **options(rate, seed, clock.watch(network)),
    )
    return network


def train_twice(
    model: str, dataset: Any, budget: str, rate: float, seed: int, clock: Clock
) -> Any:
    """Train an autoencoder on images, then its encoder and a new decoder on masks."""
    from seglab import losses, models, training

    epochs = epochs_for(budget, share=0.5)
    coder = models.autoencoder(dataset.image_shape, width=WIDTHS[model])
    watch = clock.watch(coder, share=0.5)
    training.fit_reconstruction(
        coder, dataset, epochs=epochs, **options(rate, seed, watch)
    )
    network = models.segmentation_head(coder, dataset.num_classes, frozen=False)
    watch = clock.watch(network)
    loss = losses.CrossEntropy() + losses.Dice()
    training.fit(
        *(network, dataset), epochs=epochs, loss=loss, **options(rate, seed, watch)
    )
    return network


def options(rate: float, seed: int, watch: Any) -> dict[str, Any]:
    """Give what every training on images has in common."""
    return {
        "batch_size": BATCH,
        "learning_rate": rate,
        "seed": seed,
        "callbacks": [watch],
        "progress": False,
    }


def train_patches(
    model: str, dataset: Any, budget: str, rate: float, seed: int, clock: Clock
) -> Any:
    """Train a classifier of patches; give the dense network that scores each pixel."""
    import keras

    from seglab import models
    from seglab.training.precision import compile_step

    shape = (PATCH, PATCH, dataset.image_shape[-1])
    network = models.patch_cnn(
        shape, dataset.num_classes, width=WIDTHS[model], kernels=(4, 5, 4)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compile_step(network, keras.optimizers.Adam(rate), loss, jit_compile=False)
    watch = clock.watch(network)
    for epoch in range(epochs_for(budget)):
        patches, labels = models.sample_patches(
            dataset.train, PATCH, PATCHES, seed=1000 * seed + epoch
        )
        network.fit(
            *(patches, labels), batch_size=4 * BATCH, verbose=0, callbacks=[watch]
        )
        if clock.over:
            break
    network.layers[-1].bias.assign_add(np.log(dataset.train.class_shares()))
    return models.to_dense(network)


def predict(network: Any, images: NDArray[np.float32]) -> tuple[Labels, float]:
    """Label images in batches; give the processor's milliseconds for each too."""
    network.compile(jit_compile=False)
    network.predict(images, batch_size=BATCH, verbose=0)  # compiles
    started = time.process_time()
    logits = network.predict(images, batch_size=BATCH, verbose=0)  # (N, H, W, C)
    milliseconds = 1000 * (time.process_time() - started) / len(images)
    return logits.argmax(axis=-1), milliseconds


def classical(model: str, dataset: Any, seed: int) -> dict[str, Value]:
    """Measure a method without a network: a threshold, or a forest on filters."""
    import pickle

    started = time.process_time()
    if model == "otsu":
        method: Any = None
    else:
        method = train_forest(dataset.train, seed)
    train_seconds = time.process_time() - started
    started = time.process_time()
    labels = np.stack([label(method, image) for image in dataset.test.images])
    seconds = time.process_time() - started
    return {
        **scores(dataset.test.masks, labels, dataset.num_classes),
        "parameters": 0 if method is None else sum(t.tree_.node_count for t in method),
        "train_seconds": train_seconds,
        "steps": 0,
        "image_ms": 1000 * seconds / len(labels),
        "megabytes": len(pickle.dumps(method)) / 1e6,
    }


PIXELS = 20_000


def train_forest(split: Any, seed: int) -> Any:
    """Train a random forest on filter responses at random pixels."""
    from sklearn.ensemble import RandomForestClassifier

    rows = np.concatenate([responses(image) for image in split.images])
    labels = np.concatenate([mask.ravel() for mask in split.masks])
    drawn = np.random.default_rng(seed).choice(len(rows), PIXELS, replace=False)
    forest = RandomForestClassifier(50, min_samples_leaf=3, random_state=seed)
    return forest.fit(rows[drawn], labels[drawn])


def responses(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filter an image: smoothed values, edges and curvatures at several scales."""
    from skimage.feature import multiscale_basic_features

    found: NDArray[np.float32] = multiscale_basic_features(image[..., 0], sigma_max=8)
    return found.reshape(-1, found.shape[-1])  # (H W, features)


def label(method: Any, image: NDArray[np.float32]) -> Labels:
    """Label the pixels of an image by a forest, or by Otsu's threshold."""
    from skimage.filters import threshold_otsu

    if method is None:
        labels = image[..., 0] > threshold_otsu(image)
    else:
        labels = method.predict(responses(image)).reshape(image.shape[:2])
    return np.asarray(labels, np.int32)


def scores(masks: Labels, labels: Labels, classes: int) -> dict[str, Value]:
    """Score predicted labels against masks (N, H, W), and say where they are wrong."""
    from seglab import metrics

    matrix = metrics.confusion_matrix(masks, labels, classes)
    found = (masks > 0) & (labels > 0)  # objects, of whatever class
    edge = np.stack([near_an_edge(mask) for mask in masks])
    wrong = labels != masks
    return {
        "mean_iou": float(metrics.mean_iou(matrix)),
        "class_iou": metrics.iou(matrix).tolist(),
        "boundary_f1": metrics.boundary_f1(masks, labels, classes, tolerance=1),
        "object_iou": found.sum() / max(1, ((masks > 0) | (labels > 0)).sum()),
        "named": 1 - wrong[found].mean() if found.any() else float("nan"),
        "edge_error": wrong[edge].mean(),
        "inner_error": wrong[~edge].mean(),
        "pieces": pieces(labels) / pieces(masks),
    }


def near_an_edge(mask: Labels) -> NDArray[np.bool_]:
    """Mark the pixels with a pixel of another class in the 3 x 3 around them."""
    from scipy import ndimage

    highest, lowest = ndimage.maximum_filter(mask, 3), ndimage.minimum_filter(mask, 3)
    edge: NDArray[np.bool_] = highest != lowest
    return edge


def pieces(masks: Labels) -> int:
    """Count the connected objects of all masks (N, H, W)."""
    from scipy import ndimage

    return sum(ndimage.label(mask > 0)[1] for mask in masks)


def skip(model: str, data: str, budget: str) -> bool:
    """Leave out what cannot be, and the second budget of methods that have none.

    A threshold has two classes, not eleven. MobileNet halves its image five times: its
    sides are multiples of 32, and those of these cells are not.
    """
    if (model, data) in {("otsu", "digits"), ("mobilenet_unet", "cells")}:
        return True
    return model in CLASSICAL and budget == "seconds"


def better(one: str, other: str, by: float, claim: str, **within: Any) -> Comparison:
    """Declare that one model has a higher mean IoU than another."""
    return Comparison(
        claim=claim,
        metric="mean_iou",
        more={"model": one},
        less={"model": other},
        effect=by,
        within=within,
    )


EXPERIMENT = Experiment(
    name="comparison",
    question="Which family of models segments best, at equal training?",
    measure=measure,
    factors={
        "model": (*CLASSICAL, *WIDTHS),
        "data": ("cells", "digits"),
        "budget": ("epochs", "seconds"),
    },
    metrics={
        "mean_iou": "mean over the classes of the data set's IoU, test images",
        "class_iou": "IoU of each class",
        "boundary_f1": "boundary F1 within one pixel",
        "object_iou": "IoU of all that is not background, whatever its class",
        "named": "of the object pixels that are found, the share of the right class",
        "edge_error": "share of wrong pixels, with another class in the 3 x 3 around",
        "inner_error": "share of wrong pixels, of all others",
        "pieces": "connected objects in the predicted masks, over those in the truth",
        "parameters": "numbers that are stored: weights, or nodes of the trees",
        "train_seconds": "processor seconds in training steps",
        "steps": "training steps",
        "image_ms": "processor milliseconds to label one image",
        "megabytes": "size on disk",
    },
    skip=skip,
    rules=(
        better("unet", "patch_cnn", 0.02, "A U-Net is better than a patch CNN."),
        better("unet", "fcn32", 0.02, "A U-Net is better than an FCN-32s."),
        better("fcn8", "fcn32", 0.02, "An FCN-8s is better than an FCN-32s."),
        better("unet", "fcn8", 0.02, "A U-Net is better than an FCN-8s."),
        better("unet", "segnet", 0.02, "A U-Net is better than a SegNet."),
        better(
            *("unet", "autoencoder", 0.02),
            "A U-Net is better than the encoder of an autoencoder with a decoder "
            "behind it, which is trained for half of the time on images alone.",
        ),
        better(
            *("unet", "otsu", 0.02),
            "On cells, a U-Net is better than a threshold.",
            data=("cells",),
            budget=("epochs",),
        ),
        better(
            *("unet", "forest", 0.02),
            "A U-Net is better than a random forest on filter responses.",
            budget=("epochs",),
        ),
    ),
    tolerance={"mean_iou": 0.05, "class_iou": 0.15, "parameters": 0.5},
    full={"seed": range(20)},
)

"""Train U-Nets of like size on real images until they reach a given mean IoU.

Nuclei of the 2018 Data Science Bowl, 400 images, resized to 64 x 64, contrast
stretched, two classes; where that data set is not on the machine, simulated cells. The
clock runs from the start of training, compiling included, until the mean IoU of the
validation images is at least the target after an epoch. A round is a seed: of the
weights and of the order of the images. All train with Adam, batches of 16, no
augmentation, and the learning rate of 0.001, 0.003 and 0.01 with which `--tune` found
that they need the fewest epochs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import harness
import keras
import networks
import numpy as np
from harness import Goal, Result, Row, Table, ratio

from seglab import data, device, metrics, models, training

torch, functional = networks.torch, networks.functional

SIZE, BATCH = 64, 16
MAX_EPOCHS = 30
SEEDS = 5
SECONDS = 90.0  # one training at most

TARGETS = {"nuclei": 0.80, "cells": 0.90}

RATES = {
    "seglab unet and fit": 3e-3,
    "the same in plain PyTorch": 3e-3,
    "Keras example": 3e-3,
    "MONAI UNet": 3e-3,
    "SMP Unet, mobilenet_v2": 3e-3,
}

Measure = Callable[[float], bool]
"""Told the IoU after each epoch; says whether to stop."""


def load(name: str, count: int) -> data.Dataset:
    dataset = data.load(name, count=count, size=SIZE)
    if name == "nuclei":
        dataset = dataset.merge_classes({"boundary": "nucleus"})
    return dataset.map_images(data.stretch_contrast)


def mean_iou(masks: np.ndarray, predicted: np.ndarray) -> float:
    return float(metrics.mean_iou(metrics.confusion_matrix(masks, predicted, 2)))


class EachEpoch(keras.callbacks.Callback):
    """Measure after each epoch, and stop there."""

    def __init__(self, measure: Measure, val: Any = None) -> None:
        super().__init__()
        self.measure, self.val = measure, val

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if self.val is None:  # fit has measured it
            iou = logs["val_mean_iou"]
        else:
            logits = self.model.predict(self.val.images, batch_size=64, verbose=0)
            iou = mean_iou(self.val.masks, logits.argmax(axis=-1))
        self.model.stop_training = self.measure(iou)


def train_seglab(dataset: Any, seed: int, rate: float, measure: Measure) -> None:
    device.set_seed(seed)
    model = models.unet(dataset.image_shape, 2, width=8)
    training.fit(
        model,
        dataset,
        epochs=MAX_EPOCHS,
        learning_rate=rate,
        batch_size=BATCH,
        seed=seed,
        callbacks=[EachEpoch(measure)],
        progress=False,
    )


def train_keras(dataset: Any, seed: int, rate: float, measure: Measure) -> None:
    device.set_seed(seed)
    model = networks.keras_example(1, 2, SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(
        dataset.train.images,
        dataset.train.masks,
        batch_size=BATCH,
        epochs=MAX_EPOCHS,
        callbacks=[EachEpoch(measure, dataset.val)],
        verbose=0,
    )


def torch_training(build: Callable[[], Any]) -> Any:
    """Make a training of a PyTorch network."""

    def train(dataset: Any, seed: int, rate: float, measure: Measure) -> None:
        torch.manual_seed(seed)
        model = build()
        images, val_images = (
            torch.from_numpy(part.images.transpose(0, 3, 1, 2).copy())
            for part in (dataset.train, dataset.val)
        )
        masks = torch.from_numpy(dataset.train.masks).long()
        optimizer = torch.optim.Adam(model.parameters(), lr=rate)
        for _ in range(MAX_EPOCHS):
            model.train()
            for chosen in torch.randperm(len(images)).split(BATCH):
                if len(chosen) < 2:
                    continue  # batch norm cannot learn from one value
                optimizer.zero_grad(set_to_none=True)
                loss = functional.cross_entropy(model(images[chosen]), masks[chosen])
                loss.backward()
                optimizer.step()
            model.eval()
            with torch.inference_mode():
                labels = [model(x).argmax(dim=1) for x in val_images.split(64)]
            if measure(mean_iou(dataset.val.masks, torch.cat(labels).numpy())):
                break

    return train


TRAININGS: dict[str, Any] = {
    "seglab unet and fit": train_seglab,
    "the same in plain PyTorch": torch_training(lambda: networks.TorchUNet(1, 2, 8)),
    "Keras example": train_keras,
    "MONAI UNet": torch_training(lambda: networks.monai_unet(1, 2, width=8)),
    "SMP Unet, mobilenet_v2": torch_training(lambda: networks.smp_unet(1, 2)),
}


def sizes() -> dict[str, str]:
    built = [
        models.unet((SIZE, SIZE, 1), 2, width=8),
        networks.TorchUNet(1, 2, 8),
        networks.keras_example(1, 2, SIZE),
        networks.monai_unet(1, 2, width=8),
        networks.smp_unet(1, 2),
    ]
    return {name: networks.millions(m) for name, m in zip(RATES, built, strict=True)}


@dataclass
class Run:
    """What a training reached after each epoch, and when."""

    target: float
    ious: list[float] = field(default_factory=list)
    ends: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Until the target; infinity if it was not reached."""
        return self.ends[-1] if self.ious[-1] >= self.target else float("inf")


def run(name: str, dataset: Any, seed: int, rate: float, target: float) -> Run:
    """Train until the target, or until it has taken too long."""
    found = Run(target)
    start = time.perf_counter()

    def measure(iou: float) -> bool:
        found.ious.append(iou)
        found.ends.append(time.perf_counter() - start)
        return iou >= target or found.ends[-1] > SECONDS

    TRAININGS[name](dataset, seed, rate, measure)
    return found


def tune(dataset: Any, target: float) -> None:
    """Print in how many epochs each network reaches the target at each rate."""
    global SECONDS
    SECONDS = float("inf")
    torch.set_num_threads(1)  # epochs are counted, on a machine that may be busy
    for name in TRAININGS:
        for rate in (1e-3, 3e-3, 1e-2):
            found = run(name, dataset, 100, rate, target)
            text = " ".join(f"{iou:.3f}" for iou in found.ious)
            print(
                f"{name} {rate:g}: {len(found.ious)} epochs, {found.seconds:.0f} s: "
                f"{text}",
                flush=True,
            )


def rounds(dataset: Any, target: float, seeds: int) -> Iterator[dict[str, Run]]:
    names = list(TRAININGS)
    for seed in range(seeds):
        found = {}
        for name in names[seed % len(names) :] + names[: seed % len(names)]:
            found[name] = run(name, dataset, seed, RATES[name], target)
            print(
                f"  seed {seed}, {name}: {found[name].seconds:.1f} s, "
                f"{len(found[name].ious)} epochs",
                flush=True,
            )
        yield found


def main() -> None:
    options = harness.arguments(__doc__ or "", tune="try learning rates instead")
    name = "nuclei" if data.find("nuclei") else "cells"
    dataset = load(name, 24 if options.quick else 400)
    target = 0.3 if options.quick else TARGETS[name]
    if options.tune:
        tune(dataset, target)
        return
    found = list(rounds(dataset, target, 1 if options.quick else SEEDS))
    size = sizes()
    runs = {n: [one[n] for one in found] for n in TRAININGS}
    seconds = {n: [run.seconds for run in runs[n]] for n in TRAININGS}
    ours, *others = seconds.values()
    peers = [ratio(other, ours) for other in others]
    Result(
        "time_to_iou",
        [
            Table(
                f"{name}, {len(dataset.train)} images of {SIZE} × {SIZE}, until the "
                f"mean IoU is {target}",
                [
                    Row(
                        n,
                        times,
                        f"{size[n]}, learning rate {RATES[n]:g}, epochs "
                        f"{', '.join(str(len(run.ious)) for run in runs[n])}, the "
                        f"first in {median(run.ends[0] for run in runs[n]):.1f} s",
                    )
                    for n, times in seconds.items()
                ],
                "seglab unet and fit",
                unit="s",
                note=f"∞: not within {SECONDS:.0f} seconds and {MAX_EPOCHS} epochs.",
            )
        ],
        [
            Goal("fastest peer over seglab", min(peers), 1, at_most=False),
            Goal("median peer over seglab", float(np.median(peers)), 2, at_most=False),
        ],
        quick=options.quick,
    ).save()


if __name__ == "__main__":
    main()

"""One training step of U-Nets of like size, and what `fit` adds to a bare loop.

A step is forward, cross-entropy, backward and Adam, on a batch of 8 images of 128 x 128
x 1 with 3 classes, in float32. The batch is in memory and the loss is read after each
step, as a progress bar does.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import harness
import keras
import networks
import numpy as np
from harness import Goal, Result, Row, Table, interleave, ratio

from seglab import data, device, models, training

C = 3


def steps(N: int, SIDE: int) -> tuple[dict[str, Any], dict[str, str]]:
    """Make the contestants: functions of one step, and how large the networks are."""
    rng = np.random.default_rng(0)
    images = rng.random((N, SIDE, SIDE, 1), np.float32)
    masks = rng.integers(0, C, (N, SIDE, SIDE), np.int32)
    device.set_seed(0)
    networks.torch.manual_seed(0)
    ours = models.unet((SIDE, SIDE, 1), C, width=16)
    example = networks.keras_example(1, C, SIDE)
    plain, plain_last = (networks.TorchUNet(1, C, 16) for _ in range(2))
    monai, smp = networks.monai_unet(1, C), networks.smp_unet(1, C)
    torch_step = networks.torch_step
    found = {
        "seglab unet": (ours, networks.keras_step(ours, images, masks)),
        "the same in plain PyTorch": (
            plain,
            torch_step(plain, images, masks, channels_last=False),
        ),
        "the same in PyTorch, channels last": (
            plain_last,
            torch_step(plain_last, images, masks, channels_last=True),
        ),
        "Keras example": (example, networks.keras_step(example, images, masks)),
        "MONAI UNet": (monai, torch_step(monai, images, masks, channels_last=False)),
        "SMP Unet, mobilenet_v2": (
            smp,
            torch_step(smp, images, masks, channels_last=False),
        ),
    }
    return (
        {name: step for name, (_, step) in found.items()},
        {name: networks.millions(model) for name, (model, _) in found.items()},
    )


class Epochs(keras.callbacks.Callback):
    """Note how long each epoch takes, validation included."""

    def __init__(self) -> None:
        super().__init__()
        self.ends: list[float] = []

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.ends.append(time.perf_counter())

    def typical(self) -> float:
        """Give the median; without the first epoch, in which Keras compiles."""
        return float(np.median(np.diff(self.ends)))


def loops(count: int) -> dict[str, Any]:
    """Make the contestants: functions that train so many epochs after the first.

    Each returns the seconds of one. The images fill whole batches of 16, since `fit`
    fills up the last one.
    """
    cells = data.load("cells", count=count, size=64)

    def ours(n: int) -> float:
        device.set_seed(0)
        model = models.unet(cells.image_shape, 2, width=8)
        clock = Epochs()
        training.fit(model, cells, epochs=1 + n, callbacks=[clock], progress=False)
        return clock.typical()

    def bare(n: int) -> float:
        device.set_seed(0)
        model = models.unet(cells.image_shape, 2, width=8)
        model.compile(
            optimizer=keras.optimizers.Adam(3e-3),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            jit_compile=False,
        )
        clock = Epochs()
        model.fit(
            cells.train.images,
            cells.train.masks,
            batch_size=16,
            epochs=1 + n,
            validation_data=(cells.val.images, cells.val.masks),
            callbacks=[clock],
            verbose=0,
        )
        return clock.typical()

    return {"fit": ours, "bare": bare}


def compare_loops(epochs: int, count: int, rounds: int) -> dict[str, list[float]]:
    """Time an epoch of both, in turns: a round is one training of each."""
    made = loops(count)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    for turn in range(rounds):
        print(f"  loops: round {turn + 1} of {rounds}", file=sys.stderr, flush=True)
        for name in list(made)[:: -1 if turn % 2 else 1]:
            seconds[name].append(made[name](epochs))
    return seconds


def main() -> None:
    options = harness.arguments(__doc__ or "")
    quick = options.quick
    N, SIDE = (2, 32) if quick else (8, 128)
    contestants, sizes = steps(N, SIDE)
    seconds = interleave(
        contestants, 2 if quick else 9, warmups=2, at_least=0 if quick else 1.0
    )
    started = time.perf_counter()
    epoch = compare_loops(*((1, 24, 1) if quick else (10, 320, 5)))
    Result(
        "training_step",
        [
            Table(
                f"A training step, {N} images of {SIDE} × {SIDE}",
                [Row(name, times, sizes[name]) for name, times in seconds.items()],
                "seglab unet",
            ),
            Table(
                "An epoch: 224 images of 64 × 64, validated on 48; U-Net of width 8",
                [
                    Row("seglab fit", epoch["fit"], "IoU of each class, best weights"),
                    Row("bare Keras fit", epoch["bare"], "validation loss"),
                ],
                "bare Keras fit",
            ),
        ],
        [Goal("fit over a bare Keras loop", ratio(epoch["fit"], epoch["bare"]), 1.03)],
        facts={"seconds of the comparison of loops": time.perf_counter() - started},
        quick=quick,
    ).save()


if __name__ == "__main__":
    main()

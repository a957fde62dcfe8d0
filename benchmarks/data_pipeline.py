"""Vary a batch of images and masks together: seglab beside its peers, and a step.

A batch of 16 images of 64 x 64 x 1 with masks of 2 classes. Each image gets flips,
a rotation of at most 15 degrees, a zoom of at most 10 %, a shift of at most 5 %, and
other brightness and contrast; its mask the same geometry, and no new label. Peers do
one image after the other where their random numbers are one draw for a whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import harness
import keras
import networks
import numpy as np
from harness import Goal, Result, Row, Table, interleave, ratio

from seglab import data, device, models

SIZE, BATCH = 64, 16
torch = networks.torch


def keras_layers(images: np.ndarray, masks: np.ndarray) -> Callable[[], Any]:
    """Use Keras's layers, compiled as tf.data would."""
    import tensorflow as tf

    layers = [
        keras.layers.RandomFlip(),
        keras.layers.RandomRotation(15 / 360, fill_mode="reflect"),
        keras.layers.RandomZoom(0.1, fill_mode="reflect"),
        keras.layers.RandomTranslation(0.05, 0.05, fill_mode="reflect"),
        keras.layers.RandomBrightness(0.1, value_range=(0, 1)),
        keras.layers.RandomContrast(0.1, value_range=(0, 1)),
    ]

    @tf.function
    def run(x: Any, y: Any) -> Any:
        both = {"images": x, "segmentation_masks": y}
        for layer in layers:
            both = layer(both, training=True)
        return both["images"], both["segmentation_masks"]

    x, y = tf.constant(images), tf.constant(masks[..., None])
    return lambda: [np.asarray(part) for part in run(x, y)]


def torchvision_transforms(images: np.ndarray, masks: np.ndarray) -> Callable[[], Any]:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    vary = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.RandomAffine(
                15,
                translate=(0.05, 0.05),
                scale=(1 / 1.1, 1.1),
                interpolation=v2.InterpolationMode.BILINEAR,
            ),
            v2.ColorJitter(brightness=0.1, contrast=0.1),
        ]
    )
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(masks)
    pairs = [
        (tv_tensors.Image(a), tv_tensors.Mask(b)) for a, b in zip(x, y, strict=True)
    ]

    def run() -> Any:
        return [np.stack(part) for part in zip(*map(vary, pairs), strict=True)]

    return run


def monai_transforms(images: np.ndarray, masks: np.ndarray) -> Callable[[], Any]:
    from monai import transforms

    keys = ["image", "mask"]
    vary = transforms.Compose(
        [
            transforms.RandFlipd(keys, prob=0.5, spatial_axis=0),
            transforms.RandFlipd(keys, prob=0.5, spatial_axis=1),
            transforms.RandAffined(
                keys,
                prob=1,
                rotate_range=np.radians(15),
                scale_range=0.1,
                translate_range=0.05 * SIZE,
                mode=("bilinear", "nearest"),
                padding_mode="reflection",
            ),
            transforms.RandShiftIntensityd("image", 0.1, prob=1),
            transforms.RandAdjustContrastd("image", prob=1, gamma=(0.9, 1.1)),
        ]
    )
    pairs = [
        {"image": torch.from_numpy(a.transpose(2, 0, 1)), "mask": torch.tensor(b)[None]}
        for a, b in zip(images, masks, strict=True)
    ]

    def run() -> Any:
        varied = [vary(pair) for pair in pairs]
        return [np.stack([np.asarray(one[key]) for one in varied]) for key in keys]

    return run


def main() -> None:
    options = harness.arguments(__doc__ or "")
    quick = options.quick
    cells = data.load("cells", count=2 * BATCH, size=SIZE).train
    images, masks = cells.images[:BATCH], cells.masks[:BATCH]
    rng = np.random.default_rng(0)
    augment, dihedral = data.Augment(), data.Augment.dihedral()
    contestants: dict[str, Callable[[], Any]] = {
        "seglab Augment": lambda: augment(images, masks, rng),
        "seglab Augment.dihedral": lambda: dihedral(images, masks, rng),
        "Keras layers": keras_layers(images, masks),
        "torchvision.transforms.v2": torchvision_transforms(images, masks),
        "MONAI transforms": monai_transforms(images, masks),
    }
    for name, run in contestants.items():  # the same work: images, and labels alone
        new_images, new_masks = run()
        assert np.size(new_images) == images.size, name
        assert set(np.unique(new_masks)) <= {0, 1}, name
        assert not np.array_equal(np.squeeze(new_masks), masks), name

    device.set_seed(0)
    network = models.unet((SIZE, SIZE, 1), 2, width=8)
    contestants["training step, U-Net of width 8"] = networks.keras_step(
        network, images, masks
    )
    seconds = interleave(
        contestants, 2 if quick else 25, warmups=2, at_least=0 if quick else 0.1
    )
    step = seconds["training step, U-Net of width 8"]
    Result(
        "data_pipeline",
        [
            Table(
                f"A batch of {BATCH} images of {SIZE} × {SIZE} and their masks",
                [Row(name, times) for name, times in seconds.items()],
                "seglab Augment",
            )
        ],
        [
            Goal(
                "joint augmentation over a training step",
                ratio(seconds["seglab Augment"], step),
                0.1,
            )
        ],
        quick=quick,
    ).save()


if __name__ == "__main__":
    main()

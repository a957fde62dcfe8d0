"""U-Nets of like size from several libraries, and the weights of one in another.

Keras networks take (N, H, W, C), PyTorch's (N, C, H, W). All give logits.
"""

from __future__ import annotations

from typing import Any

import harness  # first: it sets how the libraries run
import keras
import numpy as np
from keras import layers

torch: Any = harness.import_torch()
nn, functional = torch.nn, torch.nn.functional


class TorchUNet(nn.Module):  # type: ignore[misc]
    """`seglab.models.unet` with its defaults, layer by layer, in PyTorch."""

    def __init__(self, channels: int, classes: int, width: int, depth: int = 4) -> None:
        super().__init__()
        self.depth = depth
        widths = [width * 2**level for level in range(depth + 1)]
        before = channels
        for level, w in enumerate(widths):
            name = f"down{level}" if level < depth else "bottleneck"
            self.add_module(name, _double_conv(before, w))
            before = w
        for level in reversed(range(depth)):
            w = widths[level]
            self.add_module(f"up{level}_upconv", nn.ConvTranspose2d(2 * w, w, 2, 2))
            self.add_module(f"up{level}", _double_conv(2 * w, w))
        self.logits = nn.Conv2d(width, classes, 1)

    def forward(self, x: Any) -> Any:
        skips = []
        for level in range(self.depth):
            x = getattr(self, f"down{level}")(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for level in reversed(range(self.depth)):
            x = getattr(self, f"up{level}_upconv")(x)
            x = getattr(self, f"up{level}")(torch.cat([skips[level], x], dim=1))
        return self.logits(x)


def _double_conv(before: int, width: int) -> Any:
    parts = []
    for channels in (before, width):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        # Keras's epsilon, and the momentum of seglab's U-Net in PyTorch's convention.
        parts += [conv, nn.BatchNorm2d(width, eps=1e-3, momentum=0.1), nn.ReLU()]
    return nn.Sequential(*parts)


def copy_weights(source: keras.Model, target: TorchUNet) -> None:
    """Give a PyTorch U-Net the weights of a Keras one of the same width and depth."""
    state = {}

    def put(name: str, value: Any) -> None:
        state[name] = torch.from_numpy(np.ascontiguousarray(value))

    def convolution(layer: Any, name: str) -> None:
        kernel, *bias = layer.get_weights()  # (kh, kw, in, out), transposed: out, in
        axes = (3, 2, 0, 1)  # (out, in, kh, kw), transposed: (in, out, kh, kw)
        put(f"{name}.weight", kernel.transpose(axes))
        if bias:
            put(f"{name}.bias", bias[0])

    levels = [f"{way}{i}" for way in ("down", "up") for i in range(target.depth)]
    for level in [*levels, "bottleneck"]:
        for i in range(2):
            convolution(source.get_layer(f"{level}_conv{i}"), f"{level}.{3 * i}")
            norm = source.get_layer(f"{level}_norm{i}").get_weights()
            for key, value in zip(
                ("weight", "bias", "running_mean", "running_var"), norm, strict=True
            ):
                put(f"{level}.{3 * i + 1}.{key}", value)
            put(f"{level}.{3 * i + 1}.num_batches_tracked", np.array(0))
    for i in range(target.depth):
        convolution(source.get_layer(f"up{i}_upconv"), f"up{i}_upconv")
    convolution(source.get_layer("logits"), "logits")
    target.load_state_dict(state)  # refuses a name or shape that is not its own


def monai_unet(channels: int, classes: int, width: int = 16) -> Any:
    """Build MONAI's UNet as its tutorials do: residual units, batch normalization."""
    from monai.networks.nets import UNet

    return UNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=classes,
        channels=[width * 2**i for i in range(5)],
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="batch",
    )


def smp_unet(channels: int, classes: int) -> Any:
    """Build the Unet of segmentation-models-pytorch with a small encoder, untrained."""
    import segmentation_models_pytorch as smp

    return smp.Unet(
        "mobilenet_v2", encoder_weights=None, in_channels=channels, classes=classes
    )


def keras_example(channels: int, classes: int, size: int) -> keras.Model:
    """Build a network like that of Keras's segmentation example.

    Residual blocks of separable convolutions on the way down, of transposed
    convolutions on the way up, and no skips between the two. Here it gives logits.
    """
    image = keras.Input((size, size, channels))
    x = layers.Conv2D(32, 3, strides=2, padding="same")(image)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for width in (64, 128, 256):
        y = x
        for i in range(2):
            y = layers.ReLU()(y) if width > 64 or i else y
            y = layers.SeparableConv2D(width, 3, padding="same")(y)
            y = layers.BatchNormalization()(y)
        y = layers.MaxPooling2D(3, strides=2, padding="same")(y)
        x = layers.Add()([y, layers.Conv2D(width, 1, strides=2)(x)])
    for width in (256, 128, 64, 32):
        y = x
        for _ in range(2):
            y = layers.Conv2DTranspose(width, 3, padding="same")(layers.ReLU()(y))
            y = layers.BatchNormalization()(y)
        around = layers.Conv2D(width, 1)(layers.UpSampling2D(2)(x))
        x = layers.Add()([layers.UpSampling2D(2)(y), around])
    return keras.Model(image, layers.Conv2D(classes, 3, padding="same")(x))


def keras_step(model: keras.Model, images: Any, masks: Any) -> Any:
    """Make a function that trains a Keras model by one step."""
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,  # slower on a CPU
    )
    return lambda: model.train_on_batch(images, masks)


def torch_step(model: Any, images: Any, masks: Any, *, channels_last: bool) -> Any:
    """Make a function that trains a PyTorch model by one step; arrays as for Keras."""
    x = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    y = torch.from_numpy(masks).long()
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.train()

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def count_parameters(model: Any) -> int:
    """Count the weights that are trained."""
    if isinstance(model, keras.Model):
        return sum(int(np.prod(w.shape)) for w in model.trainable_variables)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def millions(model: Any) -> str:
    """Spell the number of weights."""
    return f"{count_parameters(model) / 1e6:.1f} million weights"

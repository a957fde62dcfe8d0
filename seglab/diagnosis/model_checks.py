"""What can be wrong with a network, before and after its training.

The network is looked at on some images, and trained for a few steps on one batch, after
which all of its variables are put back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.diagnosis.data_checks import Data, Part
from seglab.diagnosis.findings import Finding

Logits = NDArray[np.float32]
"""What the network gives on the sample, (SAMPLE, H, W, C) if it segments."""

SAMPLE = 32
"""Images that a network is looked at on."""

STEPS = 8
"""Steps on one batch, to see where the loss goes."""

DEAD = 0.2
"""Share of a layer's channels that may be 0 on all images."""

UNSETTLED = 0.05
"""Share of its first values that a moving average may still hold."""

SLOW = 1e-3
"""Share of the loss that `STEPS` steps on one batch should take away."""


def check_output(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """Look at the shape of the output, and whether it is probabilities."""
    if logits.ndim != 4:
        yield Finding(
            *("error", "output"),
            f"the output has the shape {('N', *logits.shape[1:])}: one answer for a "
            "whole image. A segmenting network gives (N, H, W, classes).",
            "Take out Flatten and the dense layers; end with a 1 x 1 convolution.",
        )
        return
    if logits.shape[-1] != data.num_classes:
        yield Finding(
            *("error", "output"),
            f"the output has {logits.shape[-1]} channels for {data.num_classes} "
            "classes.",
            f"Build the network with num_classes={data.num_classes}; the ignore label "
            "is no class.",
        )
        return
    if not np.isfinite(logits).all():
        return  # `check_numbers` says so
    sums = logits.sum(axis=-1)
    if logits.min() >= 0 and np.allclose(sums, 1, atol=1e-3) and logits.shape[-1] > 1:
        yield Finding(
            *("warning", "output"),
            "the outputs are probabilities: a softmax ends the network.",
            "End it with plain scores (logits), which seglab's losses and metrics "
            "expect; or tell every loss from_logits=False.",
        )


def check_numbers(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """Look for NaN and infinity in the weights and in what comes out."""
    bad = [
        variable.path
        for variable in model.weights
        if not np.isfinite(_array(variable).astype(np.float64)).all()
    ]
    if bad:
        yield Finding(
            *("error", "numbers"),
            f"{len(bad)} of {len(model.weights)} weights hold NaN or infinity, such as "
            f"{bad[0]}.",
            "Build the network anew and train at a tenth of the learning rate. If it "
            "comes back: look for log(0) or 0/0 in the loss, and NaN in the images.",
        )
    elif not np.isfinite(logits).all():
        yield Finding(
            *("error", "numbers"),
            "the weights are finite, and the outputs are not.",
            "Look at the range of the images; in half precision, keep the last layer "
            "and the loss in float32.",
        )


def check_predictions(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """See whether the network answers with one class everywhere."""
    if logits.ndim != 4 or not np.isfinite(logits).all():
        return
    labels = logits.argmax(axis=-1)
    said = np.unique(labels)
    true = [k for k in np.unique(sample(data).masks) if k != data.ignore_index]
    if len(said) == 1 and len(true) > 1:
        steps = _steps(model)
        trained = "" if steps is None else f" after {steps} steps"
        yield Finding(
            "note" if steps == 0 else "error",
            "predictions",
            f"the network answers class {data.name(int(said[0]))} at every pixel of "
            f"{len(labels)} images{trained}; the truth has {len(true)} classes.",
            "Untrained, that is nothing. After a training: see the other findings, "
            "the learning rate first; then the balance of the classes.",
        )


def check_dead(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """Look for channels behind a ReLU that are 0 on every image."""
    import keras

    layers = [
        layer
        for layer in model.layers
        if getattr(layer, "activation", None) is keras.activations.relu
        or isinstance(layer, keras.layers.ReLU)
    ]
    if not layers:
        return
    images = np.asarray(sample(data).images, np.float32)
    inner = keras.Model(model.inputs, [layer.output for layer in layers])
    values = inner([images], training=False)
    for layer, value in zip(
        layers, values if isinstance(values, list | tuple) else [values], strict=True
    ):
        x = np.abs(_array(value))
        silent = x.reshape(-1, x.shape[-1]).max(axis=0) == 0
        if silent.mean() > DEAD:
            yield Finding(
                *("warning", "dead units"),
                f"{silent.sum()} of {len(silent)} channels of {layer.name} are 0 on "
                "every image: no gradient passes, they learn nothing any more.",
                "Train anew at a smaller rate, with He's initial weights or batch "
                "normalization; or use a leaky ReLU.",
            )


def check_batch_norm(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """Compare the memory of batch normalization with the steps that were taken."""
    import keras

    steps = _steps(model)
    layers = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not steps or not layers:
        return
    slowest = max(layers, key=lambda layer: layer.momentum)
    left = slowest.momentum**steps
    if left > UNSETTLED:
        yield Finding(
            *("error", "batch norm"),
            f"after {steps} steps the moving averages of {slowest.name} (momentum "
            f"{slowest.momentum}) still hold {left:.0%} of their first values: "
            "predictions are worse than training was.",
            f"Train longer, or take momentum={_momentum(steps)} for so few steps.",
        )


def check_rate(model: Any, data: Data, logits: Logits) -> Iterator[Finding]:
    """Take a few steps on one batch, and see where the loss goes; then undo them."""
    if not getattr(model, "compiled", False) or model.optimizer is None:
        return
    part = sample(data, "train")
    images = np.asarray(part.images, np.float32)[:8]
    masks = np.asarray(part.masks)[:8]
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    before = [_array(variable).copy() for variable in variables]
    losses = []
    try:
        for _ in range(STEPS + 1):
            model.reset_metrics()
            loss = model.train_on_batch(images, masks)
            losses.append(float(loss[0] if isinstance(loss, list | tuple) else loss))
    finally:
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        model.reset_metrics()
    first, last = losses[0], losses[-1]
    rate = float(_array(model.optimizer.learning_rate))
    path = f"{first:.3g} to {last:.3g} in {STEPS} steps on one batch, at {rate:.2g}"
    if not np.isfinite(first):
        return  # `check_numbers` says so
    if not np.isfinite(last) or last > 1.5 * first:
        yield Finding(
            *("error", "learning rate"),
            f"too large: the loss rises, from {path}.",
            "Take a tenth, or look for a rate with seglab.training.find_learning_rate.",
        )
    elif first > 0.05 and last > (1 - SLOW) * first:
        yield Finding(
            *("warning", "learning rate"),
            f"too small, or nothing is trained: the loss hardly moves, from {path}.",
            "Take ten times as much; see whether layers are frozen.",
        )


def sample(data: Data, prefer: str = "val") -> Part:
    """Choose images at equal distances, from the validation part if there is one."""
    part = data.parts.get(prefer) or next(iter(data.parts.values()))
    chosen = np.unique(np.linspace(0, len(part) - 1, SAMPLE).astype(int))
    return Part(np.asarray(part.images)[chosen], np.asarray(part.masks)[chosen])


def predict(model: Any, data: Data) -> Logits:
    """Give the network's outputs on the sample, as if it were in use."""
    return _array(model(np.asarray(sample(data).images, np.float32), training=False))


def _array(value: Any) -> NDArray[Any]:
    import keras

    found: NDArray[Any] = np.asarray(keras.ops.convert_to_numpy(value))
    return found


def _steps(model: Any) -> int | None:
    """Count the steps of the optimizer; None for a model that is not compiled."""
    optimizer = getattr(model, "optimizer", None)
    return None if optimizer is None else int(_array(optimizer.iterations))


def _momentum(steps: int) -> float:
    """Suggest a momentum with which a hundredth of the first values is left."""
    momentum: float = 0.01 ** (1 / steps)
    return round(min(0.9, momentum), 2)


CHECKS = {
    "output": check_output,
    "numbers": check_numbers,
    "predictions": check_predictions,
    "dead units": check_dead,
    "batch norm": check_batch_norm,
    "learning rate": check_rate,
}

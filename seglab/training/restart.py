"""Train one compiled network from several starts: `restart`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from seglab import device


def restart(
    model: keras.Model, start: keras.Model | Sequence[NDArray[Any]] | None = None
) -> None:
    """Put a compiled network back to the beginning of a training, or of another one.

    The first training step compiles, which takes a small network longer than a hundred
    steps. Three seeds need not pay for that three times: they share one network, which
    is given other first weights and an optimizer that remembers nothing. What was
    compiled stays. The training that follows is, to the bit where the backend repeats
    its results (on a CPU it does), that of a new network with these first weights.

    Parameters
    ----------
    model : keras.Model
        Compiled, trained or not. Train it with Keras's own `fit` or `train_on_batch`:
        `seglab.training.fit` compiles by itself.
    start : keras.Model, or sequence of ndarray, or None
        Where to begin. Another network of the same architecture: its weights, and the
        states of its random number generators (dropout's). Or weights, as
        `keras.Model.get_weights` gives them: then the generators begin anew too, with
        the seeds that they have. Default: new first weights and generators, drawn as
        if the network were built again; call `seglab.device.set_seed` before.

    Raises
    ------
    ValueError
        When the model is not compiled, `start` has other shapes, or layers were frozen
        or thawed since the model was compiled. Then nothing has changed.

    Notes
    -----
    The optimizer begins as a new one with its settings of now: a learning rate that
    was changed by hand or by a callback stays as it is. What callbacks remember is
    theirs. With PyTorch, dropout draws from the global generator, which is not seeded
    anew here.

    Examples
    --------
    Two trainings that share what the first compiles; the same seed repeats one:

    >>> from seglab import data, device, models
    >>> cells = data.load("cells", count=20, size=16).train
    >>> model = models.unet((16, 16, 1), 2, width=2, depth=1)
    >>> loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    >>> model.compile("adam", loss, jit_compile=False)
    >>> found = []
    >>> for seed in (0, 1, 0):
    ...     device.set_seed(seed)
    ...     restart(model)
    ...     history = model.fit(cells.images, cells.masks, verbose=0)
    ...     found.append(history.history["loss"])
    >>> found[0] == found[2], found[0] == found[1]
    (True, False)
    """
    if not model.compiled:
        raise ValueError(
            "the model is not compiled, so there is nothing to keep. Call "
            "model.compile(optimizer, loss, jit_compile=False) once, before the first "
            "training."
        )
    optimizer = model.optimizer
    with device.shared_by(model):
        if not optimizer.built:  # else TensorFlow traces the first step twice
            optimizer.build(model.trainable_variables)
        new = type(optimizer).from_config(optimizer.get_config())
        new.build(model.trainable_variables)
        shapes = [[v.shape for v in one.variables] for one in (optimizer, new)]
        if shapes[0] != shapes[1]:
            raise ValueError(
                "other layers are trainable now than when the model was compiled: "
                "compile it again."
            )
        variables, values = _beginning(model, start)
        variables += optimizer.variables
        values += [_copy(v) for v in new.variables]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
    model.reset_metrics()


def _beginning(
    model: keras.Model, start: keras.Model | Sequence[NDArray[Any]] | None
) -> tuple[list[Any], list[NDArray[Any]]]:
    """Give the model's variables, and what they are to begin with."""
    if start is None:
        start = keras.models.clone_model(model)
    if isinstance(start, keras.Model):
        variables, values = model.variables, [_copy(v) for v in start.variables]
        _fit(values, variables)
        return list(variables), values
    values = [_copy(array) for array in start]
    _fit(values, model.weights)
    weights = {id(v) for v in model.weights}
    states = [v for v in model.variables if id(v) not in weights]
    # The state of a generator is its seed, and how often it was drawn from.
    values += [_copy(v) * np.array([1, 0], v.dtype) for v in states]
    return [*model.weights, *states], values


def _copy(value: Any) -> NDArray[Any]:
    """Copy a variable or an array: JAX may reuse the memory of what it is given."""
    return np.array(keras.ops.convert_to_numpy(value))


def _fit(values: list[NDArray[Any]], variables: list[Any]) -> None:
    """Raise if the values are not of the variables' number and shapes."""
    if len(values) != len(variables):
        raise ValueError(
            f"start has {len(values)} arrays, and the model {len(variables)}: it must "
            "be a network of the same architecture, or what its get_weights() gives."
        )
    for i, (value, variable) in enumerate(zip(values, variables, strict=True)):
        if value.shape != tuple(variable.shape):
            raise ValueError(
                f"array {i} of start has the shape {value.shape}, and {variable.path} "
                f"of the model {tuple(variable.shape)}: it must be a network of the "
                "same architecture, or what its get_weights() gives."
            )

"""How a training computes: in which precision, and compiled or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import keras

from seglab.device import Accelerator


def choose_policy(mixed_precision: bool | str, here: Accelerator) -> str:
    """Turn fit's argument into the name of a Keras dtype policy.

    Parameters
    ----------
    mixed_precision : "auto", bool or str
        "auto": what suits the accelerator. False: float32. True: half precision also
        where it does not pay. Or a policy's name.
    here : Accelerator
        Where the training runs.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        When it is something else.

    Examples
    --------
    >>> choose_policy(True, Accelerator("tensorflow", "cpu"))
    'mixed_bfloat16'
    """
    if mixed_precision == "auto":
        return here.precision
    if mixed_precision is False:
        return "float32"
    if mixed_precision is True:
        return here.precision if here.precision != "float32" else "mixed_bfloat16"
    if mixed_precision in ("float32", "mixed_float16", "mixed_bfloat16"):
        return str(mixed_precision)
    raise ValueError(
        f'mixed_precision is {mixed_precision!r}; it must be "auto", True, False, '
        '"float32", "mixed_float16" or "mixed_bfloat16".'
    )


def choose_jit(jit_compile: bool | str, here: Accelerator, devices: int) -> bool:
    """Turn fit's argument into whether to compile the training step.

    Parameters
    ----------
    jit_compile : "auto" or bool
        "auto": where it pays, and Keras can.
    here : Accelerator
        Where the training runs.
    devices : int
        How many share a batch: what TensorFlow distributes, Keras does not compile.

    Returns
    -------
    bool

    Examples
    --------
    >>> gpu = Accelerator("tensorflow", "gpu", ("A100", "A100"))
    >>> choose_jit("auto", gpu, 1), choose_jit("auto", gpu, 2)
    (True, False)
    """
    if jit_compile != "auto":
        return bool(jit_compile)
    return here.jit_compile and (devices == 1 or here.backend != "tensorflow")


def compile_step(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: keras.losses.Loss | str,
    jit_compile: bool,
) -> None:
    """Compile a model, and make the variables of its optimizer.

    Keras leaves both to the first step: its own ``jit_compile="auto"`` takes XLA on a
    CPU too, where it does not pay, and on TensorFlow a step that makes variables is
    traced a second time, which takes as long again.
    """
    model.compile(optimizer=optimizer, loss=loss, jit_compile=jit_compile)
    model.optimizer.build(model.trainable_variables)


@contextmanager
def computing_in(model: keras.Model, policy: str) -> Iterator[None]:
    """Let the layers of a built float32 model compute in another precision.

    Keras fixes a layer's policy when it is built, and asks the user to set it before
    building. But the policy decides only what inputs are cast to: the weights are
    float32 in mixed precision too. So it can be set for a training alone, and the
    model that comes out is the plain float32 one that went in, which a laptop runs and
    a file keeps without a trace.

    The layer that gives the output stays in float32, for the loss, as does each layer
    that was not built in plain float32: its author decided.

    Parameters
    ----------
    model : keras.Model
        Built.
    policy : str
        Name of a Keras dtype policy. With "float32" nothing is done.

    Source
    ------
    Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.1 (a master
    copy of the weights in float32).
    """
    if policy == "float32" or model.dtype_policy.name != "float32":
        yield
        return
    last = model.output._keras_history.operation  # the layer that gives the output
    changed = [
        layer
        for layer in model._flatten_layers()  # the model too: compile() asks it
        if layer is not last
        and not isinstance(layer, keras.layers.InputLayer)
        and layer.dtype_policy.name == "float32"
    ]
    for layer in changed:
        layer.dtype_policy = policy
    try:
        yield
    finally:
        for layer in changed:
            layer.dtype_policy = "float32"
        # What was compiled computes in the old precision: compile anew when needed.
        model.train_function = model.test_function = model.predict_function = None

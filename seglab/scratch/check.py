"""Is backward the derivative of forward? Ask forward, twice for each number."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seglab.scratch.layer import Array, Layer
from seglab.scratch.losses import Loss


@dataclass(frozen=True)
class GradientCheck:
    """The entry where `backward` and finite differences differ most.

    Parameters
    ----------
    name : str
        The parameter, such as ``"W"`` or ``"2.b"``, or ``"x"`` for the input.
    index : tuple of int
        Which entry of it.
    analytic, numeric : float
        Its derivative by `backward`, and by finite differences.
    error : float
        Their difference over the largest derivative of that parameter.
    errors : dict of str to float
        The largest error of each parameter, and of ``"x"``.

    Examples
    --------
    >>> GradientCheck("W", (0, 1), 2.0, 1.0, 0.5, {"W": 0.5}).error
    0.5
    """

    name: str
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    errors: dict[str, float]


def gradient_check(
    layer: Layer,
    x: Array,
    loss: Loss | None = None,
    target: NDArray[Any] | None = None,
    *,
    training: bool = False,
    step: float = 1e-5,
    samples: int = 50,
    seed: int = 0,
) -> GradientCheck:
    r"""Compare `backward` with central differences.

    The derivative of the loss L by one number w is nearly
    :math:`(L(w + h) - L(w - h)) / 2h`: two runs of `forward` for each number, too slow
    to train with and good enough to find any mistake in `backward`. In float64; in
    float32 the differences would be rounding errors. The layer is not changed.

    Parameters
    ----------
    layer : Layer
        Or a whole `Sequential`.
    x : ndarray of float
        Input. Its values should be random: at a kink (ReLU at 0, pooling of equal
        values) there is no derivative.
    loss, target : Loss and ndarray, optional
        Without them the loss is a sum of the output with random weights.
    training : bool, default False
        Passed to `forward`.
    step : float, default 1e-5
        h. The error of the method is some h squared, plus 1e-16 / h from rounding.
    samples : int, default 50
        At most so many entries of each parameter, drawn at random, are checked.
    seed : int, default 0
        For what is drawn.

    Returns
    -------
    GradientCheck
        The worst entry. A correct `backward` has an error below 1e-6 or so; a wrong one
        seldom one below 1e-2.

    Examples
    --------
    >>> from seglab.scratch import Conv2D
    >>> x = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    >>> check = gradient_check(Conv2D(3, 4, kernel=3, stride=2), x)
    >>> sorted(check.errors), check.error < 1e-6
    (['W', 'b', 'x'], True)
    """
    if (loss is None) != (target is None):
        raise ValueError("loss and target belong together: give both or neither.")
    rng = np.random.default_rng(seed)
    layer, loss = deepcopy(layer), deepcopy(loss)
    layer.cast(np.float64)
    x = x.astype(np.float64)
    y = layer.forward(x, training)
    weights = rng.normal(size=y.shape)

    def value() -> float:
        y = layer.forward(x, training)
        if loss is not None and target is not None:
            return loss.forward(y, target)
        return float((weights * y).sum())

    value()
    grads = {"x": layer.backward(weights if loss is None else loss.backward())}
    grads |= layer.grads
    # Derivatives that are 0 in truth, such as that of a bias before batch norm, are
    # compared with the network's others, not with their own rounding errors.
    floor = 1e-3 * max(float(np.abs(g).max(initial=0)) for g in grads.values())

    worst = GradientCheck("x", (), 0.0, 0.0, 0.0, {})
    errors = {}
    for name, values in {"x": x, **layer.params}.items():
        count = min(samples, values.size)
        chosen = rng.choice(values.size, count, replace=False)
        indices = [
            tuple(int(i) for i in np.unravel_index(c, values.shape)) for c in chosen
        ]
        analytic = np.array([grads[name][i] for i in indices])
        numeric = np.empty(count)
        for n, i in enumerate(indices):
            old = values[i]
            values[i] = old + step
            above = value()
            values[i] = old - step
            below = value()
            values[i] = old
            numeric[n] = (above - below) / (2 * step)
        scale = max(np.abs(numeric).max(initial=0), np.abs(analytic).max(initial=0))
        error = np.abs(analytic - numeric) / max(scale, floor, 1e-300)
        errors[name] = float(error.max(initial=0))
        if errors[name] >= worst.error and count:
            n = int(error.argmax())
            worst = GradientCheck(
                name,
                indices[n],
                float(analytic[n]),
                float(numeric[n]),
                errors[name],
                errors,
            )
    return worst

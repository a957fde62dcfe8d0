"""Optimizers: from gradients to a step. Each is its formula, and equals Keras's.

All share ``step(network)``, which changes the network's parameters in place. Their
memory is kept by the parameters' names, so each optimizer serves one network.
"""

from __future__ import annotations

import numpy as np

from seglab.scratch.layer import Array, Layer


class Optimizer:
    """What every optimizer has: a learning rate, and a step.

    Parameters
    ----------
    learning_rate : float
        May be changed between steps: ``optimizer.learning_rate *= 0.1``.

    Examples
    --------
    >>> from seglab.scratch import Dense
    >>> layer = Dense(1, 1)
    >>> layer.params["W"][:] = 2
    >>> x = np.array([[3.0]])
    >>> y = layer.forward(x)
    >>> _ = layer.backward(np.ones_like(y))  # dy/dW = x = 3
    >>> SGD(learning_rate=0.1).step(layer)
    >>> layer.params["W"].round(4)
    array([[1.7]], dtype=float32)
    """

    def __init__(self, learning_rate: float) -> None:
        if not learning_rate >= 0:
            raise ValueError(
                f"learning_rate is {learning_rate!r}; it must be 0 or more."
            )
        self.learning_rate = learning_rate
        self.steps = 0

    def step(self, network: Layer) -> None:
        """Change the parameters of a network, or a layer, by its gradients.

        Raises
        ------
        ValueError
            When a parameter has no gradient.
        """
        grads = network.grads
        if missing := network.params.keys() - grads.keys():
            raise ValueError(
                f"no gradient for {', '.join(sorted(missing))}: call "
                "network.backward(loss.backward()) before step(network)."
            )
        self.steps += 1
        for name, w in network.params.items():
            w -= self.change(name, grads[name])

    def change(self, name: str, g: Array) -> Array:
        """Say what to take off a parameter whose gradient is `g`."""
        raise NotImplementedError


class SGD(Optimizer):
    r"""Gradient descent: a step down the slope, :math:`w \leftarrow w - \eta g`.

    "Stochastic" because the gradient comes from a batch and not from all images.

    Parameters
    ----------
    learning_rate : float, default 0.01
        :math:`\eta`.

    Examples
    --------
    >>> SGD(learning_rate=0.5).change("W", np.array([2.0]))
    array([1.])
    """

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__(learning_rate)

    def change(self, name: str, g: Array) -> Array:
        """Compute the step."""
        return self.learning_rate * g


class Momentum(Optimizer):
    r"""A heavy ball: the step is the last one, somewhat smaller, plus the new slope.

    :math:`v \leftarrow \mu v + \eta g`, :math:`w \leftarrow w - v`. Along a steady
    slope the steps grow to :math:`1 / (1 - \mu)` times those of `SGD`; across a narrow
    valley, where slopes alternate, they cancel.

    Parameters
    ----------
    learning_rate : float, default 0.01
        :math:`\eta`.
    momentum : float, default 0.9
        :math:`\mu`.

    Source
    ------
    Polyak, "Some methods of speeding up the convergence of iteration methods" (1964).

    Examples
    --------
    >>> optimizer = Momentum(learning_rate=1.0, momentum=0.5)
    >>> [float(optimizer.change("W", np.array(1.0))) for _ in range(3)]
    [1.0, 1.5, 1.75]
    """

    def __init__(self, learning_rate: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(learning_rate)
        self.momentum = momentum
        self.v: dict[str, Array] = {}

    def change(self, name: str, g: Array) -> Array:
        """Compute the step."""
        v = self.momentum * self.v.get(name, np.zeros_like(g)) + self.learning_rate * g
        self.v[name] = v
        return v


class RMSProp(Optimizer):
    r"""Divide each gradient by its own recent size, so that all weights move alike.

    :math:`v \leftarrow \rho v + (1 - \rho) g^2`,
    :math:`w \leftarrow w - \eta g / \sqrt{v + \epsilon}`.

    Parameters
    ----------
    learning_rate : float, default 0.001
        :math:`\eta`: about the size of a step, whatever the gradient's.
    rho : float, default 0.9
        How slowly the average forgets.
    epsilon : float, default 1e-7
        Inside the root, as in Keras; PyTorch adds its epsilon to the root.

    Source
    ------
    Hinton, "Neural Networks for Machine Learning", Coursera (2012), lecture 6e.

    Examples
    --------
    >>> optimizer = RMSProp(learning_rate=1.0, rho=0.75)
    >>> optimizer.change("W", np.array([0.01, 100.0])).round(2)
    array([2., 2.])
    """

    def __init__(
        self, learning_rate: float = 0.001, rho: float = 0.9, epsilon: float = 1e-7
    ) -> None:
        super().__init__(learning_rate)
        self.rho, self.epsilon = rho, epsilon
        self.v: dict[str, Array] = {}

    def change(self, name: str, g: Array) -> Array:
        """Compute the step."""
        v = self.rho * self.v.get(name, np.zeros_like(g)) + (1 - self.rho) * g**2
        self.v[name] = v
        return self.learning_rate * g / np.sqrt(v + self.epsilon)


class Adam(Optimizer):
    r"""Momentum and RMSProp together, corrected for their start at zero.

    :math:`m \leftarrow \beta_1 m + (1 - \beta_1) g`,
    :math:`v \leftarrow \beta_2 v + (1 - \beta_2) g^2`, and in the t-th step
    :math:`w \leftarrow w - \eta \frac{\sqrt{1 - \beta_2^t}}{1 - \beta_1^t}
    \frac{m}{\sqrt{v} + \hat\epsilon}`.

    Parameters
    ----------
    learning_rate : float, default 0.001
        :math:`\eta`.
    beta_1, beta_2 : float, default 0.9 and 0.999
        How slowly the two averages forget.
    epsilon : float, default 1e-7
        The paper's :math:`\hat\epsilon`, as in Keras: it is added to the root of the
        *uncorrected* v. PyTorch adds its own (1e-8) to that of the corrected one,
        Algorithm 1 of the paper.

    Source
    ------
    Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, section 2,
    the form before section 2.1.

    Examples
    --------
    The first step has the size of the learning rate, whatever the gradient:

    >>> from seglab.scratch import Dense
    >>> layer = Dense(1, 2)
    >>> layer.grads.update(W=np.array([[1e-3, 1e3]]), b=np.array([-1.0, 1.0]))
    >>> Adam(learning_rate=0.1).step(layer)
    >>> layer.params["b"].round(4)
    array([ 0.1, -0.1], dtype=float32)
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.m: dict[str, Array] = {}
        self.v: dict[str, Array] = {}

    def change(self, name: str, g: Array) -> Array:
        """Compute the step."""
        b1, b2, t = self.beta_1, self.beta_2, self.steps
        m = b1 * self.m.get(name, np.zeros_like(g)) + (1 - b1) * g
        v = b2 * self.v.get(name, np.zeros_like(g)) + (1 - b2) * g**2
        self.m[name], self.v[name] = m, v
        rate = self.learning_rate * (1 - b2**t) ** 0.5 / (1 - b1**t)
        change: Array = rate * m / (np.sqrt(v) + self.epsilon)
        return change

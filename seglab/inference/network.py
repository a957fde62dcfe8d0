"""What sizes of image a network takes, how much smaller its maps are, and its maps.

A network that pools s times its input's size away takes multiples of s, or breaks
where a skip meets an odd size; one without padding gives a map that lacks a border.
Both are found out from the shapes of the network's layers, without computing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seglab.geometry import receptive_field

if TYPE_CHECKING:
    import keras

Predictor: TypeAlias = (
    "keras.Model | Callable[[NDArray[np.float32]], ArrayLike]"  # on (N, h, w, C)
)

_STEP = 960
"""A multiple of all usual total strides: of powers of two up to 64, times 3, 5 or 15.
A map grows by _STEP / stride when the image grows by _STEP."""

_FAR = 2 * _STEP
"""Where sizes are tried: far above the smallest that any network takes."""


@dataclass(frozen=True)
class Sizes:
    """The heights (or widths) that a network takes, and what its maps lack of them.

    Parameters
    ----------
    multiple : int
        Sizes that fit are this far apart.
    remainder : int
        What they leave when they are divided by it.
    border : int
        Pixels that the map lacks at each end.
    stride : int
        The total stride: a shift of the input by it shifts the map by it.
    only : int, optional
        The one size that a network was built for.

    Examples
    --------
    The paper's U-Net takes 572, 588, ... and gives 184 less:

    >>> unet = Sizes(multiple=16, remainder=12, border=92, stride=16)
    >>> unet.fit(388), unet.fit(389)
    (572, 588)
    """

    multiple: int = 1
    remainder: int = 0
    border: int = 0
    stride: int = 1
    only: int | None = None

    def fit(self, size: int) -> int:
        """Give the smallest input whose map has at least so many pixels."""
        if self.only is not None:
            return self.only
        needed = size + 2 * self.border
        return needed + (self.remainder - needed) % self.multiple

    def takes(self, size: int) -> bool:
        """Ask whether an input of this size fits."""
        return size > 2 * self.border and self.fit(size - 2 * self.border) == size


class Network:
    """A model, ready to be run on windows of an image.

    Parameters
    ----------
    model : keras.Model or callable
        See `seglab.inference.predict`.
    channels : int
        Of the image.
    from_logits : bool
        Whether the softmax is still to be taken.

    Raises
    ------
    ValueError
        When the model does not take such images, or its maps do not label pixels.

    Examples
    --------
    >>> network = Network(lambda images: images, channels=2, from_logits=False)
    >>> network.run(np.ones((1, 4, 5, 2), np.float32)).shape
    (2, 1, 4, 5)
    """

    def __init__(self, model: Predictor, channels: int, from_logits: bool) -> None:
        if not callable(model):
            raise ValueError(
                f"model is a {type(model).__name__}; it must be a Keras model, or a "
                "function from images (N, H, W, C) to logits (N, H, W, classes)."
            )
        self.from_logits = from_logits
        self._forward = getattr(model, "predict_on_batch", model)
        self.rows, self.columns = Sizes(), Sizes()
        if getattr(model, "outputs", None):  # Keras knows the shapes of its layers
            _check_channels(model, channels)
            if from_logits:
                _check_logits(model)
            self.rows, self.columns = _sizes(model)

    def run(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Give the probability of each class.

        Parameters
        ----------
        images : ndarray of float32, shape (N, h, w, C)
            Of sizes that the network takes.

        Returns
        -------
        ndarray of float32, shape (K, N, h', w')
            Class by class, since sums over classes and over images are then fast.
        """
        N, h, w = images.shape[:3]
        wanted = (N, h - 2 * self.rows.border, w - 2 * self.columns.border)
        result = np.asarray(self._forward(images))
        if result.ndim != 4 or result.shape[:3] != wanted:
            raise ValueError(
                f"of images of shape {images.shape} the model made {result.shape}; "
                f"expected a score for each class at each pixel, {(*wanted, 'K')}."
            )
        if self.from_logits and result.shape[-1] == 1:
            raise ValueError(
                "the model gives one channel, of which softmax makes 1 everywhere. "
                "Build it with num_classes=2; or end it in a sigmoid and pass "
                "from_logits=False."
            )
        # A copy: what comes next is done in place.
        maps = np.array(np.moveaxis(result, -1, 0), np.float32, order="C")
        if self.from_logits:
            for i in range(N):  # one at a time stays in the processor's cache
                one = maps[:, i]
                one -= one.max(axis=0)  # exp then cannot overflow
                np.exp(one, out=one)
                one /= one.sum(axis=0)
        return maps


def _check_channels(model: Any, channels: int) -> None:
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or len(model.outputs) != 1:
        raise ValueError(
            "the model must have one input, images (N, H, W, C), and one output; its "
            f"inputs are {shape} and its outputs {model.output_shape}."
        )
    if len(model.output_shape) != 4:
        raise ValueError(
            f"the model's output has shape {model.output_shape}; a segmentation "
            "network gives one score for each class at each pixel, (N, H, W, classes)."
        )
    if shape[-1] not in (None, channels):
        raise ValueError(
            f"the model takes images of {shape[-1]} channels, and this one has "
            f"{channels}."
        )


def _check_logits(model: Any) -> None:
    """Refuse a model that has taken the softmax or sigmoid itself."""
    last = model.layers[-1]
    name = getattr(getattr(last, "activation", None), "__name__", "")
    name = name if type(last).__name__ == "Activation" or name else type(last).__name__
    if name.lower() in ("softmax", "sigmoid"):
        raise ValueError(
            f"the model's last layer, {last.name!r}, applies {name.lower()}: its "
            "output are probabilities, not logits. Pass from_logits=False."
        )


_known: WeakKeyDictionary[Any, tuple[Sizes, Sizes]] = WeakKeyDictionary()
"""Sizes of the models that were asked for before: finding them takes a while."""


def _sizes(model: Any) -> tuple[Sizes, Sizes]:
    """Find out which heights and widths a Keras model takes."""
    if model not in _known:
        fixed = model.input_shape[1:3]
        if None not in fixed:
            _known[model] = (_only(model, 0), _only(model, 1))
        else:
            _known[model] = _any(model, fixed)
    return _known[model]


def _only(model: Any, axis: int) -> Sizes:
    """Of a model that was built for one size."""
    size, output = model.input_shape[1 + axis], model.output_shape[1 + axis]
    border, odd = divmod(size - output, 2)
    if border or odd:
        # Is it a map that lacks a border, or one of a lower resolution?
        field = receptive_field(model, axis=("height", "width")[axis])
        if field.jump != 1 or odd or border < 0:
            raise _not_pixels(size, output)
    return Sizes(border=border, only=size)


def _any(model: Any, fixed: tuple[int | None, int | None]) -> tuple[Sizes, Sizes]:
    """Of a model that was built for any size, of one axis at least."""
    shapes = _shapes(model, fixed)
    taken = (n for n in range(_FAR, _FAR + 130) if shapes(n) is not None)
    far, following = next(taken, None), next(taken, None)
    if far is None or following is None:
        raise ValueError(
            f"the model takes no images of {_FAR} to {_FAR + 129} pixels a side."
        )
    near, further = shapes(far), shapes(far + _STEP)
    if near is None or further is None:
        raise ValueError(
            f"the model takes images of {far} pixels a side, and not of {far + _STEP}."
        )
    grown = further - near  # (layers, 2): how far a map grows when the image does
    found = []
    for axis in (0, 1):
        if fixed[axis] is not None:
            found.append(_only(model, axis))
            continue
        if grown[-1, axis] != _STEP:
            raise _not_pixels(far, int(near[-1, axis]))
        deepest = grown[:, axis][grown[:, axis] > 0].min()
        stride = max(int(_STEP // deepest), following - far)
        # What a pooling drops of an odd size is lost too: the least loss is the border.
        lost = {far: far - int(near[-1, axis])}
        if lost[far]:
            for n in range(far + 1, far + stride):
                if (maps := shapes(n)) is not None:
                    lost[n] = n - int(maps[-1, axis])
        fitting = {n: loss for n, loss in lost.items() if loss >= 0 and loss % 2 == 0}
        if not fitting:
            raise _not_pixels(far, int(near[-1, axis]))
        first = min(fitting, key=lambda n: fitting[n])
        border = fitting[first] // 2
        any_size = stride > 1 and border == 0 and _runs(model, fixed, stride + 1)
        multiple = 1 if any_size else stride
        found.append(Sizes(multiple, first % multiple, border, stride))
    return found[0], found[1]


def _shapes(
    model: Any, fixed: tuple[int | None, int | None]
) -> Callable[[int], NDArray[np.int64] | None]:
    """Make a function from an image's size to the sizes of all maps in the model."""
    import keras

    maps, waiting = [], [model.outputs[0]]
    seen = {id(model.inputs[0])}
    while waiting:  # from the output to the input
        tensor = waiting.pop()
        if id(tensor) in seen:
            continue
        seen.add(id(tensor))
        if len(tensor.shape) == 4:
            maps.append(tensor)
        layer, node, _ = tensor._keras_history
        waiting.extend(layer._inbound_nodes[node].input_tensors)
    inside = keras.Model(model.inputs, [*maps[1:], maps[0]])

    @cache
    def shapes(size: int) -> NDArray[np.int64] | None:
        """Give height and width of each map, the output's last."""
        image = (1, *(size if n is None else n for n in fixed), model.input_shape[-1])
        try:
            found = inside.compute_output_shape(image)
        except ValueError:  # a layer refuses this size
            return None
        found = found if isinstance(found, list) else [found]
        return np.array([shape[1:3] for shape in found])

    return shapes


def _runs(model: Any, fixed: tuple[int | None, int | None], size: int) -> bool:
    """Try a size: layers that join branches find out only then that they differ."""
    shape = (1, *(size if n is None else n for n in fixed), model.input_shape[-1])
    try:
        return tuple(model(np.zeros(shape, np.float32)).shape[:3]) == shape[:3]
    except Exception:  # each backend has its own
        return False


def _not_pixels(size: int, output: int) -> ValueError:
    return ValueError(
        f"of an image of {size} pixels the model makes a map of {output}: it does not "
        "label pixels. Add layers that bring the map to the image's size."
    )

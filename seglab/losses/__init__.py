"""What a segmentation network is asked to make small: losses of logits and masks.

Each is a `keras.losses.Loss` of integer masks (N, H, W) and logits (N, H, W, C), for
`seglab.training.fit` or ``model.compile``. They can be added and weighted:
``CrossEntropy() + 0.5 * Dice()``.

Four things decide what a loss says, and libraries differ in each. Here:

* **Ignored pixels**, whose truth is `ignore_index`, are in no sum and no count.
* **Absent classes**: a class that the truth of the batch lacks is in no mean over
  classes. Predicting it costs at the classes that its pixels are of.
* **What is averaged over what** stands in each docstring, under Notes.
* **Nothing to learn from**, a batch of ignored pixels, is a loss of 0.

All compute in float32, whatever the model does. A model that was compiled with one
loads where `seglab.losses` has been imported.

Examples
--------
>>> import numpy as np
>>> from seglab.losses import CrossEntropy, Dice
>>> loss = CrossEntropy() + Dice()
>>> truth = np.array([[[0, 1]]])
>>> right = np.array([[[[9.0, -9.0], [-9.0, 9.0]]]])
>>> round(float(loss(truth, right)), 4), round(float(loss(truth, -right)), 4)
(0.0, 19.0)
"""

from seglab import device

device.prepare()  # before Keras: it says what to install if the backend is missing

from seglab.losses.balance import (  # noqa: E402
    effective_number_weights,
    median_frequency_weights,
)
from seglab.losses.boundary import Boundary, signed_distance  # noqa: E402
from seglab.losses.combination import Sum  # noqa: E402
from seglab.losses.cross_entropy import CrossEntropy, Focal  # noqa: E402
from seglab.losses.lovasz import Lovasz  # noqa: E402
from seglab.losses.overlap import Dice, Tversky  # noqa: E402

__all__ = [
    "Boundary",
    "CrossEntropy",
    "Dice",
    "Focal",
    "Lovasz",
    "Sum",
    "Tversky",
    "effective_number_weights",
    "median_frequency_weights",
    "signed_distance",
]

"""Segmentation networks: functions from an input shape to a `keras.Model` of logits.

Examples
--------
>>> from seglab.models import unet
>>> model = unet((64, 64, 1), num_classes=2, width=8)
>>> model.output_shape
(None, 64, 64, 2)
"""

from seglab import device

device.prepare()  # before Keras: it says what to install if the backend is missing

from seglab.models.segnet import segnet  # noqa: E402
from seglab.models.unet import unet  # noqa: E402

__all__ = ["segnet", "unet"]

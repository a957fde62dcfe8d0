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

from seglab.models.autoencoder import autoencoder, segmentation_head  # noqa: E402
from seglab.models.fcn import bilinear_kernel, fcn, transfer_weights  # noqa: E402
from seglab.models.mobilenet_unet import mobilenet_unet  # noqa: E402
from seglab.models.patch_cnn import patch_cnn, sample_patches, to_dense  # noqa: E402
from seglab.models.segnet import segnet  # noqa: E402
from seglab.models.unet import unet  # noqa: E402

__all__ = [
    "autoencoder",
    "bilinear_kernel",
    "fcn",
    "mobilenet_unet",
    "patch_cnn",
    "sample_patches",
    "segmentation_head",
    "segnet",
    "to_dense",
    "transfer_weights",
    "unet",
]

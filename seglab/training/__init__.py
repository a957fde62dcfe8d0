"""Train a segmentation network, and measure it: `fit` and `evaluate`.

Examples
--------
>>> from seglab import data, device, models, training
>>> device.set_seed(0)
>>> cells = data.load("cells", count=20, size=16)
>>> model = models.unet(cells.image_shape, cells.num_classes, width=2, depth=2)
>>> history = training.fit(model, cells, epochs=2)
>>> report = training.evaluate(model, cells.test)
>>> history.val_iou.shape, len(report)
((2, 2), 3)
"""

from seglab import device

device.prepare()  # before Keras: it says what to install if the backend is missing

from seglab.training.evaluation import evaluate  # noqa: E402
from seglab.training.history import History  # noqa: E402
from seglab.training.loop import DivergedError, fit  # noqa: E402

__all__ = ["DivergedError", "History", "evaluate", "fit"]
